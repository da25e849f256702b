// Small parts of the engine by themselves.
#include <gtest/gtest.h>

#include <cstring>

#include "capi/guard.h"
#include "runtime/block_tables.h"
#include "runtime/coverage.h"
#include "runtime/step_view.h"

namespace sluice {
namespace {

TEST(CoverageTest, FindsOverlapsAndGaps) {
  Coverage coverage(10, 8);
  EXPECT_TRUE(coverage.empty());
  EXPECT_EQ(coverage.first_gap().text(), "rows 0 to 9, columns 0 to 7");
  coverage.add({0, 10, 0, 3});
  EXPECT_EQ(coverage.find_overlap({4, 5, 3, 8}), nullptr);
  ASSERT_NE(coverage.find_overlap({4, 5, 2, 8}), nullptr);
  coverage.add({0, 4, 3, 8});
  coverage.add({5, 10, 3, 8});
  EXPECT_FALSE(coverage.complete());
  EXPECT_EQ(coverage.first_gap().text(), "rows 4, columns 3 to 7");
  coverage.add({4, 5, 3, 8});
  EXPECT_TRUE(coverage.complete());
  coverage.remove({4, 5, 3, 8});
  EXPECT_FALSE(coverage.complete());
}

TEST(BlockTablesTest, CopiesAndResets) {
  BlockTables tables(2, 3, 4);
  tables.set(1, 0, 2, 7);
  tables.set(0, 0, 0, 5);
  EXPECT_EQ(tables.row(1, 0)[2], 7);
  EXPECT_EQ(tables.row(1, 0)[0], -1);
  tables.set(1, 2, 3, 9);
  tables.copy_sequence(0, 2);
  EXPECT_EQ(tables.row(1, 2)[2], 7);
  EXPECT_EQ(tables.row(1, 2)[3], -1);
  EXPECT_EQ(tables.row(0, 2)[0], 5);
  BlockTables saved(2, 3, 4);
  saved.copy_from(tables, 2);
  tables.reset(2);
  EXPECT_EQ(tables.row(1, 2)[2], -1);
  tables.copy_from(saved, 2);
  EXPECT_EQ(tables.row(1, 2)[2], 7);
  tables.copy_sequence(2, 2);
  EXPECT_EQ(tables.row(1, 2)[2], 7);
}

TEST(StepLayoutTest, SectionsAreAlignedAndApart) {
  StepLimits limits;
  limits.vocab_size = 1000;
  limits.hidden_size = 64;
  limits.num_kv_groups = 2;
  limits.num_ropes = 1;
  limits.block_size = 16;
  limits.max_sequences = 5;
  limits.max_blocks_per_sequence = 8;
  limits.max_context_len = 128;
  limits.max_step_tokens = 33;
  limits.max_step_outputs = 7;
  limits.max_top_n = 3;
  limits.max_step_targets = 10;
  limits.max_step_masks = 2;
  limits.max_step_state_ops = 4;
  limits.max_step_block_updates = 4;
  limits.step_slots = 2;
  const sluice_step_layout layout = make_step_layout(limits);
  EXPECT_EQ(layout.num_slots, 2);
  EXPECT_EQ(layout.capacity[SLUICE_SECTION_TOKEN_KV_SLOT], 66);
  EXPECT_EQ(layout.capacity[SLUICE_SECTION_MASK], 2 * 32);
  EXPECT_EQ(layout.offset[SLUICE_SECTION_EMBEDDING], -1);
  EXPECT_EQ(layout.offset[SLUICE_SECTION_HIDDEN], -1);
  for (bool input : {true, false}) {
    const int first = input ? 0 : SLUICE_SECTION_ACCEPTED_COUNT;
    const int last = input ? SLUICE_SECTION_INPUT_COUNT : SLUICE_SECTION_END;
    const int64_t start = input ? 256 : 64;
    const int64_t area = input ? layout.input_bytes : layout.output_bytes;
    for (int a = first; a < last; ++a) {
      if (layout.offset[a] < 0) continue;
      EXPECT_EQ(layout.offset[a] % 64, 0);
      EXPECT_GE(layout.offset[a], start);
      const int64_t end = layout.offset[a] + layout.capacity[a] * section_element_bytes(a);
      EXPECT_LE(end, area);
      for (int b = first; b < last; ++b) {
        if (b != a && layout.offset[b] >= 0) {
          EXPECT_TRUE(end <= layout.offset[b] ||
                      layout.offset[b] + layout.capacity[b] * section_element_bytes(b) <=
                          layout.offset[a])
              << section_name(a) << " and " << section_name(b);
        }
      }
    }
  }
  limits.max_step_masks = 1 << 27;
  EXPECT_THROW(make_step_layout(limits), Error);
}

TEST(GuardTest, TextsAreCutAtACharacter) {
  sluice_error error;
  std::memset(&error, 0x7f, sizeof(error));
  std::string text(1022, 'a');
  text += "\xe4\xb8\xad\xe6\x96\x87";  // two characters of three bytes; the first does not fit
  const auto status =
      guard(&error, "test", [&]() -> sluice_status { SLUICE_FAIL(SLUICE_STATUS_IO, text); });
  EXPECT_EQ(status, SLUICE_STATUS_IO);
  EXPECT_EQ(error.code, SLUICE_STATUS_IO);
  EXPECT_EQ(std::string(error.text), std::string(1022, 'a'));
  EXPECT_EQ(error.needed_bytes, -1);
}

TEST(GuardTest, EveryExceptionBecomesAStatus) {
  sluice_error error = {};
  EXPECT_EQ(guard(&error, "test", []() -> sluice_status { throw std::bad_alloc(); }),
            SLUICE_STATUS_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(guard(&error, "test", []() -> sluice_status { throw std::runtime_error("why"); }),
            SLUICE_STATUS_INTERNAL);
  EXPECT_STREQ(error.text, "why");
  EXPECT_EQ(guard(&error, "test", []() -> sluice_status { throw 7; }), SLUICE_STATUS_INTERNAL);
  EXPECT_EQ(guard(nullptr, "test", []() -> sluice_status { throw 7; }), SLUICE_STATUS_INTERNAL);
  error.text[0] = 'x';
  EXPECT_EQ(guard(&error, "test", [] { return SLUICE_STATUS_TIMEOUT; }), SLUICE_STATUS_TIMEOUT);
  EXPECT_EQ(error.text[0], 'x');  // untouched
}

TEST(StatusTest, EveryStatusHasAName) {
  for (int32_t status = 0; status < SLUICE_STATUS_COUNT; ++status) {
    EXPECT_STRNE(sluice_status_name(status), "UNKNOWN");
  }
  EXPECT_STREQ(sluice_status_name(-1), "UNKNOWN");
  EXPECT_STREQ(sluice_status_name(SLUICE_STATUS_COUNT), "UNKNOWN");
}

}  // namespace
}  // namespace sluice
