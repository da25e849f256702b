// Updates are one block's work, in three passes with barriers between: places for new tokens, sums,
// and the floor at zero. So the order of updates is of no meaning, and a step without any costs a
// launch that ends at once, or none.
#include "ops/cuda/launch.h"
#include "ops/sampling/token_counts_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 1024;

__device__ int32_t count_of(int32_t most, const int32_t* count) {
  return count == nullptr ? most : min(most, *count);
}

__device__ void clear(const TokenCountsView& view, int32_t seq_slot, int64_t first, int64_t step) {
  TokenCount* table = table_of(view, seq_slot);
  for (int64_t i = first; i < view.capacity; i += step) table[i] = {-1, 0, 0};
}

__device__ void copy_table(const TokenCountsView& view, int32_t source, int32_t target,
                           int64_t first, int64_t step) {
  const TokenCount* from = table_of(view, source);
  TokenCount* to = table_of(view, target);
  for (int64_t i = first; i < view.capacity; i += step) to[i] = from[i];
}

// blockIdx.y strides over the operations, blockIdx.x over their tables.
__global__ void __launch_bounds__(kThreads)
    apply_kernel(TokenCountsView view, const sluice_state_op* ops, int32_t max_ops,
                 const int32_t* num_ops) {
  const int32_t count = count_of(max_ops, num_ops);
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int32_t i = blockIdx.y; i < count; i += gridDim.y) {
    const sluice_state_op op = ops[i];
    if (op.kind == SLUICE_STATE_OP_RESET_SEQ) clear(view, op.target, first, step);
    if (op.kind == SLUICE_STATE_OP_COPY_SEQ) copy_table(view, op.source, op.target, first, step);
  }
}

__global__ void __launch_bounds__(kThreads)
    one_kernel(TokenCountsView view, int32_t source, int32_t target) {
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  if (source < 0) {
    clear(view, target, first, step);
  } else {
    copy_table(view, source, target, first, step);
  }
}

__global__ void __launch_bounds__(kThreads)
    add_kernel(TokenCountsView view, const sluice_count_update* updates, int32_t max_updates,
               const int32_t* num_updates) {
  const int32_t count = count_of(max_updates, num_updates);
  for (int32_t i = threadIdx.x; i < count; i += kThreads) {
    const sluice_count_update u = updates[i];
    if (u.prompt_delta > 0 || u.output_delta > 0) {
      make_place(view, table_of(view, u.seq_slot), u.token);
    }
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < count; i += kThreads) {
    const sluice_count_update u = updates[i];
    TokenCount* place = find_place(view, table_of(view, u.seq_slot), u.token);
    if (place == nullptr) continue;
    if (u.prompt_delta != 0) atomicAdd(&place->prompt, u.prompt_delta);
    if (u.output_delta != 0) atomicAdd(&place->output, u.output_delta);
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < count; i += kThreads) {
    const sluice_count_update u = updates[i];
    TokenCount* place = find_place(view, table_of(view, u.seq_slot), u.token);
    if (place == nullptr) continue;
    atomicMax(&place->prompt, 0);
    atomicMax(&place->output, 0);
  }
}

unsigned table_blocks(const TokenCountsView& view) { return grid_for(view.capacity, kThreads, 32); }

}  // namespace

int64_t DeviceTokenCounts::bytes(int32_t max_sequences, int32_t vocab_size,
                                 int64_t max_context_len) {
  return max_sequences * TokenCounts::capacity_for(vocab_size, max_context_len) *
         static_cast<int64_t>(sizeof(TokenCount));
}

DeviceTokenCounts::DeviceTokenCounts(const CudaExec& exec, int32_t max_sequences,
                                     int32_t vocab_size, int64_t max_context_len,
                                     AllocationCounter* counter)
    : buffer_(bytes(max_sequences, vocab_size, max_context_len), "penalty counts", counter,
              {MemoryKind::kDevice, exec.device}) {
  view_.places = reinterpret_cast<TokenCount*>(buffer_.data());
  view_.capacity = TokenCounts::capacity_for(vocab_size, max_context_len);
  view_.max_sequences = max_sequences;
  for (int32_t slot = 0; slot < max_sequences; ++slot) reset(exec, slot);
}

void DeviceTokenCounts::apply(const CudaExec& exec, const sluice_state_op* ops, int32_t max_ops,
                              const int32_t* num_ops) const {
  if (max_ops == 0) return;
  const dim3 grid(table_blocks(view_), static_cast<unsigned>(std::min(max_ops, 64)));
  apply_kernel<<<grid, kThreads, 0, stream_of(exec)>>>(view_, ops, max_ops, num_ops);
  SLUICE_CHECK_LAUNCH("penalty counts: ", max_ops, " state operations");
}

void DeviceTokenCounts::add(const CudaExec& exec, const sluice_count_update* updates,
                            int32_t max_updates, const int32_t* num_updates) const {
  if (max_updates == 0) return;
  add_kernel<<<1, kThreads, 0, stream_of(exec)>>>(view_, updates, max_updates, num_updates);
  SLUICE_CHECK_LAUNCH("penalty counts: ", max_updates, " updates");
}

void DeviceTokenCounts::reset(const CudaExec& exec, int32_t seq_slot) const {
  one_kernel<<<table_blocks(view_), kThreads, 0, stream_of(exec)>>>(view_, -1, seq_slot);
  SLUICE_CHECK_LAUNCH("penalty counts: reset of slot ", seq_slot);
}

void DeviceTokenCounts::copy(const CudaExec& exec, int32_t source, int32_t target) const {
  one_kernel<<<table_blocks(view_), kThreads, 0, stream_of(exec)>>>(view_, source, target);
  SLUICE_CHECK_LAUNCH("penalty counts: copy of slot ", source, " to ", target);
}

}  // namespace sluice::cuda
