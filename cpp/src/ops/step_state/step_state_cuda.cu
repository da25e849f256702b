// Small kernels of one step; all of them are bound by their launch.
#include "base/error.h"
#include "ops/cuda/launch.h"
#include "ops/step_state/step_state_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kCopyBytesPerBlock = 16 * 1024;

// Bytes of `from` to `to` (zeros without `from`) by the threads of some blocks. All multiples of 4;
// 16 at a time where both sides allow it.
__device__ void copy_bytes(const void* from, void* to, int64_t bytes, int64_t first, int64_t step) {
  const bool wide =
      ((reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to)) & 15) == 0;
  const int64_t vectors = wide ? bytes / 16 : 0;
  for (int64_t i = first; i < vectors; i += step) {
    static_cast<uint4*>(to)[i] =
        from == nullptr ? make_uint4(0, 0, 0, 0) : static_cast<const uint4*>(from)[i];
  }
  for (int64_t i = vectors * 4 + first; i < bytes / 4; i += step) {
    static_cast<uint32_t*>(to)[i] = from == nullptr ? 0 : static_cast<const uint32_t*>(from)[i];
  }
}

__global__ void __launch_bounds__(kThreads) copy_ranges_kernel(CopyRanges all) {
  const CopyRanges::Range range = all.ranges[blockIdx.y];
  copy_bytes(range.from, range.to, range.bytes, int64_t{blockIdx.x} * kThreads + threadIdx.x,
             int64_t{gridDim.x} * kThreads);
}

__global__ void __launch_bounds__(kThreads) block_ops_kernel(BlockOpsParams p) {
  const sluice_state_op op = p.ops[blockIdx.x];
  if (op.kind != SLUICE_STATE_OP_COPY_BLOCK && op.kind != SLUICE_STATE_OP_ZERO_BLOCK) return;
  const int32_t r = p.region_begin[op.kv_group] + static_cast<int32_t>(blockIdx.y);
  if (r >= p.region_begin[op.kv_group + 1]) return;
  const BlockRegion region = p.regions[r];
  const std::byte* from =
      op.kind == SLUICE_STATE_OP_COPY_BLOCK ? region.data + op.source * region.block_bytes : nullptr;
  copy_bytes(from, region.data + op.target * region.block_bytes, region.block_bytes, threadIdx.x,
             kThreads);
}

__global__ void __launch_bounds__(kThreads)
    sequence_ops_kernel(SequenceTables t, const sluice_state_op* ops) {
  const sluice_state_op op = ops[blockIdx.x];
  if (op.kind != SLUICE_STATE_OP_RESET_SEQ && op.kind != SLUICE_STATE_OP_COPY_SEQ) return;
  const bool copy = op.kind == SLUICE_STATE_OP_COPY_SEQ;
  const int64_t group = blockIdx.y;
  const int32_t* from = t.blocks + (group * t.max_sequences + op.source) * t.max_blocks;
  int32_t* to = t.blocks + (group * t.max_sequences + op.target) * t.max_blocks;
  for (int64_t i = threadIdx.x; i < t.max_blocks; i += kThreads) to[i] = copy ? from[i] : -1;
  if (group == 0 && threadIdx.x == 0) {
    t.last_token[op.target] = copy ? t.last_token[op.source] : 0;
  }
}

__global__ void block_updates_kernel(SequenceTables t, const sluice_block_update* updates,
                                     int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const sluice_block_update u = updates[i];
  t.blocks[(u.kv_group * t.max_sequences + u.seq_slot) * t.max_blocks + u.index] = u.block;
}

__global__ void rope_updates_kernel(RopeUpdateParams p) {
  const sluice_rope_update u = p.updates[blockIdx.x];
  const RopeUpdateParams::Target rope = p.ropes[u.rope];
  for (int32_t i = threadIdx.x; i < rope.pairs; i += blockDim.x) {
    rope.inv_freq[int64_t{u.variant} * rope.pairs + i] = p.inv_freq[u.inv_freq_begin + i];
  }
  if (threadIdx.x == 0) rope.variants[u.variant].attention_scale = u.attention_scale;
}

__global__ void resolve_tokens_kernel(ResolveTokensParams p) {
  start_next_kernel();
  await_kernel_before();
  const int64_t t = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (t >= p.num_tokens) return;
  int32_t id = -1;
  if (t < p.header->counts[SLUICE_SECTION_TOKEN_ID]) {
    id = p.token_id[t];
    if (id == SLUICE_TOKEN_LAST) {
      id = p.last_token[p.seq_slot[sequence_of(p, t)]];
    } else if (id < 0) {
      id = p.previous_tokens[-1 - id];
    }
  }
  p.ids[t] = id;
}

template <typename X>
__global__ void __launch_bounds__(kThreads) row_values_kernel(RowValuesParams p) {
  const int64_t row = blockIdx.x;
  const int32_t r = p.row_index[row];
  const X* x = static_cast<const X*>(p.x) + row * p.cols;
  float* y = p.y + (p.y_index == nullptr ? r : p.y_index[row]) * p.y_stride;
  bool finite = true;
  for (int64_t c = threadIdx.x; c < p.cols; c += kThreads) {
    const float value = load(x + c);
    finite = finite && isfinite(value);
    y[c] = value;
  }
  finite = __syncthreads_and(finite);
  for (int64_t i = threadIdx.x; i < p.outputs.row_tokens; i += kThreads) {
    p.outputs.tokens[r * p.outputs.row_tokens + i] = 0;
    p.outputs.logprob[r * p.outputs.row_tokens + i] = 0;
    p.outputs.rank[r * p.outputs.row_tokens + i] = 0;
  }
  if (threadIdx.x == 0) {
    p.outputs.accepted_count[r] = 0;
    p.outputs.finite[r] = finite ? 1 : 0;
  }
}

}  // namespace

void CopyRanges::add(const void* from, void* to, int64_t bytes) {
  if (bytes == 0) return;
  SLUICE_CHECK_INTERNAL(count < kMax && bytes % 4 == 0, "copy_ranges: range ", count, " of ", bytes,
                        " bytes (expected: at most ", kMax, " ranges of words)");
  ranges[count++] = {from, to, bytes};
}

void copy_ranges(const CudaExec& exec, const CopyRanges& ranges) {
  if (ranges.count == 0) return;
  int64_t longest = 0;
  for (int i = 0; i < ranges.count; ++i) longest = std::max(longest, ranges.ranges[i].bytes);
  const dim3 grid(grid_for(longest, kCopyBytesPerBlock, exec.num_sms),
                  static_cast<unsigned>(ranges.count));
  copy_ranges_kernel<<<grid, kThreads, 0, stream_of(exec)>>>(ranges);
  SLUICE_CHECK_LAUNCH("copy of ", ranges.count, " ranges");
}

void block_ops(const CudaExec& exec, const BlockOpsParams& p) {
  if (p.num_ops == 0 || p.max_regions == 0) return;
  const dim3 grid(static_cast<unsigned>(p.num_ops), static_cast<unsigned>(p.max_regions));
  block_ops_kernel<<<grid, kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("block operations, ", p.num_ops);
}

void sequence_ops(const CudaExec& exec, const SequenceTables& tables, const sluice_state_op* ops,
                  int64_t num_ops) {
  if (num_ops == 0) return;
  const dim3 grid(static_cast<unsigned>(num_ops), static_cast<unsigned>(tables.num_groups));
  sequence_ops_kernel<<<grid, kThreads, 0, stream_of(exec)>>>(tables, ops);
  SLUICE_CHECK_LAUNCH("sequence operations, ", num_ops);
}

void block_updates(const CudaExec& exec, const SequenceTables& tables,
                   const sluice_block_update* updates, int64_t num_updates) {
  if (num_updates == 0) return;
  block_updates_kernel<<<grid_for(num_updates, kThreads), kThreads, 0, stream_of(exec)>>>(
      tables, updates, num_updates);
  SLUICE_CHECK_LAUNCH("block updates, ", num_updates);
}

void rope_updates(const CudaExec& exec, const RopeUpdateParams& p) {
  if (p.num_updates == 0) return;
  rope_updates_kernel<<<static_cast<unsigned>(p.num_updates), kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("rope updates, ", p.num_updates);
}

void resolve_tokens(const CudaExec& exec, const ResolveTokensParams& p) {
  if (p.num_tokens == 0) return;
  launch_overlapped(exec, resolve_tokens_kernel, grid_for(p.num_tokens, kThreads), kThreads, 0, p);
  SLUICE_CHECK_LAUNCH("token ids of ", p.num_tokens);
}

void row_values(const CudaExec& exec, const RowValuesParams& p) {
  if (p.num_rows == 0) return;
  with_format(p.format, [&](auto* x) {
    row_values_kernel<std::remove_pointer_t<decltype(x)>>
        <<<static_cast<unsigned>(p.num_rows), kThreads, 0, stream_of(exec)>>>(p);
  });
  SLUICE_CHECK_LAUNCH("values of ", p.num_rows, " rows of ", p.cols);
}

}  // namespace sluice::cuda
