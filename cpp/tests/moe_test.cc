// Mixtures of experts in an engine, against a decoder in double precision.
#include <cmath>
#include <map>

#include "support/moe_test_base.h"

namespace sluice::test {
namespace {

using Moe = Sluice__Proto__MoeSpec;
using Model = Sluice__Proto__ModelSpec;

constexpr double kBound = 1e-5;
constexpr double kBf16Bound = 2e-2;

void biases(Moe* moe) {
  moe->has_router_bias = moe->has_gate_up_bias = moe->has_down_bias = 1;
  moe->router_bias = moe->gate_up_bias = moe->down_bias = 1;
}

void sizes(Moe* moe, uint32_t experts, uint32_t per_token) {
  moe->num_experts = experts;
  moe->num_experts_per_token = per_token;
}

void groups(Moe* moe, uint32_t count, uint32_t per_token, Sluice__Proto__GroupScore score) {
  moe->has_num_groups = moe->has_num_groups_per_token = moe->has_group_score = 1;
  moe->num_groups = count;
  moe->num_groups_per_token = per_token;
  moe->group_score = score;
}

void scale(Moe* moe, double factor) {
  moe->has_routed_scaling_factor = 1;
  moe->routed_scaling_factor = factor;
}

void network(Moe* moe, ProtoArena* arena) {
  moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_NOISY_NETWORK;
  moe->has_router_hidden_size = 1;
  moe->router_hidden_size = 40;
  moe->normalize_top_k = 0;
  biases(moe);
  moe->has_gated = 1;
  moe->gated = 0;
  moe->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__GELU);
}

void capacity(Moe* moe, uint32_t accepted, uint32_t window) {
  moe->has_expert_capacity = moe->has_capacity_window = 1;
  moe->expert_capacity = accepted;
  moe->capacity_window = window;
}

void share(Moe* moe, ProtoArena* arena, bool gate) {
  moe->shared = arena->make(sluice__proto__dense_spec__init);
  moe->shared->has_intermediate_size = 1;
  moe->shared->intermediate_size = 50;
  moe->shared->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__SILU);
  moe->has_shared_gate = 1;
  moe->shared_gate = gate;
}

struct Variant {
  const char* name;
  MoeChange change;
};

const Variant kVariants[] = {
    {"softmax_normalized", [](Moe*, Model*, ProtoArena*) {}},
    {"softmax",
     [](Moe* moe, Model*, ProtoArena*) {
       moe->normalize_top_k = 0;
       sizes(moe, 8, 3);
     }},
    {"softmax_scaled_groups",
     [](Moe* moe, Model*, ProtoArena*) {
       moe->normalize_top_k = 0;
       sizes(moe, 16, 3);
       scale(moe, 4);
       groups(moe, 4, 2, SLUICE__PROTO__GROUP_SCORE__GROUP_MAX);
     }},
    {"sigmoid_bias_groups_shared",
     [](Moe* moe, Model*, ProtoArena* arena) {
       moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SIGMOID;
       moe->has_correction_bias = moe->correction_bias = 1;
       sizes(moe, 16, 4);
       moe->has_normalize_epsilon = 1;
       moe->normalize_epsilon = 1e-20;
       scale(moe, 2.5);
       groups(moe, 4, 2, SLUICE__PROTO__GROUP_SCORE__GROUP_TOP2_SUM);
       share(moe, arena, false);
     }},
    {"topk_softmax_biases_clamped",
     [](Moe* moe, Model*, ProtoArena*) {
       moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_TOPK_SOFTMAX;
       moe->normalize_top_k = 0;
       biases(moe);
       auto* act = moe->activation;
       act->kind = SLUICE__PROTO__ACTIVATION__CLAMPED_SWIGLU;
       act->has_alpha = act->has_beta = act->has_limit = 1;
       act->alpha = 1.702;
       act->beta = 1;
       act->limit = 1.5;
     }},
    {"network", [](Moe* moe, Model*, ProtoArena* arena) { network(moe, arena); }},
    {"capacity_in_windows",
     [](Moe* moe, Model*, ProtoArena* arena) {
       network(moe, arena);
       capacity(moe, 2, 6);
     }},
    {"capacity_of_the_sequence", [](Moe* moe, Model*, ProtoArena*) { capacity(moe, 3, 0); }},
    {"shared_behind_a_gate",
     [](Moe* moe, Model* spec, ProtoArena* arena) {
       share(moe, arena, true);
       spec->layers[0]->has_residual_multiplier = 1;
       spec->layers[0]->residual_multiplier = 0.4;
     }},
    {"weights_scale_the_input",
     [](Moe* moe, Model*, ProtoArena*) {
       biases(moe);
       moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SIGMOID;
       moe->normalize_top_k = 0;
       moe->has_scale_input = moe->scale_input = 1;
     }},
    {"one_expert", [](Moe* moe, Model*, ProtoArena*) { sizes(moe, 1, 1); }},
    {"every_expert",
     [](Moe* moe, Model*, ProtoArena*) {
       sizes(moe, 5, 5);
       moe->normalize_top_k = 0;
     }},
    {"more_experts_than_choices", [](Moe* moe, Model*, ProtoArena*) { sizes(moe, 96, 2); }},
    {"odd_sizes",
     [](Moe* moe, Model* spec, ProtoArena*) {
       sizes(moe, 7, 3);
       moe->expert_intermediate_size = 37;
       spec->layers[0]->has_residual_multiplier = 1;
       spec->layers[0]->residual_multiplier = 0.7;
     }},
};

const std::vector<int32_t> kIds = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3, 3, 120, 99};

// Feeds kIds in chunks; the logits of all positions one after another.
std::vector<float> logits_of(Driver& driver, const std::vector<size_t>& chunks) {
  driver.set_next_block(0);
  Sequence sequence;
  std::vector<float> out;
  size_t at = 0;
  for (size_t count : chunks) {
    driver.begin();
    driver.feed(&sequence, {kIds.data() + at, count});
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver.trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    if (traced.status != SLUICE_STATUS_OK) return out;
    out.insert(out.end(), tensors[0].begin(), tensors[0].end());
    at += count;
  }
  return out;
}

double distance(const std::vector<float>& logits, const Rows& wanted) {
  double difference = 0, norm = 0;
  const size_t vocab = wanted[0].size();
  for (size_t i = 0; i < logits.size(); ++i) {
    const double b = wanted[i / vocab][i % vocab];
    difference += std::pow(logits[i] - b, 2);
    norm += b * b;
  }
  return std::sqrt(difference / norm);
}

class MoeTest : public ::testing::TestWithParam<Variant> {};

TEST_P(MoeTest, EqualsTheReferenceWholeAndInChunks) {
  MoeModel model(GetParam().change);
  EngineHandle engine;
  ASSERT_NO_FATAL_FAILURE(model.open(&engine, {}));
  std::vector<MoeDecisions> decisions;
  const Rows wanted = model.reference(kIds, &decisions);
  for (const MoeDecisions& layer : decisions) {
    ASSERT_GT(layer.gap, 1e-6) << "float32 may choose otherwise: take other weights";
  }
  Driver driver(engine.get(), 8);
  const std::vector<float> whole = logits_of(driver, {kIds.size()});
  EXPECT_LT(distance(whole, wanted), kBound);
  // BATCH_INVARIANT: the same bits in every cut, with any number of threads and in a batch.
  EXPECT_EQ(logits_of(driver, {9, 1, 5}), whole);
  for (const uint32_t threads : {1u, 3u}) {
    EngineHandle other;
    OptionValues values;
    values.num_threads = threads;
    ASSERT_NO_FATAL_FAILURE(model.open(&other, values));
    Driver other_driver(other.get(), 8);
    EXPECT_EQ(logits_of(other_driver, {4, 4, 7}), whole) << threads << " threads";
  }
  EngineHandle fast;
  OptionValues values;
  values.numerics = SLUICE__PROTO__NUMERICS__FAST;
  ASSERT_NO_FATAL_FAILURE(model.open(&fast, values));
  Driver fast_driver(fast.get(), 8);
  EXPECT_LT(distance(logits_of(fast_driver, {kIds.size()}), wanted), kBound);
}

// Names of the router's tensors of every layer, three a layer; without a capacity two.
std::vector<std::string> router_names(int num_layers, bool kept) {
  std::vector<std::string> names;
  for (int l = 0; l < num_layers; ++l) {
    for (const char* what : {"router_idx_", "router_weight_", "router_kept_"}) {
      if (kept || std::string(what) != "router_kept_") names.push_back(what + std::to_string(l));
    }
  }
  return names;
}

TEST_P(MoeTest, RoutersDecideAsTheReference) {
  MoeModel model(GetParam().change);
  EngineHandle engine;
  ASSERT_NO_FATAL_FAILURE(model.open(&engine, {}));
  std::vector<MoeDecisions> decisions;
  model.reference(kIds, &decisions);
  const bool limited = model.spec()->layers[0]->moe->expert_capacity > 0;
  const int num_layers = static_cast<int>(decisions.size());
  const auto names = router_names(num_layers, limited);
  Driver driver(engine.get(), 8);
  Sequence sequence;
  for (const size_t count : {size_t{9}, size_t{6}}) {
    const size_t first = static_cast<size_t>(sequence.context_len);
    driver.begin();
    driver.feed(&sequence, {kIds.data() + first, count});
    std::vector<TracedTensor> traced;
    const Outcome ran = driver.trace(names, {}, &traced);
    ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    int dropped = 0;
    for (size_t n = 0; n < names.size(); ++n) {
      const MoeDecisions& layer = decisions[n / (limited ? 3 : 2)];
      const size_t k = layer.experts[0].size();
      for (size_t i = 0; i < count * k; ++i) {
        const size_t t = first + i / k;
        SCOPED_TRACE(names[n] + " position " + std::to_string(t));
        if (names[n].starts_with("router_idx")) {
          ASSERT_EQ(traced[n].values<int32_t>()[i], layer.experts[t][i % k]);
        } else if (names[n].starts_with("router_weight")) {
          const double weight = layer.weights[t][i % k];
          ASSERT_NEAR(traced[n].values<float>()[i], weight, 1e-5 * std::max(1.0, weight));
        } else {
          ASSERT_EQ(traced[n].values<uint8_t>()[i] != 0, layer.kept[t][i % k]);
          dropped += layer.kept[t][i % k] ? 0 : 1;
        }
      }
    }
    if (limited) {
      EXPECT_GT(dropped, 0);
    }
  }
}

// With bfloat16's own choices other experts would be compared: those of float32 are taken over.
TEST_P(MoeTest, Bfloat16WithTheChoicesOfFloat32) {
  MoeModel model(GetParam().change);
  EngineHandle wide, narrow;
  ASSERT_NO_FATAL_FAILURE(model.open(&wide, {}));
  OptionValues values;
  values.compute_format = values.kv_format = SLUICE__PROTO__FORMAT__BF16;
  ASSERT_NO_FATAL_FAILURE(model.open(&narrow, values));
  std::vector<MoeDecisions> decisions;
  const Rows wanted = model.reference(kIds, &decisions);
  const auto names = router_names(static_cast<int>(decisions.size()), false);
  const auto trace = [&](EngineHandle& engine, const std::vector<std::string>& what,
                         const std::vector<TracedTensor>& replay) {
    Driver driver(engine.get(), 8);
    Sequence sequence;
    driver.feed(&sequence, kIds);
    std::vector<TracedTensor> traced;
    const Outcome ran = driver.trace(what, replay, &traced);
    EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    return traced;
  };
  const auto chosen = trace(wide, names, {});
  ASSERT_EQ(chosen.size(), names.size());
  const auto logits = trace(narrow, {"logits"}, chosen);
  ASSERT_EQ(logits.size(), 1u);
  const double error = distance(logits[0].values<float>(), wanted);
  EXPECT_LT(error, kBf16Bound);
  EXPECT_GT(error, kBound);  // it did compute in bfloat16
}

INSTANTIATE_TEST_SUITE_P(Features, MoeTest, ::testing::ValuesIn(kVariants),
                         [](const auto& each) { return std::string(each.param.name); });

// All tokens to one expert, the others with none: what the others' weights hold is never looked at.
TEST(MoeLoadTest, EveryTokenToOneExpert) {
  MoeModel model([](Moe* moe, Model*, ProtoArena*) {
    sizes(moe, 8, 1);
    biases(moe);
  });
  const int num_layers = static_cast<int>(model.spec()->n_layers);
  model.edit_weights = [=](WeightValues* weights) {
    for (int layer = 0; layer < num_layers; ++layer) {
      std::vector<float> bias = weights->get(SLUICE__PROTO__SLOT__ROUTER_BIAS, layer, 0);
      bias[3] = 50;
      weights->set(SLUICE__PROTO__SLOT__ROUTER_BIAS, layer, 0, bias);
      for (int slot : {SLUICE__PROTO__SLOT__EXPERT_DOWN, SLUICE__PROTO__SLOT__EXPERT_DOWN_BIAS}) {
        std::vector<float> values = weights->get(slot, layer, 0);
        for (size_t i = 0; i < values.size(); ++i) {
          if (i * 8 / values.size() != 3) values[i] = NAN;
        }
        weights->set(slot, layer, 0, values);
      }
    }
  };
  EngineHandle engine;
  ASSERT_NO_FATAL_FAILURE(model.open(&engine, {}));
  std::vector<MoeDecisions> decisions;
  const Rows wanted = model.reference(kIds, &decisions);
  for (const MoeDecisions& layer : decisions) {
    for (const auto& chosen : layer.experts) ASSERT_EQ(chosen, std::vector<int>{3});
  }
  Driver driver(engine.get(), 8);
  const std::vector<float> whole = logits_of(driver, {kIds.size()});
  EXPECT_LT(distance(whole, wanted), kBound);
  EXPECT_EQ(logits_of(driver, {1, 1, 1, 12}), whole);
}

// Each of these leaves something out; that it is far off shows that the test above would see it.
TEST(MoeReferenceTest, WeightsAndDropsMatter) {
  const auto run = [](const MoeChange& engine_change, const MoeChange& reference_change) {
    MoeModel model(engine_change);
    MoeModel other(reference_change);
    EngineHandle engine, unused;
    model.open(&engine, {});
    other.open(&unused, {});
    Driver driver(engine.get(), 8);
    return distance(logits_of(driver, {kIds.size()}), other.reference(kIds, nullptr));
  };
  const MoeChange plain = [](Moe* moe, Model*, ProtoArena*) { moe->normalize_top_k = 0; };
  const MoeChange scaled = [](Moe* moe, Model*, ProtoArena*) {
    moe->normalize_top_k = 0;
    scale(moe, 1.05);
  };
  const MoeChange three = [](Moe* moe, Model*, ProtoArena*) { capacity(moe, 3, 0); };
  const MoeChange four = [](Moe* moe, Model*, ProtoArena*) { capacity(moe, 4, 0); };
  const MoeChange window = [](Moe* moe, Model*, ProtoArena*) { capacity(moe, 3, 12); };
  EXPECT_LT(run(plain, plain), kBound);
  EXPECT_GT(run(plain, scaled), 100 * kBound);  // weights off by 5 %
  EXPECT_LT(run(three, three), kBound);
  EXPECT_GT(run(three, four), 100 * kBound);    // a choice too many
  EXPECT_GT(run(three, window), 100 * kBound);  // counted anew too early
}

}  // namespace
}  // namespace sluice::test
