// Hopper's product against the tile kernel, which is tested against the CPU.
#include <vector>

#include "base/error.h"
#include "ops/gemm/product_cuda.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;
using cuda::Product;
using cuda::ProductKernel;

struct Shape {
  std::vector<int32_t> rows;  // of each group
  int64_t weight_rows, cols;
  bool gated = false;
  bool gathered = false;
  bool bias = false;
  bool scaled = false;
  bool accumulate = false;
  float alpha = 1.0f;
  Format y_format = Format::kBf16;
  ActivationKind activation = ActivationKind::kSilu;
};

void compare(const Shape& shape) {
  const CudaExec& exec = cuda_device().exec();
  if (!exec.has_sm90a()) GTEST_SKIP() << "needs compute capability 9.0";
  SCOPED_TRACE(concat(shape.weight_rows, " x ", shape.cols, shape.gated ? " gated" : "",
                      shape.gathered ? " gathered" : ""));
  const auto groups = static_cast<int64_t>(shape.rows.size());
  std::vector<int32_t> offsets = {0};
  for (const int32_t rows : shape.rows) offsets.push_back(offsets.back() + rows);
  const int64_t rows = offsets.back(), x_rows = shape.gathered ? rows / 2 + 3 : rows;
  const int64_t outputs = shape.gated ? shape.weight_rows / 2 : shape.weight_rows;
  std::vector<int32_t> index;
  Random random(9);
  for (int64_t r = 0; r < rows; ++r) index.push_back(static_cast<int32_t>(random.below(x_rows)));
  const int64_t x_stride = shape.cols + 8;
  Values x(Format::kBf16, x_rows * x_stride);  // NaN between the rows
  for (int64_t r = 0; r < x_rows; ++r) {
    for (int64_t c = 0; c < shape.cols; ++c) x.set(r * x_stride + c, random.value());
  }
  const int64_t w_count = groups * shape.weight_rows * shape.cols;
  const DeviceBytes device_x = on_device(x, x_rows * x_stride);
  const DeviceBytes w = on_device(Values::random(Format::kBf16, w_count, 2, 0.1f), w_count);
  const DeviceBytes bias =
      on_device(Values::random(Format::kF32, groups * shape.weight_rows, 3), groups * shape.weight_rows);
  const DeviceBytes scale = on_device(Values::random(Format::kF32, rows, 4), rows);
  const DeviceArray<int32_t> device_offsets(offsets), device_index(index);
  const Values before = Values::random(shape.y_format, rows * outputs, 5);

  Product p;
  p.num_groups = static_cast<int32_t>(groups);
  p.offsets = device_offsets.get();
  p.max_rows = rows;
  p.format = Format::kBf16;
  p.y_format = shape.y_format;
  p.x = device_x.data();
  p.x_stride = x_stride;
  p.row_index = shape.gathered ? device_index.get() : nullptr;
  p.row_scale = shape.scaled ? static_cast<const float*>(scale.data()) : nullptr;
  p.w = w.data();
  p.w_group_stride = shape.weight_rows * shape.cols;
  p.weight_rows = shape.weight_rows;
  p.cols = shape.cols;
  p.bias = shape.bias ? static_cast<const float*>(bias.data()) : nullptr;
  p.bias_group_stride = shape.weight_rows;
  p.alpha = shape.alpha;
  p.accumulate = shape.accumulate;
  p.activates = p.gated = shape.gated;
  p.activation = shape.activation;
  p.activation_alpha = 1.7f;
  p.activation_beta = 1.0f;
  p.activation_limit = 0.9f;
  p.y_stride = outputs;
  Values results[2] = {before, before};
  const ProductKernel kernels[] = {ProductKernel::kBf16Tile, ProductKernel::kBf16Wgmma};
  for (int i = 0; i < 2; ++i) {
    const DeviceBytes y = on_device(before, rows * outputs);
    p.y = y.data();
    cuda::product(exec, p, kernels[i]);
    results[i] = on_host(y, shape.y_format, rows * outputs);
  }
  const double tolerance = shape.y_format == Format::kBf16 ? 0x1p-7 : 1e-4;
  expect_close(results[1], results[0], rows * outputs, tolerance);
}

TEST(CudaProductSm90, GatedExperts) {
  const std::vector<int32_t> rows = {130, 0, 1, 127, 300, 128, 0, 64};
  for (const bool gathered : {false, true}) {
    compare({.rows = rows, .weight_rows = 512, .cols = 192, .gated = true, .gathered = gathered});
    // Neither outputs nor inputs fill their tiles.
    compare({.rows = rows, .weight_rows = 336, .cols = 200, .gated = true, .gathered = gathered});
    compare({.rows = rows,
             .weight_rows = 336,
             .cols = 200,
             .gated = true,
             .gathered = gathered,
             .bias = true,
             .scaled = true,
             .activation = ActivationKind::kClampedSwiglu});
    compare({.rows = rows,
             .weight_rows = 128,
             .cols = 64,
             .gated = true,
             .gathered = gathered,
             .scaled = true,
             .activation = ActivationKind::kGelu});
  }
}

TEST(CudaProductSm90, PlainProducts) {
  for (const Format y_format : {Format::kBf16, Format::kF32}) {
    compare({.rows = {5, 200, 0, 129}, .weight_rows = 264, .cols = 136, .y_format = y_format});
    compare({.rows = {700}, .weight_rows = 512, .cols = 1024, .y_format = y_format});
    compare({.rows = {5, 200, 0, 129},
             .weight_rows = 264,
             .cols = 136,
             .bias = true,
             .scaled = true,
             .alpha = 0.5f,
             .y_format = y_format});
  }
  compare({.rows = {333},
           .weight_rows = 264,
           .cols = 136,
           .bias = true,
           .accumulate = true,
           .alpha = 0.5f,
           .y_format = Format::kF32});
}

// What the tile kernel can do and this one cannot is said, not computed wrongly.
TEST(CudaProductSm90, OtherProductsAreRefused) {
  Product p;
  p.max_rows = 8;
  p.format = Format::kF32;
  EXPECT_FALSE(cuda::product_sm90_fits(cuda_device().exec(), p));
  EXPECT_THROW(cuda::product(cuda_device().exec(), p, ProductKernel::kBf16Wgmma), Error);
}

}  // namespace
}  // namespace sluice
