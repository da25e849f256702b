/// @file
/// CUDA kernel of route.h. Arguments are checked by the caller; pointers are device memory.
#ifndef SLUICE_OPS_ROUTER_ROUTE_CUDA_H_
#define SLUICE_OPS_ROUTER_ROUTE_CUDA_H_

#include "device/cuda.h"
#include "ops/router/route.h"

namespace sluice::cuda {

inline constexpr int64_t kMaxRouteTokens = 16;
inline constexpr int32_t kMaxRouteExperts = 256;

void route(const CudaExec& exec, const RouteParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ROUTER_ROUTE_CUDA_H_
