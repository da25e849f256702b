/// @file
/// Grouped-query attention: multi-head and multi-query are its ends.
///
/// qkv = clamp(x W_qkv^T + b); q, k normed and turned; k, v to the cache; softmax attention over
/// the cache; (result * sigmoid(x W_gate^T)) W_o^T + b_o.
#ifndef SLUICE_LAYERS_GQA_H_
#define SLUICE_LAYERS_GQA_H_

#include "layers/layer.h"
#include "layers/norm.h"
#include "layers/spec.h"
#include "ops/gemm/weight.h"

namespace sluice {

struct GqaWeights {
  WeightView qkv;                   ///< [q_size + 2 kv_size, hidden_size]
  const float* qkv_bias = nullptr;  ///< [q_size + 2 kv_size]; nullptr: none
  NormWeights q_norm;
  NormWeights k_norm;
  const float* sinks = nullptr;   ///< [num_q_heads]; nullptr: none
  WeightView output_gate;         ///< [q_size, hidden_size]; unused without an output gate
  WeightView o;                   ///< [hidden_size, q_size]
  const float* o_bias = nullptr;  ///< [hidden_size]; nullptr: none
};

class GqaLayer : public AttentionLayer {
 public:
  /// @param window   a query sees keys at a distance below it; 0: all
  GqaLayer(const GqaSpec& spec, int32_t kv_group, int32_t window, const GqaWeights& weights)
      : spec_(spec), kv_group_(kv_group), window_(window), weights_(weights) {}

  KvShape kv_shape() const override { return {spec_.num_kv_heads, spec_.head_dim, spec_.head_dim}; }
  int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const override;
  void prepare(const LayerContext& context, const BatchLimits& limits,
               const KvCacheView& kv) const override;
  void run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
           const SideChannelView& channel, const void* x,
           const ResidualTarget& target) const override;

 private:
  void project(LayerContext& context, const StepBatch& batch, const void* x, float* qkv) const;
  void gate(LayerContext& context, int64_t num_tokens, const void* x, void* out) const;
  void rotate_and_store(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                        float* qkv) const;
  void attend(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
              const float* qkv, void* out) const;

  GqaSpec spec_;
  int32_t kv_group_;
  int32_t window_;
  GqaWeights weights_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_GQA_H_
