#include "ops/embedding/embedding.h"

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Values;

TEST(EmbeddingTest, GathersRowsOfEveryLayout) {
  const int64_t vocab = 130, cols = 301;
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const WeightLayout layout : {WeightLayout::kPanel64, WeightLayout::kRowMajor}) {
      for (const Format out : {Format::kF32, Format::kBf16}) {
        const Values dense = Values::random(format, vocab * cols, 3);
        Buffer buffer(packed_bytes(format, layout, vocab, cols), "table");
        const WeightView table{
            .format = format, .layout = layout, .data = buffer.data(), .rows = vocab, .cols = cols};
        pack_rows({.weight = table,
                   .source = dense.data(),
                   .source_format = format,
                   .row_stride = cols,
                   .num_rows = vocab,
                   .num_cols = cols});
        std::vector<int32_t> ids{0, 129, 64, 63, -1, 64};
        for (int i = 0; i < 60; ++i) ids.push_back(i * 37 % 130);
        Values y(out, static_cast<int64_t>(ids.size()) * (cols + 2));
        embedding(testing::exec_of(detect_isa(), 2),
                  {.num_tokens = static_cast<int64_t>(ids.size()),
                   .ids = ids.data(),
                   .table = table,
                   .multiplier = 3.0f,
                   .y = y.data(),
                   .y_format = out,
                   .y_stride = cols + 2});
        for (size_t t = 0; t < ids.size(); ++t) {
          for (int64_t c = 0; c < cols + 2; ++c) {
            const float actual = y.get(static_cast<int64_t>(t) * (cols + 2) + c);
            if (c >= cols) {
              ASSERT_TRUE(std::isnan(actual));
              continue;
            }
            const float value = ids[t] < 0 ? 0.0f : 3.0f * dense.get(ids[t] * cols + c);
            ASSERT_EQ(actual, out == Format::kBf16 ? to_float(to_bf16(value)) : value);
          }
        }
        ids[2] = 130;
        EXPECT_THROW(embedding({}, {.num_tokens = 6,
                                    .ids = ids.data(),
                                    .table = table,
                                    .y = y.data(),
                                    .y_format = out,
                                    .y_stride = cols}),
                     Error);
      }
    }
  }
}

TEST(EmbeddingTest, GatherRowsConverts) {
  for (const Format in : {Format::kF32, Format::kBf16}) {
    for (const Format out : {Format::kF32, Format::kBf16}) {
      const Values x = Values::random(in, 10 * 33, 1);
      const std::vector<int32_t> index{9, 0, 4, 4, -1};
      Values y(out, 5 * 40);
      GatherRowsParams p{.num_rows = 5,
                         .cols = 33,
                         .index = index.data(),
                         .num_source_rows = 10,
                         .x = x.data(),
                         .x_format = in,
                         .x_stride = 33,
                         .y = y.data(),
                         .y_format = out,
                         .y_stride = 40};
      gather_rows(testing::exec_of(detect_isa(), 2), p);
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t c = 0; c < 33; ++c) {
          const int32_t from = index[static_cast<size_t>(r)];
          const float value = from < 0 ? 0.0f : x.get(from * 33 + c);
          ASSERT_EQ(y.get(r * 40 + c), out == Format::kBf16 ? to_float(to_bf16(value)) : value);
        }
        ASSERT_TRUE(std::isnan(y.get(r * 40 + 33)));
      }
      p.num_source_rows = 9;
      EXPECT_THROW(gather_rows({}, p), Error);
    }
  }
}

}  // namespace
}  // namespace sluice
