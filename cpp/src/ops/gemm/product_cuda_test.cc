// CUDA's dense, batched and grouped products against the CPU's.
#include "ops/gemm/product_cuda.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

// `count` random matrices, for both sides.
struct Weights {
  Weights(Format format, int64_t count, int64_t rows, int64_t cols, uint64_t seed)
      : bytes((packed_bytes(format, WeightLayout::kRowMajor, rows, cols) + 255) / 256 * 256),
        panel_bytes(packed_bytes(format, WeightLayout::kPanel64, rows, cols)),
        panels(count * panel_bytes, "panels"),
        on_device(count * bytes) {
    const Values dense = Values::random(format, count * rows * cols, seed);
    std::vector<char> padded(static_cast<size_t>(count * bytes), static_cast<char>(0xff));
    const int64_t dense_bytes = format_bytes(format, rows * cols);
    for (int64_t i = 0; i < count; ++i) {
      const char* from = static_cast<const char*>(dense.data()) + i * dense_bytes;
      std::memcpy(padded.data() + i * bytes, from, static_cast<size_t>(dense_bytes));
      WeightView panel{.format = format, .rows = rows, .cols = cols};
      panel.data = panels.data() + i * panel_bytes;
      pack_rows({.weight = panel,
                 .source = from,
                 .source_format = format,
                 .row_stride = cols,
                 .num_rows = rows,
                 .num_cols = cols});
      if (i == 0) host = panel;
    }
    on_device.upload(padded.data());
    device = host;
    device.layout = WeightLayout::kRowMajor;
    device.data = on_device.data();
  }
  int64_t bytes, panel_bytes;
  Buffer panels;
  DeviceBytes on_device;
  WeightView host, device;
};

// Rows of `width` values `stride` apart: random, and NaN between them.
Values padded_rows(Format format, int64_t rows, int64_t width, int64_t stride, uint64_t seed) {
  Values out(format, std::max<int64_t>(rows * stride, 1));
  Random random(seed);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < width; ++c) out.set(r * stride + c, random.value());
  }
  return out;
}

// Both sum in float32, in different orders; the sum of k products of values below 1 stays below k,
// typically near sqrt(k) / 3.
double tolerance(Format y_format, int64_t cols) {
  return (y_format == Format::kBf16 ? 0x1p-7 : 0.0) + static_cast<double>(cols) * 0x1p-25 + 2e-6;
}

std::vector<cuda::ProductKernel> kernels_for(Format format) {
  if (format == Format::kF32) {
    return {cuda::ProductKernel::kF32Tile, cuda::ProductKernel::kF32Stream};
  }
  return {cuda::ProductKernel::kBf16Tile, cuda::ProductKernel::kBf16Stream};
}

Gemm invariant_gemm() {
  GemmOptions options;
  options.cuda_device = 0;
  options.numerics = Numerics::kBatchInvariant;
  return Gemm(options);
}

struct Dense {
  int64_t rows, outputs, cols;
  bool bias = false, accumulate = false;
  float alpha = 1.0f;
  int64_t pad = 3;  // between rows of x; 8: whole vectors
};

void compare(const Dense& c, Format format, Format y_format, uint64_t seed) {
  const Weights w(format, 1, c.outputs, c.cols, seed);
  const int64_t x_stride = c.cols + c.pad, y_stride = c.outputs + 5;
  Values x = padded_rows(format, c.rows, c.cols, x_stride, seed + 1);
  Values bias = Values::random(Format::kF32, c.outputs, seed + 2);
  Values y = padded_rows(y_format, c.rows, c.outputs, y_stride, seed + 3);
  const DeviceBytes device_x = on_device(x, c.rows * x_stride);
  const DeviceBytes device_bias = on_device(bias, c.outputs);
  const Values before = y;
  // The CPU's product in float32, then what follows it, rounded once.
  Values wide(Format::kF32, c.rows * c.outputs);
  GroupedGemmParams one;
  one.num_experts = 1;
  one.max_rows = c.rows;
  one.x = x.data();
  one.x_format = format;
  one.x_stride = x_stride;
  one.w = w.host;
  one.bias = c.bias ? static_cast<const float*>(bias.data()) : nullptr;
  one.y = wide.data();
  one.y_stride = c.outputs;
  grouped_gemm(exec_of(detect_isa(), 8), one);
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t n = 0; n < c.outputs; ++n) {
      const float value = c.alpha * wide.get(r * c.outputs + n);
      y.set(r * y_stride + n, c.accumulate ? value + y.get(r * y_stride + n) : value);
    }
  }
  GemmParams params;
  params.num_rows = c.rows;
  params.x = device_x.data();
  params.x_format = format;
  params.x_stride = x_stride;
  params.w = w.device;
  params.bias = c.bias ? static_cast<const float*>(device_bias.data()) : nullptr;
  params.alpha = c.alpha;
  params.accumulate = c.accumulate;
  params.y_format = y_format;
  params.y_stride = y_stride;
  std::optional<Values> first;
  for (const cuda::ProductKernel kernel : kernels_for(format)) {
    SCOPED_TRACE(cuda::kernel_name(kernel));
    const DeviceBytes device_y = on_device(before, c.rows * y_stride);
    params.y = device_y.data();
    cuda::product(cuda_device().exec(), cuda::product_of(params), kernel);
    const Values out = on_host(device_y, y_format, c.rows * y_stride);
    expect_close(out, y, c.rows * y_stride, std::max(1.0f, c.alpha) * tolerance(y_format, c.cols));
    if (!first) first = out;
    EXPECT_TRUE(out == *first) << "kernels differ in their bits";
  }
  for (const bool beside : {false, true}) {
    const DeviceBytes device_y = on_device(before, c.rows * y_stride);
    params.y = device_y.data();
    cuda::Product product = cuda::product_of(params);
    if (!cuda::product_one_row_fits(product)) break;
    product.beside = beside;
    cuda::product(cuda_device().exec(), product, cuda::ProductKernel::kBf16OneRow);
    expect_close(on_host(device_y, y_format, c.rows * y_stride), y, c.rows * y_stride,
                 std::max(1.0f, c.alpha) * tolerance(y_format, c.cols));
  }
}

TEST(CudaGemm, EqualsTheCpu) {
  const Dense cases[] = {{1, 1, 1},
                         {1, 64, 32},
                         {2, 65, 33, true},
                         {5, 130, 95},
                         {7, 200, 31, true, true, 0.5f},
                         {16, 128, 264, true, false, 1.0f, 8},
                         {37, 80, 65, true, true, 2.0f},
                         {64, 129, 1032, false, true, 1.0f, 8},
                         {130, 257, 520, true, false, 3.0f, 8},
                         {300, 70, 777},
                         {3, 40, 4100, true, false, 1.0f, 8},
                         {70, 48, 2824, true, true, 1.0f, 8},
                         {1, 3648, 2048, false, false, 1.0f, 0},
                         {1, 201, 1032, true, true, 0.5f, 8},
                         {1, 7001, 2824, true, false, 2.0f, 8}};
  uint64_t seed = 1;
  for (const Dense& c : cases) {
    for (const Format format : {Format::kF32, Format::kBf16}) {
      for (const Format y_format : {Format::kF32, Format::kBf16}) {
        if (y_format == Format::kBf16 && (format == Format::kF32 || c.accumulate)) continue;
        SCOPED_TRACE(concat(c.rows, " x ", c.outputs, " x ", c.cols, " ", format_name(format), " ",
                            format_name(y_format)));
        compare(c, format, y_format, seed += 10);
      }
    }
  }
}

TEST(CudaGemm, ARowHasTheSameBitsInEveryBatch) {
  const int64_t outputs = 200, cols = 1288, rows = 160;
  Gemm gemm = invariant_gemm();
  for (const Format format : {Format::kF32, Format::kBf16}) {
    const Weights w(format, 1, outputs, cols, 3);
    const Values x = Values::random(format, rows * cols, 4);
    const DeviceBytes device_x = on_device(x, rows * cols);
    std::optional<Values> all;
    for (const int64_t count : {160, 1, 2, 3, 7, 8, 9, 16, 17, 33, 64, 65, 129}) {
      const int64_t first = (rows - count) / 2;
      const DeviceBytes device_y(count * outputs * 4);
      gemm.run(cuda_exec(),
               {.num_rows = count,
                .x = static_cast<const char*>(device_x.data()) + format_bytes(format, first * cols),
                .x_format = format,
                .x_stride = cols,
                .w = w.device,
                .y = device_y.data(),
                .y_stride = outputs},
               nullptr, 0);
      const Values y = on_host(device_y, Format::kF32, count * outputs);
      if (!all) all = y;
      for (int64_t i = 0; i < count * outputs; ++i) {
        ASSERT_EQ(y.get(i), all->get(first * outputs + i)) << count << " rows, value " << i;
      }
    }
  }
}

TEST(CudaGemm, NanStaysInItsRow) {
  const int64_t rows = 20, outputs = 40, cols = 300;
  Gemm gemm = invariant_gemm();
  for (const Format format : {Format::kF32, Format::kBf16}) {
    const Weights w(format, 1, outputs, cols, 5);
    Values x = Values::random(format, rows * cols, 6);
    x.set(13 * cols + 299, std::numeric_limits<float>::quiet_NaN());
    const DeviceBytes device_x = on_device(x, rows * cols);
    const DeviceBytes device_y(rows * outputs * 4);
    gemm.run(cuda_exec(),
             {.num_rows = rows,
              .x = device_x.data(),
              .x_format = format,
              .x_stride = cols,
              .w = w.device,
              .y = device_y.data(),
              .y_stride = outputs},
             nullptr, 0);
    const Values y = on_host(device_y, Format::kF32, rows * outputs);
    for (int64_t i = 0; i < rows * outputs; ++i) {
      ASSERT_EQ(std::isnan(y.get(i)), i / outputs == 13) << i;
    }
  }
}

TEST(CudaBatchedGemm, EqualsTheCpu) {
  struct Case {
    int64_t count, rows, outputs, cols, pad;
  };
  for (const Case c : {Case{3, 2, 5, 7, 1}, {16, 1, 512, 128, 0}, {16, 9, 128, 512, 64},
                       {4, 70, 96, 40, 8}, {1, 1, 1, 1, 0},
                       {5, 12, 100, 2304, 0}}) {
    for (const Format format : {Format::kF32, Format::kBf16}) {
      SCOPED_TRACE(concat(c.count, " of ", c.rows, " x ", c.outputs, " x ", c.cols));
      const Weights w(format, c.count, c.outputs, c.cols, 8);
      BatchedGemmParams p;
      p.num_rows = c.rows;
      p.x_format = format;
      p.x_batch_stride = c.cols + c.pad;
      p.x_stride = c.count * p.x_batch_stride;
      p.y_format = format;
      p.y_batch_stride = c.outputs + 2;
      p.y_stride = c.count * p.y_batch_stride;
      const Values x = padded_rows(format, c.rows * c.count, c.cols, p.x_batch_stride, 9);
      Values y(format, c.rows * p.y_stride);
      const DeviceBytes device_x = on_device(x, c.rows * p.x_stride);
      p.w = {w.host, c.count, w.panel_bytes};
      p.x = x.data();
      p.y = y.data();
      batched_gemm(exec_of(detect_isa(), 8), p);
      p.w = {w.device, c.count, w.bytes};
      p.x = device_x.data();
      for (const cuda::ProductKernel kernel : kernels_for(format)) {
        const DeviceBytes device_y(format_bytes(format, c.rows * p.y_stride));
        p.y = device_y.data();
        cuda::product(cuda_device().exec(), cuda::product_of(p), kernel);
        expect_close(on_host(device_y, format, c.rows * p.y_stride), y, c.rows * p.y_stride,
                     tolerance(format, c.cols));
      }
    }
  }
}

}  // namespace
}  // namespace sluice
