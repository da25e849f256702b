/// @file
/// Mixture of experts: a router sends every token to a few of many feed-forwards and adds their
/// results up, weighted. Shared experts run for every token beside them.
///
/// The steps are ops of their own: router product and router (ops/router), capacity
/// (ops/expert_capacity), permute, grouped products, activation, unpermute.
#ifndef SLUICE_LAYERS_MOE_H_
#define SLUICE_LAYERS_MOE_H_

#include <cstdint>
#include <optional>

#include "layers/dense.h"
#include "layers/layer.h"
#include "layers/spec.h"
#include "ops/gemm/weight.h"
#include "ops/permute/permute.h"
#include "ops/router/router.h"

namespace sluice {

/// One matrix per expert, one after another.
struct ExpertMatrices {
  WeightView first;             ///< of expert 0
  int64_t expert_bytes = 0;     ///< from one expert to the next
  const float* bias = nullptr;  ///< [num_experts, first.rows]; nullptr: none
};

struct MoeWeights {
  WeightView router;                       ///< F32 [num_experts or router_hidden_size, hidden_size]
  const float* router_bias = nullptr;      ///< [router.rows]; nullptr: none
  WeightView router_out;                   ///< F32 [num_experts, router_hidden_size]; network only
  const float* router_out_bias = nullptr;  ///< [num_experts]; nullptr: none
  const float* router_noise = nullptr;     ///< [num_experts]; network only
  const float* correction_bias = nullptr;  ///< [num_experts]; nullptr: none
  ExpertMatrices gate_up;  ///< [2 expert_intermediate_size or one of it, hidden_size]
  ExpertMatrices down;     ///< [hidden_size, expert_intermediate_size]
  DenseWeights shared;     ///< with MoeSpec.shared
  WeightView shared_gate;  ///< F32 [1, hidden_size], with MoeSpec.shared_gate
};

/// A token's result depends on its own input and, with a capacity, on the experts that earlier
/// positions of its sequence chose: never on the batch, but for the shared experts with FAST numerics,
/// whose products are the dense layer's, and on CUDA with FAST numerics for all experts, whose kernel
/// is chosen by the number of rows (ops/grouped_gemm).
class MoeLayer : public FeedForwardLayer {
 public:
  /// @param kv_group  whose slots address the side channel
  MoeLayer(const MoeSpec& spec, int32_t kv_group, const MoeWeights& weights);

  /// "experts", num_experts_per_token x uint16, when there is a capacity.
  std::optional<SideChannelShape> side_channel() const override;
  int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const override;
  void run(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
           const void* x, const ResidualTarget& target) const override;

 private:
  // Decisions of the router for the tokens of a step, in the arena.
  struct Routing {
    int32_t* experts;  // [num_tokens, k]
    float* weights;    // [num_tokens, k]
    uint8_t* kept;     // [num_tokens, k]; nullptr without a capacity
  };
  // The same, sorted by expert: see ops/permute/permute.h.
  struct Rows {
    int32_t* expert_offsets;
    int32_t* tokens;
    int32_t* choices;
    int32_t* of_choice;
  };

  int64_t num_choices(int64_t num_tokens) const { return num_tokens * spec_.num_experts_per_token; }
  bool replay(LayerContext& context, int64_t num_tokens, const Routing& out) const;
  void route(LayerContext& context, const StepBatch& batch, const float* x,
             const Routing& out) const;
  void limit(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
             const Routing& routing) const;
  void show(LayerContext& context, int64_t num_tokens, const Routing& routing) const;
  PermuteParams sorting(const StepBatch& batch, const Routing& routing, const Rows& rows) const;
  RouterParams routing_params(int64_t num_tokens, float* logits, const Routing& out) const;
  bool route_at_once(LayerContext& context, const StepBatch& batch, const void* x,
                     const Routing& routing, const Rows& rows) const;
  void run_experts(LayerContext& context, int64_t num_tokens, const Routing& routing,
                   const Rows& rows, const void* x, const std::byte* shared_inner,
                   const ResidualTarget& target) const;
  void activate_rows(LayerContext& context, int64_t num_rows, void* inner) const;
  void run_shared(LayerContext& context, const StepBatch& batch, const void* x, const float* x32,
                  const ResidualTarget& target) const;

  MoeSpec spec_;
  int32_t kv_group_;
  MoeWeights weights_;
  std::optional<DenseLayer> shared_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_MOE_H_
