#include "ops/gemm/batched_gemm.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/panel_kernel.h"
#include "ops/gemm/product_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

void check_params(const Exec& exec, const BatchedGemmParams& p) {
  const WeightView& w = p.w.first;
  check_compute_format("batched_gemm weight format", w.format);
  check_product_layout("batched_gemm weight layout", exec, w.layout);
  SLUICE_CHECK(p.x_format == w.format, SLUICE_STATUS_UNSUPPORTED,
               "batched_gemm x_format: ", format_name(p.x_format), " (expected: the weights', ",
               format_name(w.format), ")");
  check_compute_format("batched_gemm y_format", p.y_format);
  SLUICE_CHECK(p.y_format == Format::kF32 || w.format == Format::kBf16, SLUICE_STATUS_UNSUPPORTED,
               "batched_gemm y_format: ", format_name(p.y_format),
               " (expected: F32, or BF16 from BF16 weights)");
  check_at_least("batched_gemm num_rows", p.num_rows, 0);
  check_at_least("batched_gemm count", p.w.count, 0);
  check_at_least("batched_gemm weight rows", w.rows, 1);
  check_at_least("batched_gemm weight cols", w.cols, 1);
  check_stride("batched_gemm x_batch_stride", p.x_batch_stride, w.cols, p.w.count);
  check_stride("batched_gemm y_batch_stride", p.y_batch_stride, w.rows, p.w.count);
  check_stride("batched_gemm x_stride", p.x_stride,
               checked_mul(std::max<int64_t>(p.w.count, 1) - 1, p.x_batch_stride) + w.cols,
               p.num_rows);
  check_stride("batched_gemm y_stride", p.y_stride,
               checked_mul(std::max<int64_t>(p.w.count, 1) - 1, p.y_batch_stride) + w.rows,
               p.num_rows);
  const int64_t least = packed_bytes(w.format, w.layout, w.rows, w.cols);
  SLUICE_CHECK_ARG(p.w.stride_bytes >= least && p.w.stride_bytes % 64 == 0,
                   "batched_gemm stride_bytes: ", p.w.stride_bytes,
                   " (expected: a multiple of 64, at least ", least, ")");
  check_memory("batched_gemm x", p.x, p.num_rows);
  check_memory("batched_gemm y", p.y, p.num_rows);
  check_memory("batched_gemm weight data", w.data, p.w.count);
}

}  // namespace

void batched_gemm(const Exec& exec, const BatchedGemmParams& p) {
  check_params(exec, p);
  if (p.num_rows == 0 || p.w.count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::product(*exec.cuda, cuda::product_of(p));
  }
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, gemm_units);
  const WeightView& w = p.w.first;
  const int64_t units = ceil_div(w.rows, kUnitRows);
  // A thread's share is a range of units of all products one after another.
  parallel_ranges(
      exec, units * p.w.count, grain_for_bytes(w.cols * 64), [&](int64_t begin, int64_t end) {
        for (int64_t at = begin; at < end;) {
          const int64_t batch = at / units;
          const int64_t next = std::min((batch + 1) * units, end);
          PanelParams one;
          one.num_rows = p.num_rows;
          one.x =
              static_cast<const char*>(p.x) + format_bytes(p.x_format, batch * p.x_batch_stride);
          one.x_format = p.x_format;
          one.x_stride = p.x_stride;
          one.w = p.w.at(batch);
          one.y = static_cast<char*>(p.y) + format_bytes(p.y_format, batch * p.y_batch_stride);
          one.y_format = p.y_format;
          one.y_stride = p.y_stride;
          kernel(one, at - batch * units, next - batch * units);
          at = next;
        }
      });
}

}  // namespace sluice
