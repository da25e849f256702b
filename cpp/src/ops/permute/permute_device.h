/// @file
/// The stable counting sort of permute.h by one block, for the kernels that end in it. For .cu sources
/// only.
#ifndef SLUICE_OPS_PERMUTE_PERMUTE_DEVICE_H_
#define SLUICE_OPS_PERMUTE_PERMUTE_DEVICE_H_

#include "ops/cuda/launch.h"
#include "ops/permute/permute.h"

namespace sluice::cuda {

// The expert of a choice, -1 for one that is dropped (or that names no expert: such a choice would
// leave the arrays).
__device__ inline int expert_of(const PermuteParams& p, int64_t choice, int64_t end) {
  if (choice >= end || (p.kept != nullptr && p.kept[choice] == 0)) return -1;
  if (p.token_slots != nullptr &&
      p.token_slots[choice / p.num_experts_per_token * p.token_slot_stride] < 0) {
    return -1;
  }
  const int expert = p.experts[choice];
  return expert >= 0 && expert < p.num_experts ? expert : -1;
}

// The lanes whose expert is the same; only for lanes with an expert. The bits are compared by votes,
// which are much cheaper than __match_any_sync.
__device__ inline unsigned lanes_of(int expert, int num_experts) {
  unsigned same = __ballot_sync(kAllLanes, expert >= 0);
  for (int bit = 1; bit < num_experts; bit *= 2) {
    const bool set = (expert & bit) != 0;
    const unsigned lanes = __ballot_sync(kAllLanes, set);
    same &= set ? lanes : ~lanes;
  }
  return same;
}

// Counts 32 choices of a warp, in order: how many earlier choices of the run had this lane's expert.
// counts: the run's, [num_experts].
__device__ inline int count_choices(const PermuteParams& p, int expert, int* counts) {
  const int lane = threadIdx.x % 32;
  const unsigned same = lanes_of(expert, p.num_experts);
  const int before = __popc(same & ((1u << lane) - 1));
  const int first = expert >= 0 ? counts[expert] : 0;
  __syncwarp();
  if (expert >= 0 && before == 0) counts[expert] = first + __popc(same);
  __syncwarp();
  return first + before;
}

// Walks the run [begin, end) of a warp in order and calls f(choice, expert, rank): the number of
// earlier choices of that expert in the run, on top of counts[expert]; the counts grow. f is called
// for dropped choices too, with expert -1.
template <typename F>
__device__ void walk_run(const PermuteParams& p, int64_t begin, int64_t end, int* counts,
                         const F& f) {
  const int lane = threadIdx.x % 32;
  for (int64_t at = begin; at < end; at += 32) {
    const int64_t choice = at + lane;
    const int expert = expert_of(p, choice, end);
    const int rank = count_choices(p, expert, counts);
    if (choice < end) f(choice, expert, rank);
  }
}

// Exclusive sum over the threads of the block. `scratch`: an int a warp.
// `used`: threads whose value may be other than 0.
__device__ inline int block_scan(int value, int used, int* scratch, int* total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warps = min(static_cast<int>(blockDim.x), (used + 31) / 32 * 32) / 32;
  int sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += other;
  }
  __syncthreads();
  if (lane == 31) scratch[warp] = sum;
  __syncthreads();
  int before = 0, all = 0;
#pragma unroll 8
  for (int w = 0; w < warps; ++w) {
    if (w == warp) before = all;
    all += scratch[w];
  }
  *total = all;
  return before + sum - value;
}

// Sums counts[i * stride + expert] over i < parts for every expert, and turns count i into the sum
// of those before it plus all of lower experts. Returns through offsets, if not null, each expert's
// first row. All threads of the block.
__device__ inline void place_experts(int* counts, int parts, int num_experts, int32_t* offsets,
                                     int* scratch) {
  int base = 0;
  for (int begin = 0; begin < num_experts; begin += blockDim.x) {
    const int expert = begin + static_cast<int>(threadIdx.x);
    int sum = 0;
    if (expert < num_experts) {
      for (int i = 0; i < parts; ++i) {
        const int count = counts[i * num_experts + expert];
        counts[i * num_experts + expert] = sum;
        sum += count;
      }
    }
    int total;
    const int first = base + block_scan(sum, num_experts - begin, scratch, &total);
    if (expert < num_experts) {
      for (int i = 0; i < parts; ++i) counts[i * num_experts + expert] += first;
      if (offsets != nullptr) offsets[expert] = first;
    }
    base += total;
  }
  if (offsets != nullptr && threadIdx.x == 0) offsets[num_experts] = base;
}

struct Run {
  int64_t begin, end;
};
// This warp's part of the choices [begin, end), whole groups of 32.
__device__ inline Run run_of_warp(int64_t begin, int64_t end) {
  const int64_t groups = (end - begin + 31) / 32;
  const int64_t warp = threadIdx.x / 32, warps = blockDim.x / 32;
  return {begin + groups * warp / warps * 32,
          min(end, begin + groups * (warp + 1) / warps * 32)};
}

__device__ inline void write_row(const PermuteParams& p, int64_t choice, int row) {
  p.choice_rows[choice] = row;
  if (row < 0) return;
  p.row_tokens[row] = static_cast<int32_t>(choice / p.num_experts_per_token);
  p.row_choices[row] = static_cast<int32_t>(choice);
}

__device__ inline void count_runs(const PermuteParams& p, const Run& run, int* counts) {
  for (int i = threadIdx.x; i < p.num_experts * static_cast<int>(blockDim.x / 32);
       i += blockDim.x) {
    counts[i] = 0;
  }
  __syncthreads();
  walk_run(p, run.begin, run.end, counts + threadIdx.x / 32 * p.num_experts,
           [](int64_t, int, int) {});
  __syncthreads();
}

/// All of permute() by one block of whole warps. `counts`: [warps, num_experts] in shared memory.
__device__ inline void sort_in_block(const PermuteParams& p, int* counts) {
  __shared__ int scratch[32];
  const int warps = blockDim.x / 32;
  const Run run = run_of_warp(0, p.num_tokens * p.num_experts_per_token);
  count_runs(p, run, counts);
  place_experts(counts, warps, p.num_experts, p.expert_offsets, scratch);
  __syncthreads();
  walk_run(p, run.begin, run.end, counts + threadIdx.x / 32 * p.num_experts,
           [&](int64_t choice, int expert, int row) {
             write_row(p, choice, expert < 0 ? -1 : row);
           });
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_PERMUTE_PERMUTE_DEVICE_H_
