// Adaptive attention through the engine, and models whose layers differ in every part, against a
// decoder in double precision.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {
namespace {

using Layer = Sluice__Proto__LayerSpec;
using Adaptive = Sluice__Proto__AdaptiveAttentionSpec;

constexpr double kBound = 1e-5;

// The llama fixture with layers that a test changes, and random weights.
class Model {
 public:
  using Change = std::function<void(Sluice__Proto__ModelSpec*, ProtoArena*)>;

  explicit Model(const Change& change, const OptionValues& values = {}) : values_(values) {
    change(fixture_.spec(), &fixture_.arena());
    const Outcome created = engine_.create(*fixture_.spec(), *fixture_.options(values_));
    EXPECT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    if (created.status != SLUICE_STATUS_OK) return;
    std::vector<uint8_t> bytes(1 << 20);
    sluice_error error = {};
    int64_t size = 0;
    EXPECT_EQ(sluice_weights_slots(engine_.get(), bytes.data(), 1 << 20, &size, &error),
              SLUICE_STATUS_OK);
    const auto slots = unpack<Sluice__Proto__WeightSlotList>(
        sluice__proto__weight_slot_list__descriptor, {bytes.data(), static_cast<size_t>(size)});
    weights_ = std::make_unique<WeightValues>(*slots);
    const std::string path = ::testing::TempDir() + "sluice_adaptive_" + std::to_string(::getpid());
    const Outcome loaded = engine_.load(*weights_->write(path, &fixture_.arena()));
    std::remove(path.c_str());
    EXPECT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values_.block_size),
                                       static_cast<int>(fixture_.spec()->n_ropes));
  }

  Rows wanted(const std::vector<int32_t>& ids) {
    return reference_logits(decode_model_spec(pack_message(fixture_.spec()->base)), *weights_, ids);
  }

  // Logits of the message in work.
  std::vector<float> trace() {
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver_->trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    return tensors.empty() ? std::vector<float>() : tensors[0];
  }

  // Logits of `ids` fed in chunks of these sizes to one sequence; the last size repeats.
  std::vector<float> run(int32_t slot, const std::vector<int32_t>& ids,
                         const std::vector<size_t>& chunks) {
    Sequence sequence;
    sequence.slot = slot;
    std::vector<float> all;
    size_t at = 0;
    for (size_t i = 0; at < ids.size(); ++i) {
      const size_t count = std::min(chunks[std::min(i, chunks.size() - 1)], ids.size() - at);
      driver_->begin();
      driver_->feed(&sequence, {ids.data() + at, count});
      const std::vector<float> part = trace();
      all.insert(all.end(), part.begin(), part.end());
      at += count;
    }
    return all;
  }

  Driver& driver() { return *driver_; }
  size_t num_layers() { return static_cast<size_t>(fixture_.num_layers()); }
  size_t vocab() { return static_cast<size_t>(fixture_.vocab_size()); }

 private:
  OptionValues values_;
  Fixture fixture_{"llama"};
  EngineHandle engine_;
  std::unique_ptr<WeightValues> weights_;
  std::unique_ptr<Driver> driver_;
};

std::vector<int32_t> prompt(size_t length) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<int32_t>((i * i * 7 + i * 13 + 5) % 120));
  }
  return ids;
}

double distance(const std::vector<float>& actual, const Rows& wanted) {
  const size_t vocab = wanted[0].size();
  EXPECT_EQ(actual.size(), wanted.size() * vocab);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double b = wanted[i / vocab][i % vocab];
    difference += std::pow(actual[i] - b, 2);
    norm += b * b;
  }
  return std::sqrt(difference / norm);
}

void make_adaptive(Layer* layer, ProtoArena* arena, Sluice__Proto__AdaptiveAttentionKind kind) {
  auto* spec = arena->make(sluice__proto__adaptive_attention_spec__init);
  spec->has_kind = spec->has_num_q_heads = spec->has_head_dim = spec->has_softmax_scale = 1;
  spec->kind = kind;
  spec->num_q_heads = 4;
  spec->head_dim = 16;
  spec->softmax_scale = 0.4;
  spec->has_relative_positions = spec->has_sparse_gate = spec->has_sparse_gate_threshold = 1;
  spec->relative_positions = 11;
  spec->sparse_gate = 1;
  spec->sparse_gate_threshold = 0.4;
  switch (kind) {
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY:
      spec->has_density_threshold = 1;
      spec->density_threshold = 0.6;
      [[fallthrough]];
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_SLIDING_WINDOW:
      spec->has_window = 1;
      spec->window = 7;
      break;
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK:
      spec->has_top_k = 1;
      spec->top_k = 6;
      break;
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_SPARSE:
      spec->has_sparse_block_size = spec->has_num_global_blocks = spec->has_num_local_blocks = 1;
      spec->has_num_random_blocks = spec->has_random_block_seed = 1;
      spec->sparse_block_size = 5;
      spec->num_global_blocks = spec->num_local_blocks = 1;
      spec->num_random_blocks = 2;
      spec->random_block_seed = 2024;
      break;
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK:
      spec->has_sparse_block_size = spec->has_block_keep_percent = 1;
      spec->sparse_block_size = 3;
      spec->block_keep_percent = 30;
      break;
    default:
      break;
  }
  layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE;
  layer->adaptive = spec;
}

struct Kind {
  const char* name;
  Sluice__Proto__AdaptiveAttentionKind kind;
};

const Kind kKinds[] = {
    {"full", SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_FULL},
    {"sliding_window", SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_SLIDING_WINDOW},
    {"topk", SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK},
    {"density", SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY},
    {"block_sparse", SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_SPARSE},
    {"block_topk", SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK},
};

class AdaptiveKindTest : public ::testing::TestWithParam<Kind> {
 protected:
  static Model::Change all_layers(bool biases) {
    return [=](auto* spec, auto* arena) {
      for (size_t l = 0; l < spec->n_layers; ++l) {
        make_adaptive(spec->layers[l], arena, GetParam().kind);
        Adaptive* adaptive = spec->layers[l]->adaptive;
        adaptive->has_qkv_bias = adaptive->has_o_bias = 1;
        adaptive->qkv_bias = adaptive->o_bias = biases;
        adaptive->sparse_gate = biases;
      }
      spec->n_ropes = 0;
    };
  }
};

TEST_P(AdaptiveKindTest, EqualsTheReference) {
  const std::vector<int32_t> ids = prompt(60);
  for (const bool biases : {true, false}) {
    for (const uint32_t block_size : {4u, 32u}) {
      OptionValues values;
      values.block_size = block_size;
      Model model(all_layers(biases), values);
      const Rows wanted = model.wanted(ids);
      EXPECT_LT(distance(model.run(0, ids, {60}), wanted), kBound) << block_size;
      EXPECT_LT(distance(model.run(1, ids, {23, 1, 30, 2}), wanted), kBound) << block_size;
    }
  }
}

// Decisions may flip where everything is rounded: only that it runs and is not far off.
TEST_P(AdaptiveKindTest, Bfloat16IsNear) {
  OptionValues values;
  values.compute_format = values.kv_format = SLUICE__PROTO__FORMAT__BF16;
  Model model(all_layers(true), values);
  const std::vector<int32_t> ids = prompt(40);
  EXPECT_LT(distance(model.run(0, ids, {7, 1, 32}), model.wanted(ids)), 0.3);
}

// Bits do not depend on the batch, the chunks or the threads.
TEST_P(AdaptiveKindTest, BitsDependOnTheSequenceAlone) {
  const std::vector<int32_t> ids = prompt(100);
  OptionValues values;
  values.num_threads = 1;
  Model one(all_layers(true), values);
  const std::vector<float> all = one.run(0, ids, {100});
  values.num_threads = 3;
  values.block_size = 16;
  Model many(all_layers(true), values);
  const auto expect_same = [&](const float* part, size_t tokens) {
    ASSERT_EQ(std::memcmp(part, all.data(), tokens * many.vocab() * 4), 0);
  };
  expect_same(many.run(0, ids, {51, 2, 1, 46}).data(), 100);
  expect_same(many.run(1, ids, {1}).data(), 100);
  Sequence a, b;
  a.slot = 2;
  b.slot = 3;
  many.driver().begin();
  many.driver().feed(&a, {ids.data(), 70});
  many.driver().feed(&b, {ids.data(), 17});
  const std::vector<float> both = many.trace();
  expect_same(both.data(), 70);
  expect_same(both.data() + 70 * many.vocab(), 17);
}

// Masks come some tokens at a time where they are large, across sequences; to ask for them, or to
// give them back, changes no result.
TEST_P(AdaptiveKindTest, MasksAreShownAndReplayed) {
  const std::vector<int32_t> ids = prompt(900);
  OptionValues values;
  values.num_blocks = 120;
  values.max_context_len = values.max_step_tokens = 900;
  Model model(all_layers(true), values);
  const auto feed = [&] {
    Sequence a, b;
    a.slot = 0;
    b.slot = 1;
    model.driver().begin();
    model.driver().set_next_block(0);
    model.driver().feed(&a, {ids.data(), 620});
    model.driver().feed(&b, {ids.data(), 280});
  };
  feed();
  const std::vector<float> plain = model.trace();
  std::vector<std::string> names = {"logits"};
  for (size_t l = 0; l < model.num_layers(); ++l) {
    names.push_back("attention_keep_" + std::to_string(l));
  }
  std::vector<TracedTensor> shown, replayed;
  feed();
  const Outcome first = model.driver().trace(names, {}, &shown);
  ASSERT_EQ(first.status, SLUICE_STATUS_OK) << first.text;
  EXPECT_EQ(shown[0].values<float>(), plain);
  const bool per_head =
      GetParam().kind == SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK ||
      GetParam().kind == SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK;
  const size_t planes = per_head ? 4 : 1;
  ASSERT_EQ(shown[1].shape, (std::vector<uint64_t>{900, planes, 620}));
  for (size_t row = 0; row < 900 * planes; ++row) {
    const size_t token = row / planes, position = token < 620 ? token : token - 620;
    size_t count = 0;
    for (size_t j = 0; j < 620; ++j) {
      const bool kept = shown[1].bytes[row * 620 + j] != 0;
      // Under top-k the own key is one of many.
      const bool own = GetParam().kind != SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK;
      ASSERT_FALSE(j > position && kept) << "row " << row << " key " << j;
      ASSERT_TRUE(j != position || kept || !own) << "row " << row;
      count += kept;
    }
    if (GetParam().kind == SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK) {
      ASSERT_EQ(count, std::min<size_t>(6, position + 1)) << "row " << row;
    }
  }
  feed();
  const Outcome second = model.driver().trace(names, {shown.begin() + 1, shown.end()}, &replayed);
  ASSERT_EQ(second.status, SLUICE_STATUS_OK) << second.text;
  for (size_t i = 1; i < names.size(); ++i) EXPECT_EQ(replayed[i].bytes, shown[i].bytes);
  double difference = 0;
  const std::vector<float> again = replayed[0].values<float>();
  for (size_t i = 0; i < plain.size(); ++i) {
    difference = std::max(difference, std::abs(double{again[i]} - plain[i]));
  }
  EXPECT_LT(difference, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AdaptiveKindTest, ::testing::ValuesIn(kKinds),
                         [](const auto& each) { return std::string(each.param.name); });

// The same numbers of blocks are drawn differently in every layer.
TEST(AdaptiveLayersTest, EveryKindInOneModel) {
  const std::vector<int32_t> ids = prompt(60);
  Model model([](auto* spec, auto* arena) {
    std::vector<Layer*> layers;
    for (const Kind& kind : kKinds) {
      for (int i = 0; i < 2; ++i) {
        auto* layer = arena->make(sluice__proto__layer_spec__init);
        auto base = layer->base;
        *layer = *spec->layers[0];
        layer->base = base;
        make_adaptive(layer, arena, kind.kind);
        layers.push_back(layer);
      }
    }
    spec->n_layers = layers.size();
    spec->layers = arena->array(layers);
    spec->n_ropes = 0;
  });
  const Rows wanted = model.wanted(ids);
  EXPECT_LT(distance(model.run(0, ids, {60}), wanted), kBound);
  EXPECT_LT(distance(model.run(1, ids, {11, 1}), wanted), kBound);
}

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
    Model model([&](auto* spec, auto* arena) {
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
