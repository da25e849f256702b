/// @file
/// Per-instruction-set passes over a row of logits; arguments are checked by the caller.
#ifndef SLUICE_OPS_SAMPLING_SAMPLING_KERNEL_H_
#define SLUICE_OPS_SAMPLING_SAMPLING_KERNEL_H_

#include <cstdint>

#include "ops/simd/dispatch.h"

namespace sluice {

// row_max:     largest of x[0, n); *finite tells whether all of them are. NaN is never the largest.
// first_equal: lowest i with x[i] == value; n when there is none.
// sum_exp:     sum of exp((x[i] - max) * scale), float32 inside runs of 1,024 values, double across.
// count_above: how many x[i] > value.
// forbid:      x[i] = -infinity where bit i % 32 of allowed[i / 32] is clear.
#define SLUICE_DECLARE(ns)                                              \
  namespace ns {                                                        \
  float row_max(const float* x, int64_t n, bool* finite);               \
  int64_t first_equal(const float* x, int64_t n, float value);          \
  double sum_exp(const float* x, int64_t n, float max, float scale);    \
  int64_t count_above(const float* x, int64_t n, float value);          \
  void forbid(float* x, int64_t n, const uint32_t* allowed);            \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_SAMPLING_SAMPLING_KERNEL_H_
