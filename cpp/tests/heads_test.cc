// Heads of every kind behind a residual compression, against double precision.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>

#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {
namespace {

constexpr double kBound = 1e-5;

// Numbers of the heads below.
enum Head { kWords, kLabels, kTied, kReasoning, kValue, kNumHeads };
constexpr int kNumLabels = 5;
constexpr double kCap = 2.5, kMultiplier = 0.7;

const std::vector<int32_t> kIds = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60};

Sluice__Proto__ActivationSpec* make_gelu(ProtoArena* arena) {
  auto* activation = arena->make(sluice__proto__activation_spec__init);
  activation->has_kind = 1;
  activation->kind = SLUICE__PROTO__ACTIVATION__GELU;
  return activation;
}

std::vector<double> linear(const std::vector<float>& matrix, const std::vector<float>& bias,
                           const std::vector<double>& x) {
  std::vector<double> y(matrix.size() / x.size());
  for (size_t r = 0; r < y.size(); ++r) {
    y[r] = bias.empty() ? 0 : double{bias[r]};
    for (size_t c = 0; c < x.size(); ++c) y[r] += double{matrix[r * x.size() + c]} * x[c];
  }
  return y;
}

std::vector<double> gelu(std::vector<double> x) {
  for (double& value : x) value *= 0.5 * (1 + std::erf(value / std::sqrt(2.0)));
  return x;
}

std::vector<double> row_of(const std::vector<float>& rows, size_t cols, size_t row) {
  return {rows.begin() + static_cast<std::ptrdiff_t>(row * cols),
          rows.begin() + static_cast<std::ptrdiff_t>((row + 1) * cols)};
}

// Relative L2 error.
double distance(const std::vector<float>& actual, const Rows& wanted) {
  double difference = 0, square = 0;
  size_t i = 0;
  for (const auto& row : wanted) {
    for (const double value : row) {
      difference += std::pow(actual[i++] - value, 2);
      square += value * value;
    }
  }
  EXPECT_EQ(i, actual.size());
  return std::sqrt(difference / square);
}

class HeadsTest : public ::testing::Test {
 protected:
  void open(const OptionValues& values = {}) {
    driver_.reset();
    engine_ = std::make_unique<EngineHandle>();
    fixture_ = std::make_unique<Fixture>("llama");
    change_spec();
    const Outcome created = engine_->create(*fixture_->spec(), *fixture_->options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    if (!weights_) {
      sluice_error error = {};
      int64_t size = 0;
      std::vector<uint8_t> buffer(1 << 20);
      ASSERT_EQ(sluice_weights_slots(engine_->get(), buffer.data(), 1 << 20, &size, &error),
                SLUICE_STATUS_OK);
      const auto slots = unpack<Sluice__Proto__WeightSlotList>(
          sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(size)});
      weights_ = std::make_unique<WeightValues>(*slots);
    }
    const std::string path = ::testing::TempDir() + "sluice_heads_" + std::to_string(::getpid());
    const Outcome loaded = engine_->load(*weights_->write(path, &fixture_->arena()));
    std::remove(path.c_str());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_->get(), static_cast<int>(values.block_size));
  }

  size_t hidden() const { return static_cast<size_t>(fixture_->hidden_size()); }
  size_t vocab() const { return static_cast<size_t>(fixture_->vocab_size()); }

  const std::vector<float>& weight(int slot, int head = 0) const {
    return weights_->get(slot, -1, 0, head);
  }

  // Feeds the prompt to a new sequence as the next step's only tokens.
  void feed_prompt(int32_t slot) {
    driver_->begin();
    sequence_ = Sequence{slot, 0, {}, 0};
    driver_->set_next_block(slot * 8);
    driver_->feed(&sequence_, kIds);
  }

  std::vector<double> compressed(const std::vector<double>& x) const {
    const auto inner = gelu(linear(weight(SLUICE__PROTO__SLOT__COMPRESSION_ENCODER),
                                   weight(SLUICE__PROTO__SLOT__COMPRESSION_ENCODER_BIAS), x));
    std::vector<double> h = linear(weight(SLUICE__PROTO__SLOT__COMPRESSION_DECODER),
                                   weight(SLUICE__PROTO__SLOT__COMPRESSION_DECODER_BIAS), inner);
    double mean = 0, square = 0;
    const auto n = static_cast<double>(h.size());
    for (size_t i = 0; i < h.size(); ++i) mean += (h[i] += x[i]) / n;
    for (const double value : h) square += (value - mean) * (value - mean) / n;
    for (size_t i = 0; i < h.size(); ++i) {
      h[i] = (h[i] - mean) / std::sqrt(square + 1e-5) *
                 weight(SLUICE__PROTO__SLOT__COMPRESSION_NORM)[i] +
             weight(SLUICE__PROTO__SLOT__COMPRESSION_NORM_BIAS)[i];
    }
    return h;
  }

  std::vector<double> values_of(int head, const std::vector<double>& h) const {
    const auto& words = weight(SLUICE__PROTO__SLOT__HEAD, kWords);
    if (head == kReasoning) {
      auto sum = gelu(linear(weight(SLUICE__PROTO__SLOT__HEAD_TRANSFORM, head),
                             weight(SLUICE__PROTO__SLOT__HEAD_TRANSFORM_BIAS, head), h));
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += h[i];
      auto logits = linear(words, {}, sum);
      for (double& value : logits) value *= kMultiplier;
      return logits;
    }
    if (head == kTied) return linear(weight(SLUICE__PROTO__SLOT__EMBED_TOKENS), {}, h);
    auto values = linear(weight(SLUICE__PROTO__SLOT__HEAD, head),
                         weight(SLUICE__PROTO__SLOT__HEAD_BIAS, head), h);
    if (head == kWords) {
      for (double& value : values) value = kCap * std::tanh(value / kCap);
    }
    return values;
  }

  std::unique_ptr<Fixture> fixture_;
  std::unique_ptr<WeightValues> weights_;
  std::unique_ptr<EngineHandle> engine_;
  std::unique_ptr<Driver> driver_;
  Sequence sequence_;

 private:
  void change_spec() {
    ProtoArena& arena = fixture_->arena();
    auto* spec = fixture_->spec();
    spec->final_norm = nullptr;
    auto* norm = arena.make(sluice__proto__norm_spec__init);
    norm->has_kind = norm->has_eps = norm->has_has_bias = 1;
    norm->kind = SLUICE__PROTO__NORM_KIND__LAYER_NORM;
    norm->eps = 1e-5;
    norm->has_bias = 1;
    spec->compression = arena.make(sluice__proto__compression_spec__init);
    spec->compression->has_compressed_size = 1;
    spec->compression->compressed_size = 25;
    spec->compression->activation = make_gelu(&arena);
    spec->compression->norm = norm;
    std::vector<Sluice__Proto__HeadSpec*> heads;
    for (int h = 0; h < kNumHeads; ++h) {
      heads.push_back(arena.make(sluice__proto__head_spec__init));
      heads[h]->has_kind = 1;
      heads[h]->kind = SLUICE__PROTO__HEAD_KIND__GENERATION;
    }
    heads[kWords]->has_bias = heads[kWords]->bias = 1;
    heads[kWords]->has_logit_soft_cap = 1;
    heads[kWords]->logit_soft_cap = kCap;
    heads[kLabels]->kind = SLUICE__PROTO__HEAD_KIND__CLASSIFICATION;
    heads[kLabels]->has_num_labels = heads[kLabels]->has_bias = heads[kLabels]->bias = 1;
    heads[kLabels]->num_labels = kNumLabels;
    heads[kTied]->has_tied = heads[kTied]->tied = 1;
    heads[kReasoning]->kind = SLUICE__PROTO__HEAD_KIND__REASONING;
    heads[kReasoning]->has_bias = heads[kReasoning]->bias = 1;
    heads[kReasoning]->activation = make_gelu(&arena);
    heads[kReasoning]->has_logit_multiplier = 1;
    heads[kReasoning]->logit_multiplier = kMultiplier;
    heads[kValue]->kind = SLUICE__PROTO__HEAD_KIND__VALUE;
    spec->n_heads = heads.size();
    spec->heads = arena.array(heads);
  }
};

TEST_F(HeadsTest, StagesEqualDouble) {
  open();
  std::vector<std::string> names = {"hidden_2", "final_norm", "logits"};
  for (int h = 0; h < kNumHeads; ++h) names.push_back("head_logits_" + std::to_string(h));
  feed_prompt(0);
  std::vector<TracedTensor> traced;
  const Outcome ran = driver_->trace(names, {}, &traced);
  ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
  const auto residual = traced[0].values<float>(), norm = traced[1].values<float>();
  Rows wanted;
  for (size_t t = 0; t < kIds.size(); ++t) {
    wanted.push_back(compressed(row_of(residual, hidden(), t)));
  }
  EXPECT_LT(distance(norm, wanted), kBound);
  EXPECT_EQ(traced[2].bytes, traced[3].bytes) << "logits are the first generation head's";
  const uint64_t columns[] = {vocab(), kNumLabels, vocab(), vocab(), 1};
  for (int h = 0; h < kNumHeads; ++h) {
    wanted.clear();
    for (size_t t = 0; t < kIds.size(); ++t) {
      wanted.push_back(values_of(h, row_of(norm, hidden(), t)));
    }
    const TracedTensor& values = traced[3 + static_cast<size_t>(h)];
    EXPECT_EQ(values.shape, (std::vector<uint64_t>{kIds.size(), columns[h]}));
    EXPECT_LT(distance(values.values<float>(), wanted), kBound) << "head " << h;
  }
}

// Rows of all heads in one step: each gives what the trace of its head says.
TEST_F(HeadsTest, RowsOfAllHeadsInOneStep) {
  open();
  feed_prompt(0);
  std::vector<std::string> names;
  for (int h = 0; h < kNumHeads; ++h) names.push_back("head_logits_" + std::to_string(h));
  std::vector<std::vector<float>> traced;
  ASSERT_EQ(driver_->trace(names, &traced).status, SLUICE_STATUS_OK);

  feed_prompt(1);
  const auto last = static_cast<int32_t>(kIds.size()) - 1;
  for (int32_t t = 0; t <= last; ++t) {
    driver_->add_row(SLUICE_OUTPUT_HEAD, t).head = kValue;
    driver_->add_row(SLUICE_OUTPUT_LOGPROB, t).head = kReasoning;
    driver_->add_row(SLUICE_OUTPUT_HEAD, t).head = kLabels;
    sluice_output_row& row = driver_->add_row(SLUICE_OUTPUT_LOGPROB, t);
    row.head = kTied;
    row.top_n = 1;
    row.target_begin = t;
    row.target_count = 1;
    driver_->target.push_back(7 + t);
  }
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, last).head = kReasoning;
  driver_->add_row(SLUICE_OUTPUT_HIDDEN, 0).head = kLabels;
  const Outcome ran = driver_->run();
  ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
  const auto* value = driver_->output<float>(0, SLUICE_SECTION_HEAD_VALUE);
  const auto* finite = driver_->output<int32_t>(0, SLUICE_SECTION_FINITE);
  const auto* accepted = driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT);
  const auto* top = driver_->output<int32_t>(0, SLUICE_SECTION_TOP_TOKEN);
  const auto* logprob = driver_->output<float>(0, SLUICE_SECTION_TARGET_LOGPROB);
  const auto largest = [&](int head, int32_t t) {
    const auto begin = traced[head].begin() + static_cast<std::ptrdiff_t>(vocab()) * t;
    return static_cast<int32_t>(
        std::max_element(begin, begin + static_cast<std::ptrdiff_t>(vocab())) - begin);
  };
  for (int32_t t = 0; t <= last; ++t) {
    const int64_t row = int64_t{4} * t;
    EXPECT_EQ(value[row * kNumLabels], traced[kValue][t]);
    for (int i = 0; i < kNumLabels; ++i) {
      if (i > 0) {
        EXPECT_EQ(value[row * kNumLabels + i], 0) << "a VALUE row has one value";
      }
      EXPECT_EQ(value[(row + 1) * kNumLabels + i], 0) << "a LOGPROB row has none";
      EXPECT_EQ(value[(row + 2) * kNumLabels + i], traced[kLabels][t * kNumLabels + i]);
    }
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(finite[row + i], 1);
      EXPECT_EQ(accepted[row + i], 0);
    }
    EXPECT_EQ(top[(row + 3) * 20], largest(kTied, t));
    const float* logits = traced[kTied].data() + vocab() * static_cast<size_t>(t);
    double sum = 0;
    for (size_t v = 0; v < vocab(); ++v) sum += std::exp(double{logits[v]});
    EXPECT_NEAR(logprob[t], logits[7 + t] - std::log(sum), 1e-5);
  }
  const int64_t sampled = 4 * int64_t{last + 1};
  EXPECT_EQ(accepted[sampled], 1);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS)[sampled], largest(kReasoning, last));
}

// A row's bits do not depend on the rows beside it, however many pass through the head together.
TEST_F(HeadsTest, BitsOfARowAreItsOwn) {
  OptionValues values;
  values.max_step_outputs = 700;
  values.max_step_tokens = 128;
  open(values);
  feed_prompt(0);
  const auto last = static_cast<int32_t>(kIds.size()) - 1;
  for (int r = 0; r < 350; ++r) {
    driver_->add_row(SLUICE_OUTPUT_HEAD, r % (last + 1)).head = r % 3 == 0 ? kValue : kLabels;
    driver_->add_row(SLUICE_OUTPUT_LOGPROB, r % (last + 1)).top_n = 2;
  }
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  const auto* value = driver_->output<float>(0, SLUICE_SECTION_HEAD_VALUE);
  const auto* logprob = driver_->output<float>(0, SLUICE_SECTION_TOP_LOGPROB);
  const std::vector<float> many(value, value + 700 * kNumLabels);
  const std::vector<float> many_logprob(logprob, logprob + 700 * 20);
  for (int r : {0, 1, 129, 349}) {
    feed_prompt(1);
    driver_->add_row(SLUICE_OUTPUT_HEAD, r % (last + 1)).head = r % 3 == 0 ? kValue : kLabels;
    driver_->add_row(SLUICE_OUTPUT_LOGPROB, r % (last + 1)).top_n = 2;
    ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    for (int i = 0; i < kNumLabels; ++i) {
      EXPECT_EQ(driver_->output<float>(0, SLUICE_SECTION_HEAD_VALUE)[i],
                many[static_cast<size_t>(2 * r * kNumLabels + i)]);
    }
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(driver_->output<float>(0, SLUICE_SECTION_TOP_LOGPROB)[20 + i],
                many_logprob[static_cast<size_t>((2 * r + 1) * 20 + i)]);
    }
  }
}

TEST_F(HeadsTest, OtherNumbersAreClose) {
  open();
  feed_prompt(0);
  const std::vector<std::string> names = {"final_norm", "head_logits_1", "head_logits_3"};
  std::vector<std::vector<float>> wanted;
  ASSERT_EQ(driver_->trace(names, &wanted).status, SLUICE_STATUS_OK);
  for (const auto format : {SLUICE__PROTO__FORMAT__F32, SLUICE__PROTO__FORMAT__BF16}) {
    OptionValues values;
    values.numerics = SLUICE__PROTO__NUMERICS__FAST;
    values.compute_format = values.kv_format = format;
    open(values);
    feed_prompt(0);
    std::vector<std::vector<float>> traced;
    ASSERT_EQ(driver_->trace(names, &traced).status, SLUICE_STATUS_OK);
    for (size_t i = 0; i < names.size(); ++i) {
      const Rows rows = {{wanted[i].begin(), wanted[i].end()}};
      EXPECT_LT(distance(traced[i], rows), format == SLUICE__PROTO__FORMAT__F32 ? kBound : 3e-2);
    }
  }
}

TEST_F(HeadsTest, RowsForOtherHeadsAreRefused) {
  open();
  const auto expect_refused = [&](int32_t kind, int32_t head, const char* text) {
    feed_prompt(0);
    driver_->add_row(kind, static_cast<int32_t>(kIds.size()) - 1).head = head;
    driver_->write();
    const Outcome outcome = driver_->submit();
    EXPECT_EQ(outcome.status, SLUICE_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(outcome.text.find(text), std::string::npos) << outcome.text;
  };
  expect_refused(SLUICE_OUTPUT_SAMPLE, kLabels,
                 "OUTPUT_ROW[0].head: 1 (expected: a GENERATION or REASONING head");
  expect_refused(SLUICE_OUTPUT_LOGPROB, kValue, "heads[4] gives no logits");
  expect_refused(SLUICE_OUTPUT_HEAD, kWords,
                 "OUTPUT_ROW[0].head: 0 (expected: a CLASSIFICATION or VALUE head");
  expect_refused(SLUICE_OUTPUT_HEAD, kReasoning, "heads[3] gives logits");
  for (const int32_t kind : {SLUICE_OUTPUT_SAMPLE, SLUICE_OUTPUT_HEAD, SLUICE_OUTPUT_HIDDEN}) {
    expect_refused(kind, kNumHeads, "OUTPUT_ROW[0].head: 5 (expected: 0 to 4)");
    expect_refused(kind, -1, "OUTPUT_ROW[0].head: -1");
  }
  const auto expect_field_refused = [&](const std::function<void(sluice_output_row*)>& change,
                                        const char* text) {
    feed_prompt(0);
    driver_->target = {3};
    sluice_output_row& row = driver_->add_row(SLUICE_OUTPUT_HEAD, 3);
    row.head = kLabels;
    change(&row);
    driver_->write();
    const Outcome outcome = driver_->submit();
    EXPECT_EQ(outcome.status, SLUICE_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(outcome.text.find(text), std::string::npos) << outcome.text;
  };
  expect_field_refused([](auto* row) { row->target_count = 1; }, "OUTPUT_ROW[0].target_count: 1");
  expect_field_refused([](auto* row) { row->top_n = 1; }, "OUTPUT_ROW[0].top_n: 1");
  // Nothing of it was kept: the next step runs.
  feed_prompt(0);
  driver_->add_row(SLUICE_OUTPUT_HEAD, 3).head = kLabels;
  EXPECT_EQ(driver_->run().status, SLUICE_STATUS_OK);
}

}  // namespace
}  // namespace sluice::test
