// One cluster of blocks: the experts' rows are spread over its warps, which multiply them by all tokens
// in the order of product_cuda.h; then its first block routes the tokens and sorts their choices.
#include <cooperative_groups.h>

#include "ops/cuda/vector.h"
#include "ops/permute/permute_device.h"
#include "ops/router/route_cuda.h"
#include "ops/router/router_device.h"

namespace sluice::cuda {
namespace {

constexpr int kBlocks = 8, kWarps = 8, kTokens = static_cast<int>(kMaxRouteTokens);
constexpr int kSlice = 64, kRound = 32 * kSlice;  // inputs of a lane, of a warp at a time

// Eight adjacent inputs as float32, zeros beyond the last column.
__device__ inline void load_eight(const void* row, Format format, int64_t k, int64_t cols,
                                  float (&v)[8]) {
  if (k >= cols) {
#pragma unroll
    for (float& value : v) value = 0;
  } else if (format == Format::kF32) {
    load_values(static_cast<const float*>(row) + k, v);
  } else {
    load_values(static_cast<const __nv_bfloat16*>(row) + k, v);
  }
}

// x . w of one expert for every token: lane t has token t's.
__device__ float expert_scores(const RouteParams& p, int expert, float (&partials)[kTokens][33]) {
  const int lane = threadIdx.x % 32;
  const int64_t cols = p.w.cols;
  const float* w = static_cast<const float*>(p.w.data) + expert * cols;
  const int64_t row_bytes = p.x_stride * (p.x_format == Format::kF32 ? 4 : 2);
  float result = 0;
  for (int64_t k0 = 0; k0 < cols; k0 += kRound) {
    const int64_t k = k0 + lane * kSlice;
    float weights[kSlice / 8][8];
#pragma unroll
    for (int i = 0; i < kSlice / 8; ++i) load_eight(w, Format::kF32, k + 8 * i, cols, weights[i]);
    await_kernel_before();  // the weights, which no kernel writes, are on their way
    for (int t = 0; t < static_cast<int>(p.router.num_tokens); ++t) {
      const void* x = static_cast<const char*>(p.x) + t * row_bytes;
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kSlice / 8; ++i) {
        float v[8];
        load_eight(x, p.x_format, k + 8 * i, cols, v);
#pragma unroll
        for (int c = 0; c < 8; ++c) sum = fmaf(v[c], weights[i][c], sum);
      }
      partials[t][lane] = sum;
    }
    __syncwarp();
    if (lane < static_cast<int>(p.router.num_tokens)) {
      const int slices = static_cast<int>(min(int64_t{32}, (cols - k0 + kSlice - 1) / kSlice));
      for (int s = 0; s < slices; ++s) result += partials[lane][s];
    }
    __syncwarp();
  }
  return p.bias == nullptr ? result : result + p.bias[expert];
}

template <int n>
__global__ void __cluster_dims__(kBlocks, 1, 1) __launch_bounds__(32 * kWarps)
    route_kernel(const __grid_constant__ RouteParams p) {
  extern __shared__ int shared[];
  __shared__ float partials[kWarps][kTokens][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, experts = p.router.num_experts;
  for (int e = static_cast<int>(blockIdx.x) * kWarps + warp; e < experts; e += kBlocks * kWarps) {
    const float score = expert_scores(p, e, partials[warp]);
    if (lane < static_cast<int>(p.router.num_tokens)) p.router.logits[lane * experts + e] = score;
  }
  await_kernel_before();  // in warps without an expert too
  start_next_kernel();
  cooperative_groups::this_cluster().sync();
  if (blockIdx.x != 0) return;
  float* scratch = reinterpret_cast<float*>(shared) + warp * router_shared_floats(p.router);
  for (int64_t token = warp; token < p.router.num_tokens; token += kWarps) {
    float x[n];
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const int e = lane + 32 * j;
      x[j] = e < experts ? __ldcg(p.router.logits + token * experts + e) : 0.0f;
    }
    route_token<n>(p.router, token, x, scratch);
  }
  __syncthreads();
  sort_in_block(p.sorted, shared);
  if (p.expert_counts == nullptr) return;
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += blockDim.x) {
    p.expert_counts[e] += p.sorted.expert_offsets[e + 1] - p.sorted.expert_offsets[e];
  }
}

template <int n>
void launch(const CudaExec& exec, const RouteParams& p) {
  const int64_t bytes =
      std::max<int64_t>(int64_t{kWarps} * router_shared_floats(p.router) * 4,
                        int64_t{kWarps} * p.router.num_experts * 4);
  launch_overlapped(exec, route_kernel<n>, kBlocks, 32 * kWarps, bytes, p);
}

}  // namespace

void route(const CudaExec& exec, const RouteParams& p) {
  if (p.router.num_experts <= 32) {
    launch<1>(exec, p);
  } else if (p.router.num_experts <= 64) {
    launch<2>(exec, p);
  } else if (p.router.num_experts <= 128) {
    launch<4>(exec, p);
  } else {
    launch<kMaxRouteExperts / 32>(exec, p);
  }
  SLUICE_CHECK_LAUNCH("route of ", p.router.num_tokens, " tokens to ",
                      p.router.num_experts_per_token, " of ", p.router.num_experts, " experts");
}

}  // namespace sluice::cuda
