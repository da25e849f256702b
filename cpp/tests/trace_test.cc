// Traces of what layers decide, decisions that are replayed, and counts of experts.
#include <algorithm>
#include <cmath>

#include "support/moe_test_base.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr int kLayers = 3, kExperts = 8, kChosen = 2;
const std::vector<int32_t> kIds = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3};

void no_change(Sluice__Proto__MoeSpec*, Sluice__Proto__ModelSpec*, ProtoArena*) {}

void with_capacity(Sluice__Proto__MoeSpec* moe, Sluice__Proto__ModelSpec*, ProtoArena*) {
  moe->has_expert_capacity = 1;
  moe->expert_capacity = 2;
}

class TraceTest : public ::testing::Test {
 protected:
  void open(const MoeChange& change = no_change, bool report = false) {
    driver_.reset();
    engine_ = std::make_unique<EngineHandle>();
    model_ = std::make_unique<MoeModel>(change);
    ASSERT_NO_FATAL_FAILURE(model_->open(engine_.get(), {}, [=](auto* options) {
      options->has_report_expert_counts = 1;
      options->report_expert_counts = report;
    }));
    driver_ = std::make_unique<Driver>(engine_->get(), 8);
  }

  void feed_prompt() {
    driver_->begin();
    driver_->set_next_block(0);
    sequence_ = Sequence{};
    driver_->feed(&sequence_, kIds);
  }

  std::vector<TracedTensor> trace(const std::vector<std::string>& names,
                                  const std::vector<TracedTensor>& replay = {}) {
    feed_prompt();
    std::vector<TracedTensor> traced;
    const Outcome ran = driver_->trace(names, replay, &traced);
    EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    traced.resize(names.size());
    return traced;
  }

  void expect_refused(const std::vector<std::string>& names,
                      const std::vector<TracedTensor>& replay, const std::string& text) {
    SCOPED_TRACE(text);
    feed_prompt();
    std::vector<TracedTensor> traced;
    const Outcome ran = driver_->trace(names, replay, &traced);
    EXPECT_EQ(ran.status, SLUICE_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(ran.text.find(text), std::string::npos) << ran.text;
  }

  std::unique_ptr<MoeModel> model_;
  std::unique_ptr<EngineHandle> engine_;
  std::unique_ptr<Driver> driver_;
  Sequence sequence_;
};

TEST_F(TraceTest, RouterTensorsHaveTheirFormatsAndEqualTheReference) {
  open(with_capacity);
  const auto traced = trace({"router_kept_1", "router_idx_1", "hidden_0", "router_weight_1"});
  const std::vector<uint64_t> shape = {kIds.size(), kChosen};
  EXPECT_EQ(traced[0].format, SLUICE__PROTO__FORMAT__U8);
  EXPECT_EQ(traced[1].format, SLUICE__PROTO__FORMAT__I32);
  EXPECT_EQ(traced[2].format, SLUICE__PROTO__FORMAT__F32);
  EXPECT_EQ(traced[3].format, SLUICE__PROTO__FORMAT__F32);
  for (const size_t i : {0, 1, 3}) EXPECT_EQ(traced[i].shape, shape);
  std::vector<MoeDecisions> decisions;
  model_->reference(kIds, &decisions);
  const auto kept = traced[0].values<uint8_t>();
  const auto experts = traced[1].values<int32_t>();
  const auto weights = traced[3].values<float>();
  int dropped = 0;
  for (size_t t = 0; t < kIds.size(); ++t) {
    for (size_t i = 0; i < kChosen; ++i) {
      const size_t at = t * kChosen + i;
      EXPECT_EQ(experts[at], decisions[1].experts[t][i]);
      EXPECT_NEAR(weights[at], decisions[1].weights[t][i], 1e-5);
      EXPECT_EQ(kept[at] != 0, decisions[1].kept[t][i]);
      dropped += kept[at] == 0;
    }
  }
  EXPECT_GT(dropped, 0);
}

// On a device: what the step launched and how often, not what would be chosen.
TEST_F(TraceTest, KernelsThatRanAreNamed) {
  open();
  trace({"logits"});
  const auto find = [&](const std::string& op) {
    return std::find_if(driver_->kernels.begin(), driver_->kernels.end(),
                        [&](const TracedKernel& kernel) { return kernel.op == op; });
  };
  ASSERT_NE(find("attention"), driver_->kernels.end());
  ASSERT_NE(find("grouped_gemm"), driver_->kernels.end());
  for (const TracedKernel& kernel : driver_->kernels) EXPECT_NE(kernel.variant, "") << kernel.op;
  if (!settings().cuda()) return;
  EXPECT_EQ(find("attention")->variant, "plain");  // float32
  EXPECT_EQ(find("attention")->reason, "3 launches");
  EXPECT_EQ(find("grouped_gemm")->variant.substr(0, 4), "f32_");
  EXPECT_EQ(find("grouped_gemm")->reason, "6 launches");
  const auto first = driver_->kernels;
  trace({"logits"});
  ASSERT_EQ(driver_->kernels.size(), first.size()) << "of one step, not of both";
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(driver_->kernels[i].reason, first[i].reason);
}

TEST_F(TraceTest, NamesThatTheModelHasNotAreRefused) {
  open();
  for (const char* name : {"router_kept_1", "router_idx_3", "router_idx_", "attention_keep_0",
                           "head_logits_1", "hidden_3", "logits_0", ""}) {
    expect_refused({name}, {},
                   std::string("names: ") + name +
                       " (expected: embedding, hidden_[0-2], router_idx_[0-2], "
                       "router_weight_[0-2], final_norm, logits, head_logits_[0])");
  }
  expect_refused({"logits", "logits"}, {}, "names: logits (expected: each name once)");
  open(with_capacity);
  expect_refused({"router_kept_3"}, {}, "router_kept_[0-2]");
  trace({"logits"});  // and the engine goes on
}

TEST_F(TraceTest, ReplayOfItsOwnDecisionsChangesNothing) {
  for (const MoeChange& change : {MoeChange(no_change), MoeChange(with_capacity)}) {
    open(change);
    const auto own =
        trace({"logits", "router_idx_0", "router_weight_0", "router_idx_1", "router_weight_1"});
    const auto again = trace({"logits"}, {own.begin() + 1, own.end()});
    EXPECT_EQ(again[0].bytes, own[0].bytes);
  }
}

// The layer takes the replayed experts and weights: twice the weights double what it adds.
TEST_F(TraceTest, ReplayIsTakenOver) {
  open();
  const auto own = trace({"router_idx_1", "router_weight_1", "hidden_1", "hidden_0"});
  TracedTensor weights = own[1], none = own[1], turned = own[0];
  auto values = own[1].values<float>();
  for (float& value : values) value *= 2;
  std::memcpy(weights.bytes.data(), values.data(), weights.bytes.size());
  std::fill(none.bytes.begin(), none.bytes.end(), uint8_t{0});
  const auto once = own[2].values<float>();
  const auto twice = trace({"hidden_1"}, {own[0], weights})[0].values<float>();
  const auto without = trace({"hidden_1"}, {own[0], none})[0].values<float>();
  double difference = 0, added = 0;
  for (size_t i = 0; i < once.size(); ++i) {
    const double change = double{once[i]} - without[i];
    difference += std::pow(double{twice[i]} - without[i] - 2 * change, 2);
    added += change * change;
  }
  EXPECT_GT(added, 1e-3);
  EXPECT_LT(std::sqrt(difference / added), 1e-5);

  auto experts = own[0].values<int32_t>();
  for (int32_t& expert : experts) expert = (expert + 1) % kExperts;
  std::memcpy(turned.bytes.data(), experts.data(), turned.bytes.size());
  const auto other = trace({"hidden_1", "router_idx_1", "hidden_0"}, {turned, own[1]});
  EXPECT_NE(other[0].bytes, own[2].bytes);
  EXPECT_EQ(other[1].bytes, turned.bytes);
  EXPECT_EQ(other[2].bytes, own[3].bytes) << "layer 0 decided for itself";
}

TEST_F(TraceTest, WrongReplaysAreRefused) {
  open();
  const auto own = trace({"router_idx_1", "router_weight_1", "logits"});
  const TracedTensor& idx = own[0];
  const TracedTensor& weight = own[1];
  const auto changed = [](TracedTensor tensor, const std::function<void(TracedTensor*)>& change) {
    change(&tensor);
    return tensor;
  };
  const auto with_number = [&](const TracedTensor& tensor, size_t at, auto number) {
    return changed(
        tensor, [&](auto* t) { std::memcpy(t->bytes.data() + 4 * at, &number, sizeof(number)); });
  };
  expect_refused({}, {idx},
                 "replay: router_idx_1 alone (expected: both of router_idx_1 and "
                 "router_weight_1)");
  expect_refused({}, {weight}, "replay: router_weight_1 alone");
  expect_refused({}, {idx, weight, idx}, "replay: router_idx_1 (expected: each name once)");
  expect_refused({}, {changed(idx, [](auto* t) { t->name = "router_idx_3"; }), weight},
                 "replay: router_idx_3 (expected: router_idx_[0-2], router_weight_[0-2])");
  expect_refused({}, {changed(own[2], [](auto*) {})}, "replay: logits (expected: router_idx_");
  expect_refused({}, {changed(idx, [](auto* t) { t->format = SLUICE__PROTO__FORMAT__I64; })},
                 "replay: router_idx_1.format: I64 (expected: I32)");
  expect_refused({}, {changed(idx, [](auto* t) { t->shape[0]++; })},
                 "replay: router_idx_1.shape: [13, 2] (expected: [12, 2])");
  expect_refused({}, {changed(idx, [](auto* t) { t->shape.clear(); })}, "router_idx_1.shape: ");
  expect_refused({}, {changed(weight, [](auto* t) { t->bytes.pop_back(); })},
                 "replay: router_weight_1.data: 95 bytes (expected: 96)");
  expect_refused({}, {with_number(idx, 5, int32_t{8}), weight},
                 "replay: router_idx_1[2][1]: 8 (expected: 0 to 7)");
  expect_refused({}, {with_number(idx, 4, int32_t{-1}), weight}, "router_idx_1[2][0]: -1");
  expect_refused({}, {with_number(idx, 7, idx.values<int32_t>()[6]), weight},
                 "(expected: different experts for a token)");
  expect_refused({}, {idx, with_number(weight, 3, std::nanf(""))},
                 "replay: router_weight_1[1][1]: nan (expected: a finite number)");
  EXPECT_EQ(trace({"logits"}, {idx, weight})[0].bytes, own[2].bytes);
}

// Layer 0 chooses keys for each head, layer 1 has one mask for all heads.
void adaptive(Sluice__Proto__MoeSpec*, Sluice__Proto__ModelSpec* spec, ProtoArena* arena) {
  for (int l = 0; l < 2; ++l) {
    auto* attention = arena->make(sluice__proto__adaptive_attention_spec__init);
    attention->has_kind = attention->has_num_q_heads = attention->has_head_dim = 1;
    attention->has_softmax_scale = attention->has_relative_positions = 1;
    attention->kind = l == 0 ? SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK
                             : SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_SLIDING_WINDOW;
    attention->num_q_heads = 4;
    attention->head_dim = 16;
    attention->softmax_scale = 0.4;
    attention->relative_positions = 11;
    if (l == 0) {
      attention->has_top_k = 1;
      attention->top_k = 3;
    } else {
      attention->has_window = 1;
      attention->window = 4;
    }
    spec->layers[l]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE;
    spec->layers[l]->adaptive = attention;
  }
}

TEST_F(TraceTest, MasksAreShownAndReplayed) {
  open(adaptive);
  const auto own = trace({"attention_keep_0", "attention_keep_1", "logits"});
  const size_t n = kIds.size();
  EXPECT_EQ(own[0].format, SLUICE__PROTO__FORMAT__U8);
  EXPECT_EQ(own[0].shape, (std::vector<uint64_t>{n, 4, n}));
  EXPECT_EQ(own[1].shape, (std::vector<uint64_t>{n, 1, n}));
  for (size_t t = 0; t < n; ++t) {
    for (size_t head = 0; head < 4; ++head) {
      const auto row = own[0].bytes.begin() + static_cast<std::ptrdiff_t>((t * 4 + head) * n);
      const auto kept = std::count(row, row + static_cast<std::ptrdiff_t>(n), 1);
      EXPECT_EQ(kept, std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(t) + 1, 3));
    }
    for (size_t key = 0; key < n; ++key) {
      EXPECT_EQ(own[1].bytes[t * n + key], key <= t && t - key < 4) << t << " " << key;
    }
  }
  // The same masks give the same numbers but for rounding: another kernel may look at more keys.
  const auto same = trace({"logits"}, {own[0], own[1]})[0].values<float>();
  const auto logits = own[2].values<float>();
  for (size_t i = 0; i < same.size(); ++i) EXPECT_NEAR(same[i], logits[i], 1e-4);
  // A mask that lets every query see itself alone.
  TracedTensor alone = own[0];
  std::fill(alone.bytes.begin(), alone.bytes.end(), uint8_t{0});
  for (size_t row = 0; row < n * 4; ++row) alone.bytes[row * n + row / 4] = 1;
  const auto other = trace({"attention_keep_0", "logits"}, {alone});
  EXPECT_EQ(other[0].bytes, alone.bytes);
  EXPECT_NE(other[1].bytes, own[2].bytes);

  const auto with_byte = [&](size_t at, uint8_t value) {
    TracedTensor changed = own[0];
    changed.bytes[at] = value;
    return changed;
  };
  expect_refused({}, {with_byte((5 * 4 + 2) * n + 6, 1)},
                 "replay: attention_keep_0[5][2][6]: 1 (expected: 0 at position 5)");
  expect_refused({}, {with_byte((5 * 4 + 2) * n + 1, 2)},
                 "replay: attention_keep_0[5][2][1]: 2 (expected: 0 or 1 at position 5)");
  TracedTensor empty = own[0];
  std::fill_n(empty.bytes.begin() + static_cast<std::ptrdiff_t>((5 * 4 + 2) * n), n, uint8_t{0});
  expect_refused({}, {empty}, "replay: attention_keep_0[5][2]: no key");
  TracedTensor misnamed = own[1];
  misnamed.name = "attention_keep_0";
  expect_refused({}, {misnamed},
                 "replay: attention_keep_0.shape: [12, 1, 12] (expected: [12, 4, 12])");
}

TEST_F(TraceTest, ExpertCountsAreThoseOfTheAcceptedChoices) {
  for (const bool limited : {false, true}) {
    open(limited ? MoeChange(with_capacity) : MoeChange(no_change), true);
    std::vector<std::string> names = {"router_idx_0", "router_idx_1", "router_idx_2"};
    if (limited) names.insert(names.end(), {"router_kept_0", "router_kept_1", "router_kept_2"});
    const auto traced = trace(names);
    ASSERT_EQ(driver_->layout().capacity[SLUICE_SECTION_EXPERT_COUNT], kLayers * kExperts);
    const auto* counts = driver_->output<int32_t>(0, SLUICE_SECTION_EXPERT_COUNT);
    std::vector<int32_t> wanted(kLayers * kExperts);
    for (size_t l = 0; l < kLayers; ++l) {
      const auto experts = traced[l].values<int32_t>();
      for (size_t i = 0; i < experts.size(); ++i) {
        const bool kept = !limited || traced[kLayers + l].bytes[i] != 0;
        wanted[l * kExperts + static_cast<size_t>(experts[i])] += kept;
      }
    }
    EXPECT_EQ(std::vector<int32_t>(counts, counts + kLayers * kExperts), wanted);
    // Each step starts from zero, also one without tokens.
    feed_prompt();
    ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    EXPECT_EQ(std::vector<int32_t>(counts, counts + kLayers * kExperts), wanted);
    driver_->begin();
    ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    EXPECT_EQ(std::count(counts, counts + kLayers * kExperts, 0), kLayers * kExperts);
  }
}

TEST_F(TraceTest, WithoutTheOptionThereAreNoCounts) {
  open();
  EXPECT_EQ(driver_->layout().offset[SLUICE_SECTION_EXPERT_COUNT], -1);
  EXPECT_EQ(driver_->layout().offset[SLUICE_SECTION_HEAD_VALUE], -1);
}

}  // namespace
}  // namespace sluice::test
