/// @file
/// CUDA kernels of activation.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_ACTIVATION_ACTIVATION_CUDA_H_
#define SLUICE_OPS_ACTIVATION_ACTIVATION_CUDA_H_

#include "device/cuda.h"
#include "ops/activation/activation.h"

namespace sluice::cuda {

void activation(const CudaExec& exec, const ActivationParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ACTIVATION_ACTIVATION_CUDA_H_
