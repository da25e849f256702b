// One warp a token, its scores in registers.
#include "ops/router/router_cuda.h"
#include "ops/router/router_device.h"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;

template <int n>
__global__ void __launch_bounds__(32 * kWarps) router_kernel(RouterParams p) {
  start_next_kernel();
  await_kernel_before();
  extern __shared__ float shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t token = int64_t{blockIdx.x} * kWarps + warp;
  if (token >= p.num_tokens) return;
  float x[n];
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    x[j] = e < p.num_experts ? p.logits[token * p.num_experts + e] : 0.0f;
  }
  route_token<n>(p, token, x, shared + warp * router_shared_floats(p));
}

template <int n>
void launch(const CudaExec& exec, const RouterParams& p) {
  const int64_t bytes = int64_t{kWarps} * router_shared_floats(p) * 4;
  allow_shared(router_kernel<n>, bytes, "router");
  launch_overlapped(exec, router_kernel<n>, grid_for(p.num_tokens, kWarps, INT32_MAX), 32 * kWarps,
                    bytes, p);
}

}  // namespace

void router(const CudaExec& exec, const RouterParams& p) {
  SLUICE_CHECK(p.num_experts <= kMaxRouterExperts, SLUICE_STATUS_UNSUPPORTED,
               "num_experts: ", p.num_experts, " (expected: at most ", kMaxRouterExperts,
               " on CUDA)");
  if (p.num_tokens == 0) return;
  if (p.num_experts <= 32) {
    launch<1>(exec, p);
  } else if (p.num_experts <= 64) {
    launch<2>(exec, p);
  } else if (p.num_experts <= 128) {
    launch<4>(exec, p);
  } else if (p.num_experts <= 256) {
    launch<8>(exec, p);
  } else if (p.num_experts <= 512) {
    launch<16>(exec, p);
  } else {
    launch<kMaxRouterExperts / 32>(exec, p);
  }
  SLUICE_CHECK_LAUNCH("router of ", p.num_tokens, " tokens, ", p.num_experts_per_token, " of ",
                      p.num_experts, " experts");
}

}  // namespace sluice::cuda
