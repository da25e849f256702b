/// @file
/// CUDA kernels of permute.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_PERMUTE_PERMUTE_CUDA_H_
#define SLUICE_OPS_PERMUTE_PERMUTE_CUDA_H_

#include "device/cuda.h"
#include "ops/permute/permute.h"

namespace sluice::cuda {

/// Most experts whose counts one block keeps.
inline constexpr int32_t kMaxPermuteExperts = 4096;

/// @throws Error UNSUPPORTED for more than kMaxPermuteExperts experts
void permute(const CudaExec& exec, const PermuteParams& params);
void unpermute(const CudaExec& exec, const UnpermuteParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_PERMUTE_PERMUTE_CUDA_H_
