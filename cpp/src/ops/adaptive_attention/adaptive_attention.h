/// @file
/// Multi-head attention with learned relative positions, over the keys that a pattern keeps, of a
/// ragged batch of queries over a paged KV cache: prefill, chunked prefill and decode in one op.
///
/// score(t, h, j) = softmax_scale * q[t, h] . k[j, h] + relative_position[h, min(p - j, P - 1)]
/// out[t, h] = gate[t, h] * sum_j softmax_j(score(t, h, j)) v[j, h]
/// over the keys j that the pattern keeps for token t at position p, among j <= p and
/// j < context_len. Equal scores, and equal blocks: the lower index is kept. No key: out is zero.
///
/// What a pattern drops is not computed: of dropped keys neither K nor V is read under
/// kSlidingWindow, kDensity and kBlockSparse (the lanes of 16 keys that share a cache line with a
/// kept one aside); kTopK and kBlockTopK must score every key and read the values of the kept ones.
/// A closed gate (0) skips all work of its token and head.
///
/// The keys of a row are reduced in an order that its own position, keys and densities fix; other
/// rows, the number of threads and the places where chunks of queries begin change no bit. On CUDA,
/// with Numerics::kFast, a query that is its sequence's only one of the call is summed in another
/// order than with others.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_ATTENTION_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_ATTENTION_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/adaptive_attention/pattern.h"
#include "ops/gemm/gemm.h"
#include "ops/kv_write/kv_cache.h"

namespace sluice {

struct AdaptiveAttentionParams {
  // Queries; the keys and values of the step's tokens are in the cache already.
  int64_t num_tokens = 0;
  const void* q = nullptr;             ///< [num_tokens, kv.num_kv_heads, kv.k_dim], heads dense
  Format q_format = Format::kUnknown;  ///< F32 or BF16; rounded to BF16 when the cache is BF16
  int64_t q_stride = 0;                ///< elements between tokens
  const int32_t* positions = nullptr;  ///< [num_tokens], rising inside a sequence
  int64_t position_stride = 1;         ///< elements between tokens' positions (position_dims)

  // Sequences: disjoint, in order, covering all tokens.
  int32_t num_sequences = 0;
  const int32_t* query_start = nullptr;   ///< [num_sequences + 1]
  const int32_t* context_len = nullptr;   ///< [num_sequences]; positions below it hold keys
  const int32_t* block_tables = nullptr;  ///< row r: block of positions [i * block_size, ...) at i
  int64_t block_table_stride = 0;         ///< elements between rows
  const int32_t* table_rows = nullptr;    ///< [num_sequences] row of each (seq_slot); null: row s
  // Only CUDA, whose host cannot read the arrays, asks for these; they bound grids and workspace.
  int64_t longest_context = 0;  ///< no context_len is above it; 0: what a row of the table holds
  int64_t longest_query = 0;    ///< no sequence has more queries; 0: not known
  Numerics numerics = Numerics::kBatchInvariant;  ///< of CUDA; the CPU's bits are the same in both

  KvCacheView kv{};  ///< as many kv heads as query heads

  AdaptivePattern pattern{};
  float softmax_scale = 1.0f;
  const float* relative_position = nullptr;  ///< [kv.num_kv_heads, relative_positions]
  int32_t relative_positions = 0;            ///< P, at least 1
  const uint8_t* dense = nullptr;  ///< kDensity: [kv.num_blocks * kv.block_size] by kv slot,
                                   ///< nonzero: dense; the step's tokens are in it already
  const float* gate = nullptr;  ///< [num_tokens, kv.num_kv_heads] factors, 0: closed; null: all 1

  void* out = nullptr;  ///< [num_tokens, kv.num_kv_heads, kv.v_dim], heads dense in a token
  Format out_format = Format::kUnknown;  ///< F32 or BF16
  int64_t out_stride = 0;                ///< elements between tokens

  /// [num_tokens, adaptive_keep_planes(), keep_stride]: 1 where the key at the position is kept,
  /// else 0; null: not wanted. With it, closed gates skip nothing.
  uint8_t* keep = nullptr;
  int64_t keep_stride = 0;  ///< at least the largest context_len

  /// [num_tokens, replay_planes, replay_stride]: nonzero where a key is kept, instead of what the
  /// pattern decides; keys in the future are dropped all the same. `keep` repeats it. Null: none.
  const uint8_t* replay = nullptr;
  int32_t replay_planes = 0;  ///< 1, or kv.num_kv_heads; adaptive_keep_planes() with `keep`
  int64_t replay_stride = 0;  ///< at least the largest context_len
};

/// 1 for the kinds that keep the same keys for every head, else `num_heads`.
int32_t adaptive_keep_planes(AdaptiveKind kind, int32_t num_heads);

/// Bytes of workspace for any call with these bounds. On the CPU, beside a few tiles per thread,
/// kTopK and kBlockTopK keep the scores of some rows there: as many rows as fit 6 MiB a thread, and
/// at least one, so that it grows with the context only beyond about 800,000 positions (8 bytes a
/// position and thread). On CUDA they keep those of as many tokens as fit 64 MiB, and at least one.
int64_t adaptive_attention_workspace_bytes(const Exec& exec, const AdaptivePattern& pattern,
                                           int64_t max_tokens, int32_t max_sequences,
                                           int64_t max_context_len, int32_t num_heads,
                                           int32_t relative_positions, int32_t k_dim,
                                           int32_t v_dim);

/// Of the block tables only blocks with keys that may be kept (or scored, or looked up in `dense`)
/// are read; what lies elsewhere may be NaN or out of range. `workspace` is 64-byte aligned. The
/// CPU's cache is kInterleaved, CUDA's kRows. Throws INVALID_ARGUMENT, naming the field, for sizes
/// out of range and, on the CPU, for such a table entry outside [0, num_blocks): on CUDA such a
/// position's key and value count as NaN.
void adaptive_attention(const Exec& exec, const AdaptiveAttentionParams& params, void* workspace,
                        int64_t workspace_bytes);

}  // namespace sluice

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_ATTENTION_H_
