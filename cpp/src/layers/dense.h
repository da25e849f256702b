/// @file
/// Dense feed-forward: down(act(gate x) * up x), or down(act(up x)).
#ifndef SLUICE_LAYERS_DENSE_H_
#define SLUICE_LAYERS_DENSE_H_

#include <cstddef>
#include <cstdint>

#include "layers/layer.h"
#include "layers/spec.h"
#include "ops/gemm/weight.h"

namespace sluice {

struct DenseWeights {
  WeightView gate_up;                   ///< [2 intermediate_size or intermediate_size, hidden_size]
  const float* gate_up_bias = nullptr;  ///< [gate_up.rows]; nullptr: none
  WeightView down;                      ///< [hidden_size, intermediate_size]
  const float* down_bias = nullptr;     ///< [hidden_size]; nullptr: none
};

class DenseLayer : public FeedForwardLayer {
 public:
  DenseLayer(const DenseSpec& spec, const DenseWeights& weights) : spec_(spec), weights_(weights) {}

  int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const override;
  void run(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
           const void* x, const ResidualTarget& target) const override;

  /// The two halves of run(), for a layer that enqueues other work between them.
  /// @param inner   inner_bytes() long, 64-byte aligned
  /// @param beside  as of GroupedGemmParams
  void expand(LayerContext& context, int64_t num_tokens, const void* x, std::byte* inner,
              bool beside) const;
  void contract(LayerContext& context, int64_t num_tokens, const std::byte* inner,
                const ResidualTarget& target, bool beside) const;
  int64_t inner_bytes(const LayerContext& context, int64_t num_tokens) const;

 private:
  bool fuses(const LayerContext& context, int64_t num_tokens) const;
  void project(LayerContext& context, int64_t num_tokens, const void* x, std::byte* inner) const;
  void project_fused(LayerContext& context, int64_t num_tokens, const void* x, void* inner,
                     bool beside) const;
  int64_t inner_cols(const LayerContext& context, int64_t num_tokens) const;

  DenseSpec spec_;
  DenseWeights weights_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_DENSE_H_
