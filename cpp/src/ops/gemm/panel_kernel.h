/// @file
/// Our own product over packed panels (weight.h, kPanel64), per instruction set.
#ifndef SLUICE_OPS_GEMM_PANEL_KERNEL_H_
#define SLUICE_OPS_GEMM_PANEL_KERNEL_H_

#include "ops/gemm/gemm.h"
#include "ops/simd/dispatch.h"

namespace sluice {

/// Outputs that a thread's share is counted in: a quarter of a panel, one vector.
inline constexpr int64_t kUnitRows = 16;

/// A product whose rows may lie anywhere. Row r reads x + (x_rows ? x_rows[r] : r) * x_stride.
struct PanelParams : GemmParams {
  const int32_t* x_rows = nullptr;   ///< [num_rows]; null: in order
  const float* row_scale = nullptr;  ///< [num_rows] multiplies the sum, not the bias; null: 1
};

/// Every output is one chain of sums in rising order of the inputs, whatever the number of rows,
/// the share of a thread or the tile: a row's bits depend on nothing but itself and the instruction
/// set.
#define SLUICE_DECLARE(ns)                                                           \
  namespace ns {                                                                     \
  /* Outputs [16 * unit_begin, 16 * unit_end) of all rows. Arguments are checked. */ \
  void gemm_units(const PanelParams& params, int64_t unit_begin, int64_t unit_end);  \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_GEMM_PANEL_KERNEL_H_
