/// @file
/// Multi-head latent attention: every head's keys and values are products of one latent per token,
/// and the cache keeps that latent and one rotary key.
///
/// q = q_b(norm(q_a(x))) or q_b(x); (latent, rotary key) = kv_a(x), the latent normed, the trailing
/// columns of a query and the rotary key turned. With W_UK, W_UV the key and value rows of a head
/// in KV_B: score = q_nope . (W_UK latent) + q_rope . rotary key, value = W_UV latent.
///
/// Absorbed form: q_nope . (W_UK latent) = (W_UK^T q_nope) . latent, so attention runs on the
/// cached rows themselves, multi-query with one kv head, and W_UV is applied to its result.
/// Decompressed form: keys and values of all heads are made from the latents, in pieces of the
/// context. The two are equal but for rounding. BATCH_INVARIANT always takes the absorbed one; FAST
/// takes the decompressed one for a sequence for which it needs fewer products (see
/// decompresses()); decode, and what is captured in a graph, is always absorbed. On CUDA the keys of
/// several sequences are one piece.
#ifndef SLUICE_LAYERS_MLA_H_
#define SLUICE_LAYERS_MLA_H_

#include "layers/layer.h"
#include "layers/norm.h"
#include "layers/spec.h"
#include "ops/attention/attention.h"
#include "ops/gemm/batched_gemm.h"
#include "ops/gemm/weight.h"

namespace sluice {

/// Copies of KV_B, head by head, in the shapes of the absorbed form.
struct AbsorbedWeights {
  WeightStack uk;  ///< of each head W_UK^T: [kv_lora_rank, qk_nope_head_dim]
  WeightStack uv;  ///< of each head W_UV: [v_head_dim, kv_lora_rank]
};

/// Bytes of both copies, each matrix of them aligned.
int64_t absorbed_bytes(const MlaSpec& spec, Format format,
                       const WeightPacking& packing = kCpuPacking);

/// The copies, which lie behind KV_B at the next aligned place, in its layout.
AbsorbedWeights absorbed_weights(const MlaSpec& spec, const WeightView& kv_b);

/// Fills the copies from KV_B, which is packed for the backend of `exec`. On CUDA it returns before
/// that is done.
void absorb_weights(const Exec& exec, const MlaSpec& spec, const WeightView& kv_b);

struct MlaWeights {
  WeightView q_a;                   ///< [q_lora_rank, hidden_size]; unused without compression
  const float* q_a_bias = nullptr;  ///< nullptr: none
  NormWeights q_a_norm;
  WeightView q_b;                    ///< [num_q_heads * (nope + rope), q_lora_rank or hidden_size]
  WeightView kv_a;                   ///< [kv_lora_rank + rope, hidden_size]
  const float* kv_a_bias = nullptr;  ///< nullptr: none
  NormWeights kv_a_norm;
  WeightView kv_b;  ///< [num_q_heads * (nope + v), kv_lora_rank]: per head key rows, value rows
  AbsorbedWeights absorbed;
  WeightView o;                   ///< [hidden_size, num_q_heads * v_head_dim]
  const float* o_bias = nullptr;  ///< nullptr: none
};

class MlaLayer : public AttentionLayer {
 public:
  /// @param window   a query sees keys at a distance below it; 0: all
  MlaLayer(const MlaSpec& spec, int32_t kv_group, int32_t window, const MlaWeights& weights);

  KvShape kv_shape() const override { return {1, 0, static_cast<int32_t>(spec_.latent_size())}; }
  int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const override;
  void prepare(const LayerContext& context, const BatchLimits& limits,
               const KvCacheView& kv) const override;
  void run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
           const SideChannelView& channel, const void* x,
           const ResidualTarget& target) const override;

  /// Whether the decompressed form needs fewer multiply-adds than the absorbed one for a sequence
  /// with `tokens` queries that see `pairs` keys in all, `keys` different ones. Per head, with r,
  /// n, p, v for the sizes of latent, unrotated and rotary key, value:
  ///   absorbed      pairs (2 r + p) + tokens r (n + v)
  ///   decompressed  pairs (n + p + v) + keys r (n + v)
  /// So a prompt without a prefix decompresses (keys = tokens) where n + v < 2 r, and behind a long
  /// prefix a chunk does from tokens > r (n + v) / (2 r - n - v) on: 171 for DeepSeek-V2 and V3.
  bool decompresses(int64_t tokens, int64_t keys, int64_t pairs) const;

 private:
  // A run of sequences or tokens of a step with what both forms read and write.
  struct Call {
    LayerContext& context;
    const StepBatch& batch;
    const KvCacheView& kv;
    const float* q;  // [num_tokens, num_q_heads, nope + rope], turned; unused for a prepared piece
    void* out;       // [num_tokens, num_q_heads, v_head_dim] in the compute format
  };
  // Results of the projections.
  struct Rows {
    float* q;  // [num_tokens, num_q_heads, nope + rope]
    int64_t q_stride;
    float* latent;  // [num_tokens, kv_lora_rank + rope]
    int64_t latent_stride;
  };
  // Queries of the absorbed form.
  struct Absorbed {
    void* unrotated;  // [tokens, num_q_heads, nope] in the compute format
    std::byte* rows;  // [tokens, num_q_heads, kv_lora_rank + rope]; the first are made from those
    Format format;    // of rows
  };
  struct Piece;  // of a decompressed context: its memory
  struct Span;   // what a piece holds

  int64_t absorbed_tokens(const LayerContext& context) const;
  int64_t absorbed_tokens(const LayerContext& context, const StepBatch& batch) const;
  int64_t projection_bytes(const LayerContext& context, int64_t tokens) const;
  int64_t absorbed_bytes_of(const LayerContext& context, const BatchLimits& limits) const;
  int64_t decompressed_bytes_of(const LayerContext& context, const BatchLimits& limits) const;
  int64_t decompressed_rows(const StepBatch& batch, int32_t sequence) const;
  int64_t most_decompressed_rows(const LayerContext& context) const;
  KvCacheView piece_cache(const LayerContext& context, int64_t rows) const;
  Piece take_piece(LayerContext& context, int64_t rows, int32_t sequences) const;
  Rows project(LayerContext& context, int64_t num_tokens, const void* x, bool together) const;
  void project_queries(LayerContext& context, int64_t num_tokens, const void* x, float* q) const;
  void prepare(const Call& call, const Rows& rows, const Absorbed* queries) const;
  Absorbed take_absorbed(const Call& call, int64_t tokens) const;
  void attend(const Call& call) const;
  bool decompresses(const StepBatch& batch, int32_t sequence) const;
  void attend_absorbed(const Call& call, int64_t token_begin, int64_t token_end) const;
  void attend_absorbed_piece(const Call& call, const Absorbed& queries, int64_t token_begin,
                             int64_t token_end) const;
  void attend_decompressed(const Call& call, int32_t first_sequence, int32_t last_sequence) const;
  void decompress(const Call& call, const Span& span, const Piece& piece) const;
  AttentionParams common_params(const Call& call) const;

  MlaSpec spec_;
  int32_t kv_group_;
  int32_t window_;
  MlaWeights weights_;
  WeightView merged_;  // q_b and kv_a where they lie one behind the other; else without data
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_MLA_H_
