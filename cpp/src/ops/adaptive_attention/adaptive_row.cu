// One query a sequence, split over its context: a warp takes 16 keys at a time, its lanes share the
// columns, and each keeps its own softmax until the block joins them. The same kernel sums the
// values of selected keys, whose scores are known. Spans are joined by a second kernel.
#include "ops/adaptive_attention/adaptive_device.h"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kWarpKeys = 16;
constexpr int kColumns = 8;  // of a lane, at most: 256 columns

/// A running softmax of a warp; lane l has columns 4 l to 4 l + 3, and those 128 further on.
struct State {
  float max = kMinusInfinity, sum = 0;
  float values[kColumns] = {};
};

__device__ inline float safe(float max) { return max == kMinusInfinity ? 0.0f : max; }

/// Where the key of a lane lies in the cache.
struct LaneKey {
  int32_t block, row;
  bool bad;  // a table entry out of range: the key is NaN
};

template <typename T>
__device__ LaneKey find_key(const HeadCache<T>& cache, int64_t key, bool wanted) {
  LaneKey at{0, 0, false};
  if (!wanted) return at;
  at.block = cache.table[key >> cache.shift];
  at.row = static_cast<int32_t>(key & cache.mask);
  at.bad = at.block < 0 || at.block >= cache.num_blocks;
  if (at.bad) at.block = at.row = 0;
  return at;
}

/// Rows of the marked ones of eight lanes from `first` on, four columns from `column` of this lane.
/// Lanes that are not marked give the row of one that is: no branch keeps the loads apart.
template <typename T>
__device__ void load_rows(const char* base, int64_t block_stride, int cols, const LaneKey& at,
                          uint32_t seen, int first, int column, float4 (&out)[8]) {
  const int spare = __ffs(static_cast<int>(seen)) - 1;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int lane = (seen >> (first + i) & 1u) != 0 ? first + i : spare;
    const int64_t block = __shfl_sync(kAllLanes, at.block, lane);
    const int64_t row = __shfl_sync(kAllLanes, at.row, lane);
    const char* from = base + block * block_stride;
    // Columns that there are not: any others, against a query or into a sum that nobody reads.
    out[i] = load4(reinterpret_cast<const T*>(from) + row * cols + (column < cols ? column : 0));
  }
}

/// Scores of the marked ones of 16 keys, times log2(e): lane i gets that of key first + i.
template <typename T>
__device__ float score_keys(const AdaptiveAttentionParams& p, const HeadCache<T>& cache,
                            const RowAt& at, int32_t head, const float (&q)[kColumns],
                            int64_t first, const LaneKey& key, uint32_t seen) {
  const int lane = threadIdx.x % 32;
  float mine = 0;
#pragma unroll
  for (int half = 0; half < kWarpKeys; half += 8) {
    if ((seen >> half & 0xffu) == 0) continue;
    float dot[8] = {};
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      if (part * 128 >= cache.k_cols) break;
      float4 k[8];
      load_rows<T>(cache.k, cache.k_block, cache.k_cols, key, seen, half, part * 128 + lane * 4, k);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        dot[i] = fmaf(q[part * 4], k[i].x, dot[i]);
        dot[i] = fmaf(q[part * 4 + 1], k[i].y, dot[i]);
        dot[i] = fmaf(q[part * 4 + 2], k[i].z, dot[i]);
        dot[i] = fmaf(q[part * 4 + 3], k[i].w, dot[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      dot[i] = warp_sum(dot[i]);
      if (lane == half + i) mine = dot[i];
    }
  }
  if (lane >= kWarpKeys || (seen >> lane & 1u) == 0) return kMinusInfinity;
  if (key.bad) return __builtin_nanf("");
  return fmaf(mine, p.softmax_scale, bias_of(p, head, at.position - (first + lane)));
}

/// Adds keys to the state; lane i < 16 has the score of key i, times log2(e).
template <typename T>
__device__ void add_keys(const HeadCache<T>& cache, float score, const LaneKey& key, uint32_t seen,
                         State& state) {
  const int lane = threadIdx.x % 32;
  const bool mine = lane < kWarpKeys && (seen >> lane & 1u) != 0;
  if (mine && key.bad) score = __builtin_nanf("");
  const float most = fmaxf(state.max, warp_max(score));  // a NaN shows in its weight
  const float base = safe(most);
  const float correction = state.max == kMinusInfinity ? 0.0f : exp2f(state.max - base);
  const float weight = mine ? exp2f(score - base) : 0.0f;
  state.max = most;
  state.sum = state.sum * correction + warp_sum(weight);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) state.values[c] *= correction;
#pragma unroll
  for (int half = 0; half < kWarpKeys; half += 8) {
    if ((seen >> half & 0xffu) == 0) continue;
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      if (part * 128 >= cache.v_cols) break;
      float4 v[8];
      load_rows<T>(cache.v, cache.v_block, cache.v_cols, key, seen, half, part * 128 + lane * 4, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float factor = __shfl_sync(kAllLanes, weight, half + i);
        state.values[part * 4] = fmaf(factor, v[i].x, state.values[part * 4]);
        state.values[part * 4 + 1] = fmaf(factor, v[i].y, state.values[part * 4 + 1]);
        state.values[part * 4 + 2] = fmaf(factor, v[i].z, state.values[part * 4 + 2]);
        state.values[part * 4 + 3] = fmaf(factor, v[i].w, state.values[part * 4 + 3]);
      }
    }
  }
}

/// Joins the warps' states, in their order; the columns of thread t are t.
struct Joined {
  float max, sum, value;
};
__device__ Joined join(const State& state) {
  __shared__ float maxima[kWarps], sums[kWarps];
  __shared__ float values[kWarps][256];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) {
    maxima[warp] = state.max;
    sums[warp] = state.sum;
  }
#pragma unroll
  for (int c = 0; c < kColumns; ++c) values[warp][c / 4 * 128 + lane * 4 + c % 4] = state.values[c];
  __syncthreads();
  Joined out{kMinusInfinity, 0, 0};
  for (int w = 0; w < kWarps; ++w) out.max = fmaxf(out.max, maxima[w]);
  const float base = safe(out.max);
  for (int w = 0; w < kWarps; ++w) {
    // A warp without keys has the maximum -inf and sums of zero.
    if (maxima[w] == kMinusInfinity && sums[w] == 0.0f) continue;
    const float factor = exp2f(safe(maxima[w]) - base);
    out.sum += sums[w] * factor;
    out.value += values[w][threadIdx.x] * factor;
  }
  return out;
}

/// The row that blockIdx names: a sequence of one query, or an entry of a selection.
__device__ bool find_row(const AdaptiveAttentionParams& p, const Selection& rows, bool lists,
                         RowAt* at) {
  int32_t sequence = blockIdx.y;
  int64_t token = 0;
  if (lists) {
    token = rows.first + blockIdx.y;
    sequence = sequence_of(p, token);
    if (!in_sequence(p, sequence, token)) return false;
  } else {
    if (!single_query(p, sequence)) return false;
    token = p.query_start[sequence];
  }
  *at = row_at(p, sequence, token);
  return true;
}

__device__ void write_row(const AdaptiveAttentionParams& p, const RowAt& at, int32_t head,
                          float sum, float value) {
  const int d = threadIdx.x;
  if (d >= p.kv.v_dim) return;
  const float gate = gate_of(p, at.token, head);
  // A sum of zero is a row without keys, whose values are zero; NaN passes through.
  const bool none = gate == 0.0f || sum == 0.0f;
  write_value(p, at.token, head, d, none ? 0.0f : value * (gate / sum));
}

template <typename T, bool kLists>
__global__ void __launch_bounds__(kThreads, 3)
    row_kernel(AdaptiveAttentionParams p, Draws draws, Selection rows, Partials partials) {
  const auto head = static_cast<int32_t>(blockIdx.z);
  RowAt at;
  if (!find_row(p, rows, kLists, &at)) return;
  const bool closed = gate_of(p, at.token, head) == 0.0f;
  const int64_t entry = int64_t{blockIdx.y} * p.kv.num_kv_heads + head;
  const int64_t n = kLists ? rows.num_keys[entry] : at.key_end;
  uint8_t* keep = kLists ? nullptr : keep_row(p, head_masks(p), at.token, head);
  const bool skip = closed && keep == nullptr;
  const int64_t span = span_of(n);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * span, end = min(begin + span, n);
  if (begin >= end && blockIdx.x > 0) return;  // the row has fewer spans

  State state;
  const HeadCache<T> cache(p, at.sequence, head);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (!skip) {
    float q[kColumns];
    if constexpr (!kLists) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        q[c] = query_value<T>(p, at.token, head, c / 4 * 128 + lane * 4 + c % 4);
      }
    }
    for (int64_t first = begin + warp * kWarpKeys; first < end; first += kThreads / 2) {
      const int64_t i = first + lane;
      const bool mine = lane < kWarpKeys && i < end;
      if constexpr (kLists) {
        const int64_t key = mine ? rows.keys[entry * rows.list_stride + i] : 0;
        const float score = mine ? rows.scores[entry * rows.stride + i] * kLog2E : kMinusInfinity;
        const uint32_t seen = __ballot_sync(kAllLanes, mine);
        add_keys(cache, score, find_key(cache, key, mine), seen, state);
      } else {
        const bool visible = mine && sees(p, draws, cache, at, head, i);
        const uint32_t seen = __ballot_sync(kAllLanes, visible);
        if (seen == 0) continue;
        if (visible && keep != nullptr) keep[i] = 1;
        const LaneKey key = find_key(cache, i, visible);
        const float score = score_keys(p, cache, at, head, q, first, key, seen) * kLog2E;
        add_keys(cache, score, key, seen, state);
      }
    }
  }
  static_assert(kThreads / 2 == kWarps * kWarpKeys);
  const Joined out = join(state);
  if (num_spans(n) <= 1) return write_row(p, at, head, out.sum, out.value);
  const int64_t place = entry * partials.spans + blockIdx.x;
  if (threadIdx.x < static_cast<unsigned>(p.kv.v_dim)) {
    partials.values[place * p.kv.v_dim + threadIdx.x] = out.value;
  }
  if (threadIdx.x == 0) partials.sums[place] = {out.max, out.sum};
}

/// Joins the spans of rows that have more than one, in their order.
template <bool kLists>
__global__ void __launch_bounds__(kThreads)
    join_kernel(AdaptiveAttentionParams p, Selection rows, Partials partials) {
  const auto head = static_cast<int32_t>(blockIdx.z);
  RowAt at;
  if (!find_row(p, rows, kLists, &at)) return;
  const int64_t entry = int64_t{blockIdx.y} * p.kv.num_kv_heads + head;
  const auto spans = static_cast<int>(num_spans(kLists ? rows.num_keys[entry] : at.key_end));
  if (spans <= 1) return;
  const float2* sums = partials.sums + entry * partials.spans;
  const float* values = partials.values + entry * partials.spans * p.kv.v_dim;
  float most = kMinusInfinity;
  for (int s = 0; s < spans; ++s) most = fmaxf(most, sums[s].x);
  const float base = safe(most);
  float sum = 0, value = 0;
  for (int s = 0; s < spans; ++s) {
    if (sums[s].x == kMinusInfinity && sums[s].y == 0.0f) continue;
    const float factor = exp2f(safe(sums[s].x) - base);
    sum += sums[s].y * factor;
    if (threadIdx.x < static_cast<unsigned>(p.kv.v_dim)) {
      value += values[int64_t{s} * p.kv.v_dim + threadIdx.x] * factor;
    }
  }
  write_row(p, at, head, sum, value);
}

/// Scores of all keys of those of the rows that are their sequence's only query.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    row_scores_kernel(AdaptiveAttentionParams p, Selection rows) {
  const auto head = static_cast<int32_t>(blockIdx.z);
  RowAt at;
  if (!find_row(p, rows, true, &at) || !single_query(p, at.sequence)) return;
  if (p.keep == nullptr && gate_of(p, at.token, head) == 0.0f) return;
  const int64_t begin = int64_t{blockIdx.x} * kSpanKeys;
  const int64_t end = min(begin + kSpanKeys, at.key_end);
  if (begin >= end) return;
  const HeadCache<T> cache(p, at.sequence, head);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float q[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    q[c] = query_value<T>(p, at.token, head, c / 4 * 128 + lane * 4 + c % 4);
  }
  const int64_t entry = int64_t{blockIdx.y} * p.kv.num_kv_heads + head;
  for (int64_t first = begin + warp * kWarpKeys; first < end; first += kThreads / 2) {
    const bool mine = lane < kWarpKeys && first + lane < end;
    const uint32_t seen = __ballot_sync(kAllLanes, mine);
    const LaneKey key = find_key(cache, first + lane, mine);
    const float score = score_keys(p, cache, at, head, q, first, key, seen);
    if (mine) rows.scores[entry * rows.stride + first + lane] = score;
  }
}

template <typename T, bool kLists>
void launch(const CudaExec& exec, const AdaptiveAttentionParams& p, const Draws& draws,
            const Selection& rows, const Partials& partials) {
  const auto count = static_cast<unsigned>(kLists ? rows.count : p.num_sequences);
  const auto heads = static_cast<unsigned>(p.kv.num_kv_heads);
  const dim3 grid(static_cast<unsigned>(partials.spans), count, heads);
  row_kernel<T, kLists><<<grid, kThreads, 0, stream_of(exec)>>>(p, draws, rows, partials);
  if (partials.spans > 1) {
    join_kernel<kLists>
        <<<dim3(1, count, heads), kThreads, 0, stream_of(exec)>>>(p, rows, partials);
  }
}

}  // namespace

void launch_row_scores(const CudaExec& exec, const AdaptiveAttentionParams& p,
                       const Selection& rows, int64_t longest) {
  const dim3 grid(static_cast<unsigned>((longest + kSpanKeys - 1) / kSpanKeys),
                  static_cast<unsigned>(rows.count), static_cast<unsigned>(p.kv.num_kv_heads));
  with_format(p.kv.format, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    row_scores_kernel<T><<<grid, kThreads, 0, stream_of(exec)>>>(p, rows);
  });
  SLUICE_CHECK_LAUNCH("adaptive_attention: scores of ", rows.count, " tokens");
}

void launch_rows(const CudaExec& exec, const AdaptiveAttentionParams& p, const Draws& draws,
                 const Selection* rows, const Partials& partials) {
  with_format(p.kv.format, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    if (rows == nullptr) {
      launch<T, false>(exec, p, draws, {}, partials);
    } else {
      launch<T, true>(exec, p, draws, *rows, partials);
    }
  });
  SLUICE_CHECK_LAUNCH("adaptive_attention of ", p.num_tokens, " tokens");
}

}  // namespace sluice::cuda
