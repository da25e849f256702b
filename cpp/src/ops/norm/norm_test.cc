#include "ops/norm/norm.h"

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Values;

constexpr Format kFormats[] = {Format::kF32, Format::kBf16};

struct Case {
  NormKind kind;
  int64_t rows;
  int32_t heads;
  int64_t cols;
  bool weight, bias, own_weights, residual;
  float offset;
};

void check(const Case& c, Format in, Format out, Isa isa) {
  const int64_t width = c.heads * c.cols, x_stride = width + 3, y_stride = width + 5;
  const Values x = Values::random(in, c.rows * x_stride, 1, 3.0f);
  const Values weight = Values::random(Format::kF32, width, 2);
  const Values bias = Values::random(Format::kF32, width, 3);
  Values residual = Values::random(Format::kF32, c.rows * (c.cols + 1), 4);
  const Values before = residual;
  Values y(out, c.rows * y_stride);
  norm(testing::exec_of(isa, 2),
       {.kind = c.kind,
        .eps = 1e-5,
        .weight = c.weight ? static_cast<const float*>(weight.data()) : nullptr,
        .bias = c.bias ? static_cast<const float*>(bias.data()) : nullptr,
        .weight_offset = c.offset,
        .num_rows = c.rows,
        .num_heads = c.heads,
        .cols = c.cols,
        .weight_head_stride = c.own_weights ? c.cols : 0,
        .x = x.data(),
        .x_format = in,
        .x_stride = x_stride,
        .y = y.data(),
        .y_format = out,
        .y_stride = y_stride,
        .residual = c.residual ? static_cast<float*>(residual.data()) : nullptr,
        .residual_stride = c.cols + 1,
        .residual_multiplier = 0.5f});
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t h = 0; h < c.heads; ++h) {
      std::vector<double> v;
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < c.cols; ++i) {
        double value = x.get(r * x_stride + h * c.cols + i);
        if (c.residual) {
          value = 0.5 * value + double{before.get(r * (c.cols + 1) + i)};
          ASSERT_NEAR(residual.get(r * (c.cols + 1) + i), value, 1e-6);
        }
        v.push_back(value);
        sum += value;
      }
      const double mean = c.kind == NormKind::kLayerNorm ? sum / static_cast<double>(c.cols) : 0;
      for (double& value : v) {
        value -= mean;
        squares += value * value;
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(c.cols) + 1e-5);
      for (int64_t i = 0; i < c.cols; ++i) {
        const int64_t w = (c.own_weights ? h * c.cols : 0) + i;
        double expected = v[static_cast<size_t>(i)] * scale;
        if (c.weight) expected *= double{c.offset} + double{weight.get(w)};
        if (c.bias) expected += double{bias.get(w)};
        ASSERT_TRUE(testing::close(y.get(r * y_stride + h * c.cols + i), expected,
                                   1e-5 + testing::epsilon(out)))
            << "row " << r << " head " << h << " column " << i << ": "
            << y.get(r * y_stride + h * c.cols + i) << " expected " << expected;
      }
    }
    for (int64_t i = width; i < y_stride; ++i) ASSERT_TRUE(std::isnan(y.get(r * y_stride + i)));
  }
}

TEST(NormTest, AgreesWithDouble) {
  for (const NormKind kind : {NormKind::kRmsNorm, NormKind::kLayerNorm}) {
    for (const int64_t cols : {1, 15, 16, 17, 64, 577}) {
      const Case cases[] = {{kind, 5, 1, cols, true, false, false, false, 0.0f},
                            {kind, 1, 1, cols, false, false, false, false, 0.0f},
                            {kind, 40, 1, cols, true, true, false, true, 1.0f},
                            {kind, 3, 4, cols, true, false, false, false, 1.0f},
                            {kind, 3, 4, cols, true, true, true, false, 0.0f}};
      for (const Case& c : cases) {
        for (const Format in : kFormats) {
          for (const Format out : kFormats) {
            for (const Isa isa : testing::isas()) {
              SCOPED_TRACE(concat(isa_name(isa), " ", format_name(in), " ", format_name(out),
                                  " cols ", cols));
              check(c, in, out, isa);
            }
          }
        }
      }
    }
  }
}

TEST(NormTest, WorksInPlaceAndRowsDoNotMix) {
  for (const Isa isa : testing::isas()) {
    Values x = Values::random(Format::kBf16, 7 * 50, 9);
    Values alone(Format::kBf16, 50), together(Format::kBf16, 7 * 50);
    NormParams p{.eps = 1e-6,
                 .num_rows = 7,
                 .cols = 50,
                 .x = x.data(),
                 .x_format = Format::kBf16,
                 .x_stride = 50,
                 .y = together.data(),
                 .y_format = Format::kBf16,
                 .y_stride = 50};
    norm(testing::exec_of(isa, 3), p);
    p.x = x.at(4 * 50);
    p.y = alone.data();
    p.num_rows = 1;
    norm({isa, 1}, p);
    EXPECT_EQ(std::memcmp(alone.data(), together.at(4 * 50), 100), 0);
    p.x = x.data();
    p.y = x.data();
    p.num_rows = 7;
    norm(testing::exec_of(isa, 2), p);
    EXPECT_TRUE(x == together);
  }
}

TEST(NormTest, ResidualAdd) {
  for (const Format in : kFormats) {
    for (const Isa isa : testing::isas()) {
      const Values x = Values::random(in, 6 * 40, 1);
      Values residual = Values::random(Format::kF32, 6 * 37, 2);
      const Values before = residual;
      residual_add(testing::exec_of(isa, 2), {.num_rows = 6,
                                              .cols = 37,
                                              .x = x.data(),
                                              .x_format = in,
                                              .x_stride = 40,
                                              .residual = static_cast<float*>(residual.data()),
                                              .residual_stride = 37,
                                              .multiplier = -2.0f});
      for (int64_t i = 0; i < 6 * 37; ++i) {
        EXPECT_NEAR(residual.get(i), before.get(i) - 2.0 * x.get(i / 37 * 40 + i % 37), 1e-6);
      }
    }
  }
}

TEST(NormTest, RefusesByName) {
  float value = 0;
  const NormParams good{.num_rows = 1,
                        .cols = 1,
                        .x = &value,
                        .x_format = Format::kF32,
                        .x_stride = 1,
                        .y = &value,
                        .y_format = Format::kF32,
                        .y_stride = 1};
  NormParams p = good;
  p.x_format = Format::kF16;
  EXPECT_THROW(norm({}, p), Error);
  p = good;
  p.cols = 0;
  EXPECT_THROW(norm({}, p), Error);
  p = good;
  p.num_heads = 2;
  p.residual = &value;
  EXPECT_THROW(norm({}, p), Error);
  p = good;
  p.num_rows = 2;
  p.y_stride = 0;
  EXPECT_THROW(norm({}, p), Error);
}

}  // namespace
}  // namespace sluice
