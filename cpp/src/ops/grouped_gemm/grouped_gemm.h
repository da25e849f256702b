/// @file
/// Matrix products of rows with the weights of their experts, all experts at once:
/// y[r] = row_scale[r] * (x[row_index[r]] W_e^T) + bias_e for rows r of expert e.
///
/// Accumulates in float32 with the dense product's panel kernel (ops/gemm), which takes its input
/// rows through the index: nothing is gathered into memory. The work is cut over threads by its
/// estimated time, in the order of experts and outputs, so that few rows (decode) read the chosen
/// experts' weights as one stream per thread. A row's bits depend on nothing but itself, its expert
/// and the instruction set: BATCH_INVARIANT in both numerics modes.
///
/// On CUDA expert_offsets lie on the device: the grid is sized by max_rows and strides over what the
/// offsets say. With BATCH_INVARIANT a row's bits depend on nothing but itself and its expert; with
/// FAST also on the kernel, which max_rows chooses (ops/gemm/product_cuda.h).
#ifndef SLUICE_OPS_GROUPED_GEMM_GROUPED_GEMM_H_
#define SLUICE_OPS_GROUPED_GEMM_GROUPED_GEMM_H_

#include <cstdint>
#include <optional>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/activation/activation.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/weight.h"

namespace sluice {

/// An activation of activation.h on the results, before they are rounded to y's format.
struct GroupedActivation {
  ActivationKind kind = ActivationKind::kSilu;
  float alpha = 1.0f;  ///< CLAMPED_SWIGLU only
  float beta = 0.0f;   ///< CLAMPED_SWIGLU only
  float limit = 0.0f;  ///< CLAMPED_SWIGLU only, > 0
  bool gated = true;   ///< rows [0, w.rows / 2) of w are gates, the others ups: y has w.rows / 2
};

struct GroupedGemmParams {
  int32_t num_experts = 0;
  /// [num_experts + 1] rising from 0: rows of each; on CUDA in device memory. Null: one expert with
  /// max_rows rows.
  const int32_t* expert_offsets = nullptr;
  /// CUDA: at least expert_offsets[num_experts]. The CPU reads it only without expert_offsets.
  int64_t max_rows = 0;
  const void* x = nullptr;                  ///< [.., w.cols]; format of x equals w.format
  Format x_format = Format::kUnknown;
  int64_t x_stride = 0;                ///< elements between rows of x
  const int32_t* row_index = nullptr;  ///< [rows] row of x that each row reads; null: its own
  const float* row_scale = nullptr;    ///< [rows]; null: 1
  WeightView w{};                      ///< of expert 0: [w.rows, w.cols], layout kPanel64, CUDA: kRowMajor
  int64_t expert_bytes = 0;            ///< between the experts' weights, a multiple of 64
  const float* bias = nullptr;         ///< [num_experts, w.rows] or null
  /// CUDA only: done on the results. The CPU refuses it: there the layer calls activation().
  std::optional<GroupedActivation> activation = std::nullopt;
  void* y = nullptr;                   ///< [rows, w.rows or, gated, half]; must not overlap x
  Format y_format = Format::kF32;      ///< F32, or BF16 when x is BF16
  int64_t y_stride = 0;                ///< elements between rows of y
  float alpha = 1.0f;                  ///< CUDA only: multiplies product and bias
  bool accumulate = false;             ///< CUDA only: adds to y, which is F32
  /// CUDA: neither x nor y is written, nor y read, by the op enqueued just before, which is route(),
  /// permute() or a product with expert_offsets; and the op enqueued next is a product with them.
  /// Of few rows it may then run at the same time as the op before. Only without expert_offsets.
  bool beside = false;
  Numerics numerics = Numerics::kBatchInvariant;  ///< of CUDA; the CPU's bits are the same in both
};

/// Throws INVALID_ARGUMENT for sizes, strides or offsets out of range, UNSUPPORTED for formats or
/// layouts without a kernel. What row_index names is not checked.
void grouped_gemm(const Exec& exec, const GroupedGemmParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_GROUPED_GEMM_GROUPED_GEMM_H_
