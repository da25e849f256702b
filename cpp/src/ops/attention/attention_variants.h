/// @file
/// The variants of attention_cuda.h, and what their launchers share on the host.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_VARIANTS_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_VARIANTS_H_

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "ops/attention/attention_cuda.h"
#include "ops/attention/visible.h"

namespace sluice::cuda {

extern const AttentionVariant kLatentSm90Attention;    ///< the next on Hopper, of its own choosing
extern const AttentionVariant kLatentDecodeAttention;  ///< bf16, keys of 576 columns, 512 of values
extern const AttentionVariant kDecodeAttention;        ///< bf16, 64, 128 or 256 columns, few queries
extern const AttentionVariant kCudnnAttention;         ///< cuDNN's, where it is faster than the next
extern const AttentionVariant kPrefillSm90Attention;   ///< bf16, 64, 128, or 192 and 128 columns
extern const AttentionVariant kPrefillMmaAttention;    ///< the same and 256, any mask, any GPU
extern const AttentionVariant kPlainAttention;

/// A row's keys are cut in spans of fixed absolute positions: of kAttentionSpan keys, or of twice as
/// many, and so on, until there are at most kAttentionParts of them. Each span's softmax is computed
/// by itself and the spans' are merged in order; so who computes them changes no bit.
inline constexpr int32_t kAttentionSpan = 512;
inline constexpr int32_t kAttentionParts = 16;

/// Keys that a row can see, at most.
inline int64_t longest_context(const AttentionParams& p) {
  return p.longest_context > 0 ? p.longest_context : p.block_table_stride * p.kv.block_size;
}

/// Spans of any row with keys in [0, max_context_len), at most.
inline int32_t attention_parts(int64_t max_context_len) {
  return static_cast<int32_t>(
      std::clamp<int64_t>(ceil_div(max_context_len, kAttentionSpan), 1, kAttentionParts));
}

/// Floats of a row's state over a span: maximum, sum, two of padding, weighted values.
inline int64_t attention_state_floats(int32_t v_dim) { return 4 + round_up(v_dim, 4); }

/// Tokens of a sequence, on average of a batch or of one in a mixed batch, up to which the decode
/// kernel takes them; and positions of a block of the cache from which it can.
inline constexpr int32_t kDecodeQueries = 8;
inline constexpr int32_t kDecodeBlockSize = 16;

/// kDecodeAttention for the sequences of up to max_queries tokens; those of others are left alone.
void decode_attention(const CudaExec& exec, const AttentionParams& params, int32_t max_queries,
                      void* workspace, int64_t workspace_bytes);

/// Merges the states [num_tokens, num_q_heads, parts, attention_state_floats] of every row's spans,
/// of which it reads those that the row has keys in, and writes out and lse.
void combine_attention(const CudaExec& exec, const AttentionParams& params, const float* states,
                       int32_t parts);

inline void check_attention_workspace(const void* workspace, int64_t bytes, int64_t needed) {
  SLUICE_CHECK_ARG(bytes >= needed && (workspace != nullptr || needed == 0),
                   "attention workspace: ", bytes, " bytes (expected: at least ", needed, ")");
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_VARIANTS_H_
