// What steps give: outputs, copies of state, traces, dynamic RoPE.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "capi/arguments.h"
#include "support/engine_test_base.h"

namespace sluice::test {
namespace {

class StepOutputTest : public EngineTest {};

// The largest step that the options allow fits the workspace that was sized once.
TEST_F(StepOutputTest, LargestStepFits) {
  for (auto format : {SLUICE__PROTO__FORMAT__F32, SLUICE__PROTO__FORMAT__BF16}) {
    OptionValues values;
    values.compute_format = values.kv_format = format;
    values.max_step_tokens = 300;
    values.max_step_outputs = 300;
    values.max_context_len = 128;
    open(values);
    driver_->begin();
    std::vector<int32_t> ids(100, 3);
    Sequence sequences[3];
    for (int s = 0; s < 3; ++s) {
      sequences[s].slot = s;
      driver_->feed(&sequences[s], ids);
    }
    for (int32_t t = 0; t < 300; ++t) {
      const bool last = t % 100 == 99;
      driver_->add_row(last ? SLUICE_OUTPUT_SAMPLE : SLUICE_OUTPUT_LOGPROB, t).top_n = 20;
    }
    const Outcome ran = driver_->run();
    EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    for (int r = 0; r < 300; ++r) {
      EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[r], 1);
    }
  }
}

// A sequence that is copied goes on exactly as the one that it was copied from.
TEST_F(StepOutputTest, CopiedSequencesAndBlocks) {
  open();
  Sequence original;
  driver_->begin();
  const std::vector<int32_t> prompt = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60};
  const int32_t first = driver_->feed(&original, prompt);
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(prompt.size()) - 1);
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);

  // The fork shares the full block and copies the last one.
  Sequence fork = original;
  fork.slot = 2;
  driver_->begin();
  fork.blocks[1] = driver_->new_block();
  const int32_t a = driver_->feed(&original, std::vector<int32_t>{SLUICE_TOKEN_LAST});
  const int32_t b = driver_->feed(&fork, std::vector<int32_t>{SLUICE_TOKEN_LAST});
  driver_->state_op = {{SLUICE_STATE_OP_COPY_SEQ, 0, original.slot, fork.slot},
                       {SLUICE_STATE_OP_COPY_BLOCK, 0, original.blocks[1], fork.blocks[1]}};
  driver_->block_update.push_back({fork.slot, 0, 1, fork.blocks[1]});
  driver_->add_row(SLUICE_OUTPUT_LOGPROB, a).top_n = 3;
  driver_->add_row(SLUICE_OUTPUT_LOGPROB, b).top_n = 3;
  const Outcome ran = driver_->run();
  ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
  const auto* top = driver_->output<int32_t>(0, SLUICE_SECTION_TOP_TOKEN);
  const auto* logprob = driver_->output<float>(0, SLUICE_SECTION_TOP_LOGPROB);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(top[i], top[20 + i]);
    EXPECT_EQ(logprob[i], logprob[20 + i]);
  }
  EXPECT_EQ(stats()[SLUICE_STAT_BLOCK_COPIES], 1);
}

// NaN in one sequence's cache makes its row unusable, and nothing else.
TEST_F(StepOutputTest, NonFiniteRowsDoNotSpread) {
  open();
  Sequence sick, well;
  sick.slot = 0;
  well.slot = 1;
  driver_->begin();
  driver_->feed(&sick, std::vector<int32_t>{1, 2, 3});
  driver_->feed(&well, std::vector<int32_t>{1, 2, 3});
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  // The first block of layer 0's keys is the sick sequence's.
  engine_.get()->engine.kv_cache().fill(0, 0xff, 64);
  driver_->begin();
  const int32_t a = driver_->feed(&sick, std::vector<int32_t>{4});
  const int32_t b = driver_->feed(&well, std::vector<int32_t>{4});
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, a);
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, b);
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[0], 0);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[0], 0);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[1], 1);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[1], 1);
  EXPECT_EQ(stats()[SLUICE_STAT_NON_FINITE_ROWS], 1);
  // Its last token is 0, so the next step, which did not know, still runs.
  driver_->begin();
  driver_->feed(&sick, std::vector<int32_t>{-1});
  driver_->feed(&well, std::vector<int32_t>{-2});
  EXPECT_EQ(driver_->run().status, SLUICE_STATUS_OK);
}

TEST_F(StepOutputTest, MaskThatAllowsNothing) {
  open();
  Sequence sequence;
  driver_->begin();
  const int32_t at = driver_->feed(&sequence, std::vector<int32_t>{1});
  driver_->mask.assign((fixture_->vocab_size() + 31) / 32, 0);
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, at).mask_index = 0;
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[0], 2);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[0], 0);
}

// Biases and penalties reach the sampler: a forbidden greedy token is replaced by another.
TEST_F(StepOutputTest, BiasAndCountsReachTheSampler) {
  open();
  const auto greedy = [&](std::vector<sluice_logit_bias> bias, bool penalise) {
    Sequence sequence;
    driver_->begin();
    driver_->set_next_block(0);
    const int32_t at = driver_->feed(&sequence, std::vector<int32_t>{1, 9, 4});
    if (penalise) driver_->count_update = {{0, token_, 0, 1}};
    driver_->logit_bias = bias;
    sluice_output_row& row = driver_->add_row(SLUICE_OUTPUT_SAMPLE, at + 2);
    row.logit_bias_count = static_cast<int32_t>(bias.size());
    row.presence_penalty = penalise ? 1000.0f : 0.0f;
    EXPECT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    return driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS)[0];
  };
  token_ = greedy({}, false);
  const float never = -std::numeric_limits<float>::infinity();
  const int32_t second = greedy({{token_, never}}, false);
  EXPECT_NE(second, token_);
  EXPECT_EQ(greedy({}, true), second);
  EXPECT_EQ(greedy({}, false), token_);  // the reset dropped the counts
}

TEST_F(StepOutputTest, TraceNames) {
  open();
  Sequence sequence;
  driver_->feed(&sequence, std::vector<int32_t>{1, 2});
  std::vector<std::vector<float>> tensors;
  EXPECT_EQ(driver_->trace({"nonsense"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->trace({"hidden_3"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->trace({"logits", "logits"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->trace({"router_idx_1"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  const Outcome traced = driver_->trace({"embedding", "hidden_2", "final_norm"}, &tensors);
  ASSERT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
  // The embedding is the checkpoint's row.
  const auto table = fixture_->weights().floats("model.embed_tokens.weight");
  const size_t hidden = static_cast<size_t>(fixture_->hidden_size());
  for (size_t i = 0; i < hidden; ++i) {
    EXPECT_EQ(tensors[0][i], table[hidden + i]);
    EXPECT_EQ(tensors[0][hidden + i], table[2 * hidden + i]);
  }
}

// Rows of kind HIDDEN are the trace's final_norm.
TEST_F(StepOutputTest, HiddenRows) {
  for (auto format : {SLUICE__PROTO__FORMAT__F32, SLUICE__PROTO__FORMAT__BF16}) {
    OptionValues values;
    values.compute_format = format;
    open(values);
    Sequence traced, ran;
    ran.slot = 1;
    const std::vector<int32_t> ids = {1, 2, 3, 4};
    driver_->feed(&traced, ids);
    std::vector<std::vector<float>> tensors;
    ASSERT_EQ(driver_->trace({"final_norm"}, &tensors).status, SLUICE_STATUS_OK);
    driver_->begin();
    driver_->feed(&ran, ids);
    driver_->add_row(SLUICE_OUTPUT_HIDDEN, 3);
    driver_->add_row(SLUICE_OUTPUT_HIDDEN, 1);
    ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    const auto* hidden = driver_->output<float>(0, SLUICE_SECTION_HIDDEN);
    const int columns = fixture_->hidden_size();
    for (int i = 0; i < columns; ++i) {
      EXPECT_EQ(hidden[i], tensors[0][3 * columns + i]);
      EXPECT_EQ(hidden[columns + i], tensors[0][columns + i]);
    }
  }
}

// A dynamic RoPE variant with the static one's frequencies gives the same logits, another one not.
TEST_F(StepOutputTest, DynamicRope) {
  values_ = {};
  fixture_ = std::make_unique<Fixture>("llama");
  auto* rope = fixture_->spec()->ropes[0];
  rope->has_num_dynamic_variants = 1;
  rope->num_dynamic_variants = 2;
  ASSERT_EQ(engine_.create(*fixture_->spec(), *fixture_->options(values_)).status,
            SLUICE_STATUS_OK);
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  driver_ = std::make_unique<Driver>(engine_.get(), 8);
  const std::vector<int32_t> ids = {1, 9, 4, 22, 31};
  const auto logits = [&](int slot, int variant, double factor) {
    Sequence sequence;
    sequence.slot = slot;
    sequence.rope_variant = variant;
    driver_->begin();
    driver_->feed(&sequence, ids);
    if (variant > 0) {
      const auto* fixed = rope->variants[0]->inv_freq;
      for (size_t i = 0; i < rope->variants[0]->n_inv_freq; ++i) {
        driver_->rope_inv_freq.push_back(fixed[i] * factor);
      }
      driver_->rope_update = {{0, variant, 0, 0, 1.0}};
    }
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver_->trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    return tensors.empty() ? std::vector<float>() : tensors[0];
  };
  const auto wanted = logits(0, 0, 1);
  EXPECT_EQ(logits(1, 1, 1), wanted);
  EXPECT_NE(logits(2, 2, 0.5), wanted);
  EXPECT_EQ(logits(3, 1, 1), wanted);
}

// More tokens than the counts of a slot are sure to have room for are refused, never met by a step.
TEST_F(StepOutputTest, CountsOfMoreTokensThanPositions) {
  OptionValues values;
  values.max_context_len = 8;
  open(values);
  Sequence sequence;
  const auto step = [&](int updates, bool counted, int slot) {
    Sequence next = sequence;
    next.slot = slot;
    driver_->begin();
    const int32_t at = driver_->feed(&next, std::vector<int32_t>{1});
    for (int i = 0; i < updates; ++i) driver_->count_update.push_back({slot, next_token_++, 1, 0});
    driver_->add_row(SLUICE_OUTPUT_SAMPLE, at).flags = counted ? SLUICE_OUTPUT_FLAG_COUNT : 0;
    driver_->output_row.back().presence_penalty = 1;
    const Outcome ran = driver_->run();
    if (ran.status == SLUICE_STATUS_OK) sequence = next;
    return ran;
  };
  Outcome refused = step(10, false, 0);
  EXPECT_EQ(refused.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(refused.text.find("COUNT_UPDATE[9].token"), std::string::npos) << refused.text;
  refused = step(9, true, 0);
  EXPECT_EQ(refused.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(refused.text.find("OUTPUT_ROW[0].flags"), std::string::npos) << refused.text;
  ASSERT_EQ(step(7, true, 0).status, SLUICE_STATUS_OK);
  ASSERT_EQ(step(0, true, 0).status, SLUICE_STATUS_OK);
  EXPECT_EQ(step(1, false, 0).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(step(0, true, 0).status, SLUICE_STATUS_INVALID_ARGUMENT);
  ASSERT_EQ(step(0, false, 0).status, SLUICE_STATUS_OK);
  // A copy brings its counts along; a reset, here of a new sequence's slot, drops them.
  driver_->begin();
  driver_->state_op = {{SLUICE_STATE_OP_COPY_SEQ, 0, 0, 1}};
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  EXPECT_EQ(step(0, true, 1).status, SLUICE_STATUS_INVALID_ARGUMENT);
  sequence = {};
  EXPECT_EQ(step(8, true, 1).status, SLUICE_STATUS_OK);
  EXPECT_EQ(stats()[SLUICE_STAT_STEPS], 5);
}

// Drafts reserve places in the counts while their step runs; the rejected ones give them back,
// unless the slot was reset meanwhile.
TEST_F(StepOutputTest, RejectedDraftsAreNotCounted) {
  OptionValues values;
  values.max_context_len = 16;
  values.max_draft_len = 5;
  open(values);
  Sequence sequence;
  const auto write = [&](int slot, std::vector<int32_t> ids, int32_t drafts) {
    driver_->begin(slot);
    driver_->set_next_block(0);
    const int32_t at = driver_->feed(&sequence, ids);
    // The token that drafts name is never chosen.
    driver_->logit_bias = {{5, -std::numeric_limits<float>::infinity()}};
    sluice_output_row& row =
        driver_->add_row(SLUICE_OUTPUT_SAMPLE, at + static_cast<int32_t>(ids.size()) - 1 - drafts);
    row.flags = SLUICE_OUTPUT_FLAG_COUNT;
    row.logit_bias_count = 1;
    row.draft_len = drafts;
    sequence.context_len -= drafts;
    sequence.blocks.resize(static_cast<size_t>(sequence.context_len + 7) / 8);
    driver_->write();
  };
  write(0, {1}, 0);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  for (int i = 0; i < 8; ++i) {
    write(0, {SLUICE_TOKEN_LAST, 5, 5, 5, 5, 5}, 5);
    const Outcome submitted = driver_->submit();
    ASSERT_EQ(submitted.status, SLUICE_STATUS_OK) << submitted.text;
    ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
    EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[0], 1);
  }
  // A draft step in flight while the next one resets the slot, which then has 17 places.
  write(0, {SLUICE_TOKEN_LAST, 5, 5, 5, 5, 5}, 5);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  sequence = {};
  write(1, {1}, 0);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  ASSERT_EQ(driver_->wait(1).status, SLUICE_STATUS_OK);
  const auto update = [&](int count) {
    driver_->begin();
    for (int i = 0; i < count; ++i) driver_->count_update.push_back({0, 10 + i, 1, 0});
    return driver_->run().status;
  };
  EXPECT_EQ(update(17), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(update(16), SLUICE_STATUS_OK);
  EXPECT_EQ(update(1), SLUICE_STATUS_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace sluice::test
