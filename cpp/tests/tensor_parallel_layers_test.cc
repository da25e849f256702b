// Layers of every kind shared by ranks, against the reference in double: what is cut by heads, by
// experts' insides or not at all, and biases that only one rank may add.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <tuple>

#include "support/driver.h"
#include "support/mla_test_base.h"
#include "support/moe_test_base.h"
#include "support/reference.h"

namespace sluice::test {
namespace {

struct Kind {
  const char* name;
  std::function<void(Fixture*)> change;
};

template <class ChangeLayer>
void each_layer(Fixture* fixture, const ChangeLayer& change) {
  for (size_t l = 0; l < fixture->spec()->n_layers; ++l) change(fixture->spec()->layers[l]);
}

void make_experts(Fixture* fixture, const std::function<void(Sluice__Proto__MoeSpec*)>& change) {
  each_layer(fixture, [&](Sluice__Proto__LayerSpec* layer) {
    auto* moe = fixture->arena().make(sluice__proto__moe_spec__init);
    moe->has_num_experts = moe->has_num_experts_per_token = 1;
    moe->num_experts = 8;
    moe->num_experts_per_token = 2;
    moe->has_expert_intermediate_size = moe->has_router = 1;
    moe->expert_intermediate_size = 24;
    moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
    moe->activation = make_activation(&fixture->arena(), SLUICE__PROTO__ACTIVATION__SILU);
    moe->has_router_bias = moe->has_gate_up_bias = moe->has_down_bias = 1;
    moe->router_bias = moe->gate_up_bias = moe->down_bias = 1;
    change(moe);
    layer->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
    layer->moe = moe;
  });
}

// Shared experts behind a gate, all with biases.
void share_an_expert(Fixture* fixture, uint32_t intermediate_size) {
  make_experts(fixture, [=](Sluice__Proto__MoeSpec* moe) {
    auto* shared = fixture->arena().make(sluice__proto__dense_spec__init);
    shared->has_intermediate_size = shared->has_gate_up_bias = shared->has_down_bias = 1;
    shared->intermediate_size = intermediate_size;
    shared->activation = moe->activation;
    shared->gate_up_bias = shared->down_bias = 1;
    moe->shared = shared;
    moe->has_shared_gate = moe->shared_gate = 1;
  });
}

// Gates, relative positions and biases of heads; the density of a key is one for all heads.
void make_adaptive(Fixture* fixture, Sluice__Proto__AdaptiveAttentionKind kind) {
  each_layer(fixture, [=](Sluice__Proto__LayerSpec* layer) {
    auto* spec = fixture->arena().make(sluice__proto__adaptive_attention_spec__init);
    spec->has_kind = spec->has_num_q_heads = spec->has_head_dim = 1;
    spec->has_softmax_scale = spec->has_relative_positions = 1;
    spec->kind = kind;
    spec->num_q_heads = 4;
    spec->head_dim = 16;
    spec->softmax_scale = 0.25;
    spec->relative_positions = 5;
    spec->has_qkv_bias = spec->has_o_bias = spec->has_sparse_gate = 1;
    spec->qkv_bias = spec->o_bias = spec->sparse_gate = 1;
    spec->has_sparse_gate_threshold = 1;
    spec->sparse_gate_threshold = 0.4;
    if (kind == SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY) {
      spec->has_window = spec->has_density_threshold = 1;
      spec->window = 3;
      spec->density_threshold = 0.5;
    } else {
      spec->has_top_k = 1;
      spec->top_k = 3;
    }
    layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE;
    layer->adaptive = spec;
  });
}

const Kind kKinds[] = {
    {"experts", [](Fixture* f) { make_experts(f, [](auto*) {}); }},
    {"experts_that_do_not_divide",
     [](Fixture* f) { make_experts(f, [](auto* moe) { moe->expert_intermediate_size = 19; }); }},
    {"experts_scaled_before",
     [](Fixture* f) {
       make_experts(f, [](auto* moe) { moe->has_scale_input = moe->scale_input = 1; });
     }},
    {"experts_with_capacity",
     [](Fixture* f) {
       make_experts(f, [](auto* moe) {
         moe->has_expert_capacity = 1;
         moe->expert_capacity = 3;
       });
     }},
    {"shared_expert", [](Fixture* f) { share_an_expert(f, 40); }},
    {"shared_expert_that_does_not_divide", [](Fixture* f) { share_an_expert(f, 41); }},
    {"latent", [](Fixture* f) { make_mla(f, {}); }},
    {"latent_with_biases", [](Fixture* f) { make_mla(f, {.bias = true}); }},
    {"latent_without_query_compression", [](Fixture* f) { make_mla(f, {.q_rank = 0}); }},
    {"adaptive_density",
     [](Fixture* f) {
       make_adaptive(f, SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY);
     }},
    {"adaptive_topk",
     [](Fixture* f) { make_adaptive(f, SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK); }},
    {"sinks_and_output_gate",
     [](Fixture* f) {
       each_layer(f, [](Sluice__Proto__LayerSpec* layer) {
         layer->gqa->has_sinks = layer->gqa->has_output_gate = 1;
         layer->gqa->sinks = layer->gqa->output_gate = 1;
       });
     }},
};

class TensorParallelLayersTest : public ::testing::TestWithParam<std::tuple<Kind, uint32_t>> {};

TEST_P(TensorParallelLayersTest, EqualTheReference) {
  const auto& [kind, ranks] = GetParam();
  Fixture fixture("llama");
  kind.change(&fixture);
  OptionValues values;
  values.tensor_parallel_size = ranks;
  EngineHandle engine;
  const Outcome created = engine.create(*fixture.spec(), *fixture.options(values));
  ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
  sluice_error error = {};
  int64_t size = 0;
  std::vector<uint8_t> buffer(1 << 20);
  ASSERT_EQ(sluice_weights_slots(engine.get(), buffer.data(), 1 << 20, &size, &error),
            SLUICE_STATUS_OK);
  const auto slots = unpack<Sluice__Proto__WeightSlotList>(
      sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(size)});
  const WeightValues weights(*slots);
  const std::string path = ::testing::TempDir() + "sluice_layers_" + std::to_string(::getpid());
  const Outcome loaded = engine.load(*weights.write(path, &fixture.arena()));
  std::remove(path.c_str());
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;

  const std::vector<int32_t> ids = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3, 3, 120, 99};
  Driver driver(engine.get(), static_cast<int>(values.block_size));
  Sequence sequence;
  size_t at = 0;
  std::vector<float> got;
  for (size_t count : {size_t{9}, size_t{1}, size_t{5}}) {
    driver.begin();
    driver.feed(&sequence, {ids.data() + at, count});
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver.trace({"logits"}, &tensors);
    ASSERT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    got.insert(got.end(), tensors[0].begin(), tensors[0].end());
    at += count;
  }
  const Rows wanted =
      reference_logits(decode_model_spec(pack_message(fixture.spec()->base)), weights, ids);
  const size_t vocab = wanted[0].size();
  ASSERT_EQ(got.size(), wanted.size() * vocab);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double value = wanted[i / vocab][i % vocab];
    difference += std::pow(got[i] - value, 2);
    norm += value * value;
  }
  EXPECT_LT(std::sqrt(difference / norm), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TensorParallelLayersTest,
                         ::testing::Combine(::testing::ValuesIn(kKinds), ::testing::Values(2u, 4u)),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param).name) + "_" +
                                  std::to_string(std::get<1>(each.param));
                         });

}  // namespace
}  // namespace sluice::test
