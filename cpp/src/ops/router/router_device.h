/// @file
/// Routing of one token by one warp, for the kernels that end in it. For .cu sources only.
#ifndef SLUICE_OPS_ROUTER_ROUTER_DEVICE_H_
#define SLUICE_OPS_ROUTER_ROUTER_DEVICE_H_

#include "ops/cuda/launch.h"
#include "ops/router/router.h"

namespace sluice::cuda {

/// Numbers that order like the floats they stand for: NaN below every number, and 0, which is left
/// for what cannot be chosen, below NaN.
__device__ inline uint32_t order_key(float value) {
  if (value != value) return 1;
  const uint32_t bits = __float_as_uint(value + 0.0f);  // -0 equals 0
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ inline float value_of_key(uint32_t key) {
  if (key <= 1) return __int_as_float(0x7fffffff);
  return __uint_as_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

/// The largest key of each lane's own, over the warp: element lane + 32 j has keys[j]. Of equal ones
/// the lowest element. Removed by setting its key to 0.
template <int n>
class WarpPicker {
 public:
  __device__ explicit WarpPicker(uint32_t (&keys)[n]) : keys_(keys) { refresh(); }

  /// The element with the largest key, which then is out.
  __device__ int pick() {
    const int lane = threadIdx.x % 32;
    const uint32_t top = __reduce_max_sync(kAllLanes, best_);
    const uint32_t mine = best_ == top ? static_cast<uint32_t>(lane + 32 * at_) : 0xffffffffu;
    const int element = static_cast<int>(__reduce_min_sync(kAllLanes, mine));
#pragma unroll
    for (int j = 0; j < n; ++j) keys_[j] = element == lane + 32 * j ? 0 : keys_[j];
    refresh();
    return element;
  }

 private:
  __device__ void refresh() {
    best_ = keys_[0];
    at_ = 0;
#pragma unroll
    for (int j = 1; j < n; ++j) {
      at_ = keys_[j] > best_ ? j : at_;
      best_ = max(best_, keys_[j]);
    }
  }

  uint32_t (&keys_)[n];
  uint32_t best_ = 0;
  int at_ = 0;
};

template <int n>
__device__ inline void warp_softmax(float (&x)[n], int count) {
  const int lane = threadIdx.x % 32;
  float largest = -INFINITY;
#pragma unroll
  for (int j = 0; j < n; ++j) {
    if (lane + 32 * j < count) largest = fmaxf(largest, x[j]);
  }
  largest = warp_max(largest);  // not NaN if any is a number; a NaN still makes the sum NaN
  float sum = 0;
#pragma unroll
  for (int j = 0; j < n; ++j) {
    if (lane + 32 * j < count) {
      x[j] = expf(x[j] - largest);
      sum += x[j];
    }
  }
  sum = warp_sum(sum);
#pragma unroll
  for (int j = 0; j < n; ++j) x[j] /= sum;
}

/// Floats of shared memory that each warp needs.
__host__ __device__ inline int router_shared_floats(const RouterParams& p) {
  // Choices, a place apart every 32 so that groups of 32 do not share a bank, and chosen groups.
  return p.num_groups_per_token == p.num_groups ? 0
                                                : p.num_experts + p.num_experts / 32 + 1 + p.num_groups;
}

/// Sets to 0 the keys of experts whose group is not among the token's best groups, for groups of 32
/// experts: group j is keys[j] of all lanes, and what a group has best takes no more than a few votes.
template <int n>
__device__ void keep_best_groups_of_32(const RouterParams& p, uint32_t (&keys)[n]) {
  const int lane = threadIdx.x % 32;
  uint32_t groups[n];
#pragma unroll
  for (int j = 0; j < n; ++j) {
    groups[j] = 0;
    if (j >= p.num_groups) continue;
    groups[j] = __reduce_max_sync(kAllLanes, keys[j]);
    if (p.group_score == GroupScore::kMax) continue;
    const int best = __ffs(static_cast<int>(__ballot_sync(kAllLanes, keys[j] == groups[j]))) - 1;
    const uint32_t second = __reduce_max_sync(kAllLanes, lane == best ? 0u : keys[j]);
    groups[j] = order_key(value_of_key(groups[j]) + value_of_key(second));
  }
#pragma unroll
  for (int j = 0; j < n; ++j) {
    int before = 0;  // groups that are chosen earlier
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (i == j || i >= p.num_groups) continue;
      before += groups[i] > groups[j] || (groups[i] == groups[j] && i < j) ? 1 : 0;
    }
    if (before >= p.num_groups_per_token) keys[j] = 0;
  }
}

/// The same for groups of any size.
template <int n>
__device__ void keep_best_groups(const RouterParams& p, uint32_t (&keys)[n], float* shared) {
  const int lane = threadIdx.x % 32, size = p.num_experts / p.num_groups;
  auto* of_expert = reinterpret_cast<uint32_t*>(shared);
  auto* chosen = of_expert + p.num_experts + p.num_experts / 32 + 1;
#pragma unroll
  for (int j = 0; j < n; ++j) {
    if (lane + 32 * j < p.num_experts) of_expert[lane + 33 * j] = keys[j];
  }
  for (int g = lane; g < p.num_groups; g += 32) chosen[g] = 0;
  __syncwarp();
  uint32_t groups[n];
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int g = lane + 32 * j;
    groups[j] = 0;
    if (g >= p.num_groups) continue;
    uint32_t first = 0, second = 0;
    for (int e = g * size; e < (g + 1) * size; ++e) {
      const uint32_t key = of_expert[e + e / 32];
      second = max(second, min(first, key));
      first = max(first, key);
    }
    groups[j] = p.group_score == GroupScore::kMax
                    ? first
                    : order_key(value_of_key(first) + value_of_key(second));
  }
  WarpPicker<n> picker(groups);
  for (int i = 0; i < p.num_groups_per_token; ++i) {
    const int g = picker.pick();
    if (lane == 0) chosen[g] = 1;
  }
  __syncwarp();
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    if (e < p.num_experts && chosen[e / size] == 0) keys[j] = 0;
  }
}

/// Routes one token. x[j]: the logit of expert lane + 32 j; 32 n is at least num_experts. `shared`:
/// router_shared_floats() of this warp's own.
template <int n>
__device__ void route_token(const RouterParams& p, int64_t token, float (&x)[n], float* shared) {
  const int lane = threadIdx.x % 32, experts = p.num_experts, k = p.num_experts_per_token;
  if (p.score == RouterScore::kSigmoid) {
#pragma unroll
    for (int j = 0; j < n; ++j) x[j] = 1.0f / (1.0f + expf(-x[j]));
  } else if (p.score != RouterScore::kTopKSoftmax) {
    warp_softmax(x, experts);
    if (p.score == RouterScore::kNoisyNetwork) {
#pragma unroll
      for (int j = 0; j < n; ++j) {
        if (lane + 32 * j < experts) x[j] += p.noise[lane + 32 * j];
      }
      warp_softmax(x, experts);
    }
  }
  float* scores = p.logits + token * experts;
  uint32_t keys[n];
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    keys[j] = 0;
    if (e < experts) {
      scores[e] = x[j];
      keys[j] = order_key(p.correction_bias == nullptr ? x[j] : x[j] + p.correction_bias[e]);
    }
  }
  if (p.num_groups_per_token < p.num_groups) {
    if (n <= 16 && p.num_experts == 32 * p.num_groups) {
      if constexpr (n <= 16) keep_best_groups_of_32(p, keys);
    } else {
      keep_best_groups(p, keys, shared);
    }
  }

  // Choice i stays with lane i % 32.
  int chosen[2] = {0, 0};
  WarpPicker<n> picker(keys);
  for (int i = 0; i < k; ++i) {
    const int e = picker.pick();
    if (i % 32 == lane) chosen[i / 32] = e;
  }
  __syncwarp();  // the scores are written
  float weight[2];
  uint32_t key[2];
#pragma unroll
  for (int s = 0; s < 2; ++s) {
    const bool mine = lane + 32 * s < k;
    weight[s] = mine ? scores[chosen[s]] : 0.0f;
    key[s] = mine ? order_key(weight[s]) : 0;
  }
  // By falling weight: the correction bias can have chosen in another order.
  int place[2] = {lane, lane + 32};
  if (p.correction_bias != nullptr) {
    place[0] = place[1] = 0;
    for (int i = 0; i < k; ++i) {
      const uint32_t other = __shfl_sync(kAllLanes, key[i / 32], i % 32);
      const int expert = __shfl_sync(kAllLanes, chosen[i / 32], i % 32);
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        place[s] += other > key[s] || (other == key[s] && expert < chosen[s]) ? 1 : 0;
      }
    }
  }
  if (p.score == RouterScore::kTopKSoftmax) warp_softmax(weight, k);
  if (p.normalize) {
    float sum = 0;
#pragma unroll
    for (int s = 0; s < 2; ++s) sum += lane + 32 * s < k ? weight[s] : 0.0f;
    sum = warp_sum(sum) + p.normalize_epsilon;
    weight[0] /= sum, weight[1] /= sum;
  }
#pragma unroll
  for (int s = 0; s < 2; ++s) {
    if (lane + 32 * s >= k) continue;
    p.experts[token * k + place[s]] = chosen[s];
    p.weights[token * k + place[s]] = weight[s] * p.scaling_factor;
  }
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ROUTER_ROUTER_DEVICE_H_
