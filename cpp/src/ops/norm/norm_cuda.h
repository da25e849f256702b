/// @file
/// CUDA kernels of norm.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_NORM_NORM_CUDA_H_
#define SLUICE_OPS_NORM_NORM_CUDA_H_

#include "device/cuda.h"
#include "ops/norm/norm.h"

namespace sluice::cuda {

void norm(const CudaExec& exec, const NormParams& params);
void residual_add(const CudaExec& exec, const ResidualAddParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_NORM_NORM_CUDA_H_
