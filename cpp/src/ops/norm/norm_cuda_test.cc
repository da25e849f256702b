// CUDA against the CPU's kernel.
#include <cmath>

#include "base/error.h"
#include "ops/norm/norm.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Shape {
  int64_t rows;
  int32_t heads;
  int64_t cols;
};

void compare(NormKind kind, const Shape& shape, Format x_format, Format y_format, bool residual) {
  SCOPED_TRACE(concat("kind ", static_cast<int>(kind), " rows ", shape.rows, " heads ", shape.heads,
                      " cols ", shape.cols, " ", format_name(x_format), " to ",
                      format_name(y_format), residual ? " residual" : ""));
  const int64_t count = shape.rows * shape.heads * shape.cols;
  Values x = Values::random(x_format, count, 1);
  Values weight = Values::random(Format::kF32, shape.cols, 2);
  Values bias = Values::random(Format::kF32, shape.cols, 3);
  Values sum = Values::random(Format::kF32, count, 4);
  Values y(y_format, count);
  const DeviceBytes device_x = on_device(x, count), device_sum = on_device(sum, count);
  const DeviceBytes device_weight = on_device(weight, shape.cols);
  const DeviceBytes device_bias = on_device(bias, shape.cols);
  const DeviceBytes device_y(format_bytes(y_format, count));

  NormParams params;
  params.kind = kind;
  params.eps = 1e-5;
  params.weight_offset = 0.5f;
  params.num_rows = shape.rows;
  params.num_heads = shape.heads;
  params.cols = shape.cols;
  params.x_format = x_format;
  params.y_format = y_format;
  params.x_stride = params.y_stride = params.residual_stride = shape.heads * shape.cols;
  params.residual_multiplier = 0.75f;
  NormParams on_gpu = params;
  params.weight = static_cast<const float*>(weight.data());
  params.bias = static_cast<const float*>(bias.data());
  params.x = x.data();
  params.y = y.data();
  on_gpu.weight = static_cast<const float*>(device_weight.data());
  on_gpu.bias = static_cast<const float*>(device_bias.data());
  on_gpu.x = device_x.data();
  on_gpu.y = device_y.data();
  if (residual) {
    params.residual = static_cast<float*>(sum.data());
    on_gpu.residual = static_cast<float*>(device_sum.data());
  }
  norm(exec_of(Isa::kPortable, 1), params);
  norm(cuda_exec(), on_gpu);
  const double tolerance = y_format == Format::kBf16 ? 0x1p-7 : 5e-6;
  expect_close(on_host(device_y, y_format, count), y, count, tolerance);
  if (residual) expect_close(on_host(device_sum, Format::kF32, count), sum, count, 1e-6);
}

TEST(CudaNorm, EqualsTheCpu) {
  for (const NormKind kind : {NormKind::kRmsNorm, NormKind::kLayerNorm}) {
    for (const Shape shape :
         {Shape{1, 1, 1}, {3, 1, 20}, {2, 5, 7}, {17, 1, 2048}, {5, 16, 128}, {9, 3, 64},
          {3, 1, 192}, {2, 3, 260}, {5, 1, 512}, {3, 1, 516}, {3, 1, 2880}, {2, 1, 7168},
          {3, 1, 8192}, {2, 1, 12004}, {2, 1, 16384}, {1, 1, 17000}, {3, 1, 4098}}) {
      for (const Format x : {Format::kF32, Format::kBf16}) {
        for (const Format y : {Format::kF32, Format::kBf16}) compare(kind, shape, x, y, false);
      }
      if (shape.heads == 1) compare(kind, shape, Format::kF32, Format::kBf16, true);
    }
  }
}

// So many rows that blocks take several: each has the bits that it has alone, up to the last.
TEST(CudaNorm, ManyRowsEqualEachAlone) {
  const int64_t rows = 8461, cols = 520;
  const Values x = Values::random(Format::kBf16, rows * cols, 6);
  const Values weight = Values::random(Format::kF32, cols, 7);
  const DeviceBytes device_x = on_device(x, rows * cols), device_weight = on_device(weight, cols);
  const DeviceBytes all(rows * cols * 4), one(cols * 4);
  NormParams params;
  params.eps = 1e-6;
  params.num_rows = rows;
  params.cols = cols;
  params.x = device_x.data();
  params.x_format = Format::kBf16;
  params.y_format = Format::kF32;
  params.x_stride = params.y_stride = cols;
  params.weight = static_cast<const float*>(device_weight.data());
  params.y = all.data();
  norm(cuda_exec(), params);
  const Values together = on_host(all, Format::kF32, rows * cols);
  params.num_rows = 1;
  params.y = one.data();
  for (const int64_t row : {int64_t{0}, int64_t{1}, int64_t{4000}, rows - 2, rows - 1}) {
    params.x = static_cast<const uint16_t*>(device_x.data()) + row * cols;
    norm(cuda_exec(), params);
    const Values alone = on_host(one, Format::kF32, cols);
    for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(together.get(row * cols + c), alone.get(c)) << row;
  }
  for (int64_t i = 0; i < rows * cols; ++i) ASSERT_FALSE(std::isnan(together.get(i))) << i;
}

TEST(CudaNorm, ARowDoesNotDependOnOthers) {
  const int64_t cols = 1536;
  const Values x = Values::random(Format::kF32, 9 * cols, 5);
  const DeviceBytes device_x = on_device(x, 9 * cols);
  const DeviceBytes all(9 * cols * 4), one(cols * 4);
  NormParams params;
  params.eps = 1e-6;
  params.num_rows = 9;
  params.cols = cols;
  params.x = device_x.data();
  params.x_format = params.y_format = Format::kF32;
  params.x_stride = params.y_stride = cols;
  params.y = all.data();
  norm(cuda_exec(), params);
  params.num_rows = 1;
  params.x = static_cast<const float*>(device_x.data()) + 7 * cols;
  params.y = one.data();
  norm(cuda_exec(), params);
  const Values together = on_host(all, Format::kF32, 9 * cols);
  const Values alone = on_host(one, Format::kF32, cols);
  for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(together.get(7 * cols + c), alone.get(c));
}

}  // namespace
}  // namespace sluice
