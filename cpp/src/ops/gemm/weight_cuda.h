/// @file
/// Weights rearranged on the device.
#ifndef SLUICE_OPS_GEMM_WEIGHT_CUDA_H_
#define SLUICE_OPS_GEMM_WEIGHT_CUDA_H_

#include <cstdint>

#include "base/format.h"
#include "device/cuda.h"
#include "ops/gemm/batched_gemm.h"

namespace sluice::cuda {

/// to[b][r, c] = source[b * source_stride + r * row_stride + c * col_stride], exact: one of the
/// inner strides is 1. A transposed copy has row_stride 1.
struct CopyStackParams {
  const void* source = nullptr;            ///< must not overlap `to`
  Format source_format = Format::kUnknown;  ///< that of `to`
  int64_t source_stride = 0;                ///< elements, between matrices
  int64_t row_stride = 0;
  int64_t col_stride = 0;
  WeightStack to{};  ///< layout kRowMajor
};
void copy_stack(const CudaExec& exec, const CopyStackParams& params);

}  // namespace sluice::cuda
#endif  // SLUICE_OPS_GEMM_WEIGHT_CUDA_H_
