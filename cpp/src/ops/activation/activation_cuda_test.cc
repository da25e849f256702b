// CUDA against double. The CPU's approximations are coarser where an activation nears zero.
#include "base/error.h"
#include "ops/activation/activation.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr Format kFormats[] = {Format::kF32, Format::kBf16};

struct Shape {
  int64_t rows, cols, extra;  // elements between rows beyond what they need
};

double apply(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return x / (1 + std::exp(-x));
    case ActivationKind::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case ActivationKind::kGeluTanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kRelu:
      return x < 0 ? 0 : x;
    case ActivationKind::kReluSquared:
      return x < 0 ? 0 : x * x;
    case ActivationKind::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case ActivationKind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationKind::kClampedSwiglu:
      break;
  }
  return NAN;
}

double clamped_swiglu(const ActivationParams& p, double gate, double up) {
  const double limit = double{p.limit};
  const double g = gate > limit ? limit : gate, u = up > limit ? limit : up < -limit ? -limit : up;
  return g / (1 + std::exp(-double{p.alpha} * g)) * (u + double{p.beta});
}

void compare(ActivationKind kind, bool gated, const Shape& shape, Format in, Format out) {
  SCOPED_TRACE(concat("kind ", static_cast<int>(kind), gated ? " gated " : " ", shape.rows, " x ",
                      shape.cols, " + ", shape.extra, " ", format_name(in), " to ",
                      format_name(out)));
  const int64_t x_stride = (gated ? 2 : 1) * shape.cols + shape.extra;
  const int64_t y_stride = shape.cols + shape.extra;
  const int64_t x_count = shape.rows * x_stride, y_count = shape.rows * y_stride;
  Values x = Values::random(in, x_count, 7, 9.0f);
  x.set(0, NAN);
  x.set(x_count - 1, NAN);
  ActivationParams params;
  params.kind = kind;
  params.alpha = 1.702f;
  params.beta = 1.0f;
  params.limit = 7.0f;
  params.num_rows = shape.rows;
  params.cols = shape.cols;
  params.x_format = in;
  params.x_stride = x_stride;
  params.y_format = out;
  params.y_stride = y_stride;
  const DeviceBytes device_x = on_device(x, x_count), device_y(format_bytes(out, y_count));
  params.x = device_x.data();
  params.up = gated ? static_cast<const char*>(params.x) + format_bytes(in, shape.cols) : nullptr;
  params.y = device_y.data();
  activation(cuda_exec(), params);
  const Values y = on_host(device_y, out, y_count);
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t c = 0; c < y_stride; ++c) {
      const double actual = y.get(r * y_stride + c);
      const double gate = x.get(r * x_stride + c);
      double expected = NAN;  // between rows nothing is written
      if (c < shape.cols) {
        const double up = gated ? x.get(r * x_stride + shape.cols + c) : 1.0;
        expected = kind == ActivationKind::kClampedSwiglu ? clamped_swiglu(params, gate, up)
                                                          : apply(kind, gate) * up;
      }
      const double tolerance = (out == Format::kBf16 ? 0x1p-8 : 0) + 4e-6;
      ASSERT_TRUE(std::isnan(expected) ? std::isnan(actual)
                                       : std::abs(actual - expected) <=
                                             tolerance * std::abs(expected) + 1e-10)
          << "row " << r << " column " << c << ": " << actual << ", expected " << expected;
    }
  }
}

TEST(CudaActivation, EqualsTheCpu) {
  for (int kind = 1; kind <= 8; ++kind) {
    for (const bool gated : {false, true}) {
      const auto of = static_cast<ActivationKind>(kind);
      if (of == ActivationKind::kClampedSwiglu && !gated) continue;
      for (const Shape shape :
           {Shape{1, 1, 0}, {3, 20, 0}, {2, 37, 0}, {5, 64, 3}, {3, 1408, 0}, {700, 264, 8}}) {
        for (const Format in : kFormats) {
          for (const Format out : kFormats) compare(of, gated, shape, in, out);
        }
      }
    }
  }
}

TEST(CudaActivation, WorksInPlace) {
  const int64_t rows = 9, size = 256;
  Values x = Values::random(Format::kBf16, rows * 2 * size, 3);
  const DeviceBytes device_x = on_device(x, rows * 2 * size);
  ActivationParams params;
  params.num_rows = rows;
  params.cols = size;
  params.x = x.data();
  params.up = x.at(size);
  params.x_format = params.y_format = Format::kBf16;
  params.x_stride = params.y_stride = 2 * size;
  params.y = x.data();
  activation(exec_of(Isa::kPortable, 1), params);
  params.x = params.y = device_x.data();
  params.up = static_cast<const char*>(params.x) + 2 * size;
  activation(cuda_exec(), params);
  expect_close(on_host(device_x, Format::kBf16, rows * 2 * size), x, rows * 2 * size, 0x1p-7);
}

}  // namespace
}  // namespace sluice
