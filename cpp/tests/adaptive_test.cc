// Adaptive attention through the engine, against a decoder in double precision.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/adaptive_test_base.h"

namespace sluice::test {
namespace {

using Adaptive = Sluice__Proto__AdaptiveAttentionSpec;

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
  static ChangedModel::Change all_layers(bool biases) {
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
      ChangedModel model(all_layers(biases), values);
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
  ChangedModel model(all_layers(true), values);
  const std::vector<int32_t> ids = prompt(40);
  EXPECT_LT(distance(model.run(0, ids, {7, 1, 32}), model.wanted(ids)), 0.3);
}

// Bits do not depend on the batch, the chunks or the threads.
TEST_P(AdaptiveKindTest, BitsDependOnTheSequenceAlone) {
  const std::vector<int32_t> ids = prompt(100);
  OptionValues values;
  values.num_threads = 1;
  ChangedModel one(all_layers(true), values);
  const std::vector<float> all = one.run(0, ids, {100});
  values.num_threads = 3;
  values.block_size = 16;
  ChangedModel many(all_layers(true), values);
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
  ChangedModel model(all_layers(true), values);
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
  ChangedModel model([](auto* spec, auto* arena) {
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

}  // namespace
}  // namespace sluice::test
