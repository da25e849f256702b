#include "ops/gemm/product_cuda.h"

#include <algorithm>

#include "base/error.h"

namespace sluice::cuda {
namespace {

// Rows of a group, on average, up to which weights held in registers are fastest.
constexpr int64_t kBf16StreamRows = 8;

int64_t element_bytes(Format format) { return format_bytes(format, 1); }

// Products of experts in FAST. Measured kernel by kernel (cuda_bench --benchmark_filter=by_kernel/).
ProductKernel choose_for_experts(const CudaExec& exec, const Product& p, int64_t groups,
                                 int64_t rows) {
  // Many tiles of long rows: the stream brings such inputs again and again.
  const bool long_rows = p.cols >= 4096 && groups * p.weight_rows >= 256 * int64_t{exec.num_sms};
  if (long_rows && p.gated && rows <= 16) return ProductKernel::kBf16Tile;
  return rows < (p.gated ? 8 : 4) ? ProductKernel::kBf16Stream : ProductKernel::kBf16Wgmma;
}

}  // namespace

Product product_of(const GemmParams& g) {
  Product p;
  p.max_rows = g.num_rows;
  p.format = g.w.format;
  p.y_format = g.y_format;
  p.x = g.x;
  p.x_stride = g.x_stride;
  p.w = g.w.data;
  p.weight_rows = g.w.rows;
  p.cols = g.w.cols;
  p.bias = g.bias;
  p.alpha = g.alpha;
  p.accumulate = g.accumulate;
  p.y = g.y;
  p.y_stride = g.y_stride;
  return p;
}

Product product_of(const BatchedGemmParams& g) {
  Product p;
  p.num_groups = static_cast<int32_t>(g.w.count);
  p.max_rows = g.num_rows;
  p.format = g.w.first.format;
  p.y_format = g.y_format;
  p.x = g.x;
  p.x_stride = g.x_stride;
  p.x_group_stride = g.x_batch_stride;
  p.w = g.w.first.data;
  p.w_group_stride = g.w.stride_bytes / element_bytes(p.format);
  p.weight_rows = g.w.first.rows;
  p.cols = g.w.first.cols;
  p.y = g.y;
  p.y_stride = g.y_stride;
  p.y_group_stride = g.y_batch_stride;
  return p;
}

Product product_of(const GroupedGemmParams& g) {
  Product p;
  p.num_groups = g.num_experts;
  p.offsets = g.expert_offsets;
  p.max_rows = g.max_rows;
  p.format = g.w.format;
  p.y_format = g.y_format;
  p.fast = g.numerics == Numerics::kFast;
  p.x = g.x;
  p.x_stride = g.x_stride;
  p.row_index = g.row_index;
  p.row_scale = g.row_scale;
  p.w = g.w.data;
  p.w_group_stride = g.expert_bytes / element_bytes(p.format);
  p.weight_rows = g.w.rows;
  p.cols = g.w.cols;
  p.bias = g.bias;
  p.bias_group_stride = g.w.rows;
  p.alpha = g.alpha;
  p.accumulate = g.accumulate;
  p.beside = g.beside && g.expert_offsets == nullptr;
  if (g.activation.has_value()) {
    p.activates = true;
    p.gated = g.activation->gated;
    p.activation = g.activation->kind;
    p.activation_alpha = g.activation->alpha;
    p.activation_beta = g.activation->beta;
    p.activation_limit = g.activation->limit;
  }
  p.y = g.y;
  p.y_stride = g.y_stride;
  return p;
}

// The limits are measured on an H200; see docs/benchmarks.md.
ProductKernel choose_kernel(const CudaExec& exec, const Product& p) {
  // Of the groups that can have rows; the true numbers are the device's.
  const int64_t groups =
      p.offsets == nullptr ? 1 : std::min<int64_t>(p.num_groups, std::max<int64_t>(p.max_rows, 1));
  const int64_t rows = p.max_rows / groups;
  if (p.format == Format::kF32) {
    return rows <= 8 || rows * p.weight_rows <= 65536 ? ProductKernel::kF32Stream
                                                      : ProductKernel::kF32Tile;
  }
  // Rows of groups are mostly of different ones, whose weights are read once in any case.
  const bool apart = p.offsets == nullptr || p.max_rows * 4 <= p.num_groups;
  if (p.fast && apart && product_one_row_fits(p)) return ProductKernel::kBf16OneRow;
  if (p.fast && p.offsets != nullptr && p.num_groups > 1 && product_sm90_fits(exec, p)) {
    return choose_for_experts(exec, p, groups, rows);
  }
  if (rows <= kBf16StreamRows) return ProductKernel::kBf16Stream;
  // Below, most of its tiles of 128 rows would be empty.
  constexpr int64_t kFewestRows = 16;
  if (p.fast && p.num_groups > 1 && p.max_rows >= kFewestRows * p.num_groups &&
      product_sm90_fits(exec, p)) {
    return ProductKernel::kBf16Wgmma;
  }
  // So few tiles of 128 weight rows that most of the device would have none.
  if (p.offsets == nullptr && rows <= 128 &&
      (p.num_groups * p.weight_rows + 127) / 128 < exec.num_sms) {
    return ProductKernel::kBf16Stream;
  }
  return ProductKernel::kBf16Tile;
}

const char* kernel_name(ProductKernel kernel) {
  switch (kernel) {
    case ProductKernel::kBf16Wgmma:
      return "bf16_wgmma";
    case ProductKernel::kF32Stream:
      return "f32_stream";
    case ProductKernel::kF32Tile:
      return "f32_tile";
    case ProductKernel::kBf16Stream:
      return "bf16_stream";
    case ProductKernel::kBf16OneRow:
      return "bf16_one_row";
    case ProductKernel::kBf16Tile:
      return "bf16_tile";
  }
  return "";
}

void product(const CudaExec& exec, const Product& p) { product(exec, p, choose_kernel(exec, p)); }

void product(const CudaExec& exec, const Product& p, ProductKernel kernel) {
  if (p.max_rows == 0 || p.num_groups == 0) return;
  exec.note(p.offsets != nullptr ? "grouped_gemm" : p.num_groups > 1 ? "batched_gemm" : "gemm",
            kernel_name(kernel));
  const bool f32 = kernel == ProductKernel::kF32Stream || kernel == ProductKernel::kF32Tile;
  SLUICE_CHECK((p.format == Format::kF32) == f32, SLUICE_STATUS_UNSUPPORTED, kernel_name(kernel),
               ": ", format_name(p.format), " (expected: ", f32 ? "F32)" : "BF16)");
  switch (kernel) {
    case ProductKernel::kBf16Wgmma:
      SLUICE_CHECK(product_sm90_fits(exec, p), SLUICE_STATUS_UNSUPPORTED, "bf16_wgmma: ",
                   p.max_rows, " rows with ", p.num_groups, " x ", p.weight_rows, " x ", p.cols,
                   " (expected: BF16 on compute capability 9.0, rows of multiples of 16 bytes)");
      return product_sm90(exec, p);
    case ProductKernel::kF32Stream:
      return product_f32_stream(exec, p);
    case ProductKernel::kF32Tile:
      return product_f32_tile(exec, p);
    case ProductKernel::kBf16Stream:
      return product_bf16_stream(exec, p);
    case ProductKernel::kBf16OneRow:
      SLUICE_CHECK(product_one_row_fits(p), SLUICE_STATUS_UNSUPPORTED, "bf16_one_row: ", p.max_rows,
                   " rows of ", p.num_groups, " groups, ", p.cols,
                   " inputs (expected: one row, or 8 of groups with offsets, 512 to 23552 inputs in "
                   "rows of multiples of 16 bytes)");
      return product_one_row(exec, p);
    case ProductKernel::kBf16Tile:
      return product_bf16_tile(exec, p);
  }
}

}  // namespace sluice::cuda
