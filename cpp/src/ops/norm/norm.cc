#include "ops/norm/norm.h"

#include "ops/norm/norm_cuda.h"
#include "ops/norm/norm_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {

void norm(const Exec& exec, const NormParams& p) {
  SLUICE_CHECK(p.kind == NormKind::kRmsNorm || p.kind == NormKind::kLayerNorm,
               SLUICE_STATUS_UNSUPPORTED, "norm kind: ", static_cast<int32_t>(p.kind),
               " (expected: RMS_NORM or LAYER_NORM)");
  check_compute_format("norm x_format", p.x_format);
  check_compute_format("norm y_format", p.y_format);
  check_at_least("norm num_rows", p.num_rows, 0);
  check_at_least("norm num_heads", p.num_heads, 1);
  check_at_least("norm cols", p.cols, 1);
  check_stride("norm x_stride", p.x_stride, p.num_heads * p.cols, p.num_rows);
  check_stride("norm y_stride", p.y_stride, p.num_heads * p.cols, p.num_rows);
  check_memory("norm x", p.x, p.num_rows);
  check_memory("norm y", p.y, p.num_rows);
  SLUICE_CHECK_ARG(p.weight_head_stride == 0 || p.weight_head_stride >= p.cols,
                   "norm weight_head_stride: ", p.weight_head_stride, " (expected: 0 or at least ",
                   p.cols, ")");
  if (p.residual != nullptr) {
    SLUICE_CHECK_ARG(p.num_heads == 1, "norm num_heads: ", p.num_heads,
                     " (expected: 1 with a residual)");
    check_stride("norm residual_stride", p.residual_stride, p.cols, p.num_rows);
  }
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::norm(*exec.cuda, p);
  }
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, norm_rows);
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.num_heads * p.cols * 16),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

void residual_add(const Exec& exec, const ResidualAddParams& p) {
  check_compute_format("residual_add x_format", p.x_format);
  check_at_least("residual_add num_rows", p.num_rows, 0);
  check_at_least("residual_add cols", p.cols, 1);
  check_stride("residual_add x_stride", p.x_stride, p.cols, p.num_rows);
  check_stride("residual_add residual_stride", p.residual_stride, p.cols, p.num_rows);
  check_memory("residual_add x", p.x, p.num_rows);
  check_memory("residual_add residual", p.residual, p.num_rows);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::residual_add(*exec.cuda, p);
  }
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, residual_add_rows);
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.cols * 12),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

}  // namespace sluice
