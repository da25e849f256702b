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

TEST(KvWriteTest, ReadsTheValuesBack) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Format out : {Format::kF32, Format::kBf16}) {
      KvCacheView c{
          .format = format, .num_blocks = 4, .block_size = 8, .num_kv_heads = 2, .v_dim = 300};
      c.v_block_stride = kv_block_bytes(format, 8, 2, 300);
      Values cache(format, 4 * c.v_block_stride / format_bytes(format, 1));
      c.v = cache.data();
      const Values v = Values::random(Format::kF32, 13 * 600, 3);
      const std::vector<int32_t> table{3, 0, -1, 2};
      std::vector<int32_t> slots;
      for (int32_t pos = 0; pos < 13; ++pos) slots.push_back(table[pos / 8] * 8 + pos % 8);
      kv_write({detect_isa(), 2}, {.num_tokens = 13,
                                   .v = v.data(),
                                   .format = Format::kF32,
                                   .v_stride = 600,
                                   .slots = slots.data(),
                                   .cache = c});
      Values rows(out, 8 * 610), expected(out, 8 * 610);
      for (int64_t i = 0; i < 8; ++i) {
        for (int64_t d = 0; d < 600; ++d) {
          const float value = v.get((i + 5) * 600 + d);
          const bool narrow = format == Format::kBf16;
          expected.set(i * 610 + d, narrow ? to_float(to_bf16(value)) : value);
        }
      }
      KvReadParams params{.cache = c,
                          .block_table = table.data(),
                          .first_position = 5,
                          .num_positions = 8,
                          .rows = rows.data(),
                          .format = out,
                          .row_stride = 610};
      kv_read_values({detect_isa(), 2}, params);
      EXPECT_TRUE(rows == expected);
      params.first_position = 16;
      EXPECT_THROW(kv_read_values({}, params), Error);
    }
  }
}

}  // namespace
}  // namespace sluice
