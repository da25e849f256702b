/// @file
/// Matrix products of rows with the weights of their experts, all experts at once:
/// y[r] = row_scale[r] * (x[row_index[r]] W_e^T) + bias_e for rows r of expert e.
///
/// Accumulates in float32 with the dense product's panel kernel (ops/gemm), which takes its input
/// rows through the index: nothing is gathered into memory. The work is cut over threads by its
/// estimated time, in the order of experts and outputs, so that few rows (decode) read the chosen
/// experts' weights as one stream per thread. A row's bits depend on nothing but itself, its expert
/// and the instruction set: BATCH_INVARIANT in both numerics modes.
#ifndef SLUICE_OPS_GROUPED_GEMM_GROUPED_GEMM_H_
#define SLUICE_OPS_GROUPED_GEMM_GROUPED_GEMM_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/gemm/weight.h"

namespace sluice {

struct GroupedGemmParams {
  int32_t num_experts = 0;
  const int32_t* expert_offsets = nullptr;  ///< [num_experts + 1] rising from 0: rows of each
  const void* x = nullptr;                  ///< [.., w.cols]; format of x equals w.format
  Format x_format = Format::kUnknown;
  int64_t x_stride = 0;                ///< elements between rows of x
  const int32_t* row_index = nullptr;  ///< [rows] row of x that each row reads; null: its own
  const float* row_scale = nullptr;    ///< [rows]; null: 1
  WeightView w{};                      ///< of expert 0: [w.rows, w.cols], layout kPanel64
  int64_t expert_bytes = 0;            ///< between the experts' weights, a multiple of 64
  const float* bias = nullptr;         ///< [num_experts, w.rows] or null
  void* y = nullptr;                   ///< [rows, w.rows]; must not overlap x
  Format y_format = Format::kF32;      ///< F32, or BF16 when x is BF16
  int64_t y_stride = 0;                ///< elements between rows of y
};

/// Throws INVALID_ARGUMENT for sizes, strides or offsets out of range, UNSUPPORTED for formats or
/// layouts without a kernel. What row_index names is not checked.
void grouped_gemm(const Exec& exec, const GroupedGemmParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_GROUPED_GEMM_GROUPED_GEMM_H_
