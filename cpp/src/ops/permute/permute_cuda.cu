// A stable counting sort. Each warp owns a run of choices and counts its experts; the counts, summed
// over experts and over the warps before, give each warp its first row of each expert; then every
// choice's row is that plus its rank in the run. Integer sums alone: nothing depends on an order of
// execution.
//
// Few choices (a decode step): all of it in one block. Many: blocks own runs of 2048 choices, and
// three launches share the work: counts and ranks in the block; rows; the two arrays by row. Until
// the last of them row_tokens holds the blocks' counts, so that no workspace is needed.
#include "ops/cuda/launch.h"
#include "ops/permute/permute_cuda.h"
#include "ops/permute/permute_device.h"

namespace sluice::cuda {
namespace {

constexpr int kRun = 2048;              // choices of a block, of many
constexpr int64_t kOneBlock = 8192;     // most choices that one block sorts
constexpr int kCounters = 16 * 1024;    // in shared memory: 64 KiB, as every GPU has
constexpr int kRunThreads = 256;
constexpr int kMaxThreads = 1024;

// Warps of a block whose counters fit.
int warps_for(int64_t choices, int32_t num_experts, int most) {
  int64_t warps = std::min<int64_t>((choices + 31) / 32, most);
  warps = std::min<int64_t>(warps, kCounters / num_experts);
  return static_cast<int>(std::max<int64_t>(warps, 1));
}

__global__ void one_block_kernel(PermuteParams p) {
  extern __shared__ int counts[];  // [warps, num_experts]
  sort_in_block(p, counts);
}

// choice_rows: the rank among the block's choices of the expert. row_tokens: the block's counts.
__global__ void count_kernel(PermuteParams p) {
  extern __shared__ int counts[];  // [warps, num_experts]
  const int warps = blockDim.x / 32;
  const int64_t begin = int64_t{blockIdx.x} * kRun;
  const int64_t end = min(begin + kRun, p.num_tokens * p.num_experts_per_token);
  const Run run = run_of_warp(begin, end);
  count_runs(p, run, counts);
  for (int e = threadIdx.x; e < p.num_experts; e += blockDim.x) {
    int sum = 0;
    for (int w = 0; w < warps; ++w) {
      const int count = counts[w * p.num_experts + e];
      counts[w * p.num_experts + e] = sum;
      sum += count;
    }
    p.row_tokens[int64_t{blockIdx.x} * p.num_experts + e] = sum;
  }
  __syncthreads();
  walk_run(p, run.begin, run.end, counts + threadIdx.x / 32 * p.num_experts,
           [&](int64_t choice, int expert, int rank) {
             p.choice_rows[choice] = expert < 0 ? -1 : rank;
           });
}

// choice_rows: the row. Every block adds the counts of all blocks up for itself.
__global__ void place_kernel(PermuteParams p) {
  extern __shared__ int first[];  // [num_experts] this block's first row
  __shared__ int scratch[32];
  int base = 0;
  for (int chunk = 0; chunk < p.num_experts; chunk += blockDim.x) {
    const int expert = chunk + static_cast<int>(threadIdx.x);
    int before = 0, sum = 0;
    if (expert < p.num_experts) {
      for (int b = 0; b < static_cast<int>(gridDim.x); ++b) {
        if (b == static_cast<int>(blockIdx.x)) before = sum;
        sum += p.row_tokens[int64_t{b} * p.num_experts + expert];
      }
    }
    int total;
    const int start = base + block_scan(sum, scratch, &total);
    if (expert < p.num_experts) {
      first[expert] = start + before;
      if (blockIdx.x == 0) p.expert_offsets[expert] = start;
    }
    base += total;
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) p.expert_offsets[p.num_experts] = base;
  __syncthreads();
  const int64_t begin = int64_t{blockIdx.x} * kRun;
  const int64_t end = min(begin + kRun, p.num_tokens * p.num_experts_per_token);
  for (int64_t choice = begin + threadIdx.x; choice < end; choice += blockDim.x) {
    const int rank = p.choice_rows[choice];
    if (rank >= 0) p.choice_rows[choice] = first[p.experts[choice]] + rank;
  }
}

__global__ void scatter_kernel(PermuteParams p) {
  const int64_t choice = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (choice >= p.num_tokens * p.num_experts_per_token) return;
  const int row = p.choice_rows[choice];
  if (row < 0) return;
  p.row_tokens[row] = static_cast<int32_t>(choice / p.num_experts_per_token);
  p.row_choices[row] = static_cast<int32_t>(choice);
}

}  // namespace

void permute(const CudaExec& exec, const PermuteParams& p) {
  SLUICE_CHECK(p.num_experts <= kMaxPermuteExperts, SLUICE_STATUS_UNSUPPORTED,
               "num_experts: ", p.num_experts, " (expected: at most ", kMaxPermuteExperts,
               " on CUDA)");
  const int64_t choices = p.num_tokens * p.num_experts_per_token;
  const auto shared = [&](int warps) {
    return static_cast<size_t>(warps) * static_cast<size_t>(p.num_experts) * 4;
  };
  // A row of counts for each block must fit into row_tokens.
  if (choices <= kOneBlock || p.num_experts > kRun / 2) {
    const int warps = warps_for(choices, p.num_experts, kMaxThreads / 32);
    allow_shared(one_block_kernel, static_cast<int64_t>(shared(warps)), "permute");
    one_block_kernel<<<1, 32 * warps, shared(warps), stream_of(exec)>>>(p);
  } else {
    const unsigned blocks = grid_for(choices, kRun);
    const int warps = warps_for(kRun, p.num_experts, kRunThreads / 32);
    count_kernel<<<blocks, 32 * warps, shared(warps), stream_of(exec)>>>(p);
    place_kernel<<<blocks, kRunThreads, shared(1), stream_of(exec)>>>(p);
    scatter_kernel<<<grid_for(choices, kRunThreads), kRunThreads, 0, stream_of(exec)>>>(p);
  }
  SLUICE_CHECK_LAUNCH("permute of ", p.num_tokens, " tokens, ", p.num_experts_per_token, " of ",
                      p.num_experts, " experts");
}

}  // namespace sluice::cuda
