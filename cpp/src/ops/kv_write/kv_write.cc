// Scalar on purpose: a token's keys go to as many cache lines as there are pairs of dims, so the
// stores, not the instructions, are the cost (0.5 % of a prefill of 512 tokens at head_dim 64).
#include "ops/kv_write/kv_write.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "ops/kv_write/kv_write_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

inline void convert(float value, float* out) { *out = value; }
inline void convert(Bf16 value, float* out) { *out = to_float(value); }
inline void convert(float value, Bf16* out) { *out = to_bf16(value); }
inline void convert(Bf16 value, Bf16* out) { *out = value; }

// The key's columns from `tail_begin` on are those of `tail`.
template <typename In, typename Cached>
void write_head(const KvCacheView& cache, const In* k, const In* tail, int64_t tail_begin,
                const In* v, Cached* k_head, Cached* v_head, int64_t offset) {
  constexpr int64_t kPair = sizeof(Cached) == 2 ? 2 : 1;  // values side by side (kv_cache.h)
  const int64_t group = cache.block_size < 16 ? cache.block_size : 16;
  const int64_t k_dim16 = round_up(cache.k_dim, 16);
  const int64_t v_dim16 = round_up(cache.v_dim, 16);
  Cached* k_out = k_head + (offset / group) * group * k_dim16 + (offset % group) * kPair;
  for (int64_t d = 0; d < k_dim16; ++d) {
    Cached* place = k_out + (d / kPair) * group * kPair + d % kPair;
    if (d < tail_begin) {
      convert(k[d], place);
    } else if (d < cache.k_dim) {
      convert(tail[d - tail_begin], place);
    } else {
      *place = Cached{};
    }
  }
  Cached* v_out = v_head + (offset / kPair) * v_dim16 * kPair + offset % kPair;
  for (int64_t d = 0; d < v_dim16; ++d) {
    if (d < cache.v_dim) {
      convert(v[d], v_out + d * kPair);
    } else {
      v_out[d * kPair] = Cached{};
    }
  }
}

template <typename In, typename Cached>
void write_tokens(const KvWriteParams& p, int64_t begin, int64_t end) {
  const KvCacheView& cache = p.cache;
  const int64_t k_head_size = cache.block_size * round_up(cache.k_dim, 16);
  const int64_t v_head_size = cache.block_size * round_up(cache.v_dim, 16);
  const int64_t tail_begin = cache.k_dim - p.k_tail_dim;
  const int64_t k_stride = p.k_head_stride == 0 ? tail_begin : p.k_head_stride;
  const int64_t v_stride = p.v_head_stride == 0 ? cache.v_dim : p.v_head_stride;
  for (int64_t t = begin; t < end; ++t) {
    const int32_t slot = p.slots[t * p.slot_stride];
    if (slot < 0) continue;
    const int64_t block = slot / cache.block_size;
    const int64_t offset = slot % cache.block_size;
    auto* k_block =
        reinterpret_cast<Cached*>(static_cast<char*>(cache.k) + block * cache.k_block_stride);
    auto* v_block =
        reinterpret_cast<Cached*>(static_cast<char*>(cache.v) + block * cache.v_block_stride);
    for (int64_t h = 0; h < cache.num_kv_heads; ++h) {
      write_head(cache, static_cast<const In*>(p.k) + t * p.k_stride + h * k_stride,
                 static_cast<const In*>(p.k_tail) + t * p.k_tail_stride, tail_begin,
                 static_cast<const In*>(p.v) + t * p.v_stride + h * v_stride,
                 k_block + h * k_head_size, v_block + h * v_head_size, offset);
    }
  }
}

template <typename Cached, typename Out>
void read_rows(const KvReadParams& p, int64_t begin, int64_t end) {
  constexpr int64_t kPair = sizeof(Cached) == 2 ? 2 : 1;
  const KvCacheView& cache = p.cache;
  const int64_t v_dim16 = round_up(cache.v_dim, 16);
  int32_t s = 0;
  for (int64_t r = begin; r < end; ++r) {
    while (s + 1 < p.num_sequences && p.row_start[s + 1] <= r) ++s;
    const int64_t row_of_s = r - p.row_start[s];
    auto* out = static_cast<Out*>(p.rows) + r * p.row_stride;
    if (row_of_s >= p.num_positions[s]) {
      std::fill_n(out, int64_t{cache.num_kv_heads} * cache.v_dim, Out{});
      continue;
    }
    const int64_t position = p.first_position + row_of_s;
    const int64_t offset = position % cache.block_size;
    const int64_t table_row = p.table_rows == nullptr ? s : p.table_rows[s];
    const int32_t block_id =
        p.block_tables[table_row * p.block_table_stride + position / cache.block_size];
    const auto* block = reinterpret_cast<const Cached*>(static_cast<const char*>(cache.v) +
                                                        block_id * cache.v_block_stride);
    for (int64_t h = 0; h < cache.num_kv_heads; ++h) {
      const Cached* row = block + h * cache.block_size * v_dim16 +
                          (offset / kPair) * v_dim16 * kPair + offset % kPair;
      for (int64_t d = 0; d < cache.v_dim; ++d) convert(row[d * kPair], out++);
    }
  }
}

void check_layout(const Exec& exec, const KvCacheView& cache) {
  const bool rows = exec.cuda != nullptr;
  SLUICE_CHECK(cache.layout == (rows ? KvLayout::kRows : KvLayout::kInterleaved),
               SLUICE_STATUS_UNSUPPORTED, "kv cache layout: ", static_cast<int32_t>(cache.layout),
               rows ? " (expected: kRows on CUDA)" : " (expected: kInterleaved on the CPU)");
}

void check_block(const char* field, const KvCacheView& cache, int32_t block) {
  SLUICE_CHECK_ARG(block >= 0 && block < cache.num_blocks, field, ": ", block, " (expected: 0 to ",
                   cache.num_blocks - 1, ")");
}

}  // namespace

void kv_write(const Exec& exec, const KvWriteParams& p) {
  check_kv_cache(p.cache);
  check_layout(exec, p.cache);
  check_compute_format("kv_write format", p.format);
  check_at_least("kv_write num_tokens", p.num_tokens, 0);
  SLUICE_CHECK_ARG(p.k_tail_dim >= 0 && (p.k_tail_dim == 0 || p.k_tail_dim < p.cache.k_dim),
                   "kv_write k_tail_dim: ", p.k_tail_dim, " (expected: 0 to ", p.cache.k_dim - 1,
                   ")");
  // Of heads that are strided the last one ends before the stride does.
  const auto width = [&](int64_t dim, int64_t head_stride) {
    if (head_stride == 0 || dim == 0) return p.cache.num_kv_heads * dim;
    SLUICE_CHECK_ARG(head_stride >= dim, "kv_write head stride: ", head_stride,
                     " (expected: 0 or at least ", dim, ")");
    return (p.cache.num_kv_heads - 1) * head_stride + dim;
  };
  check_stride("kv_write k_stride", p.k_stride,
               width(p.cache.k_dim - p.k_tail_dim, p.k_head_stride), p.num_tokens);
  check_stride("kv_write v_stride", p.v_stride, width(p.cache.v_dim, p.v_head_stride),
               p.num_tokens);
  check_stride("kv_write k_tail_stride", p.k_tail_stride, p.k_tail_dim, p.num_tokens);
  check_memory("kv_write k_tail", p.k_tail, p.k_tail_dim > 0 ? p.num_tokens : 0);
  check_memory("kv_write k", p.k, p.cache.k_dim > 0 ? p.num_tokens : 0);
  check_memory("kv_write v", p.v, p.num_tokens);
  check_memory("kv_write slots", p.slots, p.num_tokens);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::kv_write(*exec.cuda, p);
  }
  const int64_t end_slot = checked_mul(p.cache.num_blocks, p.cache.block_size);
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const int32_t slot = p.slots[t * p.slot_stride];
    SLUICE_CHECK_ARG(slot >= -1 && slot < end_slot, "kv slot of token ", t, ": ", slot,
                     " (expected: -1 to ", end_slot - 1, ")");
  }
  const bool in = p.format == Format::kBf16;
  const bool cached = p.cache.format == Format::kBf16;
  const auto kernel = in ? (cached ? write_tokens<Bf16, Bf16> : write_tokens<Bf16, float>)
                         : (cached ? write_tokens<float, Bf16> : write_tokens<float, float>);
  parallel_ranges(
      exec, p.num_tokens,
      grain_for_bytes(int64_t{p.cache.num_kv_heads} * (p.cache.k_dim + p.cache.v_dim) * 16),
      [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

void kv_read_values(const Exec& exec, const KvReadParams& p) {
  check_kv_cache(p.cache);
  check_layout(exec, p.cache);
  check_compute_format("kv_read format", p.format);
  check_at_least("kv_read num_sequences", p.num_sequences, 0);
  check_at_least("kv_read first_position", p.first_position, 0);
  check_at_least("kv_read num_rows", p.num_rows, 0);
  check_stride("kv_read row_stride", p.row_stride, int64_t{p.cache.num_kv_heads} * p.cache.v_dim,
               p.num_rows);
  check_memory("kv_read rows", p.rows, p.num_rows);
  check_memory("kv_read num_positions", p.num_positions, p.num_sequences);
  check_memory("kv_read row_start", p.row_start, p.num_sequences);
  check_memory("kv_read block_tables", p.block_tables, p.num_sequences);
  SLUICE_CHECK_ARG(p.num_rows == 0 || p.num_sequences > 0,
                   "kv_read num_sequences: 0 (expected: at least 1 for ", p.num_rows, " rows)");
  if (p.num_rows == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::kv_read_values(*exec.cuda, p);
  }
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    const int64_t end = s + 1 < p.num_sequences ? p.row_start[s + 1] : p.num_rows;
    SLUICE_CHECK_ARG(
        p.row_start[s] >= 0 && p.num_positions[s] >= 0 && p.row_start[s] + p.num_positions[s] <= end,
        "kv_read row_start[", s, "]: ", p.row_start[s], " with ", p.num_positions[s],
        " positions (expected: rising, ending at ", end, " or before)");
    if (p.num_positions[s] == 0) continue;
    const int64_t table_row = p.table_rows == nullptr ? s : p.table_rows[s];
    const int32_t* table = p.block_tables + table_row * p.block_table_stride;
    const int64_t last = p.first_position + p.num_positions[s] - 1;
    for (int64_t i = p.first_position / p.cache.block_size; i <= last / p.cache.block_size; ++i) {
      check_block("block", p.cache, table[i]);
    }
  }
  SLUICE_CHECK_ARG(p.row_start[0] == 0, "kv_read row_start[0]: ", p.row_start[0],
                   " (expected: 0)");
  const bool cached = p.cache.format == Format::kBf16;
  const bool out = p.format == Format::kBf16;
  const auto kernel = cached ? (out ? read_rows<Bf16, Bf16> : read_rows<Bf16, float>)
                             : (out ? read_rows<float, Bf16> : read_rows<float, float>);
  parallel_ranges(exec, p.num_rows,
                  grain_for_bytes(int64_t{p.cache.num_kv_heads} * p.cache.v_dim * 8),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

void kv_copy_block(const Exec& exec, const KvCacheView& cache, int32_t source, int32_t target) {
  check_kv_cache(cache);
  check_layout(exec, cache);
  check_block("source block", cache, source);
  check_block("target block", cache, target);
  if (source == target) return;
  const auto copy = [&](void* base, int64_t stride, int32_t dim) {
    if (dim == 0) return;
    auto* bytes = static_cast<char*>(base);
    const int64_t count = kv_block_bytes(cache.format, cache.block_size, cache.num_kv_heads, dim);
    if constexpr (kCudaBuilt) {
      if (exec.cuda != nullptr) {
        return cuda_copy(*exec.cuda, bytes + target * stride, bytes + source * stride, count);
      }
    }
    std::memcpy(bytes + target * stride, bytes + source * stride, static_cast<size_t>(count));
  };
  copy(cache.k, cache.k_block_stride, cache.k_dim);
  copy(cache.v, cache.v_block_stride, cache.v_dim);
}

void kv_zero_block(const Exec& exec, const KvCacheView& cache, int32_t block) {
  check_kv_cache(cache);
  check_layout(exec, cache);
  check_block("block", cache, block);
  const auto zero = [&](void* base, int64_t stride, int32_t dim) {
    if (dim == 0) return;
    char* const at = static_cast<char*>(base) + block * stride;
    const int64_t count = kv_block_bytes(cache.format, cache.block_size, cache.num_kv_heads, dim);
    if constexpr (kCudaBuilt) {
      if (exec.cuda != nullptr) return cuda_fill(*exec.cuda, at, 0, count);
    }
    std::memset(at, 0, static_cast<size_t>(count));
  };
  zero(cache.k, cache.k_block_stride, cache.k_dim);
  zero(cache.v, cache.v_block_stride, cache.v_dim);
}

}  // namespace sluice
