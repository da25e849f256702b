// Several ranks against one, against the fixtures, and against a decoder in double precision.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>

#include "capi/arguments.h"
#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {
namespace {

constexpr double kBound = 1e-4;  // of the fixtures' README
constexpr int kPrompts = 3;
constexpr int kGreedyTokens = 16;

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

struct Case {
  const char* fixture;
  uint32_t size;
};

class TensorParallelParityTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    OptionValues values;
    values.tensor_parallel_size = GetParam().size;
    fixture_ = std::make_unique<Fixture>(GetParam().fixture);
    const Outcome created = engine_.create(*fixture_->spec(), *fixture_->options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    // What lies in the cache before anything is written must never be read.
    for (int rank = 0; rank < static_cast<int>(GetParam().size); ++rank) {
      engine_.get()->engine.kv_cache(rank).fill(0, 0xff);
    }
    const Outcome loaded = engine_.load(*fixture_->transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  std::vector<int32_t> prompt(int i) const {
    return fixture_->expected().ids("input_ids_" + std::to_string(i));
  }

  std::vector<float> logits(int i, size_t chunk, int slot) {
    const std::vector<int32_t> ids = prompt(i);
    Sequence sequence;
    sequence.slot = slot;
    std::vector<float> all;
    for (size_t at = 0; at < ids.size(); at += chunk) {
      driver_->begin();
      driver_->feed(&sequence, {ids.data() + at, std::min(chunk, ids.size() - at)});
      std::vector<std::vector<float>> tensors;
      const Outcome traced = driver_->trace({"logits"}, &tensors);
      EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
      if (traced.status != SLUICE_STATUS_OK) return {};
      all.insert(all.end(), tensors[0].begin(), tensors[0].end());
    }
    return all;
  }

  std::unique_ptr<Fixture> fixture_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(Fixtures, TensorParallelParityTest,
                         ::testing::Values(Case{"llama", 2}, Case{"llama", 4}, Case{"mistral", 2},
                                           Case{"mistral", 4}, Case{"qwen2", 2}, Case{"qwen2", 4},
                                           Case{"llama3_rope", 2}),
                         [](const auto& each) {
                           return std::string(each.param.fixture) + "_" +
                                  std::to_string(each.param.size);
                         });

TEST_P(TensorParallelParityTest, LogitsWholeAndInChunks) {
  for (int i = 0; i < kPrompts; ++i) {
    const std::vector<float> whole = logits(i, 1000, 0);
    const double error =
        relative_error(whole, fixture_->expected().floats("logits64_" + std::to_string(i)));
    EXPECT_LT(error, kBound);
    std::printf("logits64_%d: relative error %.2e\n", i, error);
    // Ranks change nothing of what BATCH_INVARIANT promises.
    const std::vector<float> chunked = logits(i, 5, 1);
    ASSERT_EQ(chunked.size(), whole.size());
    EXPECT_EQ(std::memcmp(chunked.data(), whole.data(), whole.size() * sizeof(float)), 0);
  }
}

TEST_P(TensorParallelParityTest, GreedyTokens) {
  std::vector<Sequence> sequences(kPrompts);
  driver_->begin();
  for (int i = 0; i < kPrompts; ++i) {
    sequences[static_cast<size_t>(i)].slot = i;
    const std::vector<int32_t> ids = prompt(i);
    const int32_t first = driver_->feed(&sequences[static_cast<size_t>(i)], ids);
    driver_->add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(ids.size()) - 1);
  }
  for (int k = 0; k < kGreedyTokens; ++k) {
    const Outcome ran = driver_->run();
    ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    const auto* tokens = driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS);
    std::vector<int32_t> chosen(tokens, tokens + kPrompts);
    driver_->begin();
    for (int i = 0; i < kPrompts; ++i) {
      const std::string name = "greedy_" + std::to_string(i);
      EXPECT_EQ(chosen[static_cast<size_t>(i)],
                fixture_->expected().ids(name)[static_cast<size_t>(k)])
          << name << " " << k;
      // The token of the step before, which every rank knows for itself.
      const int32_t at =
          driver_->feed(&sequences[static_cast<size_t>(i)], std::vector<int32_t>{-1 - i});
      driver_->add_row(SLUICE_OUTPUT_SAMPLE, at);
    }
  }
}

using Change = std::function<void(Sluice__Proto__ModelSpec*, ProtoArena*)>;

struct Variant {
  const char* name;
  Change change;
};

void each_layer(Sluice__Proto__ModelSpec* spec,
                const std::function<void(Sluice__Proto__LayerSpec*)>& change) {
  for (size_t l = 0; l < spec->n_layers; ++l) change(spec->layers[l]);
}

Sluice__Proto__NormSpec* make_norm(ProtoArena* arena, Sluice__Proto__NormScope scope) {
  auto* norm = arena->make(sluice__proto__norm_spec__init);
  norm->has_kind = norm->has_eps = norm->has_scope = 1;
  norm->kind = SLUICE__PROTO__NORM_KIND__RMS_NORM;
  norm->eps = 1e-5;
  norm->scope = scope;
  return norm;
}

Change kv_heads(uint32_t count) {
  return [=](Sluice__Proto__ModelSpec* spec, ProtoArena*) {
    each_layer(spec, [=](auto* layer) { layer->gqa->num_kv_heads = count; });
  };
}

void untie(Sluice__Proto__ModelSpec* spec) {
  spec->heads[0]->has_tied = 1;
  spec->heads[0]->tied = 0;
}

void every_bias(Sluice__Proto__ModelSpec* spec) {
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
}

const Variant kVariants[] = {
    {"four_kv_heads", kv_heads(4)},
    {"two_kv_heads", kv_heads(2)},
    {"one_kv_head", kv_heads(1)},
    {"every_bias", [](auto* spec, auto*) { every_bias(spec); }},
    {"every_bias_shared_kv_head",
     [](auto* spec, auto* arena) {
       every_bias(spec);
       kv_heads(1)(spec, arena);
     }},
    {"biases_of_a_whole_feed_forward",
     [](auto* spec, auto*) {
       every_bias(spec);
       each_layer(spec, [](auto* layer) { layer->dense->intermediate_size = 37; });
     }},
    {"untied", [](auto* spec, auto*) { untie(spec); }},
    {"vocabulary_that_does_not_divide", [](auto* spec, auto*) { spec->vocab_size = 251; }},
    {"untied_vocabulary_that_does_not_divide",
     [](auto* spec, auto*) {
       untie(spec);
       spec->vocab_size = 251;
     }},
    {"intermediate_that_does_not_divide",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) { layer->dense->intermediate_size = 131; });
     }},
    {"one_intermediate_that_does_not_divide",
     [](auto* spec, auto*) { spec->layers[1]->dense->intermediate_size = 99; }},
    {"post_norms_and_multipliers",
     [](auto* spec, auto* arena) {
       spec->has_embedding_multiplier = 1;
       spec->embedding_multiplier = 3.5;
       spec->embedding_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__WHOLE_ROW);
       each_layer(spec, [=](auto* layer) {
         layer->post_attention_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__WHOLE_ROW);
         layer->post_feed_forward_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__WHOLE_ROW);
         layer->has_residual_multiplier = 1;
         layer->residual_multiplier = 0.3;
       });
     }},
    {"head_norms",
     [](auto* spec, auto* arena) {
       each_layer(spec, [=](auto* layer) {
         layer->gqa->q_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__PER_HEAD);
         layer->gqa->k_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__PER_HEAD);
       });
     }},
    {"head_norms_own_weights",
     [](auto* spec, auto* arena) {
       each_layer(spec, [=](auto* layer) {
         layer->gqa->q_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__PER_HEAD_OWN_WEIGHTS);
         layer->gqa->k_norm = make_norm(arena, SLUICE__PROTO__NORM_SCOPE__PER_HEAD_OWN_WEIGHTS);
       });
     }},
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
    {"not_gated",
     [](auto* spec, auto*) {
       each_layer(spec, [](auto* layer) {
         layer->dense->has_gated = 1;
         layer->dense->gated = 0;
       });
     }},
};

class TensorParallelVariantsTest : public ::testing::TestWithParam<std::tuple<Variant, uint32_t>> {
};

TEST_P(TensorParallelVariantsTest, EqualTheReference) {
  const auto& [variant, ranks] = GetParam();
  Fixture fixture("llama");
  variant.change(fixture.spec(), &fixture.arena());
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
  const std::string path = ::testing::TempDir() + "sluice_ranks_" + std::to_string(::getpid());
  const Outcome loaded = engine.load(*weights.write(path, &fixture.arena()));
  std::remove(path.c_str());
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;

  const std::vector<int32_t> ids = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3, 3, 120, 99};
  const Rows wanted =
      reference_logits(decode_model_spec(pack_message(fixture.spec()->base)), weights, ids);
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
  std::vector<float> flat;
  for (const auto& row : wanted) flat.insert(flat.end(), row.begin(), row.end());
  EXPECT_LT(relative_error(got, flat), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Features, TensorParallelVariantsTest,
                         ::testing::Combine(::testing::ValuesIn(kVariants),
                                            ::testing::Values(2u, 4u)),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param).name) + "_" +
                                  std::to_string(std::get<1>(each.param));
                         });

}  // namespace
}  // namespace sluice::test
