// Output rows that are wrong in one field, and what rows of each kind may leave out.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "support/step_message_test_base.h"

namespace sluice::test {
namespace {

class StepRowsTest : public StepMessageTest {};

TEST_F(StepRowsTest, Rows) {
  const auto row = [&](int r) -> sluice_output_row& { return driver_->output_row[r]; };
  const auto refused = [&](const char* text, const std::function<void()>& damage,
                           int32_t status = SLUICE_STATUS_INVALID_ARGUMENT) {
    expect_list_refused(text, damage, text, status);
  };
  refused("OUTPUT_ROW[0].token_index: 8", [&] { row(0).token_index = 8; });
  refused("OUTPUT_ROW[0].token_index: -1", [&] { row(0).token_index = -1; });
  refused("OUTPUT_ROW[0].token_index: 3", [&] { row(0).token_index = 3; });
  refused("OUTPUT_ROW[3].token_index: 4",
          [&] { driver_->output_row.push_back(driver_->output_row[0]); });
  refused("OUTPUT_ROW[1].kind: 4", [&] { row(1).kind = 4; });
  refused("OUTPUT_ROW[1].head: 0 (expected: a CLASSIFICATION or VALUE head",
          [&] { row(1).kind = SLUICE_OUTPUT_HEAD; });
  refused("OUTPUT_ROW[1].head: 1", [&] { row(1).head = 1; });
  refused("OUTPUT_ROW[0].flags: 4", [&] { row(0).flags = 4; });
  refused("OUTPUT_ROW[0].draw_position: -1", [&] { row(0).draw_position = -1; });
  for (float value : {kNan, kInfinity, -1.0f}) {
    refused("OUTPUT_ROW[0].temperature", [&] { row(0).temperature = value; });
  }
  for (float value : {kNan, kInfinity, 0.0f, -1.0f, 1.5f}) {
    refused("OUTPUT_ROW[0].top_p", [&] { row(0).top_p = value; });
  }
  for (float value : {kNan, 1.0f, -0.5f}) {
    refused("OUTPUT_ROW[0].min_p", [&] { row(0).min_p = value; });
  }
  refused("OUTPUT_ROW[0].top_k: -1", [&] { row(0).top_k = -1; });
  for (float value : {kNan, kInfinity, 0.0f, -1.0f}) {
    refused("OUTPUT_ROW[0].repetition_penalty", [&] { row(0).repetition_penalty = value; });
  }
  refused("OUTPUT_ROW[0].presence_penalty: nan", [&] { row(0).presence_penalty = kNan; });
  refused("OUTPUT_ROW[0].frequency_penalty: inf", [&] { row(0).frequency_penalty = kInfinity; });
  refused("OUTPUT_ROW[0].draft_len: 5 (expected: 0 to 4)", [&] { row(0).draft_len = 5; });
  refused("OUTPUT_ROW[0].draft_len: -1", [&] { row(0).draft_len = -1; });
  refused("OUTPUT_ROW[0].draft_len: 2147483647",
          [&] { row(0).draft_len = std::numeric_limits<int>::max(); });
  refused("OUTPUT_ROW[1].draft_len: 1 (expected: 0", [&] { row(1).draft_len = 1; });
  refused("OUTPUT_ROW[0].token_index: 4 (expected: 3", [&] {
    row(0).draft_len = 1;
    row(0).mask_index = -1;
  });
  refused("OUTPUT_ROW[0].token_index: 2 (expected: 1", [&] {
    row(0).draft_len = 3;
    row(0).token_index = 2;
    row(0).mask_index = -1;
  });
  refused("OUTPUT_ROW[0].mask_index: 0 (expected: -1 to -1, masks for the row and its 1", [&] {
    row(0).draft_len = 1;
    row(0).token_index = 3;
  });
  refused("OUTPUT_ROW[0].logit_bias_begin: 1", [&] { row(0).logit_bias_begin = 1; });
  refused("OUTPUT_ROW[0].logit_bias_count: -1", [&] { row(0).logit_bias_count = -1; });
  refused("OUTPUT_ROW[0].logit_bias_count",
          [&] { row(0).logit_bias_count = std::numeric_limits<int>::max(); });
  refused("OUTPUT_ROW[1].target_begin: 1", [&] { row(1).target_begin = 1; });
  refused("OUTPUT_ROW[1].target_count: 4", [&] { row(1).target_count = 4; });
  refused("OUTPUT_ROW[1].target_begin: 0", [&] {
    row(0).target_begin = 2;
    row(0).target_count = 1;
  });
  refused("OUTPUT_ROW[1].top_n: 21", [&] { row(1).top_n = 21; });
  refused("OUTPUT_ROW[1].top_n: -1", [&] { row(1).top_n = -1; });
  refused("OUTPUT_ROW[0].mask_index: 1", [&] { row(0).mask_index = 1; });
  refused("OUTPUT_ROW[0].mask_index: -2", [&] { row(0).mask_index = -2; });
  refused("OUTPUT_ROW[2].reserved: 7", [&] { row(2).reserved[9] = 7; });
  refused("OUTPUT_ROW[2].target_count: 1", [&] { row(2).target_count = 1; });
  refused("OUTPUT_ROW[2].top_n: 1", [&] { row(2).top_n = 1; });
  refused("kind HIDDEN", [&] {
    for (int i = 0; i < 4; ++i) driver_->output_row.push_back(driver_->output_row[2]);
  });
  refused("LOGIT_BIAS[1].token: -1", [&] { driver_->logit_bias[1].token = -1; });
  refused("LOGIT_BIAS[1].bias: inf", [&] { driver_->logit_bias[1].bias = kInfinity; });
  refused("LOGIT_BIAS[0].bias: nan", [&] { driver_->logit_bias[0].bias = kNan; });
  refused("TARGET[2]: 100000", [&] { driver_->target[2] = 100000; });
  expect_good_step_runs();
}

// What only SAMPLE rows read is not looked at in others, and each row's fields are all written.
TEST_F(StepRowsTest, RowsThatChooseNothing) {
  write_good_step();
  for (int r : {1, 2}) {
    driver_->output_row[r].temperature = kNan;
    driver_->output_row[r].top_p = 0;
    driver_->output_row[r].repetition_penalty = -1;
  }
  driver_->write();
  auto* fields = const_cast<int32_t*>(driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS));
  auto* logprobs = const_cast<float*>(driver_->output<float>(0, SLUICE_SECTION_LOGPROB));
  auto* ranks = const_cast<int32_t*>(driver_->output<int32_t>(0, SLUICE_SECTION_RANK));
  constexpr int kTokens = 5;  // that a row can accept
  std::fill_n(fields, 3 * kTokens, 77);
  std::fill_n(logprobs, 3 * kTokens, 77.0f);
  std::fill_n(ranks, 3 * kTokens, 77);
  const Outcome submitted = driver_->submit();
  ASSERT_EQ(submitted.status, SLUICE_STATUS_OK) << submitted.text;
  ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  for (int i = kTokens; i < 3 * kTokens; ++i) {
    EXPECT_EQ(fields[i], 0);
    EXPECT_EQ(logprobs[i], 0);
    EXPECT_EQ(ranks[i], 0);
  }
}

}  // namespace
}  // namespace sluice::test
