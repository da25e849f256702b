#include "ops/activation/activation.h"

#include <algorithm>

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Values;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double reference(const ActivationParams& p, double x, double up) {
  switch (p.kind) {
    case ActivationKind::kSilu:
      return x * sigmoid(x) * up;
    case ActivationKind::kGelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0))) * up;
    case ActivationKind::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) * up;
    case ActivationKind::kRelu:
      return std::max(0.0, x) * up;
    case ActivationKind::kReluSquared:
      return std::max(0.0, x) * std::max(0.0, x) * up;
    case ActivationKind::kQuickGelu:
      return x * sigmoid(1.702 * x) * up;
    case ActivationKind::kSigmoid:
      return sigmoid(x) * up;
    case ActivationKind::kClampedSwiglu: {
      const double limit = p.limit, gate = std::min(x, limit);
      return gate * sigmoid(p.alpha * gate) * (std::clamp(up, -limit, limit) + double{p.beta});
    }
  }
  return 0;
}

TEST(ActivationTest, AgreesWithDouble) {
  for (int kind = 1; kind <= 8; ++kind) {
    for (const bool gated : {false, true}) {
      if (kind == static_cast<int>(ActivationKind::kClampedSwiglu) && !gated) continue;
      for (const int64_t cols : {1, 16, 31, 1000}) {
        for (const Format in : {Format::kF32, Format::kBf16}) {
          for (const Format out : {Format::kF32, Format::kBf16}) {
            for (const Isa isa : testing::isas()) {
              SCOPED_TRACE(concat("kind ", kind, " ", isa_name(isa), " ", format_name(in), " ",
                                  format_name(out), gated ? " gated" : ""));
              const int64_t rows = 9, stride = 2 * cols + 3;
              Values x = Values::random(in, rows * stride, 5, 9.0f);
              x.set(0, 0.0f);
              Values y(out, rows * (cols + 1));
              const ActivationParams p{.kind = static_cast<ActivationKind>(kind),
                                       .alpha = 1.702f,
                                       .beta = 1.0f,
                                       .limit = 7.0f,
                                       .num_rows = rows,
                                       .cols = cols,
                                       .x = x.data(),
                                       .up = gated ? x.at(cols) : nullptr,
                                       .x_format = in,
                                       .x_stride = stride,
                                       .y = y.data(),
                                       .y_format = out,
                                       .y_stride = cols + 1};
              activation(testing::exec_of(isa, 2), p);
              for (int64_t r = 0; r < rows; ++r) {
                for (int64_t c = 0; c < cols; ++c) {
                  const double up = gated ? double{x.get(r * stride + cols + c)} : 1.0;
                  const double expected = reference(p, x.get(r * stride + c), up);
                  // erf is good to 5e-7, times half the input and the gate.
                  ASSERT_TRUE(testing::close(y.get(r * (cols + 1) + c), expected,
                                             2e-5 + testing::epsilon(out)))
                      << x.get(r * stride + c) << " -> " << y.get(r * (cols + 1) + c)
                      << " expected " << expected;
                }
                ASSERT_TRUE(std::isnan(y.get(r * (cols + 1) + cols)));
              }
            }
          }
        }
      }
    }
  }
}

TEST(ActivationTest, ExtremesStayFinite) {
  for (const Isa isa : testing::isas()) {
    for (const ActivationKind kind : {ActivationKind::kSilu, ActivationKind::kGelu,
                                      ActivationKind::kGeluTanh, ActivationKind::kQuickGelu}) {
      const float x[4] = {-1e30f, -200.0f, 200.0f, 1e9f};
      float y[4];
      activation({isa, 1}, {.kind = kind,
                            .num_rows = 1,
                            .cols = 4,
                            .x = x,
                            .x_format = Format::kF32,
                            .x_stride = 4,
                            .y = y,
                            .y_format = Format::kF32,
                            .y_stride = 4});
      EXPECT_EQ(std::abs(y[0]), 0.0f) << static_cast<int>(kind);
      EXPECT_EQ(std::abs(y[1]), 0.0f);
      EXPECT_FLOAT_EQ(y[2], 200.0f);
      EXPECT_FLOAT_EQ(y[3], 1e9f);
      const float nan[1] = {std::numeric_limits<float>::quiet_NaN()};
      activation({isa, 1}, {.kind = kind,
                            .num_rows = 1,
                            .cols = 1,
                            .x = nan,
                            .x_format = Format::kF32,
                            .x_stride = 1,
                            .y = y,
                            .y_format = Format::kF32,
                            .y_stride = 1});
      EXPECT_TRUE(std::isnan(y[0])) << static_cast<int>(kind) << " " << isa_name(isa);
    }
  }
}

TEST(ActivationTest, RefusesByName) {
  float value[4] = {};
  ActivationParams p{.num_rows = 1,
                     .cols = 2,
                     .x = value,
                     .x_format = Format::kF32,
                     .x_stride = 2,
                     .y = value,
                     .y_format = Format::kF32,
                     .y_stride = 2};
  p.kind = static_cast<ActivationKind>(9);
  EXPECT_THROW(activation({}, p), Error);
  p.kind = ActivationKind::kClampedSwiglu;
  EXPECT_THROW(activation({}, p), Error);
  p.up = value;
  EXPECT_THROW(activation({}, p), Error);  // no limit
}

}  // namespace
}  // namespace sluice
