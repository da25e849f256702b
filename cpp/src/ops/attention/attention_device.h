/// @file
/// What the attention kernels share on the device. For .cu sources only.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_DEVICE_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_DEVICE_H_

#include "ops/attention/attention_variants.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/mma.h"

namespace sluice::cuda {

inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kLn2 = 0.693147180559945309f;

__device__ inline float minus_infinity() { return __int_as_float(0xff800000); }
__device__ inline float not_a_number() { return __int_as_float(0x7fffffff); }

/// Exponents are taken against this maximum: 0 for a row without keys, where -inf - -inf is NaN.
__device__ inline float safe_max(float m) { return m == minus_infinity() ? 0.0f : m; }

/// A product of query and key as an exponent of 2.
__device__ inline float exponent_of(const AttentionParams& p, float product) {
  if (p.soft_cap > 0.0f) {
    return __fmul_rn(p.soft_cap * kLog2E, tanhf(product * (p.softmax_scale / p.soft_cap)));
  }
  return __fmul_rn(product, p.softmax_scale * kLog2E);
}

/// 2^x, to 2 ulp; 0 for what would be subnormal.
__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Keys per span of a row that sees `keys`; see kAttentionSpan.
__device__ inline int32_t span_keys(KeyRange keys) {
  int32_t span = kAttentionSpan;
  while ((keys.end - 1) / span - keys.begin / span >= kAttentionParts) span *= 2;
  return span;
}

/// The softmax of some keys of a row; exponents are of 2.
struct SpanState {
  float m;  // maximum of the scores
  float l;  // sum of 2^(score - m)
};

/// Factors that put the weighted values of a state and of the state of the next keys together:
/// acc * a + next_acc * b. Exactly 1 and 0 where one of them is empty.
struct MergeFactors {
  float a, b;
};
__device__ inline MergeFactors merge(SpanState* whole, const SpanState& next) {
  const float m = whole->m < next.m ? next.m : whole->m;
  const MergeFactors f{exp2f(whole->m - safe_max(m)), exp2f(next.m - safe_max(m))};
  whole->l = __fmaf_rn(next.l, f.b, __fmul_rn(whole->l, f.a));
  whole->m = m;
  return f;
}
__device__ inline float merge_value(float whole, float next, const MergeFactors& f) {
  return __fmaf_rn(next, f.b, __fmul_rn(whole, f.a));
}

/// What a row's weighted values are multiplied by; writes its log-sum-exp when `writes`. A sum of
/// zero is a row without keys, whose values are zero; NaN passes through.
__device__ inline float finish_row(const AttentionParams& p, SpanState state, int64_t token,
                                   int64_t head, bool writes) {
  float factor = 1.0f;
  if (p.sinks != nullptr) {
    const float sink = p.sinks[head] * kLog2E;
    const float m = state.m < sink ? sink : state.m;
    factor = exp2f(state.m - safe_max(m));
    state.l = __fmaf_rn(state.l, factor, exp2f(sink - safe_max(m)));
    state.m = m;
  }
  if (p.lse != nullptr && writes) {
    p.lse[token * p.num_q_heads + head] =
        state.l > 0.0f ? __fmaf_rn(state.m, kLn2, logf(state.l)) : state.l + minus_infinity();
  }
  return state.l == 0.0f ? 0.0f : factor / state.l;
}

__device__ inline void store_out(const AttentionParams& p, int64_t at, float value) {
  if (p.out_format == Format::kF32) {
    store(static_cast<float*>(p.out) + at, value);
  } else {
    store(static_cast<__nv_bfloat16*>(p.out) + at, value);
  }
}

__host__ __device__ constexpr int32_t round_up16(int32_t n) { return (n + 15) / 16 * 16; }

/// Where a piece of 16 bytes of a row of `dim` bf16 values lies in a tile in shared memory: rows are
/// spread over the banks, so that 8 rows' same pieces lie in all of them. dim: a multiple of 64.
__device__ inline uint32_t piece_offset(int dim, int row, int piece) {
  return static_cast<uint32_t>(row * dim * 2 + ((piece ^ (row & 7)) << 4));
}

/// Eight elements of q from `at` on, rounded; at a multiple of 8 elements.
__device__ inline uint4 load_eight(const AttentionParams& p, int64_t at) {
  if (p.q_format == Format::kBf16) {
    return *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(p.q) + at);
  }
  const auto* from = reinterpret_cast<const float4*>(static_cast<const float*>(p.q) + at);
  const float4 a = from[0], b = from[1];
  return make_uint4(pack_bf16(a.x, a.y), pack_bf16(a.z, a.w), pack_bf16(b.x, b.y),
                    pack_bf16(b.z, b.w));
}

/// Rounds rows of queries to bf16 in shared memory at `to` (piece_offset()), columns
/// [col, col + kCols) of them, the block's threads together. row_of(r): {live, token, head} of row
/// r; others' are zeros. All loads are under way before the first is used.
template <int kDim, int kCols, int kRows, int kThreads, typename RowOf>
__device__ inline void load_queries(const AttentionParams& p, int col, const RowOf& row_of,
                                    char* to) {
  constexpr int kPairs = kCols / 2;
  constexpr int kEach = kRows * kPairs / kThreads;
  constexpr int kBatch = kEach % 8 == 0 ? 8 : kEach % 6 == 0 ? 6 : 4;
  static_assert(kRows * kPairs % kThreads == 0 && kEach % kBatch == 0);
  for (int first = 0; first < kEach; first += kBatch) {
    float2 values[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int index = static_cast<int>(threadIdx.x) + (first + i) * kThreads;
      const auto row = row_of(index / kPairs);
      const int64_t at =
          row.live ? row.token * p.q_stride + row.head * kDim + col + index % kPairs * 2 : 0;
      if (p.q_format == Format::kF32) {
        const float* q = static_cast<const float*>(p.q) + at;
        values[i] = make_float2(q[0], q[1]);
      } else {
        const __nv_bfloat16* q = static_cast<const __nv_bfloat16*>(p.q) + at;
        values[i] = make_float2(load(q), load(q + 1));
      }
      if (!row.live) values[i] = make_float2(0, 0);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int index = static_cast<int>(threadIdx.x) + (first + i) * kThreads;
      const int pair = index % kPairs;
      *reinterpret_cast<uint32_t*>(to + piece_offset(kCols, index / kPairs, pair / 4) +
                                   pair % 4 * 4) = pack_bf16(values[i].x, values[i].y);
    }
  }
}

/// Tile `index` of the tiles that cut each sequence's `rows_per_token` rows a token into
/// `tile_rows`; sequences of fewer than min_queries tokens have none. All lanes of a warp take part
/// and get the same. sequence < 0: there is none.
struct RowTile {
  int32_t sequence;
  int32_t row_begin;  ///< among the sequence's rows (token, head of the group), tokens outside
  int32_t row_end;
};
__device__ inline RowTile find_tile(const AttentionParams& p, int64_t index, int32_t rows_per_token,
                                    int32_t tile_rows, int32_t min_queries = 0) {
  const int lane = threadIdx.x % 32;
  for (int32_t first = 0; first < p.num_sequences; first += 32) {
    const int32_t s = first + lane;
    int32_t rows = 0;
    if (s < p.num_sequences) {
      const int32_t queries = p.query_start[s + 1] - p.query_start[s];
      rows = queries < min_queries ? 0 : queries * rows_per_token;
    }
    const int32_t tiles = (rows + tile_rows - 1) / tile_rows;
    int32_t before = tiles;
    for (int step = 1; step < 32; step *= 2) {
      const int32_t other = __shfl_up_sync(kAllLanes, before, step);
      if (lane >= step) before += other;
    }
    const int32_t all = __shfl_sync(kAllLanes, before, 31);
    before -= tiles;
    const bool mine = index >= before && index < before + tiles;
    const unsigned found = __ballot_sync(kAllLanes, mine);
    if (found != 0) {
      const int source = __ffs(static_cast<int>(found)) - 1;
      const auto begin = static_cast<int32_t>((index - before) * tile_rows);
      return {first + source, __shfl_sync(kAllLanes, begin, source),
              __shfl_sync(kAllLanes, min(rows, begin + tile_rows), source)};
    }
    index -= all;
  }
  return {-1, 0, 0};
}

/// Tiles of all sequences, at most.
inline int64_t most_tiles(const AttentionParams& p, int64_t rows_per_token, int64_t tile_rows) {
  return std::min(p.num_tokens * ceil_div(rows_per_token, tile_rows),
                  p.num_tokens * rows_per_token / tile_rows + p.num_sequences);
}

__device__ inline const int32_t* table_of(const AttentionParams& p, int32_t sequence) {
  const int64_t row = p.table_rows == nullptr ? sequence : p.table_rows[sequence];
  return p.block_tables + row * p.block_table_stride;
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_DEVICE_H_
