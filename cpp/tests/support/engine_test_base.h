/// @file
/// What tests of a running engine share.
#ifndef SLUICE_TESTS_SUPPORT_ENGINE_TEST_BASE_H_
#define SLUICE_TESTS_SUPPORT_ENGINE_TEST_BASE_H_

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "support/driver.h"

namespace sluice::test {

/// An engine over a fixture.
class EngineTest : public ::testing::Test {
 protected:
  Outcome create(const OptionValues& values, const char* name = "llama") {
    values_ = values;
    driver_.reset();
    fixture_ = std::make_unique<Fixture>(name);
    return engine_.create(*fixture_->spec(), *fixture_->options(values));
  }

  void open(const OptionValues& values = {}, const char* name = "llama") {
    const Outcome created = create(values, name);
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    const Outcome loaded = engine_.load(*fixture_->transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  // Writes a step that feeds one token to a sequence and samples.
  void write_decode(Sequence* sequence, int32_t token, int slot = 0) {
    driver_->begin(slot);
    const int32_t at = driver_->feed(sequence, std::vector<int32_t>{token});
    driver_->add_row(SLUICE_OUTPUT_SAMPLE, at);
    driver_->write();
  }

  std::array<int64_t, SLUICE_STAT_COUNT> stats() {
    std::array<int64_t, SLUICE_STAT_COUNT> values = {};
    sluice_error error = {};
    EXPECT_EQ(sluice_engine_stats(engine_.get(), values.data(), SLUICE_STAT_COUNT, &error),
              SLUICE_STATUS_OK);
    return values;
  }

  OptionValues values_;
  int32_t token_ = 0;
  int32_t next_token_ = 1;
  std::unique_ptr<Fixture> fixture_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_ENGINE_TEST_BASE_H_
