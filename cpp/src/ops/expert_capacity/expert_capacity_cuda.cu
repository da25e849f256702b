// Two launches: all choices into the channel, then the counts. In the second a block owns a window
// of a sequence: it counts the channel of the positions before the step's tokens, then gives each
// warp a run of tokens, counts the runs' experts, and from the sums over the warps before every
// token knows how many earlier ones chose its experts. Integer sums alone, so nothing depends on an
// order of execution.
#include "ops/cuda/launch.h"
#include "ops/expert_capacity/expert_capacity_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kCounters = 8 * 1024;  // of all warps, 32 KiB
constexpr int kMostWindows = 64;     // blocks of a sequence; they stride over the rest

__global__ void channel_kernel(ExpertCapacityParams p) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t token = i / p.num_experts_per_token;
  if (token >= p.num_tokens) return;
  const int64_t slot = p.kv_slots[token * p.kv_slot_stride];
  if (slot < 0 || slot >= p.num_blocks * p.block_size) return;
  p.channel[slot * p.num_experts_per_token + i % p.num_experts_per_token] =
      static_cast<uint16_t>(p.experts[i]);
}

__device__ void count_one(const ExpertCapacityParams& p, int* counts, int expert) {
  // What no step has written names no expert of ours.
  if (expert >= 0 && expert < p.num_experts) atomicAdd(&counts[expert], 1);
}

// Adds the choices of positions [begin, end), as earlier steps or this one left them.
__device__ void count_earlier(const ExpertCapacityParams& p, int sequence, int64_t begin,
                              int64_t end, int* counts) {
  const int64_t row = p.table_rows == nullptr ? sequence : p.table_rows[sequence];
  const int32_t* table = p.block_tables + row * p.block_table_stride;
  const int k = p.num_experts_per_token;
  for (int64_t i = threadIdx.x; i < (end - begin) * k; i += blockDim.x) {
    const int64_t position = begin + i / k;
    const int32_t block = table[position / p.block_size];
    if (block < 0 || block >= p.num_blocks) continue;
    const int64_t slot = int64_t{block} * p.block_size + position % p.block_size;
    count_one(p, counts, p.channel[slot * k + i % k]);
  }
}

// Walks a warp's run of tokens in order: f(choice, earlier tokens of the run that chose its expert
// on top of counts[expert]); the counts grow. As many tokens at a time as a warp has lanes for their
// choices; one that needs more takes several turns.
template <typename F>
__device__ void walk_tokens(const ExpertCapacityParams& p, int64_t begin, int64_t end, int* counts,
                            const F& f) {
  const int lane = threadIdx.x % 32, k = p.num_experts_per_token;
  const int at_once = k <= 32 ? 32 / k : 1;
  const int first_lane = k <= 32 ? lane / k * k : 0;  // of this lane's token
  for (int64_t token = begin; token < end; token += at_once) {
    const int64_t choices = min(static_cast<int64_t>(at_once), end - token) * k;
    for (int64_t c = lane; c - lane < choices; c += 32) {
      const bool mine = c < choices;
      const int64_t choice = token * k + c;
      const int expert = mine ? p.experts[choice] : -1;
      const bool counted = expert >= 0 && expert < p.num_experts;
      const unsigned same = __match_any_sync(kAllLanes, expert);
      // A token of several turns has no earlier token beside it.
      const int beside = __popc(same & ((1u << first_lane) - 1));
      if (mine) f(choice, (counted ? counts[expert] : 0) + beside);
    }
    __syncwarp();
    for (int64_t c = lane; c < choices; c += 32) count_one(p, counts, p.experts[token * k + c]);
    __syncwarp();
  }
}

// One window: the tokens [begin, end) of a sequence.
__device__ void count_window(const ExpertCapacityParams& p, int sequence, int64_t begin,
                             int64_t end, int64_t earlier_begin, int64_t earlier_end, int* counts) {
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32;
  __syncthreads();
  for (int i = threadIdx.x; i < warps * p.num_experts; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  count_earlier(p, sequence, earlier_begin, earlier_end, counts);
  const int64_t first = begin + (end - begin) * warp / warps;
  const int64_t last = begin + (end - begin) * (warp + 1) / warps;
  // The count of a run goes to the next warp's counters: that is where it matters.
  if (warp + 1 < warps) {
    int* next = counts + (warp + 1) * p.num_experts;
    const int k = p.num_experts_per_token;
    for (int64_t c = first * k + threadIdx.x % 32; c < last * k; c += 32) {
      count_one(p, next, p.experts[c]);
    }
  }
  __syncthreads();
  for (int e = threadIdx.x; e < p.num_experts; e += blockDim.x) {
    for (int w = 1; w < warps; ++w) counts[w * p.num_experts + e] += counts[(w - 1) * p.num_experts + e];
  }
  __syncthreads();
  walk_tokens(p, first, last, counts + warp * p.num_experts, [&](int64_t choice, int earlier) {
    p.kept[choice] = earlier < p.capacity ? 1 : 0;
  });
}

__global__ void __launch_bounds__(kThreads) capacity_kernel(ExpertCapacityParams p) {
  extern __shared__ int counts[];  // [warps, num_experts]
  const int sequence = blockIdx.x;
  const int64_t first = p.query_start[sequence], end = p.query_start[sequence + 1];
  if (first >= end) return;
  const int64_t position = p.positions[first * p.position_stride];
  if (p.window == 0) {
    if (blockIdx.y == 0) count_window(p, sequence, first, end, 0, position, counts);
    return;
  }
  const int64_t first_window = position / p.window;
  const int64_t last_window = (position + end - first - 1) / p.window;
  for (int64_t w = first_window + blockIdx.y; w <= last_window; w += gridDim.y) {
    // Positions of the window that are not tokens of the step lie before the first token.
    const int64_t from = max(w * p.window, position), to = (w + 1) * p.window;
    count_window(p, sequence, first + from - position, min(end, first + to - position),
                 w * p.window, from, counts);
  }
}

}  // namespace

void expert_capacity(const CudaExec& exec, const ExpertCapacityParams& p) {
  SLUICE_CHECK(p.num_experts <= kMaxCapacityExperts, SLUICE_STATUS_UNSUPPORTED,
               "num_experts: ", p.num_experts, " (expected: at most ", kMaxCapacityExperts,
               " on CUDA)");
  if (p.num_tokens == 0 || p.num_sequences == 0) return;
  channel_kernel<<<grid_for(p.num_tokens * p.num_experts_per_token, 256, INT32_MAX), 256, 0,
                   stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("expert_capacity channel of ", p.num_tokens, " tokens");
  // A sequence's tokens lie in at most so many windows.
  const int64_t windows = p.window == 0 ? 1 : (p.num_tokens - 1) / p.window + 2;
  const int warps = std::clamp(kCounters / p.num_experts, 1, kThreads / 32);
  const dim3 grid(static_cast<unsigned>(p.num_sequences),
                  static_cast<unsigned>(std::min<int64_t>(windows, kMostWindows)));
  capacity_kernel<<<grid, 32 * warps, static_cast<size_t>(warps) * p.num_experts * 4,
                    stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("expert_capacity of ", p.num_tokens, " tokens, ", p.num_experts, " experts");
}

}  // namespace sluice::cuda
