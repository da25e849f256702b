#include "ops/elementwise/elementwise.h"

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

Exec exec() { return exec_of(detect_isa(), 2); }

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(ElementwiseTest, ConvertsStridedRows) {
  for (const Format in : {Format::kF32, Format::kBf16}) {
    for (const Format out : {Format::kF32, Format::kBf16}) {
      Values x = Values::random(in, 5 * 11, 1), y(out, 5 * 13), expected(out, 5 * 13);
      x.set(12, NAN);
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t c = 0; c < 9; ++c) expected.set(r * 13 + c, x.get(r * 11 + c));
      }
      ConvertRowsParams params{.num_rows = 5,
                               .cols = 9,
                               .x = x.data(),
                               .x_format = in,
                               .x_stride = 11,
                               .y = y.data(),
                               .y_format = out,
                               .y_stride = 13};
      convert_rows(exec(), params);
      for (int64_t i = 0; i < 5 * 13; ++i) {
        ASSERT_TRUE(close(y.get(i), expected.get(i), 0)) << i;
      }
      params.y_stride = 8;
      EXPECT_THROW(convert_rows(exec(), params), Error);
    }
  }
}

TEST(ElementwiseTest, MapsValues) {
  const std::vector<float> x{-3, -0.25f, 0, 1.5f, 40, NAN};
  for (const MapKind kind : {MapKind::kClamp, MapKind::kSoftCap, MapKind::kGate}) {
    std::vector<float> y = x;
    const float limit = kind == MapKind::kGate ? 0.45f : 1.25f;
    map_values(exec(), kind, limit, static_cast<int64_t>(y.size()), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      double expected = x[i];
      if (kind == MapKind::kClamp && !std::isnan(expected)) {
        expected = std::clamp(expected, -1.25, 1.25);
      } else if (kind == MapKind::kSoftCap) {
        expected = 1.25 * std::tanh(expected / 1.25);
      } else if (kind == MapKind::kGate) {
        expected = sigmoid(expected) < 0.45 ? 0 : sigmoid(expected);
      }
      EXPECT_TRUE(close(y[i], expected, 1e-6)) << y[i] << ", expected " << expected;
    }
  }
  float value = 1;
  EXPECT_THROW(map_values(exec(), MapKind::kClamp, 0, 1, &value), Error);
}

TEST(ElementwiseTest, GatesAndAdds) {
  const int64_t rows = 7, cols = 33;
  const Values gate = Values::random(Format::kF32, rows * cols, 2, 5.0f);
  const auto* gates = static_cast<const float*>(gate.data());
  for (const Format format : {Format::kF32, Format::kBf16}) {
    const Values before = Values::random(format, rows * cols, 3);
    Values y = before;
    gate_values(exec(), rows * cols, gates, y.data(), format);
    for (int64_t i = 0; i < rows * cols; ++i) {
      EXPECT_TRUE(close(y.get(i), before.get(i) * sigmoid(gate.get(i)), epsilon(format) * 2));
    }
  }
  const Values x = Values::random(Format::kF32, rows * cols, 4);
  const Values before = Values::random(Format::kF32, rows * cols, 5);
  Values y = before;
  gated_add(exec(), {.num_rows = rows,
                     .cols = cols,
                     .gate = gates,
                     .multiplier = 0.5f,
                     .x = static_cast<const float*>(x.data()),
                     .y = static_cast<float*>(y.data())});
  for (int64_t i = 0; i < rows * cols; ++i) {
    const double expected = before.get(i) + 0.5 * sigmoid(gate.get(i / cols)) * x.get(i);
    EXPECT_TRUE(close(y.get(i), expected, 1e-6));
  }
}

TEST(ElementwiseTest, MarksTheSlotsOfKeptTokens) {
  const std::vector<float> logits{2, -2, 3, 0, NAN};
  const std::vector<int32_t> slots{4, 7, 0, 7, -1, 7, 2, 7, 1, 7};  // every other one is used
  std::vector<uint8_t> marks(6, 9);
  mark_slots(exec(), {.num_tokens = 5,
                      .logits = logits.data(),
                      .threshold = 0.5f,
                      .slots = slots.data(),
                      .slot_stride = 2,
                      .marks = marks.data()});
  EXPECT_EQ(marks, (std::vector<uint8_t>{0, 0, 1, 9, 1, 9}));
}

TEST(ElementwiseTest, MergesAttentionByItsLogSums) {
  constexpr int64_t kRows = 6, kCols = 10;
  const Values part = Values::random(Format::kF32, kRows * kCols, 6);
  const Values before = Values::random(Format::kF32, kRows * kCols, 7);
  const float none = -INFINITY;
  const std::vector<float> part_lse{1, none, 3, none, 90, NAN}, lse_before{2, 1, none, none, -90, 0};
  Values out = before;
  std::vector<float> lse = lse_before;
  merge_attention(exec(), {.num_rows = kRows,
                           .cols = kCols,
                           .part = static_cast<const float*>(part.data()),
                           .part_lse = part_lse.data(),
                           .out = static_cast<float*>(out.data()),
                           .lse = lse.data()});
  for (size_t r = 0; r < kRows; ++r) {
    const double a = std::exp(double{lse_before[r]}), b = std::exp(double{part_lse[r]});
    const bool neither = a + b == 0;
    EXPECT_TRUE(close(lse[r], neither ? none : std::log(a + b), 1e-6)) << r;
    for (int64_t c = 0; c < kCols; ++c) {
      const int64_t i = static_cast<int64_t>(r) * kCols + c;
      const double expected =
          neither ? before.get(i) : (before.get(i) * a + part.get(i) * b) / (a + b);
      EXPECT_TRUE(close(out.get(i), expected, 1e-6)) << r;
    }
  }
}

TEST(ElementwiseTest, GathersAsManyAsThereAre) {
  const std::vector<float> x{10, 11, 12};
  const std::vector<int32_t> index{2, 0, 1, 1 << 30};
  std::vector<float> y(4, -1);
  const int32_t count = 3, many = 5;
  GatherValuesParams params{.max_count = 4,
                            .count = &count,
                            .index = index.data(),
                            .x = x.data(),
                            .y = y.data()};
  gather_values(exec(), params);
  EXPECT_EQ(y, (std::vector<float>{12, 10, 11, -1}));
  params.count = &many;
  EXPECT_THROW(gather_values(exec(), params), Error);
}

TEST(ElementwiseTest, Integers) {
  const std::vector<int32_t> offsets{0, 3, 3, 8};
  std::vector<int32_t> counts{1, 2, 3};
  add_lengths(exec(), 3, offsets.data(), counts.data());
  EXPECT_EQ(counts, (std::vector<int32_t>{4, 2, 8}));

  const std::vector<int32_t> ids{5, -1, 9, 10, INT32_MIN, INT32_MAX};
  std::vector<int32_t> out(6);
  local_ids(exec(), 6, ids.data(), 5, 5, out.data());
  EXPECT_EQ(out, (std::vector<int32_t>{0, -1, 4, -1, -1, -1}));
  shift_values(exec(), {.count = 4, .x = ids.data(), .low = 0, .high = 9, .offset = 3,
                        .y = out.data()});
  EXPECT_EQ(out, (std::vector<int32_t>{2, -3, 6, 6, -1, -1}));
  number_values(exec(), 3, out.data());
  EXPECT_EQ(out, (std::vector<int32_t>{0, 1, 2, 6, -1, -1}));
}

TEST(ElementwiseTest, LaysSequencesOutInRows) {
  const std::vector<int32_t> lengths{3, 12, 0, 9};
  std::vector<int32_t> rows(4), start(4), block(4);
  RaggedRowsParams params{.num_sequences = 4,
                          .lengths = lengths.data(),
                          .first = 2,
                          .limit = 8,
                          .align = 4,
                          .num_rows = rows.data(),
                          .row_start = start.data(),
                          .row_block = block.data()};
  ragged_rows(exec(), params);
  EXPECT_EQ(rows, (std::vector<int32_t>{1, 8, 0, 7}));
  EXPECT_EQ(start, (std::vector<int32_t>{0, 4, 12, 12}));
  EXPECT_EQ(block, (std::vector<int32_t>{0, 1, 3, 3}));
  params.align = 0;
  EXPECT_THROW(ragged_rows(exec(), params), Error);
}

TEST(ElementwiseTest, CopiesAndZeroes) {
  const std::vector<int32_t> from{1, 2, 3};
  std::vector<int32_t> to(3, -1);
  copy_bytes(exec(), to.data(), from.data(), 8);
  EXPECT_EQ(to, (std::vector<int32_t>{1, 2, -1}));
  zero_bytes(exec(), to.data() + 1, 4);
  EXPECT_EQ(to, (std::vector<int32_t>{1, 0, -1}));
}

}  // namespace
}  // namespace sluice
