// Which CUDA kernel runs an attention.
#include "ops/attention/attention_cuda.h"

#include <algorithm>

#include "base/error.h"
#include "ops/attention/attention_variants.h"

namespace sluice::cuda {

std::span<const AttentionVariant* const> attention_variants() {
  static constexpr const AttentionVariant* kVariants[] = {
      &kLatentSm90Attention,  &kLatentDecodeAttention, &kDecodeAttention, &kCudnnAttention,
      &kPrefillSm90Attention, &kPrefillMmaAttention,   &kPlainAttention};
  return kVariants;
}

const AttentionVariant& attention_variant(const CudaExec& exec, const AttentionParams& p) {
  for (const AttentionVariant* variant : attention_variants()) {
    if (variant->fits(exec, p)) return *variant;
  }
  return kPlainAttention;
}

int64_t attention_workspace_bytes(const CudaExec& exec, int64_t max_tokens, int32_t max_sequences,
                                  int64_t max_context_len, int32_t num_q_heads, int32_t k_dim,
                                  int32_t v_dim) {
  const AttentionBounds bounds{max_tokens, max_sequences, max_context_len,
                               num_q_heads, k_dim,        v_dim};
  int64_t bytes = 0;
  for (const AttentionVariant* variant : attention_variants()) {
    bytes = std::max(bytes, variant->workspace_bytes(exec, bounds));
  }
  return bytes;
}

void attention(const CudaExec& exec, const AttentionParams& p, void* workspace,
               int64_t workspace_bytes) {
  if (p.num_tokens == 0 || p.num_sequences == 0) return;
  const AttentionVariant& variant = attention_variant(exec, p);
  exec.note("attention", variant.name);
  variant.run(exec, p, workspace, workspace_bytes);
}

}  // namespace sluice::cuda
