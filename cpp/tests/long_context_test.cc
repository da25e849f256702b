// Contexts of several spans of 512 positions, the unit in which attention splits keys over threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "model/spec.h"
#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {
namespace {

constexpr int kLength = 1153;  // two whole spans and a part of the third

OptionValues long_options(uint32_t threads) {
  OptionValues values;
  values.num_threads = threads;
  values.block_size = 16;
  values.num_blocks = 400;
  values.max_context_len = 1200;
  values.max_step_tokens = 1200;
  return values;
}

std::vector<int32_t> prompt() {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < kLength; ++i) ids.push_back((i * i * 7 + i * 13 + 5) % 120);
  return ids;
}

class LongContextTest : public ::testing::Test {
 protected:
  void open(uint32_t threads) {
    const OptionValues values = long_options(threads);
    const Outcome created = engine_.create(*fixture_.spec(), *fixture_.options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    const Outcome loaded = engine_.load(*fixture_.transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  std::vector<float> trace() {
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver_->trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    return tensors.empty() ? std::vector<float>() : tensors[0];
  }

  Fixture fixture_{"llama"};
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

// However a prompt is cut, and with any number of threads, the last token's logits are the same bits;
// four sequences decode together, whose keys are split over threads.
TEST_F(LongContextTest, BitsDependOnTheSequenceAlone) {
  const std::vector<int32_t> ids = prompt();
  const size_t vocab = static_cast<size_t>(fixture_.vocab_size());
  open(1);
  Sequence whole;
  driver_->feed(&whole, ids);
  const std::vector<float> all = trace();
  ASSERT_EQ(all.size(), ids.size() * vocab);
  const std::vector<float> wanted(all.end() - static_cast<ptrdiff_t>(vocab), all.end());

  open(4);
  std::array<Sequence, 4> sequences;
  const std::array<std::vector<int>, 4> cuts = {
      {{1152}, {512, 640}, {511, 1, 1, 639}, {1023, 2, 127}}};
  for (int s = 0; s < 4; ++s) {
    sequences[s].slot = s;
    for (const int count : cuts[s]) {
      driver_->begin();
      const int32_t at = sequences[s].context_len;
      driver_->feed(&sequences[s], std::vector<int32_t>(ids.begin() + at, ids.begin() + at + count));
      const Outcome ran = driver_->run();
      ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    }
  }
  driver_->begin();
  for (Sequence& sequence : sequences) driver_->feed(&sequence, std::vector{ids.back()});
  const std::vector<float> logits = trace();
  ASSERT_EQ(logits.size(), 4 * vocab);
  for (size_t i = 0; i < logits.size(); ++i) ASSERT_EQ(logits[i], wanted[i % vocab]) << i;
}

TEST_F(LongContextTest, AgreesWithTheReferenceInDouble) {
  open(4);
  sluice_error error = {};
  int64_t size = 0;
  std::vector<uint8_t> buffer(1 << 20);
  ASSERT_EQ(sluice_weights_slots(engine_.get(), buffer.data(), 1 << 20, &size, &error),
            SLUICE_STATUS_OK);
  const auto slots = unpack<Sluice__Proto__WeightSlotList>(
      sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(size)});
  const WeightValues weights(*slots);
  const std::string path = ::testing::TempDir() + "sluice_long_" + std::to_string(::getpid());
  const Outcome loaded = engine_.load(*weights.write(path, &fixture_.arena()));
  std::remove(path.c_str());
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;

  const std::vector<int32_t> ids = prompt();
  const Rows wanted =
      reference_logits(decode_model_spec(pack_message(fixture_.spec()->base)), weights, ids);
  const size_t vocab = wanted[0].size();
  Sequence sequence;
  size_t at = 0;
  double difference = 0;
  double norm = 0;
  for (const size_t count : {size_t{700}, size_t{452}, size_t{1}}) {
    driver_->begin();
    driver_->feed(&sequence, {ids.data() + at, count});
    const std::vector<float> logits = trace();
    ASSERT_EQ(logits.size(), count * vocab);
    for (size_t i = 0; i < logits.size(); ++i) {
      const double b = wanted[at + i / vocab][i % vocab];
      difference += std::pow(logits[i] - b, 2);
      norm += b * b;
    }
    at += count;
  }
  EXPECT_LT(std::sqrt(difference / norm), 1e-5);
}

}  // namespace
}  // namespace sluice::test
