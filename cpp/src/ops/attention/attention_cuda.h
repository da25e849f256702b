/// @file
/// CUDA kernels of attention.h. Arguments are checked by the callers; pointers are device memory.
///
/// A call runs one variant: the first of attention_variants() that fits. Tuned variants fit only
/// with Numerics::kFast; the last, "plain", fits always and is the only one of kBatchInvariant. A
/// new tuned kernel is one more file with one more AttentionVariant. Equal calls give equal bits with
/// any of them; what else a row's bits depend on, each file and docs/gpu.md say.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_CUDA_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_CUDA_H_

#include <span>

#include "device/cuda.h"
#include "ops/attention/attention.h"

namespace sluice::cuda {

/// Sizes that bound a call's workspace; as for attention_workspace_bytes().
struct AttentionBounds {
  int64_t max_tokens = 0;
  int32_t max_sequences = 0;
  int64_t max_context_len = 0;
  int32_t num_q_heads = 0;
  int32_t k_dim = 0;  ///< columns of a key
  int32_t v_dim = 0;  ///< columns of a value
};

/// One kernel family.
struct AttentionVariant {
  const char* name;  ///< as traces and the kernel list show it
  /// Whether it can run this call, and is meant to.
  bool (*fits)(const CudaExec& exec, const AttentionParams& params);
  /// Enough for every call within the bounds.
  int64_t (*workspace_bytes)(const CudaExec& exec, const AttentionBounds& bounds);
  void (*run)(const CudaExec& exec, const AttentionParams& params, void* workspace,
              int64_t workspace_bytes);
};

/// All of them, the preferred first.
std::span<const AttentionVariant* const> attention_variants();

/// The one that attention() runs.
const AttentionVariant& attention_variant(const CudaExec& exec, const AttentionParams& params);

int64_t attention_workspace_bytes(const CudaExec& exec, int64_t max_tokens, int32_t max_sequences,
                                  int64_t max_context_len, int32_t num_q_heads, int32_t k_dim,
                                  int32_t v_dim);
void attention(const CudaExec& exec, const AttentionParams& params, void* workspace,
               int64_t workspace_bytes);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_CUDA_H_
