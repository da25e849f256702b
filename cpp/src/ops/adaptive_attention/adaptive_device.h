/// @file
/// What the CUDA kernels of adaptive attention share. For .cu sources only.
///
/// A sequence with one query goes through the kernels of adaptive_row.cu, whatever else is in the
/// batch; others' queries go through tiles of 16. kTopK and kBlockTopK score, select and then sum
/// the values of lists of keys, some rows at a time.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_DEVICE_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_DEVICE_H_

#include "ops/adaptive_attention/adaptive_cuda.h"
#include "ops/cuda/launch.h"

namespace sluice::cuda {

inline constexpr int kTileRows = 16;   // queries
inline constexpr int kTileKeys = 64;
inline constexpr int kSpanKeys = 512;  // of one block, at least
inline constexpr int kMaxSpans = 32;   // of one row
inline constexpr float kMinusInfinity = -__builtin_inff();
inline constexpr float kLog2E = 1.44269504088896341f;

/// Keys (or list entries) of a span of a row that has n of them: only n tells.
__host__ __device__ inline int64_t span_of(int64_t n) {
  const int64_t most = int64_t{kSpanKeys} * kMaxSpans;
  return kSpanKeys * (n <= most ? 1 : (n + most - 1) / most);
}
__host__ __device__ inline int64_t num_spans(int64_t n) {
  return n <= 0 ? 0 : (n + span_of(n) - 1) / span_of(n);
}

/// Rows [first, first + count) of the batch that select their keys, head by head: row r, head h is
/// entry (r - first) * heads + h.
struct Selection {
  int64_t first = 0, count = 0;
  int64_t stride = 0;       // of scores, in keys
  int64_t list_stride = 0;  // of lists
  int64_t block_stride = 0; // of importances
  float* scores = nullptr;  // of all keys, then of the kept ones
  int32_t* keys = nullptr;  // the kept ones, rising
  int32_t* num_keys = nullptr;
  float* blocks = nullptr;  // kBlockTopK: importance, then 1 where kept
};

/// What one span tells of a row: values weighted by exponents, their sum, and the largest score (in
/// powers of two) that the exponents are taken against.
struct Partials {
  float* values = nullptr;  // [entries, spans, v_dim]
  float2* sums = nullptr;   // [entries, spans] {max, sum}
  int32_t spans = 1;
};

struct Draws {
  int32_t* blocks = nullptr;  // [tokens, 3 * most]: the random blocks of a token's block, rising
  int32_t* counts = nullptr;  // [tokens]; -1: all blocks are seen
  int32_t most = 0;
};

/// The query of a token.
struct RowAt {
  int32_t sequence;
  int64_t token, position, context, key_end;
};

__device__ inline RowAt row_at(const AdaptiveAttentionParams& p, int32_t sequence, int64_t token) {
  RowAt at;
  at.sequence = sequence;
  at.token = token;
  at.position = p.positions[token * p.position_stride];
  at.context = p.context_len[sequence];
  at.key_end = min(at.position + 1, at.context);
  return at;
}

__device__ inline bool in_sequence(const AdaptiveAttentionParams& p, int32_t s, int64_t token) {
  return token >= p.query_start[s] && token < p.query_start[s + 1];
}
__device__ inline bool single_query(const AdaptiveAttentionParams& p, int32_t s) {
  return p.numerics == Numerics::kFast && p.query_start[s + 1] - p.query_start[s] == 1;
}

/// The cache of one head of a sequence.
template <typename T>
struct HeadCache {
  const int32_t* table;
  const char* k;
  const char* v;
  int64_t k_block, v_block, num_blocks;
  int shift, mask;
  int k_cols, v_cols;  // rounded up to 16; columns beyond the dims are zero

  __device__ HeadCache(const AdaptiveAttentionParams& p, int32_t sequence, int32_t head) {
    const int64_t row = p.table_rows == nullptr ? sequence : p.table_rows[sequence];
    table = p.block_tables + row * p.block_table_stride;
    k_cols = (p.kv.k_dim + 15) / 16 * 16;
    v_cols = (p.kv.v_dim + 15) / 16 * 16;
    const int64_t rows = int64_t{head} * p.kv.block_size * static_cast<int64_t>(sizeof(T));
    k = static_cast<const char*>(p.kv.k) + rows * k_cols;
    v = static_cast<const char*>(p.kv.v) + rows * v_cols;
    k_block = p.kv.k_block_stride;
    v_block = p.kv.v_block_stride;
    num_blocks = p.kv.num_blocks;
    shift = 31 - __clz(p.kv.block_size);
    mask = p.kv.block_size - 1;
  }
  /// *bad: the table's entry is out of range, and the row another's; the key then is NaN.
  __device__ const T* clamped_key(int64_t j, bool* bad) const {
    return reinterpret_cast<const T*>(k + block_of(j, bad) * k_block) + (j & mask) * k_cols;
  }
  __device__ const T* clamped_value(int64_t j, bool* bad) const {
    return reinterpret_cast<const T*>(v + block_of(j, bad) * v_block) + (j & mask) * v_cols;
  }

 private:
  __device__ int64_t block_of(int64_t j, bool* bad) const {
    const int32_t block = table[j >> shift];
    *bad = block < 0 || block >= num_blocks;
    return *bad ? 0 : block;
  }
};

/// Four neighbouring values.
__device__ inline float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ inline float4 load4(const __nv_bfloat16* p) {
  const uint2 bits = *reinterpret_cast<const uint2*>(p);
  return {__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xffff0000u),
          __uint_as_float(bits.y << 16), __uint_as_float(bits.y & 0xffff0000u)};
}

/// A value of the query; rounded to the cache's format.
template <typename T>
__device__ inline float query_value(const AdaptiveAttentionParams& p, int64_t token, int32_t head,
                                    int d) {
  if (d >= p.kv.k_dim) return 0.0f;
  const int64_t at = token * p.q_stride + int64_t{head} * p.kv.k_dim + d;
  const float value = p.q_format == Format::kBf16
                          ? load(static_cast<const __nv_bfloat16*>(p.q) + at)
                          : static_cast<const float*>(p.q)[at];
  T rounded;
  store(&rounded, value);
  return load(&rounded);
}

__device__ inline void write_value(const AdaptiveAttentionParams& p, int64_t token, int32_t head,
                                   int d, float value) {
  const int64_t at = token * p.out_stride + int64_t{head} * p.kv.v_dim + d;
  if (p.out_format == Format::kBf16) {
    store(static_cast<__nv_bfloat16*>(p.out) + at, value);
  } else {
    static_cast<float*>(p.out)[at] = value;
  }
}

__device__ inline float gate_of(const AdaptiveAttentionParams& p, int64_t token, int32_t head) {
  return p.gate == nullptr ? 1.0f : p.gate[token * p.kv.num_kv_heads + head];
}

/// Bias of a distance that is at least 0.
__device__ inline float bias_of(const AdaptiveAttentionParams& p, int32_t head, int64_t distance) {
  const int64_t last = p.relative_positions - 1;
  return p.relative_position[int64_t{head} * p.relative_positions +
                             (distance < last ? distance : last)];
}

/// Whether a query sees a key, where scores do not decide.
template <typename T>
__device__ inline bool sees(const AdaptiveAttentionParams& p, const Draws& draws,
                            const HeadCache<T>& cache, const RowAt& at, int32_t head, int64_t key) {
  if (key >= at.key_end) return false;
  if (p.replay != nullptr) {
    const int64_t plane = at.token * p.replay_planes + head % p.replay_planes;
    return p.replay[plane * p.replay_stride + key] != 0;
  }
  const AdaptivePattern& pattern = p.pattern;
  switch (pattern.kind) {
    case AdaptiveKind::kSlidingWindow:
      return at.position - key < pattern.window;
    case AdaptiveKind::kDensity: {
      if (at.position - key < pattern.window) return true;
      const int32_t block = cache.table[key >> cache.shift];
      // A bad entry shows as NaN rather than as a key that is dropped.
      if (block < 0 || block >= cache.num_blocks) return true;
      return p.dense[(int64_t{block} << cache.shift) + (key & cache.mask)] != 0;
    }
    case AdaptiveKind::kBlockSparse: {
      const int64_t own = at.position / pattern.sparse_block_size;
      const int64_t block = key / pattern.sparse_block_size;
      if (block < pattern.num_global_blocks || block > own - pattern.num_local_blocks) return true;
      const int32_t count = draws.counts[at.token];
      if (count < 0) return true;
      const int32_t* drawn = draws.blocks + at.token * 3 * draws.most;
      for (int32_t i = 0; i < count && drawn[i] <= block; ++i) {
        if (drawn[i] == block) return true;
      }
      return false;
    }
    default:
      return true;
  }
}

/// Blocks that a query in block `own` keeps under kBlockTopK, its own among them.
__host__ __device__ inline int64_t kept_of(const AdaptivePattern& pattern, int64_t own) {
  const int64_t kept = (int64_t{pattern.block_keep_percent} * (own + 1) + 99) / 100;
  return kept < 1 ? 1 : kept;
}

/// Whether masks are shown head by head where scores do not decide: only where they are given so.
__device__ inline bool head_masks(const AdaptiveAttentionParams& p) {
  return p.replay != nullptr && p.replay_planes > 1;
}

/// Where a row's mask is shown; null: nowhere, or another head shows it.
__device__ inline uint8_t* keep_row(const AdaptiveAttentionParams& p, bool selects, int64_t token,
                                    int32_t head) {
  if (p.keep == nullptr || (!selects && head != 0)) return nullptr;
  const int64_t planes = selects ? p.kv.num_kv_heads : 1;
  return p.keep + (token * planes + (selects ? head : 0)) * p.keep_stride;
}

// The launches; each enqueues one kernel.
void launch_draws(const CudaExec& exec, const AdaptiveAttentionParams& params, const Draws& draws);
void launch_tiles(const CudaExec& exec, const AdaptiveAttentionParams& params, const Draws& draws);
void launch_scores(const CudaExec& exec, const AdaptiveAttentionParams& params,
                   const Selection& rows, int64_t longest);
/// The same of sequences of one query; launch_scores() leaves them out.
void launch_row_scores(const CudaExec& exec, const AdaptiveAttentionParams& params,
                       const Selection& rows, int64_t longest);
void launch_select(const CudaExec& exec, const AdaptiveAttentionParams& params,
                   const Selection& rows);
/// Sequences of one query, or with `rows` the lists of those rows.
void launch_rows(const CudaExec& exec, const AdaptiveAttentionParams& params, const Draws& draws,
                 const Selection* rows, const Partials& partials);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_DEVICE_H_
