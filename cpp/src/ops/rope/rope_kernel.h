/// @file
/// Per-instruction-set kernel of rope.h; arguments are checked by the caller.
#ifndef SLUICE_OPS_ROPE_ROPE_KERNEL_H_
#define SLUICE_OPS_ROPE_ROPE_KERNEL_H_

#include "ops/rope/rope.h"
#include "ops/simd/dispatch.h"

namespace sluice {

#define SLUICE_DECLARE(ns)                                              \
  namespace ns {                                                        \
  void rope_rows(const RopeParams& params, int64_t begin, int64_t end); \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_ROPE_ROPE_KERNEL_H_
