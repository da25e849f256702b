/// @file
/// Multi-head attention with learned relative positions over the keys that a pattern keeps, with
/// an optional gate per token and head.
///
/// qkv = x W_qkv^T + b; k, v to the cache; attention over the kept keys (ops/adaptive_attention);
/// each head's result times its gate; result W_o^T + b_o. gate = sigmoid(x W_g^T + b_g), taken as 0
/// below sparse_gate_threshold. Under kDensity a key is dense if sigmoid(x W_d^T + b_d) reaches
/// density_threshold; that bit stays with its position, in the side channel "density". Gates and
/// densities are float32 in every compute format.
///
/// Shows, and takes over from a replay, `attention_keep_<layer>`: U8 [tokens, heads or 1, largest
/// context_len of the step].
#ifndef SLUICE_LAYERS_ADAPTIVE_H_
#define SLUICE_LAYERS_ADAPTIVE_H_

#include "layers/layer.h"
#include "layers/spec.h"
#include "ops/adaptive_attention/adaptive_attention.h"
#include "ops/gemm/weight.h"

namespace sluice {

struct AdaptiveWeights {
  WeightView qkv;                            ///< [3 q_size, hidden_size]
  const float* qkv_bias = nullptr;           ///< [3 q_size]; nullptr: none
  const float* relative_position = nullptr;  ///< [num_q_heads, relative_positions]
  WeightView gate;                           ///< F32 [num_q_heads, hidden_size]; with sparse_gate
  const float* gate_bias = nullptr;          ///< [num_q_heads]; with sparse_gate
  WeightView density;                        ///< F32 [1, hidden_size]; kDensity
  const float* density_bias = nullptr;       ///< [1]; kDensity
  WeightView o;                              ///< [hidden_size, q_size]
  const float* o_bias = nullptr;             ///< [hidden_size]; nullptr: none
};

class AdaptiveLayer : public AttentionLayer {
 public:
  /// @param layer  number of the layer in the whole model: random blocks depend on it
  AdaptiveLayer(const AdaptiveSpec& spec, int32_t kv_group, int32_t layer,
                const AdaptiveWeights& weights);

  KvShape kv_shape() const override { return {spec_.num_q_heads, spec_.head_dim, spec_.head_dim}; }
  std::optional<SideChannelShape> side_channel() const override;
  int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const override;
  void run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
           const SideChannelView& channel, const void* x,
           const ResidualTarget& target) const override;

 private:
  bool has_density() const { return spec_.kind == AdaptiveKind::kDensity; }
  int64_t hidden_size() const { return weights_.qkv.cols; }
  int64_t attention_bytes(const LayerContext& context, int64_t num_tokens, int32_t num_sequences,
                          int64_t longest) const;
  void open_gates(LayerContext& context, int64_t num_tokens, const float* x, float* gates) const;
  void mark_dense(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
                  const float* x) const;
  void store(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
             const float* qkv) const;
  void attend(LayerContext& context, const StepBatch& batch, AdaptiveAttentionParams& params) const;
  void attend_shown(LayerContext& context, const StepBatch& batch,
                    const AdaptiveAttentionParams& params, int64_t longest,
                    const std::string& name) const;

  AdaptiveSpec spec_;
  int32_t kv_group_;
  AdaptiveWeights weights_;
  AdaptivePattern pattern_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_ADAPTIVE_H_
