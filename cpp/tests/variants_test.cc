// Features of a ModelSpec that no fixture exercises, against a decoder in double precision.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <functional>

#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {
namespace {

constexpr double kBound = 1e-5;

using Change = std::function<void(Sluice__Proto__ModelSpec*, ProtoArena*)>;

struct Variant {
  const char* name;
  Change change;
};

Sluice__Proto__NormSpec* make_norm(
    ProtoArena* arena, Sluice__Proto__NormKind kind, bool bias,
    Sluice__Proto__NormScope scope = SLUICE__PROTO__NORM_SCOPE__WHOLE_ROW) {
  auto* norm = arena->make(sluice__proto__norm_spec__init);
  norm->has_kind = norm->has_eps = norm->has_scope = norm->has_has_bias = 1;
  norm->kind = kind;
  norm->eps = 1e-5;
  norm->scope = scope;
  norm->has_bias = bias;
  return norm;
}

void each_layer(Sluice__Proto__ModelSpec* spec,
                const std::function<void(Sluice__Proto__LayerSpec*)>& change) {
  for (size_t l = 0; l < spec->n_layers; ++l) change(spec->layers[l]);
}

constexpr auto kRms = SLUICE__PROTO__NORM_KIND__RMS_NORM;
constexpr auto kLayer = SLUICE__PROTO__NORM_KIND__LAYER_NORM;

Change activation(Sluice__Proto__Activation kind, bool gated) {
  return [=](Sluice__Proto__ModelSpec* spec, ProtoArena*) {
    each_layer(spec, [=](auto* layer) {
      auto* act = layer->dense->activation;
      act->kind = kind;
      layer->dense->has_gated = 1;
      layer->dense->gated = gated;
      if (kind == SLUICE__PROTO__ACTIVATION__CLAMPED_SWIGLU) {
        act->has_alpha = act->has_beta = act->has_limit = 1;
        act->alpha = 1.702;
        act->beta = 1;
        act->limit = 1.5;
      }
    });
  };
}

Change head_norms(Sluice__Proto__NormScope scope, bool after_rope) {
  return [=](Sluice__Proto__ModelSpec* spec, ProtoArena* arena) {
    each_layer(spec, [=](auto* layer) {
      layer->gqa->q_norm = make_norm(arena, kRms, false, scope);
      layer->gqa->k_norm = make_norm(arena, kRms, false, scope);
      layer->gqa->has_norm_after_rope = 1;
      layer->gqa->norm_after_rope = after_rope;
    });
  };
}

const Variant kVariants[] = {
    {"plain", [](auto*, auto*) {}},
    {"layer_norm_with_bias",
     [](auto* spec, auto* arena) {
       each_layer(spec, [=](auto* layer) {
         layer->attention_norm = make_norm(arena, kLayer, true);
         layer->feed_forward_norm = make_norm(arena, kLayer, true);
       });
       spec->final_norm = make_norm(arena, kLayer, true);
       spec->embedding_norm = make_norm(arena, kLayer, false);
     }},
    {"zero_centred_norm_weights",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         for (auto* norm : {layer->attention_norm, layer->feed_forward_norm}) {
           norm->has_weight_offset = 1;
           norm->weight_offset = 1;
         }
       });
     }},
    {"norms_without_weights",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->attention_norm->has_has_weight = 1;
         layer->attention_norm->has_weight = 0;
         layer->attention_norm->has_weight_offset = 1;
         layer->attention_norm->weight_offset = 1;
       });
     }},
    {"post_norms_and_multipliers",
     [](auto* spec, auto* arena) {
       spec->has_embedding_multiplier = 1;
       spec->embedding_multiplier = 3.5;
       each_layer(spec, [=](auto* layer) {
         layer->post_attention_norm = make_norm(arena, kRms, false);
         layer->post_feed_forward_norm = make_norm(arena, kLayer, true);
         layer->has_residual_multiplier = 1;
         layer->residual_multiplier = 0.3;
       });
     }},
    {"post_norms_alone",
     [](auto* spec, auto* arena) {
       each_layer(spec, [=](auto* layer) {
         layer->attention_norm = layer->feed_forward_norm = nullptr;
         layer->post_attention_norm = make_norm(arena, kRms, false);
         layer->post_feed_forward_norm = make_norm(arena, kRms, false);
       });
     }},
    {"residual_multiplier",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->has_residual_multiplier = 1;
         layer->residual_multiplier = 0.22;
       });
     }},
    {"head_norms", head_norms(SLUICE__PROTO__NORM_SCOPE__PER_HEAD, false)},
    {"head_norms_after_rope", head_norms(SLUICE__PROTO__NORM_SCOPE__PER_HEAD, true)},
    {"head_norms_own_weights", head_norms(SLUICE__PROTO__NORM_SCOPE__PER_HEAD_OWN_WEIGHTS, false)},
    {"head_norms_whole_row", head_norms(SLUICE__PROTO__NORM_SCOPE__WHOLE_ROW, false)},
    {"soft_caps",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->gqa->has_logit_soft_cap = 1;
         layer->gqa->logit_soft_cap = 0.7;
       });
       spec->heads[0]->has_logit_soft_cap = spec->heads[0]->has_logit_multiplier = 1;
       spec->heads[0]->logit_soft_cap = 2;
       spec->heads[0]->logit_multiplier = 1.7;
     }},
    {"every_bias",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         auto* gqa = layer->gqa;
         gqa->has_q_bias = gqa->has_k_bias = gqa->has_v_bias = gqa->has_o_bias = 1;
         gqa->q_bias = gqa->k_bias = gqa->v_bias = gqa->o_bias = 1;
         layer->dense->has_gate_up_bias = layer->dense->has_down_bias = 1;
         layer->dense->gate_up_bias = layer->dense->down_bias = 1;
         layer->has_residual_multiplier = 1;
         layer->residual_multiplier = 0.5;
       });
       spec->heads[0]->has_bias = 1;
       spec->heads[0]->bias = 1;
     }},
    {"biases_of_queries_and_values",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->gqa->has_q_bias = layer->gqa->has_v_bias = 1;
         layer->gqa->q_bias = layer->gqa->v_bias = 1;
       });
     }},
    {"untied_head",
     [](auto* spec, auto*) {
       spec->heads[0]->has_tied = 1;
       spec->heads[0]->tied = 0;
     }},
    {"partial_interleaved_rope",
     [](auto* spec, auto*) {
       spec->ropes[0]->rotary_dim = 8;
       spec->ropes[0]->variants[0]->n_inv_freq = 4;
       spec->ropes[0]->has_interleaved = 1;
       spec->ropes[0]->interleaved = 1;
       spec->ropes[0]->variants[0]->has_attention_scale = 1;
       spec->ropes[0]->variants[0]->attention_scale = 1.3;
     }},
    {"no_rope",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) { layer->gqa->rope = -1; });
       spec->n_ropes = 0;
     }},
    {"sinks",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) { layer->gqa->has_sinks = layer->gqa->sinks = 1; });
     }},
    {"sinks_and_window",
     [](auto* spec, auto*) {
       spec->kv_groups[0]->has_window = 1;
       spec->kv_groups[0]->window = 4;
       spec->layers[1]->gqa->has_sinks = spec->layers[1]->gqa->sinks = 1;
     }},
    {"qkv_clamp",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->gqa->has_qkv_clamp = layer->gqa->has_q_bias = 1;
         layer->gqa->qkv_clamp = 0.7;
         layer->gqa->q_bias = 1;
       });
     }},
    {"output_gate",
     [](auto* spec, auto*) {
       each_layer(spec,
                  [](auto* layer) { layer->gqa->has_output_gate = layer->gqa->output_gate = 1; });
     }},
    {"parallel_residual",
     [](auto* spec, auto* arena) {
       for (const size_t l : {size_t{0}, size_t{2}}) {
         auto* layer = spec->layers[l];
         layer->has_parallel_residual = layer->parallel_residual = 1;
         layer->has_residual_multiplier = 1;
         layer->residual_multiplier = 0.6;
       }
       spec->layers[2]->post_attention_norm = make_norm(arena, kRms, false);
       // One norm for both would be two with the same weights; none is the residual itself.
       spec->layers[0]->feed_forward_norm = nullptr;
     }},
    {"window",
     [](auto* spec, auto*) {
       spec->kv_groups[0]->has_window = 1;
       spec->kv_groups[0]->window = 5;
     }},
    {"multi_query_odd_sizes",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->gqa->num_q_heads = 3;
         layer->gqa->num_kv_heads = 1;
         layer->gqa->head_dim = 20;
         layer->dense->intermediate_size = 37;
       });
       spec->vocab_size = 131;
     }},
    {"gelu", activation(SLUICE__PROTO__ACTIVATION__GELU, true)},
    {"gelu_tanh_not_gated", activation(SLUICE__PROTO__ACTIVATION__GELU_TANH, false)},
    {"relu", activation(SLUICE__PROTO__ACTIVATION__RELU, false)},
    {"relu_squared", activation(SLUICE__PROTO__ACTIVATION__RELU_SQUARED, false)},
    {"quick_gelu", activation(SLUICE__PROTO__ACTIVATION__QUICK_GELU, true)},
    {"sigmoid", activation(SLUICE__PROTO__ACTIVATION__SIGMOID, true)},
    {"clamped_swiglu", activation(SLUICE__PROTO__ACTIVATION__CLAMPED_SWIGLU, true)},
};

class VariantsTest : public ::testing::TestWithParam<Variant> {};

TEST_P(VariantsTest, EqualsTheReference) {
  Fixture fixture("llama");
  GetParam().change(fixture.spec(), &fixture.arena());
  const auto spec = pack_message(fixture.spec()->base);
  OptionValues values;
  EngineHandle engine;
  const Outcome created = engine.create(spec, pack_message(fixture.options(values)->base));
  ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
  sluice_error error = {};
  int64_t size = 0;
  std::vector<uint8_t> buffer(1 << 20);
  ASSERT_EQ(sluice_weights_slots(engine.get(), buffer.data(), 1 << 20, &size, &error),
            SLUICE_STATUS_OK);
  const auto slots = unpack<Sluice__Proto__WeightSlotList>(
      sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(size)});
  const WeightValues weights(*slots);
  const std::string path = ::testing::TempDir() + "sluice_variant_" + std::to_string(::getpid());
  const Outcome loaded = engine.load(*weights.write(path, &fixture.arena()));
  std::remove(path.c_str());
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;

  const std::vector<int32_t> ids = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3, 3, 120, 99};
  const Rows wanted = reference_logits(decode_model_spec(spec), weights, ids);
  const int ropes = static_cast<int>(fixture.spec()->n_ropes);
  Driver driver(engine.get(), static_cast<int>(values.block_size), ropes);
  Sequence sequence;
  size_t at = 0;
  double difference = 0;
  double norm = 0;
  for (size_t count : {size_t{9}, size_t{1}, size_t{5}}) {
    driver.begin();
    driver.feed(&sequence, {ids.data() + at, count});
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver.trace({"logits"}, &tensors);
    ASSERT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    const size_t vocab = wanted[0].size();
    ASSERT_EQ(tensors[0].size(), count * vocab);
    for (size_t i = 0; i < tensors[0].size(); ++i) {
      const double b = wanted[at + i / vocab][i % vocab];
      difference += std::pow(tensors[0][i] - b, 2);
      norm += b * b;
    }
    at += count;
  }
  EXPECT_LT(std::sqrt(difference / norm), kBound);
}

INSTANTIATE_TEST_SUITE_P(Features, VariantsTest, ::testing::ValuesIn(kVariants),
                         [](const auto& each) { return std::string(each.param.name); });

// Layers of two kv groups, one with a window: each group has tables and blocks of its own.
TEST(KvGroupsTest, WindowsAlternate) {
  Fixture fixture("llama");
  auto* wide = fixture.spec()->kv_groups[0];
  auto* narrow = fixture.arena().make(sluice__proto__kv_group_spec__init);
  narrow->has_window = 1;
  narrow->window = 4;
  fixture.spec()->n_kv_groups = 2;
  fixture.spec()->kv_groups = fixture.arena().array(std::vector{wide, narrow});
  fixture.spec()->layers[1]->has_kv_group = 1;
  fixture.spec()->layers[1]->kv_group = 1;
  const auto spec = pack_message(fixture.spec()->base);
  EngineHandle engine;
  const Outcome created = engine.create(spec, pack_message(fixture.options({})->base));
  ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
  ASSERT_EQ(engine.load(*fixture.transfers()).status, SLUICE_STATUS_OK);
  sluice_error error = {};
  int64_t size = 0;
  std::vector<uint8_t> buffer(1 << 20);
  ASSERT_EQ(sluice_weights_slots(engine.get(), buffer.data(), 1 << 20, &size, &error),
            SLUICE_STATUS_OK);
  const auto slots = unpack<Sluice__Proto__WeightSlotList>(
      sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(size)});
  const WeightValues weights(*slots);
  const std::string path = ::testing::TempDir() + "sluice_groups_" + std::to_string(::getpid());
  ASSERT_EQ(engine.load(*weights.write(path, &fixture.arena())).status, SLUICE_STATUS_OK);
  std::remove(path.c_str());

  const std::vector<int32_t> ids = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3};
  const Rows wanted = reference_logits(decode_model_spec(spec), weights, ids);
  Driver driver(engine.get(), 8);
  const auto feed = [&](int32_t begin, int32_t count) {
    driver.begin();
    if (begin == 0) driver.state_op = {{SLUICE_STATE_OP_RESET_SEQ, 0, 0, 0}};
    for (int32_t at = begin; at < begin + count; ++at) {
      driver.token_id.push_back(ids[at]);
      driver.position.push_back(at);
      // Blocks 10, 11 in the wide group, 20, 21 in the narrow one.
      driver.kv_slot.push_back((10 + at / 8) * 8 + at % 8);
      driver.kv_slot.push_back((20 + at / 8) * 8 + at % 8);
      if (at % 8 == 0) {
        driver.block_update.push_back({0, 0, at / 8, 10 + at / 8});
        driver.block_update.push_back({0, 1, at / 8, 20 + at / 8});
      }
    }
    // Out of the window: the narrow group's first block is given back.
    if (begin == 11) driver.block_update.push_back({0, 1, 0, -1});
    driver.seq_slot = {0};
    driver.query_start = {0, count};
    driver.context_len = {begin + count};
    driver.adapter = {0};
    driver.rope_variant = {0};
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver.trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    if (traced.status != SLUICE_STATUS_OK) return;
    const size_t vocab = wanted[0].size();
    for (size_t i = 0; i < tensors[0].size(); ++i) {
      EXPECT_NEAR(tensors[0][i], wanted[begin + i / vocab][i % vocab], 1e-4);
    }
  };
  feed(0, 11);
  feed(11, 1);
  // In the wide group the same block is still needed.
  driver.begin();
  driver.block_update = {{0, 0, 0, -1}};
  driver.token_id = {1};
  driver.position = {12};
  driver.kv_slot = {11 * 8 + 4, 21 * 8 + 4};
  driver.seq_slot = {0};
  driver.query_start = {0, 1};
  driver.context_len = {13};
  driver.adapter = {0};
  driver.rope_variant = {0};
  const Outcome refused = driver.run();
  EXPECT_EQ(refused.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(refused.text.find("no block 0 in kv group 0"), std::string::npos) << refused.text;
}

}  // namespace
}  // namespace sluice::test
