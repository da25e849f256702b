// Models whose layers differ in every part, against a decoder in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "support/adaptive_test_base.h"

namespace sluice::test {
namespace {

struct Swap {
  const char* name;
  std::function<void(Layer*, ProtoArena*)> change;
};

Sluice__Proto__ActivationSpec* make_activation(ProtoArena* arena, Sluice__Proto__Activation kind) {
  auto* activation = arena->make(sluice__proto__activation_spec__init);
  activation->has_kind = 1;
  activation->kind = kind;
  return activation;
}

void make_mla(Layer* layer, ProtoArena* arena) {
  auto* mla = arena->make(sluice__proto__mla_spec__init);
  mla->has_num_q_heads = mla->has_kv_lora_rank = mla->has_qk_nope_head_dim = 1;
  mla->has_qk_rope_head_dim = mla->has_v_head_dim = mla->has_rope = mla->has_softmax_scale = 1;
  mla->num_q_heads = 3;
  mla->kv_lora_rank = 24;
  mla->qk_nope_head_dim = 12;
  mla->qk_rope_head_dim = 16;
  mla->v_head_dim = 20;
  mla->rope = 0;
  mla->softmax_scale = 0.2;
  mla->kv_a_norm = layer->attention_norm;
  layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA;
  layer->mla = mla;
}

void make_moe(Layer* layer, ProtoArena* arena) {
  auto* moe = arena->make(sluice__proto__moe_spec__init);
  moe->has_num_experts = moe->has_num_experts_per_token = moe->has_expert_intermediate_size = 1;
  moe->has_router = 1;
  moe->num_experts = 6;
  moe->num_experts_per_token = 2;
  moe->expert_intermediate_size = 20;
  moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
  moe->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__SILU);
  layer->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
  layer->moe = moe;
}

void make_layer_norms(Layer* layer, ProtoArena* arena) {
  auto* norm = arena->make(sluice__proto__norm_spec__init);
  norm->has_kind = norm->has_eps = norm->has_has_bias = 1;
  norm->kind = SLUICE__PROTO__NORM_KIND__LAYER_NORM;
  norm->eps = 1e-5;
  norm->has_bias = 1;
  layer->attention_norm = layer->feed_forward_norm = norm;
}

// Each part of a layer is chosen by its LayerSpec alone: in the last layer each is swapped for
// another, by itself and all at once; every model is what the description says, and no two are the
// same.
TEST(LayerPartsTest, NormAttentionFeedForwardAndActivationAreSwapped) {
  const Swap swaps[] = {
      {"none", [](Layer*, ProtoArena*) {}},
      {"norm", make_layer_norms},
      {"activation",
       [](Layer* layer, ProtoArena* arena) {
         layer->dense->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__GELU_TANH);
       }},
      {"mla", make_mla},
      {"adaptive",
       [](Layer* layer, ProtoArena* arena) {
         make_adaptive(layer, arena, SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK);
       }},
      {"moe", make_moe},
      {"all",
       [](Layer* layer, ProtoArena* arena) {
         make_layer_norms(layer, arena);
         make_adaptive(layer, arena, SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY);
         make_moe(layer, arena);
         layer->moe->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__GELU);
       }},
  };
  const std::vector<int32_t> ids = prompt(40);
  std::vector<Rows> seen;
  for (const Swap& swap : swaps) {
    SCOPED_TRACE(swap.name);
    ChangedModel model([&](auto* spec, auto* arena) {
      // Layers of the fixture may share parts: the last one gets a feed-forward of its own.
      Layer* layer = spec->layers[spec->n_layers - 1];
      auto* dense = arena->make(sluice__proto__dense_spec__init);
      dense->has_intermediate_size = 1;
      dense->intermediate_size = layer->dense->intermediate_size;
      dense->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__SILU);
      layer->dense = dense;
      swap.change(layer, arena);
    });
    if (HasFailure()) return;
    const Rows wanted = model.wanted(ids);
    EXPECT_LT(distance(model.run(0, ids, {40}), wanted), kBound);
    EXPECT_LT(distance(model.run(1, ids, {13, 1, 26}), wanted), kBound);
    for (const Rows& other : seen) {
      double difference = 0;
      for (size_t v = 0; v < other[39].size(); ++v) {
        difference = std::max(difference, std::abs(other[39][v] - wanted[39][v]));
      }
      EXPECT_GT(difference, 1e-2);
    }
    seen.push_back(wanted);
  }
}

}  // namespace
}  // namespace sluice::test
