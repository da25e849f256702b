/// @file
/// Softmax attention of a ragged batch of queries over a paged KV cache: prefill, chunked prefill
/// and decode in one op. Multi-head, grouped-query and multi-query, and latent attention, whose
/// keys are the value rows themselves.
///
/// out[t, h] = sum_j softmax_j(score(t, h, j)) v[j, h / (num_q_heads / num_kv_heads)]
/// score = cap(softmax_scale * q[t, h] . k[j, h / ...]), cap(s) = soft_cap * tanh(s / soft_cap)
/// over the keys j that token t at position p sees: j < context_len; with `causal` j <= p; with
/// `window` p - j < window; with `chunk` j / chunk == p / chunk. No key: out is zero, lse -inf.
///
/// On the CPU the keys are reduced in tiles of 64 fixed absolute positions, tiles in spans of 512
/// fixed positions, spans in order; a row's arithmetic never depends on other rows, on the number of
/// threads or on where a chunk of queries begins. So results are bit-equal over batching, chunking
/// and prefix hits in both numerics modes. On CUDA the plain kernel keeps the same contract (spans
/// double in length while a row sees more than 16 of them) and Numerics::kBatchInvariant takes it
/// alone; the tuned kernels of kFast are picked by the shape of the batch, see attention_cuda.h.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/gemm/gemm.h"
#include "ops/kv_write/kv_cache.h"

namespace sluice {

class CudnnAttention;

struct AttentionParams {
  // Queries, after RoPE and norms; the keys and values of the step's tokens are in the cache
  // already.
  int64_t num_tokens = 0;
  int32_t num_q_heads = 0;             ///< a multiple of kv.num_kv_heads
  const void* q = nullptr;             ///< [num_tokens, num_q_heads, K], heads dense in a token
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
  /// No context_len is above it; 0: what a table row holds, block_table_stride * block_size. Only
  /// CUDA, whose host cannot read context_len, asks for it: it bounds the grid and the workspace.
  int64_t longest_context = 0;
  /// No sequence has more queries; 0: not known. What the host must know for cuDNN, as the next two.
  int64_t longest_query = 0;
  /// Whether every sequence's tokens are its last ones, their keys just written: token i of n at
  /// position context_len - n + i. What lies behind them in the sequence's last block is nobody's
  /// then, and a kernel may make it zeros.
  bool queries_last = false;
  CudnnAttention* cudnn = nullptr;  ///< plans to choose from, of CUDA; null: our own kernels alone

  /// With k_dim 0 the value rows are the keys too: a key is all v_dim columns of a row, a value its
  /// first value_dim ones. So a latent is kept once. Below, K is the number of columns of a key and
  /// V that of a value: k_dim and v_dim, or v_dim and value_dim.
  KvCacheView kv{};
  int32_t value_dim = 0;  ///< 1 to kv.v_dim when kv.k_dim is 0; else 0

  float softmax_scale = 1.0f;
  float soft_cap = 0.0f;  ///< 0: off
  int32_t window = 0;     ///< 0: off
  int32_t chunk = 0;      ///< 0: off
  bool causal = true;
  Numerics numerics = Numerics::kBatchInvariant;  ///< of CUDA; the CPU's bits are the same in both
  const float* sinks =
      nullptr;  ///< [num_q_heads] logits that join the softmax without a value; or null

  void* out = nullptr;                   ///< [num_tokens, num_q_heads, V], heads dense in a token
  Format out_format = Format::kUnknown;  ///< F32 or BF16
  int64_t out_stride = 0;                ///< elements between tokens
  float* lse = nullptr;  ///< [num_tokens, num_q_heads] natural log of the sum of exponents, sinks
                         ///< included; or null
};

/// Bytes of workspace for any call with these bounds; k_dim and v_dim are K and V above.
int64_t attention_workspace_bytes(const Exec& exec, int64_t max_tokens, int32_t max_sequences,
                                  int64_t max_context_len, int32_t num_q_heads, int32_t k_dim,
                                  int32_t v_dim);

/// Reads only cache positions that some query sees, and of the block tables only their blocks; what
/// lies elsewhere may be NaN or out of range. `workspace` is 64-byte aligned. The CPU's cache is
/// kInterleaved, CUDA's kRows. Throws INVALID_ARGUMENT, naming the field, for sizes out of range and,
/// on the CPU, for a visible position whose table entry is outside [0, num_blocks): on CUDA such a
/// position's key and value count as NaN.
void attention(const Exec& exec, const AttentionParams& params, void* workspace,
               int64_t workspace_bytes);

}  // namespace sluice

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_H_
