/// @file
/// Per-instruction-set kernels of norm.h; arguments are checked by the caller.
#ifndef SLUICE_OPS_NORM_NORM_KERNEL_H_
#define SLUICE_OPS_NORM_NORM_KERNEL_H_

#include "ops/norm/norm.h"
#include "ops/simd/dispatch.h"

namespace sluice {

#define SLUICE_DECLARE(ns)                                                             \
  namespace ns {                                                                       \
  void norm_rows(const NormParams& params, int64_t begin, int64_t end);                \
  void residual_add_rows(const ResidualAddParams& params, int64_t begin, int64_t end); \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_NORM_NORM_KERNEL_H_
