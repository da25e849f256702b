/// @file
/// Weighted sums of experts' rows, per instruction set.
#ifndef SLUICE_OPS_PERMUTE_UNPERMUTE_KERNEL_H_
#define SLUICE_OPS_PERMUTE_UNPERMUTE_KERNEL_H_

#include "ops/permute/permute.h"
#include "ops/simd/dispatch.h"

namespace sluice {

#define SLUICE_DECLARE(ns)                                                          \
  namespace ns {                                                                    \
  /* Tokens [begin, end). Arguments are checked. */                                 \
  void unpermute_tokens(const UnpermuteParams& params, int64_t begin, int64_t end); \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_PERMUTE_UNPERMUTE_KERNEL_H_
