/// @file
/// What tests of wrong step messages share.
#ifndef SLUICE_TESTS_SUPPORT_STEP_MESSAGE_TEST_BASE_H_
#define SLUICE_TESTS_SUPPORT_STEP_MESSAGE_TEST_BASE_H_

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "support/driver.h"

namespace sluice::test {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Damages one place of a step that has something in every section.
class StepMessageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fixture_ = std::make_unique<Fixture>("llama");
    fixture_->spec()->ropes[0]->has_num_dynamic_variants = 1;
    fixture_->spec()->ropes[0]->num_dynamic_variants = 1;
    OptionValues values;
    values.max_draft_len = 4;
    const Outcome created = engine_.create(*fixture_->spec(), *fixture_->options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  // A step with something in every section. Two sequences, five and three tokens.
  void write_good_step() {
    first_ = Sequence{0, 0, {}, 0};
    second_ = Sequence{1, 0, {}, 0};
    driver_->begin();
    driver_->set_next_block(8);
    driver_->feed(&first_, std::vector<int32_t>{1, 5, 9, 13, 17});
    driver_->feed(&second_, std::vector<int32_t>{1, 4, 7});
    driver_->count_update = {{0, 5, 1, 0}, {1, 4, 1, 0}};
    driver_->logit_bias = {{3, 1.5f}, {4, -kInfinity}};
    driver_->target = {7, 8, 9};
    driver_->mask.assign((fixture_->vocab_size() + 31) / 32, 0xffffffffu);
    sluice_output_row& sample = driver_->add_row(SLUICE_OUTPUT_SAMPLE, 4);
    sample.flags = SLUICE_OUTPUT_FLAG_COUNT | SLUICE_OUTPUT_FLAG_LOGPROB;
    sample.temperature = 0.7f;
    sample.top_p = 0.9f;
    sample.top_k = 40;
    sample.repetition_penalty = 1.1f;
    sample.logit_bias_count = 2;
    sample.mask_index = 0;
    sluice_output_row& logprob = driver_->add_row(SLUICE_OUTPUT_LOGPROB, 6);
    logprob.target_count = 3;
    logprob.top_n = 5;
    driver_->add_row(SLUICE_OUTPUT_HIDDEN, 2);
    const size_t frequencies = fixture_->spec()->ropes[0]->rotary_dim / 2;
    driver_->rope_inv_freq.assign(frequencies, 0.5);
    driver_->rope_update = {{0, 1, 0, 0, 1.0}};
  }

  // Refused, with `text` in the message; then the good step runs as if nothing had been.
  void expect_refused(const char* what, const std::function<void()>& damage, const char* text,
                      int32_t status = SLUICE_STATUS_INVALID_ARGUMENT) {
    SCOPED_TRACE(what);
    write_good_step();
    driver_->write();
    damage();
    const Outcome submitted = driver_->submit();
    EXPECT_EQ(submitted.status, status) << submitted.text;
    EXPECT_NE(submitted.text.find(text), std::string::npos) << submitted.text;
  }

  // The same by changing the lists before they are written.
  void expect_list_refused(const char* what, const std::function<void()>& damage, const char* text,
                           int32_t status = SLUICE_STATUS_INVALID_ARGUMENT) {
    SCOPED_TRACE(what);
    write_good_step();
    damage();
    driver_->write();
    const Outcome submitted = driver_->submit();
    EXPECT_EQ(submitted.status, status) << submitted.text;
    EXPECT_NE(submitted.text.find(text), std::string::npos) << submitted.text;
  }

  void expect_good_step_runs() {
    write_good_step();
    const Outcome ran = driver_->run();
    EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
  }

  std::unique_ptr<Fixture> fixture_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
  Sequence first_, second_;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_STEP_MESSAGE_TEST_BASE_H_
