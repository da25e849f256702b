// A stable counting sort. Each warp owns a run of choices and counts its experts; the counts, summed
// over experts and over the warps before, give each warp its first row of each expert; then every
// choice's row is that plus its rank in the run. Integer sums alone: nothing depends on an order of
// execution.
//
// Few choices (a decode step): all of it in one block, ranks in registers. Many: blocks own runs of
// 2048 choices, and three launches share the work: counts and ranks in the block; rows; the two
// arrays by row. Until the last of them row_tokens holds the blocks' counts, so that no workspace is
// needed. Very many experts: one block, whatever the choices.
#include "ops/cuda/launch.h"
#include "ops/permute/permute_cuda.h"
#include "ops/permute/permute_device.h"

namespace sluice::cuda {
namespace {

constexpr int kTurns = 4;                         // groups of 32 choices of a warp, of many
constexpr int kRunWarps = 16;                     // of a block, of many choices
constexpr int kRun = 32 * kTurns * kRunWarps;     // choices of such a block
constexpr int64_t kOneBlock = 32 * 32 * kTurns;   // most choices that one block sorts alone
constexpr int kMaxRunExperts = kRun / 2;          // whose counts find room in row_tokens
constexpr int kCounters = 16 * 1024;              // most in shared memory, 64 KiB
constexpr int kPlaceThreads = 256;

__device__ void clear_run(const PermuteParams& p, int* counts) {
  for (int e = threadIdx.x % 32; e < p.num_experts; e += 32) counts[e] = 0;
  __syncwarp();
}

// Counts the turns * 32 choices of a warp from `begin` on; experts and ranks stay in registers.
template <int turns>
__device__ void count_run(const PermuteParams& p, int64_t begin, int64_t end, int* counts,
                          int (&expert)[turns], int (&rank)[turns]) {
#pragma unroll
  for (int i = 0; i < turns; ++i) {
    expert[i] = expert_of(p, begin + i * 32 + threadIdx.x % 32, end);
  }
  clear_run(p, counts);
#pragma unroll
  for (int i = 0; i < turns; ++i) rank[i] = count_choices(p, expert[i], counts);
}

// Turns the counts of each expert's runs into the sums of those before, and writes the expert's first
// row to first[] and expert_offsets. counts: [runs, num_experts]. All threads of the block.
__device__ void place_runs(const PermuteParams& p, int runs, int* counts, int* first,
                           int* scratch) {
  int base = 0;
  for (int begin = 0; begin < p.num_experts; begin += blockDim.x) {
    const int expert = begin + static_cast<int>(threadIdx.x);
    int sum = 0;
    if (expert < p.num_experts) {
#pragma unroll 8
      for (int i = 0; i < runs; ++i) {
        const int count = counts[i * p.num_experts + expert];
        counts[i * p.num_experts + expert] = sum;
        sum += count;
      }
    }
    int total;
    const int row = base + block_scan(sum, p.num_experts - begin, scratch, &total);
    if (expert < p.num_experts) first[expert] = p.expert_offsets[expert] = row;
    base += total;
  }
  if (threadIdx.x == 0) p.expert_offsets[p.num_experts] = base;
}

template <int turns>
__global__ void one_block_kernel(PermuteParams p) {
  extern __shared__ int first[];  // [num_experts], then counts [warps, num_experts]
  __shared__ int scratch[32];
  int* const all = first + p.num_experts;
  int* const counts = all + threadIdx.x / 32 * p.num_experts;
  const int64_t end = p.num_tokens * p.num_experts_per_token;
  const int64_t begin = threadIdx.x / 32 * 32 * turns;
  int expert[turns], rank[turns];
  count_run<turns>(p, begin, end, counts, expert, rank);
  __syncthreads();
  place_runs(p, blockDim.x / 32, all, first, scratch);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < turns; ++i) {
    const int64_t choice = begin + i * 32 + threadIdx.x % 32;
    if (choice >= end) continue;
    write_row(p, choice, expert[i] < 0 ? -1 : first[expert[i]] + counts[expert[i]] + rank[i]);
  }
}

// For any number of choices and experts: the runs are walked twice.
__global__ void any_size_kernel(PermuteParams p) {
  extern __shared__ int counts[];  // [warps, num_experts]
  sort_in_block(p, counts);
}

// choice_rows: the rank among the block's choices of the expert. row_tokens: the block's counts.
__global__ void __launch_bounds__(32 * kRunWarps) count_kernel(PermuteParams p) {
  extern __shared__ int all[];  // [warps, num_experts]
  int* const counts = all + threadIdx.x / 32 * p.num_experts;
  const int64_t end = p.num_tokens * p.num_experts_per_token;
  const int64_t begin = int64_t{blockIdx.x} * kRun + threadIdx.x / 32 * 32 * kTurns;
  int expert[kTurns], rank[kTurns];
  count_run<kTurns>(p, begin, end, counts, expert, rank);
  __syncthreads();
  for (int e = threadIdx.x; e < p.num_experts; e += blockDim.x) {
    int sum = 0;
#pragma unroll
    for (int w = 0; w < kRunWarps; ++w) {
      const int count = all[w * p.num_experts + e];
      all[w * p.num_experts + e] = sum;
      sum += count;
    }
    p.row_tokens[int64_t{blockIdx.x} * p.num_experts + e] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    const int64_t choice = begin + i * 32 + threadIdx.x % 32;
    if (choice >= end) continue;
    p.choice_rows[choice] = expert[i] < 0 ? -1 : counts[expert[i]] + rank[i];
  }
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
#pragma unroll 8
      for (int b = 0; b < static_cast<int>(gridDim.x); ++b) {
        if (b == static_cast<int>(blockIdx.x)) before = sum;
        sum += p.row_tokens[int64_t{b} * p.num_experts + expert];
      }
    }
    int total;
    const int start = base + block_scan(sum, p.num_experts - chunk, scratch, &total);
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
  const auto bytes = [&](int64_t runs) { return static_cast<size_t>(runs * p.num_experts * 4); };
  const int64_t groups = (choices + 31) / 32;
  const auto launch_block = [&](auto kernel, int64_t warps) {
    allow_shared(kernel, static_cast<int64_t>(bytes(warps + 1)), "permute");
    kernel<<<1, static_cast<unsigned>(32 * warps), bytes(warps + 1), stream_of(exec)>>>(p);
  };
  const int64_t most_warps =
      std::clamp<int64_t>(kCounters / p.num_experts - 1, 1, 32);  // and first[]
  if (groups <= most_warps) {
    launch_block(one_block_kernel<1>, std::max<int64_t>(groups, 1));
  } else if (choices <= kOneBlock && groups <= most_warps * kTurns) {
    launch_block(one_block_kernel<kTurns>, (groups + kTurns - 1) / kTurns);
  } else if (p.num_experts <= kMaxRunExperts) {
    const unsigned blocks = grid_for(choices, kRun);
    allow_shared(count_kernel, static_cast<int64_t>(bytes(kRunWarps)), "permute");
    count_kernel<<<blocks, 32 * kRunWarps, bytes(kRunWarps), stream_of(exec)>>>(p);
    place_kernel<<<blocks, kPlaceThreads, bytes(1), stream_of(exec)>>>(p);
    scatter_kernel<<<grid_for(choices, kPlaceThreads), kPlaceThreads, 0, stream_of(exec)>>>(p);
  } else {
    launch_block(any_size_kernel, std::min(groups, most_warps));
  }
  SLUICE_CHECK_LAUNCH("permute of ", p.num_tokens, " tokens, ", p.num_experts_per_token, " of ",
                      p.num_experts, " experts");
}

}  // namespace sluice::cuda
