#include "ops/activation/activation.h"

#include "ops/activation/activation_cuda.h"
#include "ops/activation/activation_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {

void activation(const Exec& exec, const ActivationParams& p) {
  SLUICE_CHECK(p.kind >= ActivationKind::kSilu && p.kind <= ActivationKind::kSigmoid,
               SLUICE_STATUS_UNSUPPORTED, "activation kind: ", static_cast<int32_t>(p.kind),
               " (expected: a number of sluice.proto's Activation)");
  if (p.kind == ActivationKind::kClampedSwiglu) {
    SLUICE_CHECK_ARG(p.up != nullptr, "activation CLAMPED_SWIGLU: not gated (expected: gated)");
    SLUICE_CHECK_ARG(p.limit > 0, "activation limit: ", p.limit, " (expected: above 0)");
  }
  check_compute_format("activation x_format", p.x_format);
  check_compute_format("activation y_format", p.y_format);
  check_at_least("activation num_rows", p.num_rows, 0);
  check_at_least("activation cols", p.cols, 1);
  check_stride("activation x_stride", p.x_stride, p.cols, p.num_rows);
  check_stride("activation y_stride", p.y_stride, p.cols, p.num_rows);
  check_memory("activation x", p.x, p.num_rows);
  check_memory("activation y", p.y, p.num_rows);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::activation(*exec.cuda, p);
  }
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, activation_rows);
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.cols * 12),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

}  // namespace sluice
