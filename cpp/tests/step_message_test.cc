// Step messages that are wrong in one place: each is refused by name, and nothing changes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "runtime/step_view.h"
#include "support/driver.h"

namespace sluice::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class StepMessageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fixture_ = std::make_unique<Fixture>("llama");
    fixture_->spec()->ropes[0]->has_num_dynamic_variants = 1;
    fixture_->spec()->ropes[0]->num_dynamic_variants = 1;
    OptionValues values;
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

TEST_F(StepMessageTest, GoodStepRuns) {
  expect_good_step_runs();
  EXPECT_EQ(driver_->result(0).num_rows, 3);
  EXPECT_EQ(driver_->result(0).status, SLUICE_STATUS_OK);
  const auto* accepted = driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT);
  EXPECT_EQ(accepted[0], 1);
  EXPECT_EQ(accepted[1], 0);
  EXPECT_EQ(accepted[2], 0);
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[r], 1);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(driver_->output<float>(0, SLUICE_SECTION_TARGET_LOGPROB)[i], 0);
  }
}

TEST_F(StepMessageTest, Header) {
  auto& header = driver_->header();
  expect_refused("magic", [&] { header.magic = 1; }, "magic: 1");
  expect_refused("abi", [&] { header.abi_version = 99; }, "abi_version: 99");
  for (const uint64_t id : {uint64_t{0}, uint64_t{2}, ~uint64_t{0}}) {
    expect_refused(
        "step id", [&] { header.step_id = id; }, ("step_id: " + std::to_string(id)).c_str());
  }
  expect_refused("flags", [&] { header.flags = 4; }, "flags: 4", SLUICE_STATUS_UNSUPPORTED);
  expect_refused("reserved0", [&] { header.reserved0 = 1; }, "reserved0");
  expect_refused("reserved", [&] { header.reserved[35] = 1; }, "reserved");
  expect_refused("used bytes", [&] { header.used_bytes = 256; }, "used_bytes: 256");
  expect_refused("used bytes beyond", [&] { header.used_bytes = ~0ull; }, "used_bytes");
  for (int section = 0; section < SLUICE_SECTION_INPUT_COUNT; ++section) {
    for (int32_t count :
         {-1, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
      expect_refused("count", [&] { header.counts[section] = count; }, "counts[");
    }
  }
  for (int section :
       {SLUICE_SECTION_TOKEN_ID, SLUICE_SECTION_TOKEN_POSITION, SLUICE_SECTION_TOKEN_KV_SLOT,
        SLUICE_SECTION_SEQ_SLOT, SLUICE_SECTION_QUERY_START, SLUICE_SECTION_CONTEXT_LEN,
        SLUICE_SECTION_ADAPTER, SLUICE_SECTION_ROPE_VARIANT, SLUICE_SECTION_MASK}) {
    expect_refused("one less", [&] { --header.counts[section]; }, "counts[");
  }
  expect_good_step_runs();
}

TEST_F(StepMessageTest, Tokens) {
  auto* ids = driver_->input<int32_t>(SLUICE_SECTION_TOKEN_ID);
  expect_refused("id", [&] { ids[3] = fixture_->vocab_size(); }, "TOKEN_ID[3]");
  expect_refused("no step before", [&] { ids[3] = -1; }, "TOKEN_ID[3]: -1");
  expect_refused("no last token", [&] { ids[3] = SLUICE_TOKEN_LAST; }, "TOKEN_ID[3]");
  expect_refused(
      "embedding", [&] { ids[3] = SLUICE_TOKEN_EMBEDDING - 5; }, "TOKEN_ID[3]",
      SLUICE_STATUS_UNSUPPORTED);
  auto* positions = driver_->input<int32_t>(SLUICE_SECTION_TOKEN_POSITION);
  for (int32_t value : {-1, 0, 99, std::numeric_limits<int32_t>::max()}) {
    expect_refused("position", [&] { positions[2] = value; }, "TOKEN_POSITION[2]");
  }
  auto* slots = driver_->input<int32_t>(SLUICE_SECTION_TOKEN_KV_SLOT);
  for (int32_t value : {-2, -1, 0, 1 << 30}) {
    expect_refused("kv slot", [&] { slots[6] = value; }, "TOKEN_KV_SLOT[6]");
  }
  expect_good_step_runs();
  // Row 1 of that step is no SAMPLE row, row 3 is none at all.
  expect_refused("row of another kind", [&] { ids[3] = -2; }, "TOKEN_ID[3]: -2");
  expect_refused("row beyond", [&] { ids[3] = -4; }, "TOKEN_ID[3]: -4");
}

TEST_F(StepMessageTest, Sequences) {
  auto* slots = driver_->input<int32_t>(SLUICE_SECTION_SEQ_SLOT);
  expect_refused("slot", [&] { slots[1] = 4; }, "SEQ_SLOT[1]: 4");
  expect_refused("negative slot", [&] { slots[1] = -1; }, "SEQ_SLOT[1]: -1");
  expect_refused("twice", [&] { slots[1] = 0; }, "SEQ_SLOT[1]: 0");
  auto* starts = driver_->input<int32_t>(SLUICE_SECTION_QUERY_START);
  expect_refused("start", [&] { starts[0] = 1; }, "QUERY_START[0]");
  expect_refused("empty sequence", [&] { starts[1] = 0; }, "QUERY_START[1]");
  expect_refused("falling", [&] { starts[1] = 9; }, "QUERY_START[1]");
  expect_refused("negative", [&] { starts[1] = -7; }, "QUERY_START[1]");
  expect_refused("end", [&] { starts[2] = 7; }, "QUERY_START[2]");
  auto* contexts = driver_->input<int32_t>(SLUICE_SECTION_CONTEXT_LEN);
  for (int32_t value : {-1, 0, 2, 129, std::numeric_limits<int32_t>::max()}) {
    expect_refused("context", [&] { contexts[1] = value; }, "CONTEXT_LEN[1]");
  }
  expect_refused("context of other positions", [&] { contexts[1] = 4; }, "TOKEN_POSITION[5]");
  auto* adapters = driver_->input<int32_t>(SLUICE_SECTION_ADAPTER);
  expect_refused("adapter", [&] { adapters[0] = 1; }, "ADAPTER[0]", SLUICE_STATUS_UNSUPPORTED);
  auto* variants = driver_->input<int32_t>(SLUICE_SECTION_ROPE_VARIANT);
  expect_refused("variant", [&] { variants[1] = 2; }, "ROPE_VARIANT[1]: 2");
  expect_refused("negative variant", [&] { variants[1] = -1; }, "ROPE_VARIANT[1]: -1");
  expect_list_refused(
      "variant never written",
      [&] {
        driver_->rope_update.clear();
        driver_->rope_variant[0] = 1;
      },
      "ROPE_VARIANT[0]: 1");
  expect_good_step_runs();
}

TEST_F(StepMessageTest, StateOperations) {
  auto& ops = driver_->state_op;
  expect_list_refused("kind", [&] { ops.push_back({4, 0, 0, 0}); }, "STATE_OP[2].kind: 4");
  expect_list_refused("negative kind", [&] { ops.push_back({-1, 0, 0, 0}); }, ".kind: -1");
  expect_list_refused(
      "group", [&] { ops.push_back({SLUICE_STATE_OP_ZERO_BLOCK, 1, 0, 0}); },
      "STATE_OP[2].kv_group: 1");
  expect_list_refused(
      "block", [&] { ops.push_back({SLUICE_STATE_OP_ZERO_BLOCK, 0, 0, 64}); },
      "STATE_OP[2].target: 64");
  expect_list_refused(
      "source", [&] { ops.push_back({SLUICE_STATE_OP_COPY_BLOCK, 0, -1, 60}); },
      "STATE_OP[2].source: -1");
  expect_list_refused(
      "slot", [&] { ops.push_back({SLUICE_STATE_OP_RESET_SEQ, 0, 0, 9}); },
      "STATE_OP[2].target: 9");
  expect_list_refused(
      "source slot", [&] { ops.push_back({SLUICE_STATE_OP_COPY_SEQ, 0, 9, 3}); },
      "STATE_OP[2].source: 9");
  expect_list_refused("target twice", [&] { ops.push_back(ops[0]); }, "STATE_OP[2].target: 0");
  expect_list_refused(
      "source and target", [&] { ops.push_back({SLUICE_STATE_OP_COPY_SEQ, 0, 0, 3}); },
      "STATE_OP[2].source: 0");
  expect_list_refused(
      "block source and target",
      [&] {
        ops.push_back({SLUICE_STATE_OP_COPY_BLOCK, 0, 60, 61});
        ops.push_back({SLUICE_STATE_OP_COPY_BLOCK, 0, 61, 62});
      },
      "STATE_OP[3].source: 61");
  expect_good_step_runs();
}

TEST_F(StepMessageTest, Updates) {
  auto& blocks = driver_->block_update;
  expect_list_refused("slot", [&] { blocks[0].seq_slot = 4; }, "BLOCK_UPDATE[0].seq_slot");
  expect_list_refused("group", [&] { blocks[0].kv_group = -1; }, "BLOCK_UPDATE[0].kv_group");
  expect_list_refused("index", [&] { blocks[0].index = 16; }, "BLOCK_UPDATE[0].index: 16");
  expect_list_refused("block", [&] { blocks[0].block = 64; }, "BLOCK_UPDATE[0].block: 64");
  expect_list_refused("negative block", [&] { blocks[0].block = -2; }, "BLOCK_UPDATE[0].block");
  expect_list_refused("twice", [&] { blocks.push_back(blocks[0]); }, "BLOCK_UPDATE[2].index");
  expect_list_refused("missing", [&] { blocks.pop_back(); }, "has no block 0");
  expect_list_refused("no longer readable", [&] { blocks[1].block = -1; }, "has no block 0");
  auto& counts = driver_->count_update;
  expect_list_refused("slot", [&] { counts[1].seq_slot = -1; }, "COUNT_UPDATE[1].seq_slot");
  expect_list_refused("token", [&] { counts[1].token = 1 << 20; }, "COUNT_UPDATE[1].token");
  expect_list_refused(
      "delta", [&] { counts[1].prompt_delta = 129; }, "COUNT_UPDATE[1].prompt_delta: 129");
  expect_list_refused(
      "delta", [&] { counts[1].output_delta = std::numeric_limits<int>::min(); },
      "COUNT_UPDATE[1].output_delta");
  auto& ropes = driver_->rope_update;
  expect_list_refused("rope", [&] { ropes[0].rope = 1; }, "ROPE_UPDATE[0].rope: 1");
  expect_list_refused("static", [&] { ropes[0].variant = 0; }, "ROPE_UPDATE[0].variant: 0");
  expect_list_refused("variant", [&] { ropes[0].variant = 2; }, "ROPE_UPDATE[0].variant: 2");
  expect_list_refused("begin", [&] { ropes[0].inv_freq_begin = 1; }, ".inv_freq_begin: 1");
  expect_list_refused("negative", [&] { ropes[0].inv_freq_begin = -1; }, ".inv_freq_begin: -1");
  expect_list_refused("reserved", [&] { ropes[0].reserved = 1; }, "ROPE_UPDATE[0].reserved");
  expect_list_refused("scale", [&] { ropes[0].attention_scale = kNan; }, ".attention_scale: nan");
  expect_list_refused(
      "frequency", [&] { driver_->rope_inv_freq[3] = kInfinity; }, "ROPE_INV_FREQ[3]: inf");
  expect_good_step_runs();
}

TEST_F(StepMessageTest, Rows) {
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
  refused(
      "OUTPUT_ROW[1].kind", [&] { row(1).kind = SLUICE_OUTPUT_HEAD; }, SLUICE_STATUS_UNSUPPORTED);
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
  refused("OUTPUT_ROW[0].draft_len: 1", [&] { row(0).draft_len = 1; });
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
TEST_F(StepMessageTest, RowsThatChooseNothing) {
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
  std::fill_n(fields, 3, 77);
  std::fill_n(logprobs, 3, 77.0f);
  std::fill_n(ranks, 3, 77);
  const Outcome submitted = driver_->submit();
  ASSERT_EQ(submitted.status, SLUICE_STATUS_OK) << submitted.text;
  ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  for (int r : {1, 2}) {
    EXPECT_EQ(fields[r], 0);
    EXPECT_EQ(logprobs[r], 0);
    EXPECT_EQ(ranks[r], 0);
  }
}

// A refused step leaves resident tables as they were, resets and copies included.
TEST_F(StepMessageTest, RefusedStepChangesNothing) {
  expect_good_step_runs();
  const auto decode = [&](bool damage) {
    Sequence sequence = first_;
    driver_->begin();
    const int32_t token = driver_->feed(&sequence, std::vector<int32_t>{21});
    driver_->add_row(SLUICE_OUTPUT_SAMPLE, token);
    if (damage) {
      driver_->state_op.push_back({SLUICE_STATE_OP_RESET_SEQ, 0, 0, 1});
      driver_->state_op.push_back({SLUICE_STATE_OP_COPY_SEQ, 0, 0, 3});
      driver_->block_update.push_back({0, 0, 0, 63});
      driver_->kv_slot[0] += 1;
    }
    driver_->write();
    return driver_->submit();
  };
  EXPECT_EQ(decode(true).status, SLUICE_STATUS_INVALID_ARGUMENT);
  const Outcome good = decode(false);
  EXPECT_EQ(good.status, SLUICE_STATUS_OK) << good.text;
  EXPECT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  // Slot 1 still has its table, slot 3 still has none.
  Sequence sequence = second_;
  driver_->begin();
  driver_->feed(&sequence, std::vector<int32_t>{21});
  EXPECT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  sequence = first_;
  sequence.slot = 3;
  driver_->begin();
  driver_->feed(&sequence, std::vector<int32_t>{21});
  EXPECT_EQ(driver_->run().status, SLUICE_STATUS_INVALID_ARGUMENT);
}

TEST_F(StepMessageTest, StepOfUpdatesAlone) {
  driver_->begin();
  driver_->state_op = {{SLUICE_STATE_OP_RESET_SEQ, 0, 0, 2}};
  driver_->block_update = {{2, 0, 0, 5}};
  const Outcome ran = driver_->run();
  EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
  EXPECT_EQ(driver_->result(0).num_rows, 0);
}

// Random bytes anywhere in the message: refused or run, never a crash.
TEST_F(StepMessageTest, RandomDamage) {
  uint32_t state = 12345;
  const auto next = [&] {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
  };
  int refused = 0;
  for (int round = 0; round < 500; ++round) {
    write_good_step();
    driver_->write();
    // A byte of the header, or of what a section uses.
    auto* header = reinterpret_cast<uint8_t*>(&driver_->header());
    for (uint32_t i = 0; i < 1 + next() % 3; ++i) {
      const int section = static_cast<int>(next() % (SLUICE_SECTION_INPUT_COUNT + 1));
      uint8_t* begin = header;
      size_t size = sizeof(sluice_step_header);
      if (section < SLUICE_SECTION_INPUT_COUNT) {
        const int32_t count = driver_->header().counts[section];
        if (count <= 0 || count > driver_->layout().capacity[section]) continue;
        begin = driver_->input<uint8_t>(section);
        size = static_cast<size_t>(count * section_element_bytes(section));
      }
      begin[next() % size] = static_cast<uint8_t>(next());
    }
    const Outcome submitted = driver_->submit();
    if (submitted.status == SLUICE_STATUS_OK) {
      const Outcome ran = driver_->wait(0);
      ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_LT(refused, 500);
  expect_good_step_runs();
}

}  // namespace
}  // namespace sluice::test
