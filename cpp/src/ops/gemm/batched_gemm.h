/// @file
/// Many small products of one shape at once: y_b = x_b W_b^T, one for each attention head.
///
/// One parallel region over all products, each through the panel kernel of gemm.h: a row's bits
/// depend on nothing but itself, in both numerics modes. A call with one row reads every weight
/// once and is bound by the memory's bandwidth. The same holds on CUDA.
#ifndef SLUICE_OPS_GEMM_BATCHED_GEMM_H_
#define SLUICE_OPS_GEMM_BATCHED_GEMM_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/gemm/weight.h"

namespace sluice {

/// Matrices of one shape, one after another in memory. A value.
struct WeightStack {
  WeightView first{};        ///< layout kPanel64, CUDA: kRowMajor
  int64_t count = 0;         ///< number of matrices
  int64_t stride_bytes = 0;  ///< between matrices: packed_bytes() of one, rounded up to the alignment

  WeightView at(int64_t i) const {
    WeightView view = first;
    if (view.data != nullptr) view.data = static_cast<char*>(view.data) + i * stride_bytes;
    return view;
  }
};

struct BatchedGemmParams {
  int64_t num_rows = 0;                ///< of each product
  const void* x = nullptr;             ///< row r of product b at r * x_stride + b * x_batch_stride
  Format x_format = Format::kUnknown;  ///< equals the weights' format
  int64_t x_stride = 0;                ///< elements
  int64_t x_batch_stride = 0;          ///< elements, >= w.first.cols
  WeightStack w{};
  void* y = nullptr;               ///< row r of product b at r * y_stride + b * y_batch_stride
  Format y_format = Format::kF32;  ///< F32, or BF16 when x is BF16
  int64_t y_stride = 0;
  int64_t y_batch_stride = 0;  ///< elements, >= w.first.rows
};

/// Throws INVALID_ARGUMENT or UNSUPPORTED, naming the field.
void batched_gemm(const Exec& exec, const BatchedGemmParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_GEMM_BATCHED_GEMM_H_
