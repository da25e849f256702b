#include "ops/kv_write/kv_write.h"

#include "base/checked.h"
#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Values;

// Where kv_cache.h says that a value lies, in elements from the start of a block.
int64_t key_place(const KvCacheView& c, int64_t head, int64_t offset, int64_t d) {
  const int64_t dim = round_up(c.k_dim, 16), g = std::min(c.block_size, 16);
  const int64_t base = head * c.block_size * dim + offset / g * g * dim;
  return c.format == Format::kF32 ? base + d * g + offset % g
                                  : base + (d / 2) * g * 2 + offset % g * 2 + d % 2;
}

int64_t value_place(const KvCacheView& c, int64_t head, int64_t offset, int64_t d) {
  const int64_t dim = round_up(c.v_dim, 16);
  const int64_t base = head * c.block_size * dim;
  return c.format == Format::kF32 ? base + offset * dim + d
                                  : base + offset / 2 * dim * 2 + d * 2 + offset % 2;
}

TEST(KvWriteTest, WritesTheDocumentedLayoutAndNothingElse) {
  for (const int32_t block_size : {4, 8, 16, 64}) {
    for (const Format in : {Format::kF32, Format::kBf16}) {
      for (const Format format : {Format::kF32, Format::kBf16}) {
        KvCacheView c{.format = format,
                      .num_blocks = 3,
                      .block_size = block_size,
                      .num_kv_heads = 2,
                      .k_dim = 17,
                      .v_dim = 40};
        c.k_block_stride = kv_block_bytes(format, block_size, 2, 17) + 64;
        c.v_block_stride = kv_block_bytes(format, block_size, 2, 40);
        const int64_t bytes = format == Format::kBf16 ? 2 : 4;
        Values k_cache(format, 3 * c.k_block_stride / bytes);
        Values v_cache(format, 3 * c.v_block_stride / bytes);
        c.k = k_cache.data();
        c.v = v_cache.data();
        const Values k = Values::random(in, 4 * 40, 1), v = Values::random(in, 4 * 90, 2);
        // Two kv groups' slots side by side; the third token is not kept.
        const std::vector<int32_t> slots{block_size * 2 + 3, 7777777, 1, 7777777, -1, 7777777,
                                         block_size - 1,     7777777};
        kv_write(testing::exec_of(detect_isa(), 2), {.num_tokens = 4,
                                                     .k = k.data(),
                                                     .v = v.data(),
                                                     .format = in,
                                                     .k_stride = 40,
                                                     .v_stride = 90,
                                                     .slots = slots.data(),
                                                     .slot_stride = 2,
                                                     .cache = c});
        Values k_expected(format, 3 * c.k_block_stride / bytes);
        Values v_expected(format, 3 * c.v_block_stride / bytes);
        for (int64_t t = 0; t < 4; ++t) {
          const int32_t slot = slots[static_cast<size_t>(2 * t)];
          if (slot < 0) continue;
          const int64_t block = slot / block_size, offset = slot % block_size;
          for (int64_t h = 0; h < 2; ++h) {
            for (int64_t d = 0; d < 32; ++d) {
              k_expected.set(block * c.k_block_stride / bytes + key_place(c, h, offset, d),
                             d < 17 ? k.get(t * 40 + h * 17 + d) : 0.0f);
            }
            for (int64_t d = 0; d < 48; ++d) {
              v_expected.set(block * c.v_block_stride / bytes + value_place(c, h, offset, d),
                             d < 40 ? v.get(t * 90 + h * 40 + d) : 0.0f);
            }
          }
        }
        EXPECT_TRUE(k_cache == k_expected);
        EXPECT_TRUE(v_cache == v_expected);
        const int32_t beyond = 3 * block_size;
        EXPECT_THROW(kv_write({}, {.num_tokens = 1,
                                   .k = k.data(),
                                   .v = v.data(),
                                   .format = in,
                                   .slots = &beyond,
                                   .cache = c}),
                     Error);
      }
    }
  }
}

TEST(KvWriteTest, TakesStridedHeadsAndATailThatTheyShare) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    KvCacheView c{.format = format,
                  .num_blocks = 2,
                  .block_size = 16,
                  .num_kv_heads = 3,
                  .k_dim = 20,
                  .v_dim = 9};
    c.k_block_stride = kv_block_bytes(format, 16, 3, 20);
    c.v_block_stride = kv_block_bytes(format, 16, 3, 9);
    const int64_t bytes = format_bytes(format, 1);
    // Rows [head][13 key columns, 9 value columns], and 7 columns behind other things.
    const Values heads = Values::random(format, 5 * 3 * 22, 4);
    const Values tails = Values::random(format, 5 * 30, 5);
    Values k(format, 5 * 60), v(format, 5 * 27);
    for (int64_t t = 0; t < 5; ++t) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t d = 0; d < 20; ++d) {
          k.set(t * 60 + h * 20 + d,
                d < 13 ? heads.get((t * 3 + h) * 22 + d) : tails.get(t * 30 + 23 + d - 13));
        }
        for (int64_t d = 0; d < 9; ++d) {
          v.set(t * 27 + h * 9 + d, heads.get((t * 3 + h) * 22 + 13 + d));
        }
      }
    }
    const std::vector<int32_t> slots{3, 17, 0, 31, 8};
    Values expected[] = {Values(format, 2 * c.k_block_stride / bytes),
                         Values(format, 2 * c.v_block_stride / bytes)};
    Values actual[] = {Values(format, 2 * c.k_block_stride / bytes),
                       Values(format, 2 * c.v_block_stride / bytes)};
    c.k = expected[0].data();
    c.v = expected[1].data();
    KvWriteParams params{.num_tokens = 5,
                         .k = k.data(),
                         .v = v.data(),
                         .format = format,
                         .k_stride = 60,
                         .v_stride = 27,
                         .slots = slots.data(),
                         .cache = c};
    kv_write({}, params);
    params.cache.k = actual[0].data();
    params.cache.v = actual[1].data();
    params.k = heads.data();
    params.v = static_cast<const char*>(heads.data()) + format_bytes(format, 13);
    params.k_stride = params.v_stride = 66;
    params.k_head_stride = params.v_head_stride = 22;
    params.k_tail = static_cast<const char*>(tails.data()) + format_bytes(format, 23);
    params.k_tail_dim = 7;
    params.k_tail_stride = 30;
    kv_write({detect_isa(), 2}, params);
    EXPECT_TRUE(actual[0] == expected[0]);
    EXPECT_TRUE(actual[1] == expected[1]);
    params.k_tail_dim = 20;
    EXPECT_THROW(kv_write({}, params), Error);
  }
}

// Two sequences, the second with two rows that no position fills behind it.
TEST(KvWriteTest, ReadsTheValuesBack) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Format out : {Format::kF32, Format::kBf16}) {
      KvCacheView c{
          .format = format, .num_blocks = 4, .block_size = 8, .num_kv_heads = 2, .v_dim = 300};
      c.v_block_stride = kv_block_bytes(format, 8, 2, 300);
      Values cache(format, 4 * c.v_block_stride / format_bytes(format, 1));
      c.v = cache.data();
      const Values v = Values::random(Format::kF32, 19 * 600, 3);
      const std::vector<int32_t> tables{-1, 9, 1, 9, 3, 0};  // stride 2: rows 1 and 2 are used
      std::vector<int32_t> slots;
      for (int32_t pos = 0; pos < 13; ++pos) slots.push_back(tables[4 + pos / 8] * 8 + pos % 8);
      for (int32_t pos = 0; pos < 6; ++pos) slots.push_back(8 + pos);
      kv_write({detect_isa(), 2}, {.num_tokens = 19,
                                   .v = v.data(),
                                   .format = Format::kF32,
                                   .v_stride = 600,
                                   .slots = slots.data(),
                                   .cache = c});
      Values rows(out, 13 * 610), expected(out, 13 * 610);
      const auto expect_row = [&](int64_t row, int64_t token) {
        for (int64_t d = 0; d < 600; ++d) {
          const float value = token < 0 ? 0.0f : v.get(token * 600 + d);
          const bool narrow = format == Format::kBf16;
          expected.set(row * 610 + d, narrow ? to_float(to_bf16(value)) : value);
        }
      };
      for (int64_t i = 0; i < 8; ++i) expect_row(i, 5 + i);
      expect_row(8, -1);
      expect_row(9, 13 + 5);
      for (int64_t i = 10; i < 13; ++i) expect_row(i, -1);
      const std::vector<int32_t> counts{8, 1}, starts{0, 9}, table_rows{2, 1};
      KvReadParams params{.cache = c,
                          .num_sequences = 2,
                          .num_positions = counts.data(),
                          .row_start = starts.data(),
                          .block_tables = tables.data(),
                          .block_table_stride = 2,
                          .table_rows = table_rows.data(),
                          .first_position = 5,
                          .num_rows = 13,
                          .rows = rows.data(),
                          .format = out,
                          .row_stride = 610};
      kv_read_values({detect_isa(), 2}, params);
      EXPECT_TRUE(rows == expected);
      params.num_rows = 9;
      EXPECT_THROW(kv_read_values({}, params), Error);
      params.num_rows = 13;
      params.first_position = 8;  // the second sequence has no block there
      EXPECT_THROW(kv_read_values({}, params), Error);
    }
  }
}

}  // namespace
}  // namespace sluice
