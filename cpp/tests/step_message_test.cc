// Step messages that are wrong in one place: each is refused by name, and nothing changes.
#include <gtest/gtest.h>

#include <limits>

#include "runtime/step_view.h"
#include "support/step_message_test_base.h"

namespace sluice::test {
namespace {

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
