/// @file
/// CUDA kernel of qkv.h. Arguments are checked by the caller; pointers are device memory, but for
/// the norms' parameters.
#ifndef SLUICE_OPS_QKV_QKV_CUDA_H_
#define SLUICE_OPS_QKV_QKV_CUDA_H_

#include "device/cuda.h"
#include "ops/qkv/qkv.h"

namespace sluice::cuda {

/// Norms are of single heads, or none.
void qkv_rows(const CudaExec& exec, const QkvParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_QKV_QKV_CUDA_H_
