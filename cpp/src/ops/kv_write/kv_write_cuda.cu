// One block a token; a thread writes up to 16 bytes of a row.
#include "ops/cuda/vector.h"
#include "ops/kv_write/kv_device.h"
#include "ops/kv_write/kv_write_cuda.h"

namespace sluice::cuda {
namespace {

template <int n, typename In, typename Cached>
__global__ void write_kernel(KvWriteParams p) {
  const int64_t token = blockIdx.x;
  const KvCacheView& cache = p.cache;
  const int32_t slot = p.slots[token * p.slot_stride];
  const int32_t tail_begin = cache.k_dim - p.k_tail_dim;
  const int64_t k_head_stride = p.k_head_stride == 0 ? tail_begin : p.k_head_stride;
  const int64_t v_head_stride = p.v_head_stride == 0 ? cache.v_dim : p.v_head_stride;
  const int32_t k_groups = padded_dim(cache.k_dim) / n, v_groups = padded_dim(cache.v_dim) / n;
  const int32_t keys = cache.num_kv_heads * k_groups;
  const int32_t all = keys + cache.num_kv_heads * v_groups;
  for (int32_t i = threadIdx.x; i < all; i += blockDim.x) {
    const bool is_key = i < keys;
    const int32_t head = is_key ? i / k_groups : (i - keys) / v_groups;
    const int32_t col = (is_key ? i - head * k_groups : i - keys - head * v_groups) * n;
    const In* from = nullptr;  // column `col` of the row; null: beyond it, where zeros are
    if (!is_key) {
      if (col < cache.v_dim) {
        from = static_cast<const In*>(p.v) + token * p.v_stride + head * v_head_stride + col;
      }
    } else if (col < tail_begin) {
      from = static_cast<const In*>(p.k) + token * p.k_stride + head * k_head_stride + col;
    } else if (col < cache.k_dim) {
      from = static_cast<const In*>(p.k_tail) + token * p.k_tail_stride + col - tail_begin;
    }
    // The values are asked for before the slot is there.
    float v[n] = {};
    if (from != nullptr) load_values(from, v);
    const KvPlace at = place_of(cache, slot);
    if (!at.kept) return;
    Cached* row = is_key ? key_row<Cached>(cache, at, head) : value_row<Cached>(cache, at, head);
    store_values(row + col, v);
  }
}

// One block a row.
template <int n, typename Cached, typename Out>
__global__ void read_kernel(KvReadParams p) {
  const int64_t row = blockIdx.x;
  const KvCacheView& cache = p.cache;
  int32_t sequence = 0;  // the last one that starts at the row or before it
  for (int32_t high = p.num_sequences; high - sequence > 1;) {
    const int32_t middle = (sequence + high) / 2;
    (p.row_start[middle] <= row ? sequence : high) = middle;
  }
  const int64_t of_sequence = row - p.row_start[sequence];
  const bool filled = of_sequence < p.num_positions[sequence];
  KvPlace at{0, 0, false};
  if (filled) {
    const int64_t position = p.first_position + of_sequence;
    const int64_t table = p.table_rows == nullptr ? sequence : p.table_rows[sequence];
    const int32_t block = p.block_tables[table * p.block_table_stride + position / cache.block_size];
    at = {block, static_cast<int32_t>(position % cache.block_size),
          block >= 0 && block < cache.num_blocks};
  }
  Out* out = static_cast<Out*>(p.rows) + row * p.row_stride;
  const int32_t groups = cache.v_dim / n;
  for (int32_t i = threadIdx.x; i < cache.num_kv_heads * groups; i += blockDim.x) {
    const int32_t head = i / groups, col = (i - head * groups) * n;
    float v[n];
    if (at.kept) {
      load_values(value_row<const Cached>(cache, at, head) + col, v);
    } else {
      // A block that is not there must be seen in the step's results.
      const float fill = filled ? __int_as_float(0x7fffffff) : 0.0f;
#pragma unroll
      for (int c = 0; c < n; ++c) v[c] = fill;
    }
    store_values(out + int64_t{head} * cache.v_dim + col, v);
  }
}

}  // namespace

void kv_write(const CudaExec& exec, const KvWriteParams& p) {
  if (p.num_tokens == 0) return;
  const KvCacheView& cache = p.cache;
  with_format(p.format, [&](auto* in) {
    with_format(cache.format, [&](auto* cached) {
      using In = std::remove_pointer_t<decltype(in)>;
      using Cached = std::remove_pointer_t<decltype(cached)>;
      constexpr int kWide = kVector<In, Cached>;
      const auto whole = [](int64_t value) { return value % kWide == 0; };
      const bool vectors =
          whole(cache.v_dim) && whole(p.v_head_stride) &&
          allows_vectors(p.v, p.format, p.v_stride, kWide) &&
          (cache.k_dim == 0 || (whole(cache.k_dim) && whole(p.k_head_stride) &&
                                allows_vectors(p.k, p.format, p.k_stride, kWide))) &&
          (p.k_tail_dim == 0 ||
           (whole(p.k_tail_dim) && allows_vectors(p.k_tail, p.format, p.k_tail_stride, kWide)));
      with_width<kWide>(vectors, [&](auto width) {
        constexpr int n = decltype(width)::value;
        const int64_t items =
            int64_t{cache.num_kv_heads} * (padded_dim(cache.k_dim) + padded_dim(cache.v_dim)) / n;
        write_kernel<n, In, Cached><<<static_cast<unsigned>(p.num_tokens), threads_for(items, 512),
                                      0, stream_of(exec)>>>(p);
      });
    });
  });
  SLUICE_CHECK_LAUNCH("kv_write of ", p.num_tokens, " tokens of ", cache.num_kv_heads, " x (",
                      cache.k_dim, " + ", cache.v_dim, ")");
}

void kv_read_values(const CudaExec& exec, const KvReadParams& p) {
  if (p.num_rows == 0) return;
  const KvCacheView& cache = p.cache;
  with_format(cache.format, [&](auto* cached) {
    with_format(p.format, [&](auto* out) {
      using Cached = std::remove_pointer_t<decltype(cached)>;
      using Out = std::remove_pointer_t<decltype(out)>;
      constexpr int kWide = kVector<Cached, Out>;
      const bool vectors =
          cache.v_dim % kWide == 0 && allows_vectors(p.rows, p.format, p.row_stride, kWide);
      with_width<kWide>(vectors, [&](auto width) {
        constexpr int n = decltype(width)::value;
        const int64_t items = int64_t{cache.num_kv_heads} * cache.v_dim / n;
        read_kernel<n, Cached, Out><<<static_cast<unsigned>(p.num_rows),
                                      threads_for(items, 512), 0, stream_of(exec)>>>(p);
      });
    });
  });
  SLUICE_CHECK_LAUNCH("kv_read_values of ", p.num_rows, " rows of ", cache.num_kv_heads,
                      " x ", cache.v_dim);
}

}  // namespace sluice::cuda
