// The choice of a row's keys by its scores: one block a row and head. The k-th largest is found by
// eight bits of the ordered score at a time; of equal ones the lower index is kept, and a NaN
// counts as larger than all numbers. Kept scores and keys move to the front, in order.
#include "ops/adaptive_attention/adaptive_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kEach = 4;

struct SelectShared {
  uint32_t bins[256];
  uint32_t warps[kThreads / 32];
  uint32_t digit, above;
};

/// Integers in the order of the floats; the zeros are equal.
__device__ inline uint32_t order_of(float x) {
  if (isnan(x)) return 0xffffffffu;
  const uint32_t bits = __float_as_uint(x == 0.0f ? 0.0f : x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// What is kept: all above `order`, and the first `equals` equal to it.
struct Bound {
  uint32_t order;
  uint32_t equals;
};

/// The bound that keeps `count` of n > count values.
__device__ Bound find_bound(const float* values, int64_t n, int64_t count, SelectShared& s) {
  uint32_t order = 0, fixed = 0;
  auto left = static_cast<uint32_t>(count);
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < 256; i += kThreads) s.bins[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const uint32_t value = order_of(values[i]);
      if ((value & fixed) == order) atomicAdd(&s.bins[value >> shift & 255u], 1);
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      // Lane l has digits 255 - 8 l down to 248 - 8 l.
      const int lane = threadIdx.x;
      uint32_t mine = 0;
      for (int i = 0; i < 8; ++i) mine += s.bins[255 - 8 * lane - i];
      uint32_t before = mine;
      for (int step = 1; step < 32; step *= 2) {
        const uint32_t other = __shfl_up_sync(kAllLanes, before, step);
        if (lane >= step) before += other;
      }
      before -= mine;
      if (before < left && before + mine >= left) {
        int digit = 255 - 8 * lane;
        while (before + s.bins[digit] < left) before += s.bins[digit--];
        s.digit = static_cast<uint32_t>(digit);
        s.above = before;
      }
    }
    __syncthreads();
    order |= s.digit << shift;
    fixed |= 255u << shift;
    left -= s.above;
    __syncthreads();
  }
  return {order, left};
}

/// Calls f(index, value, rank) for the kept ones of n values, rank counting them in order; returns
/// how many there are. f may write behind its rank. All threads of the block take part.
template <typename Keeps, typename F>
__device__ int64_t each_kept(const float* values, int64_t n, const Bound& bound, SelectShared& s,
                             const Keeps& keeps, const F& f) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t kept = 0, equals = 0;  // before this round
  for (int64_t base = 0; base < n; base += kThreads * kEach) {
    float value[kEach];
    bool above[kEach], equal[kEach];
    uint32_t mine = 0;  // above in the low half, equal in the high one
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int64_t at = base + int64_t{threadIdx.x} * kEach + i;
      value[i] = at < n ? values[at] : 0.0f;
      above[i] = at < n && keeps(at, value[i]) > 0;
      equal[i] = at < n && keeps(at, value[i]) == 0;
      mine += (above[i] ? 1u : 0u) + (equal[i] ? 0x10000u : 0u);
    }
    uint32_t before = mine;
    for (int step = 1; step < 32; step *= 2) {
      const uint32_t other = __shfl_up_sync(kAllLanes, before, step);
      if (lane >= step) before += other;
    }
    if (lane == 31) s.warps[warp] = before;
    before -= mine;
    __syncthreads();
    uint32_t total = 0;
    for (int w = 0; w < kThreads / 32; ++w) {
      if (w < warp) before += s.warps[w];
      total += s.warps[w];
    }
    uint32_t above_here = kept + (before & 0xffffu), equal_here = equals + (before >> 16);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int64_t at = base + int64_t{threadIdx.x} * kEach + i;
      const uint32_t rank = above_here + min(equal_here, bound.equals);
      if (above[i] || (equal[i] && equal_here < bound.equals)) f(at, value[i], int64_t{rank});
      above_here += above[i];
      equal_here += equal[i];
    }
    kept += total & 0xffffu;
    equals += total >> 16;
    __syncthreads();
  }
  return int64_t{kept} + min(equals, bound.equals);
}

/// 1: above the bound, 0: equal, -1: below.
__device__ inline int compare(float value, const Bound& bound) {
  const uint32_t order = order_of(value);
  return order > bound.order ? 1 : order == bound.order ? 0 : -1;
}

/// Leaves 1 at the earlier blocks that the row keeps, else 0.
__device__ void mark_blocks(const AdaptivePattern& pattern, const float* scores, int64_t n,
                            int64_t own, int64_t earlier, float* blocks, SelectShared& s) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t size = pattern.sparse_block_size;
  for (int64_t b = warp; b < own; b += kThreads / 32) {
    float most = kMinusInfinity;
    bool bad = false;
    for (int64_t j = b * size + lane; j < min((b + 1) * size, n); j += 32) {
      bad = bad || isnan(scores[j]);
      most = fmaxf(most, scores[j]);
    }
    most = warp_max(most);
    bad = __any_sync(kAllLanes, bad);
    if (lane == 0) blocks[b] = bad ? __builtin_nanf("") : most;
  }
  __syncthreads();
  Bound bound{0, 0};
  const bool all = earlier >= own;
  if (!all && earlier > 0) bound = find_bound(blocks, own, earlier, s);
  const auto keeps = [&](int64_t, float value) {
    return all ? 1 : earlier == 0 ? -1 : compare(value, bound);
  };
  // Which blocks are kept is told by their importance alone, so marks go behind all reading.
  float* marks = blocks + own;
  for (int64_t b = threadIdx.x; b < own; b += kThreads) marks[b] = 0.0f;
  __syncthreads();
  each_kept(blocks, own, bound, s, keeps, [&](int64_t b, float, int64_t) { marks[b] = 1.0f; });
}

__global__ void __launch_bounds__(kThreads)
    select_kernel(AdaptiveAttentionParams p, Selection rows) {
  __shared__ SelectShared s;
  const int64_t token = rows.first + blockIdx.x;
  const auto head = static_cast<int32_t>(blockIdx.y);
  const int32_t sequence = sequence_of(p, token);
  if (!in_sequence(p, sequence, token)) return;
  const RowAt at = row_at(p, sequence, token);
  const int64_t entry = int64_t{blockIdx.x} * p.kv.num_kv_heads + head, n = at.key_end;
  uint8_t* keep = keep_row(p, true, token, head);
  if (n <= 0 || (keep == nullptr && gate_of(p, token, head) == 0.0f)) {
    if (threadIdx.x == 0) rows.num_keys[entry] = 0;
    return;
  }
  float* scores = rows.scores + entry * rows.stride;
  int32_t* keys = rows.keys + entry * rows.list_stride;
  const auto take = [&](int64_t j, float score, int64_t rank) {
    // In step with the reading: rank <= j, and this round's scores are in registers.
    scores[rank] = score;
    keys[rank] = static_cast<int32_t>(j);
    if (keep != nullptr) keep[j] = 1;
  };
  const AdaptivePattern& pattern = p.pattern;
  int64_t count = 0;
  if (pattern.kind == AdaptiveKind::kTopK) {
    const bool all = n <= pattern.top_k;
    const Bound bound = all ? Bound{0, 0} : find_bound(scores, n, pattern.top_k, s);
    count = each_kept(scores, n, bound, s,
                      [&](int64_t, float value) { return all ? 1 : compare(value, bound); }, take);
  } else {
    const int64_t size = pattern.sparse_block_size, own = at.position / size;
    const int64_t earlier = kept_of(pattern, own) - 1;
    float* blocks = rows.blocks + entry * 2 * rows.block_stride;
    mark_blocks(pattern, scores, n, own, earlier, blocks, s);
    const float* marks = blocks + own;
    const auto keeps = [&](int64_t j, float) {
      const int64_t b = j / size;
      return b >= own || marks[b] != 0.0f ? 1 : -1;
    };
    count = each_kept(scores, n, {0, 0}, s, keeps, take);
  }
  if (threadIdx.x == 0) rows.num_keys[entry] = static_cast<int32_t>(count);
}

}  // namespace

void launch_select(const CudaExec& exec, const AdaptiveAttentionParams& p, const Selection& rows) {
  const dim3 grid(static_cast<unsigned>(rows.count), static_cast<unsigned>(p.kv.num_kv_heads));
  select_kernel<<<grid, kThreads, 0, stream_of(exec)>>>(p, rows);
  SLUICE_CHECK_LAUNCH("adaptive_attention: choice of ", rows.count, " tokens");
}

}  // namespace sluice::cuda
