/// @file
/// CUDA kernel of router.h. Arguments are checked by the caller; pointers are device memory.
#ifndef SLUICE_OPS_ROUTER_ROUTER_CUDA_H_
#define SLUICE_OPS_ROUTER_ROUTER_CUDA_H_

#include "device/cuda.h"
#include "ops/router/router.h"

namespace sluice::cuda {

/// Most experts that the kernel keeps in registers and shared memory.
inline constexpr int32_t kMaxRouterExperts = 2048;

/// @throws Error UNSUPPORTED for more than kMaxRouterExperts experts
void router(const CudaExec& exec, const RouterParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ROUTER_ROUTER_CUDA_H_
