// The parity fixtures through the whole engine: logits, hidden states and greedy tokens, however
// the work is scheduled.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "capi/arguments.h"
#include "support/driver.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr double kFloat32Bound = 1e-4;   // of the fixtures' README
constexpr double kBfloat16Bound = 2e-2;  // of the fixtures' README
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

bool bit_equal(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// What lies in the cache before anything is written must never be read.
void poison(sluice_engine* engine) {
  engine->engine.kv_cache().fill(0, 0xff);  // NaN in float32 and in bfloat16
}

struct Case {
  const char* fixture;
  Sluice__Proto__Numerics numerics;
};

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  return std::string(info.param.fixture) +
         (info.param.numerics == SLUICE__PROTO__NUMERICS__FAST ? "_fast" : "_invariant");
}

class ParityTest : public ::testing::TestWithParam<Case> {
 protected:
  void open(OptionValues values = {}) {
    values.numerics = GetParam().numerics;
    fixture_ = std::make_unique<Fixture>(GetParam().fixture);
    const Outcome created = engine_.create(*fixture_->spec(), *fixture_->options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    poison(engine_.get());
    const Outcome loaded = engine_.load(*fixture_->transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  std::vector<int32_t> prompt(int i) const {
    return fixture_->expected().ids("input_ids_" + std::to_string(i));
  }
  std::vector<float> expected(const std::string& name) const {
    return fixture_->expected().floats(name);
  }
  bool invariant() const { return GetParam().numerics == SLUICE__PROTO__NUMERICS__BATCH_INVARIANT; }

  // Logits of a prompt fed `chunk` tokens at a time.
  std::vector<float> chunked_logits(int i, size_t chunk, int slot) {
    const std::vector<int32_t> ids = prompt(i);
    Sequence sequence;
    sequence.slot = slot;
    std::vector<float> logits;
    for (size_t at = 0; at < ids.size(); at += chunk) {
      const size_t count = std::min(chunk, ids.size() - at);
      driver_->begin();
      driver_->feed(&sequence, {ids.data() + at, count});
      std::vector<std::vector<float>> tensors;
      const Outcome traced = driver_->trace({"logits"}, &tensors);
      EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
      if (traced.status != SLUICE_STATUS_OK) return {};
      logits.insert(logits.end(), tensors[0].begin(), tensors[0].end());
    }
    return logits;
  }

  std::unique_ptr<Fixture> fixture_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

TEST_P(ParityTest, LogitsOfWholePrompts) {
  open();
  for (int i = 0; i < kPrompts; ++i) {
    const double error =
        relative_error(chunked_logits(i, 1000, i), expected("logits64_" + std::to_string(i)));
    EXPECT_LT(error, kFloat32Bound);
    RecordProperty("error_" + std::to_string(i), std::to_string(error));
    std::printf("logits64_%d: relative error %.2e\n", i, error);
  }
}

TEST_P(ParityTest, HiddenStates) {
  open();
  const std::vector<int32_t> ids = prompt(0);
  Sequence sequence;
  driver_->feed(&sequence, ids);
  std::vector<std::string> names = {"final_norm"};
  for (int l = 0; l < fixture_->num_layers(); ++l) names.push_back("hidden_" + std::to_string(l));
  std::vector<std::vector<float>> tensors;
  const Outcome traced = driver_->trace(names, &tensors);
  ASSERT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
  EXPECT_LT(relative_error(tensors[0], expected("final_norm_0")), kFloat32Bound);
  for (int l = 0; l < fixture_->num_layers(); ++l) {
    EXPECT_LT(relative_error(tensors[l + 1], expected("hidden_0_" + std::to_string(l))),
              kFloat32Bound)
        << "layer " << l;
  }
}

TEST_P(ParityTest, ChunksEqualTheWhole) {
  open();
  for (size_t chunk : {size_t{1}, size_t{3}, size_t{8}}) {
    const std::vector<float> whole = chunked_logits(0, 1000, 0);
    const std::vector<float> parts = chunked_logits(0, chunk, 1);
    EXPECT_LT(relative_error(parts, expected("logits64_0")), kFloat32Bound) << "chunk " << chunk;
    if (invariant()) {
      EXPECT_TRUE(bit_equal(parts, whole)) << "chunk " << chunk;
    }
  }
}

TEST_P(ParityTest, RaggedBatchEqualsAlone) {
  open();
  std::vector<std::vector<float>> alone;
  for (int i = 0; i < kPrompts; ++i) alone.push_back(chunked_logits(i, 1000, 3));
  driver_->begin();
  Sequence sequences[kPrompts];
  std::vector<int32_t> first;
  for (int i : {2, 0, 1}) {  // the order must not matter
    sequences[i].slot = i;
    first.push_back(driver_->feed(&sequences[i], prompt(i)));
  }
  std::vector<std::vector<float>> tensors;
  const Outcome traced = driver_->trace({"logits"}, &tensors);
  ASSERT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
  const size_t vocab = static_cast<size_t>(fixture_->vocab_size());
  size_t place = 0;
  for (int i : {2, 0, 1}) {
    const auto begin = tensors[0].begin() + first[place++] * vocab;
    const std::vector<float> rows(begin, begin + prompt(i).size() * vocab);
    EXPECT_LT(relative_error(rows, expected("logits64_" + std::to_string(i))), kFloat32Bound);
    if (invariant()) {
      EXPECT_TRUE(bit_equal(rows, alone[i])) << "prompt " << i;
    }
  }
}

TEST_P(ParityTest, GreedyTokensOneByOne) {
  open();
  for (int i = 0; i < kPrompts; ++i) {
    Sequence sequence;
    sequence.slot = i;
    std::vector<int32_t> input = prompt(i);
    std::vector<int32_t> chosen;
    while (chosen.size() < kGreedyTokens) {
      driver_->begin();
      const int32_t first = driver_->feed(&sequence, input);
      driver_->add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(input.size()) - 1);
      const Outcome ran = driver_->run();
      ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
      ASSERT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[0], 1);
      ASSERT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[0], 1);
      chosen.push_back(driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS)[0]);
      input = {chosen.back()};
    }
    EXPECT_EQ(chosen, fixture_->expected().ids("greedy_" + std::to_string(i)));
  }
}

// Two slots in flight: each step is written before the tokens of the step before are known.
TEST_P(ParityTest, GreedyTokensOverlappedInABatch) {
  open();
  Sequence sequences[kPrompts];
  std::vector<std::vector<int32_t>> chosen(kPrompts);
  const auto collect = [&](int slot) {
    const Outcome waited = driver_->wait(slot);
    ASSERT_EQ(waited.status, SLUICE_STATUS_OK) << waited.text;
    for (int i = 0; i < kPrompts; ++i) {
      chosen[i].push_back(driver_->output<int32_t>(slot, SLUICE_SECTION_TOKENS)[i]);
    }
  };
  for (int step = 0; step < kGreedyTokens; ++step) {
    const int slot = step % 2;
    driver_->begin(slot);
    for (int i = 0; i < kPrompts; ++i) {
      sequences[i].slot = i;
      // Row i of the step before, named in either of the two ways.
      const int32_t last = i == 1 ? SLUICE_TOKEN_LAST : -1 - i;
      const std::vector<int32_t> input = step == 0 ? prompt(i) : std::vector{last};
      const int32_t first = driver_->feed(&sequences[i], input);
      driver_->add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(input.size()) - 1);
    }
    driver_->write();
    const Outcome submitted = driver_->submit();
    ASSERT_EQ(submitted.status, SLUICE_STATUS_OK) << submitted.text;
    if (step > 0) collect(1 - slot);
  }
  collect((kGreedyTokens - 1) % 2);
  for (int i = 0; i < kPrompts; ++i) {
    EXPECT_EQ(chosen[i], fixture_->expected().ids("greedy_" + std::to_string(i))) << i;
  }
}

TEST_P(ParityTest, EveryInstructionSetAndThreadCount) {
  if (settings().cuda()) GTEST_SKIP() << "of the CPU's kernels";
  for (const char* isa : {"portable", "avx2", "avx512", "avx512_bf16"}) {
    for (uint32_t threads : {1u, 3u}) {
      OptionValues values;
      values.numerics = GetParam().numerics;
      values.isa = isa;
      values.num_threads = threads;
      fixture_ = std::make_unique<Fixture>(GetParam().fixture);
      const Outcome created = engine_.create(*fixture_->spec(), *fixture_->options(values));
      if (created.status == SLUICE_STATUS_UNSUPPORTED) continue;  // not this processor's
      ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
      poison(engine_.get());
      ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
      driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
      EXPECT_LT(relative_error(chunked_logits(0, 5, 0), expected("logits64_0")), kFloat32Bound)
          << isa;
    }
  }
}

// The fixtures' README bounds bfloat16 for one of them.
class Bfloat16ParityTest : public ParityTest {};

TEST_P(Bfloat16ParityTest, LogitsWholeAndInChunks) {
  OptionValues values;
  values.compute_format = SLUICE__PROTO__FORMAT__BF16;
  values.kv_format = SLUICE__PROTO__FORMAT__BF16;
  open(values);
  for (int i = 0; i < kPrompts; ++i) {
    const std::vector<float> whole = chunked_logits(i, 1000, 0);
    const std::vector<float> parts = chunked_logits(i, 3, 1);
    const double error = relative_error(whole, expected("logits64_" + std::to_string(i)));
    EXPECT_LT(error, kBfloat16Bound);
    std::printf("logits64_%d in bfloat16: relative error %.2e\n", i, error);
    EXPECT_LT(relative_error(parts, expected("logits64_" + std::to_string(i))), kBfloat16Bound);
    if (invariant()) {
      EXPECT_TRUE(bit_equal(parts, whole)) << "prompt " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, ParityTest,
    ::testing::Values(Case{"llama", SLUICE__PROTO__NUMERICS__FAST},
                      Case{"llama", SLUICE__PROTO__NUMERICS__BATCH_INVARIANT},
                      Case{"llama3_rope", SLUICE__PROTO__NUMERICS__FAST},
                      Case{"llama3_rope", SLUICE__PROTO__NUMERICS__BATCH_INVARIANT},
                      Case{"mistral", SLUICE__PROTO__NUMERICS__FAST},
                      Case{"mistral", SLUICE__PROTO__NUMERICS__BATCH_INVARIANT},
                      Case{"qwen2", SLUICE__PROTO__NUMERICS__FAST},
                      Case{"qwen2", SLUICE__PROTO__NUMERICS__BATCH_INVARIANT}),
    case_name);

INSTANTIATE_TEST_SUITE_P(Fixtures, Bfloat16ParityTest,
                         ::testing::Values(Case{"llama3_rope", SLUICE__PROTO__NUMERICS__FAST},
                                           Case{"llama3_rope",
                                                SLUICE__PROTO__NUMERICS__BATCH_INVARIANT}),
                         case_name);

}  // namespace
}  // namespace sluice::test
