// Puts the states that the blocks of a decode kernel left of one row together, in the order of keys.
#include "ops/attention/attention_schedule.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 128;

// The blocks that have keys of a row, and the row of their item. last < first: none has.
struct Parts {
  int32_t first, last, row;
};
__device__ Parts parts_of(const Shares& w, int32_t sequence, int64_t token, int64_t head) {
  const SequenceWork work = work_of(w, sequence);
  if (work.units == 0) return {0, -1, 0};
  const int32_t r = static_cast<int32_t>(token - w.p.query_start[sequence]) * w.group +
                    static_cast<int32_t>(head % w.group);
  const int32_t item =
      r / w.tile_rows * w.p.kv.num_kv_heads + static_cast<int32_t>(head / w.group);
  const int32_t length = length_before(w, w.p.num_sequences);
  const int32_t blocks = blocks_with_share(w, length);
  const int32_t begin = length_before(w, sequence) + item * work.length() + kItemUnits;
  return {block_of(begin, length, blocks), block_of(begin + work.units - 1, length, blocks),
          r % w.tile_rows};
}

// One block a row (token, query head). Threads share the columns by fours; where that leaves some
// over, every so-manieth part.
__global__ void __launch_bounds__(kThreads) combine_kernel(const __grid_constant__ Shares w) {
  start_next_kernel();  // which may ask for weights already
  extern __shared__ float factors[];                // [num_blocks]
  float* const part_sums = factors + w.num_blocks;  // [num_blocks]: sums of the parts
  __shared__ float scratch[kThreads / 32];
  __shared__ float4 sums[kThreads];
  const AttentionParams& p = w.p;
  const int64_t token = blockIdx.x / p.num_q_heads, head = blockIdx.x % p.num_q_heads;
  const int32_t sequence = sequence_of(p, token);
  const int32_t begin = p.query_start[sequence], end = p.query_start[sequence + 1];
  const bool ours = token >= begin && token < end && end - begin <= w.max_queries;
  const Parts parts = ours ? parts_of(w, sequence, token, head) : Parts{0, 0, 0};
  await_kernel_before();
  if (parts.first == parts.last) return;  // not ours, or written by the block that had it whole

  const int32_t count = parts.last - parts.first + 1;
  const auto part = [&](int32_t i) {
    return state_of(w, parts.first + i, i == 0 ? 1 : 0, parts.row);
  };
  float top = minus_infinity();
  for (int32_t i = threadIdx.x; i < count; i += kThreads) {
    const float2 state = *reinterpret_cast<const float2*>(part(i));
    factors[i] = state.x;
    part_sums[i] = state.y;
    top = fmaxf(top, state.x);
  }
  top = warp_max(top);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = top;
  __syncthreads();
  for (int i = 0; i < kThreads / 32; ++i) top = fmaxf(top, scratch[i]);
  float sum = 0;
  for (int32_t i = threadIdx.x; i < count; i += kThreads) {
    factors[i] = power_of_two(factors[i] - safe_max(top));
    sum += factors[i] * part_sums[i];
  }
  sum = block_sum(sum, scratch);  // its barriers also show the factors
  const float scale = finish_row(p, {top, sum}, token, head, threadIdx.x == 0);

  const int32_t fours = value_columns(p) / 4;
  const int32_t turns = kThreads / fours;
  const int32_t turn = threadIdx.x / fours, four = threadIdx.x % fours;
  float4 value = make_float4(0, 0, 0, 0);
  if (turn < turns) {
#pragma unroll 4
    for (int32_t i = turn; i < count; i += turns) {
      const float4 x = *reinterpret_cast<const float4*>(part(i) + 4 + four * 4);
      const float factor = factors[i];
      value.x += factor * x.x;
      value.y += factor * x.y;
      value.z += factor * x.z;
      value.w += factor * x.w;
    }
  }
  sums[threadIdx.x] = value;
  __syncthreads();
  if (turn != 0) return;
  for (int32_t i = 1; i < turns; ++i) {
    const float4 x = sums[i * fours + four];
    value.x += x.x;
    value.y += x.y;
    value.z += x.z;
    value.w += x.w;
  }
  const int64_t at = token * p.out_stride + head * value_columns(p) + four * 4;
  store_out(p, at, value.x * scale);
  store_out(p, at + 1, value.y * scale);
  store_out(p, at + 2, value.z * scale);
  store_out(p, at + 3, value.w * scale);
}

}  // namespace

void combine_shares(const CudaExec& exec, const Shares& w) {
  const AttentionParams& p = w.p;
  launch_overlapped(exec, combine_kernel, static_cast<unsigned>(p.num_tokens * p.num_q_heads),
                    kThreads, int64_t{w.num_blocks} * 8, w);
  SLUICE_CHECK_LAUNCH("attention, combining ", p.num_tokens, " tokens of ", p.num_q_heads,
                      " heads");
}

}  // namespace sluice::cuda
