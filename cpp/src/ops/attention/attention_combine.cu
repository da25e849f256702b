// Puts the states of a row's spans together, in order.
#include "ops/attention/attention_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 128;

// One block a row (token, query head).
__global__ void __launch_bounds__(kThreads)
    combine_kernel(const __grid_constant__ AttentionParams p, const float* states, int32_t parts,
                   int64_t state_floats) {
  const int64_t token = blockIdx.x / p.num_q_heads, head = blockIdx.x % p.num_q_heads;
  const int32_t sequence = sequence_of(p, token);
  if (token < p.query_start[sequence] || token >= p.query_start[sequence + 1]) return;
  const KeyRange keys =
      visible_keys(p, p.positions[token * p.position_stride], p.context_len[sequence]);
  int64_t count = 0;
  if (keys.begin < keys.end) {
    const int32_t span = span_keys(keys);
    count = (keys.end - 1) / span - keys.begin / span + 1;
  }
  const float* const first = states + (token * p.num_q_heads + head) * parts * state_floats;
  const int32_t columns = value_columns(p);
  for (int32_t col = threadIdx.x; col < round_up16(columns); col += kThreads) {
    SpanState all{minus_infinity(), 0};
    float value = 0;
    for (int64_t i = 0; i < count; ++i) {
      const float* state = first + i * state_floats;
      const MergeFactors f = merge(&all, {state[0], state[1]});
      if (col < columns) value = merge_value(value, state[4 + col], f);
    }
    const float scale = finish_row(p, all, token, head, col == 0);
    if (col < columns) {
      store_out(p, token * p.out_stride + head * columns + col, value * scale);
    }
  }
}

}  // namespace

void combine_attention(const CudaExec& exec, const AttentionParams& p, const float* states,
                       int32_t parts) {
  combine_kernel<<<static_cast<unsigned>(p.num_tokens * p.num_q_heads), kThreads, 0,
                   stream_of(exec)>>>(p, states, parts,
                                      attention_state_floats(value_columns(p)));
  SLUICE_CHECK_LAUNCH("attention, combining ", p.num_tokens, " tokens of ", p.num_q_heads,
                      " heads");
}

}  // namespace sluice::cuda
