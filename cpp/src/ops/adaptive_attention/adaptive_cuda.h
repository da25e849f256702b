/// @file
/// CUDA kernels of adaptive_attention.h. Arguments are checked by the caller; pointers are device
/// memory.
///
/// Of keys that no query of a tile (16 tokens of one head; of a sequence of one query: that one)
/// sees, neither key nor value is read. Sums run over fixed positions in a fixed order, so a row's
/// bits depend on its own keys, densities and gate, and on whether it is the only query of its
/// sequence in the call; not on other rows.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_CUDA_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_CUDA_H_

#include "device/cuda.h"
#include "ops/adaptive_attention/adaptive_attention.h"

namespace sluice::cuda {

int64_t adaptive_attention_workspace_bytes(const AdaptivePattern& pattern,
                                           int64_t max_tokens, int32_t max_sequences,
                                           int64_t max_context_len, int32_t num_heads,
                                           int32_t v_dim);

void adaptive_attention(const CudaExec& exec, const AdaptiveAttentionParams& params,
                        void* workspace, int64_t workspace_bytes);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_CUDA_H_
