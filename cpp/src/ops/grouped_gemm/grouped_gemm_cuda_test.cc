// CUDA's grouped product against the CPU's followed by its activation.
#include "ops/grouped_gemm/grouped_gemm.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "ops/gemm/product_cuda.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Case {
  const char* name;
  std::vector<int32_t> counts;
  int64_t weight_rows, cols;
  bool bias = false, scale = false, gather = true;
  std::optional<GroupedActivation> activation = std::nullopt;
  int64_t more_rows = 0;  // of max_rows than the offsets say
};

const GroupedActivation kSwiglu{};
const GroupedActivation kRelu{.kind = ActivationKind::kReluSquared, .gated = false};
const GroupedActivation kClamped{
    .kind = ActivationKind::kClampedSwiglu, .alpha = 1.7f, .beta = 1.0f, .limit = 2.0f};

const Case kCases[] = {
    {"one_token", {0, 1, 0, 1, 1}, 100, 70, true},
    {"one_row", {0, 0, 1}, 1, 1},
    {"all_to_one", {0, 0, 150, 0}, 130, 72, true},
    {"uneven", {1, 2, 3, 7, 31, 32, 33, 0, 65}, 70, 96, true, true, true, {}, 40},
    {"own_rows", {4, 0, 6}, 80, 31, true, false, false},
    {"none", {0, 0, 0}, 64, 64, false, false, true, {}, 9},
    {"swiglu", {5, 0, 17, 1, 130}, 88, 264, true, true, true, kSwiglu},
    {"swiglu_odd", {3, 4, 20}, 42, 33, false, false, true, kSwiglu, 5},
    {"clamped", {2, 9, 0, 40}, 256, 520, true, true, true, kClamped},
    {"relu", {7, 1}, 99, 64, true, false, false, kRelu},
    // More tiles than blocks: a block keeps inputs from tile to tile, or weights.
    {"many_tiles", {3, 40, 0, 17, 1, 9, 70, 5}, 2816, 264, true, true, true, kSwiglu, 11},
    {"many_tiles_and_inputs", {3, 40, 0, 17, 1, 9}, 2048, 2824, true, false, true},
    {"many_inputs", {2, 0, 11, 70}, 96, 2840, true, true, true, kSwiglu, 3},
    // Few enough for the kernel of one row; the last rows that are reserved do not exist.
    {"few_rows", {0, 1, 0, 2, 0, 0, 1, 1}, 2816, 2048, true, true, true, kSwiglu, 2},
    {"few_rows_of_many_inputs", {1, 0, 0, 1, 4}, 77, 5640, true, false, false},
    {"few_rows_relu", {0, 3, 0}, 641, 520, false, true, true, kRelu, 5},
};

std::vector<cuda::ProductKernel> kernels_for(Format format) {
  if (format == Format::kF32) {
    return {cuda::ProductKernel::kF32Tile, cuda::ProductKernel::kF32Stream};
  }
  return {cuda::ProductKernel::kBf16Tile, cuda::ProductKernel::kBf16Stream};
}

void compare(const Case& c, Format format, Format y_format) {
  const auto experts = static_cast<int32_t>(c.counts.size());
  std::vector<int32_t> offsets{0}, index;
  for (const int32_t count : c.counts) offsets.push_back(offsets.back() + count);
  const int64_t rows = offsets.back(), stride = c.cols + 8, tokens = c.gather ? rows / 2 + 2 : rows;
  Random random(21);
  for (int64_t r = 0; r < rows + 1; ++r) {
    index.push_back(static_cast<int32_t>(c.gather ? random.below(tokens) : r));
  }
  const Values x = Values::random(format, (tokens + 1) * stride, 22);
  const Values scale = Values::random(Format::kF32, rows + 1, 23);
  const Values bias = Values::random(Format::kF32, experts * c.weight_rows, 24);
  const Values dense = Values::random(format, experts * c.weight_rows * c.cols, 25);
  const int64_t matrix = format_bytes(format, c.weight_rows * c.cols);
  const int64_t bytes = (matrix + 255) / 256 * 256;
  const int64_t panel_bytes = packed_bytes(format, WeightLayout::kPanel64, c.weight_rows, c.cols);
  const Buffer panels(panel_bytes * experts, "panels");
  std::vector<char> padded(static_cast<size_t>(bytes * experts), static_cast<char>(0xff));
  WeightView w{.format = format, .rows = c.weight_rows, .cols = c.cols};
  for (int32_t e = 0; e < experts; ++e) {
    const char* from = static_cast<const char*>(dense.data()) + e * matrix;
    std::memcpy(padded.data() + e * bytes, from, static_cast<size_t>(matrix));
    w.data = panels.data() + e * panel_bytes;
    pack_rows({.weight = w,
               .source = from,
               .source_format = format,
               .row_stride = c.cols,
               .num_rows = c.weight_rows,
               .num_cols = c.cols});
  }
  w.data = panels.data();

  // The CPU's: float32 products, then the activation, rounded once as in the fused kernel.
  const bool gated = c.activation && c.activation->gated;
  const int64_t outputs = gated ? c.weight_rows / 2 : c.weight_rows, y_stride = outputs + 3;
  Values wide(Format::kF32, (rows + 1) * c.weight_rows);
  GroupedGemmParams p;
  p.num_experts = experts;
  p.expert_offsets = offsets.data();
  p.max_rows = rows + c.more_rows;
  p.x = x.data();
  p.x_format = format;
  p.x_stride = stride;
  p.row_index = c.gather ? index.data() : nullptr;
  p.row_scale = c.scale ? static_cast<const float*>(scale.data()) : nullptr;
  p.w = w;
  p.expert_bytes = panel_bytes;
  p.bias = c.bias ? static_cast<const float*>(bias.data()) : nullptr;
  p.y = wide.data();
  p.y_stride = c.weight_rows;
  grouped_gemm(exec_of(detect_isa(), 8), p);
  Values y(y_format, (rows + 1) * y_stride);  // NaN beyond the rows and between them
  ActivationParams act;
  if (c.activation) {
    act.kind = c.activation->kind;
    act.alpha = c.activation->alpha;
    act.beta = c.activation->beta;
    act.limit = c.activation->limit;
    act.num_rows = rows;
    act.cols = outputs;
    act.x = wide.data();
    act.up = gated ? wide.at(outputs) : nullptr;
    act.x_format = Format::kF32;
    act.x_stride = c.weight_rows;
    act.y = y.data();
    act.y_format = y_format;
    act.y_stride = y_stride;
    activation(exec_of(detect_isa(), 8), act);
  } else {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t n = 0; n < outputs; ++n) y.set(r * y_stride + n, wide.get(r * outputs + n));
    }
  }

  const DeviceArray<int32_t> device_offsets(offsets), device_index(index);
  const DeviceBytes device_x = on_device(x, (tokens + 1) * stride);
  const DeviceBytes device_scale = on_device(scale, rows + 1);
  const DeviceBytes device_bias = on_device(bias, experts * c.weight_rows);
  const DeviceBytes device_w(padded.data(), bytes * experts);
  p.expert_offsets = device_offsets.get();
  p.x = device_x.data();
  p.row_index = c.gather ? device_index.get() : nullptr;
  p.row_scale = c.scale ? static_cast<const float*>(device_scale.data()) : nullptr;
  p.w.layout = WeightLayout::kRowMajor;
  p.w.data = device_w.data();
  p.expert_bytes = bytes;
  p.bias = c.bias ? static_cast<const float*>(device_bias.data()) : nullptr;
  p.activation = c.activation;
  p.y_format = y_format;
  p.y_stride = y_stride;
  // A sum's rounding is times the other factor in a product of gate and up.
  const double rounding = 1e-5 + static_cast<double>(c.cols) * 0x1p-24;
  const auto expect_right = [&](const Values& out) {
    for (int64_t i = 0; i < (rows + 1) * y_stride; ++i) {
      const int64_t r = i / y_stride, n = i % y_stride;
      double factor = 1;
      if (c.activation && r < rows && n < outputs) {
        factor = std::max(1.0, std::abs(double{wide.get(r * c.weight_rows + n)}));
        if (gated) {
          factor += std::abs(double{wide.get(r * c.weight_rows + outputs + n)});
        }
      }
      ASSERT_TRUE(close(out.get(i), y.get(i),
                        (y_format == Format::kBf16 ? 0x1p-7 : 0.0) + rounding * factor))
          << "value " << i << ": " << out.get(i) << ", expected " << y.get(i);
    }
  };
  std::optional<Values> first;
  for (const cuda::ProductKernel kernel : kernels_for(format)) {
    SCOPED_TRACE(cuda::kernel_name(kernel));
    const DeviceBytes device_y(format_bytes(y_format, (rows + 1) * y_stride));
    p.y = device_y.data();
    cuda::product(cuda_device().exec(), cuda::product_of(p), kernel);
    const Values out = on_host(device_y, y_format, (rows + 1) * y_stride);
    expect_right(out);
    if (!first) first = out;
    EXPECT_TRUE(out == *first) << "kernels differ in their bits";
  }
  if (const cuda::Product product = cuda::product_of(p); cuda::product_one_row_fits(product)) {
    const DeviceBytes device_y(format_bytes(y_format, (rows + 1) * y_stride));
    p.y = device_y.data();
    cuda::product(cuda_device().exec(), cuda::product_of(p), cuda::ProductKernel::kBf16OneRow);
    expect_right(on_host(device_y, y_format, (rows + 1) * y_stride));
  }
  const DeviceBytes device_y(format_bytes(y_format, (rows + 1) * y_stride));
  p.y = device_y.data();
  grouped_gemm(cuda_exec(), p);
  EXPECT_TRUE(on_host(device_y, y_format, (rows + 1) * y_stride) == *first);
}

TEST(CudaGroupedGemm, EqualsTheCpu) {
  for (const Case& c : kCases) {
    for (const Format format : {Format::kF32, Format::kBf16}) {
      for (const Format y_format : {Format::kF32, Format::kBf16}) {
        if (format == Format::kF32 && y_format == Format::kBf16) continue;
        SCOPED_TRACE(concat(c.name, " ", format_name(format), " ", format_name(y_format)));
        compare(c, format, y_format);
      }
    }
  }
}

}  // namespace
}  // namespace sluice
