/// @file
/// CUDA kernels of expert_capacity.h. Arguments are checked by the caller; pointers are device
/// memory.
#ifndef SLUICE_OPS_EXPERT_CAPACITY_EXPERT_CAPACITY_CUDA_H_
#define SLUICE_OPS_EXPERT_CAPACITY_EXPERT_CAPACITY_CUDA_H_

#include "device/cuda.h"
#include "ops/expert_capacity/expert_capacity.h"

namespace sluice::cuda {

/// Most experts whose counts one block keeps.
inline constexpr int32_t kMaxCapacityExperts = 8192;

/// @throws Error UNSUPPORTED for more than kMaxCapacityExperts experts
void expert_capacity(const CudaExec& exec, const ExpertCapacityParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_EXPERT_CAPACITY_EXPERT_CAPACITY_CUDA_H_
