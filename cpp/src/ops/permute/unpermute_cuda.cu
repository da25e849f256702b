// A row of blocks a token; a thread sums 4 columns over the choices, in their order.
#include "ops/cuda/launch.h"
#include "ops/cuda/vector.h"
#include "ops/permute/permute_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kAtOnce = 8;  // rows whose loads are in flight together

template <int n>
__global__ void unpermute_kernel(UnpermuteParams p) {
  start_next_kernel();
  await_kernel_before();
  const int64_t token = blockIdx.x;
  const int64_t col = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
  if (col >= p.cols) return;
  const int k = p.num_experts_per_token;
  const int32_t* choice_rows = p.choice_rows + token * k;
  float* y = p.y + token * p.y_stride + col;
  float out[n];
  load_values(y, out);
  float sum[n] = {};
  bool any = false;
  for (int begin = 0; begin < k; begin += kAtOnce) {
    int32_t row[kAtOnce];
    float weight[kAtOnce], v[kAtOnce][n];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      row[i] = begin + i < k ? choice_rows[begin + i] : -1;
      weight[i] = 1.0f;
      if (p.weights != nullptr && begin + i < k) weight[i] = p.weights[token * k + begin + i];
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (row[i] >= 0) load_values(p.rows + row[i] * p.row_stride + col, v[i]);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (row[i] < 0) continue;
      any = true;
#pragma unroll
      for (int c = 0; c < n; ++c) sum[c] = fmaf(weight[i], v[i][c], sum[c]);
    }
  }
  if (!any) return;
#pragma unroll
  for (int c = 0; c < n; ++c) out[c] = fmaf(p.multiplier, sum[c], out[c]);
  store_values(y, out);
}

}  // namespace

void unpermute(const CudaExec& exec, const UnpermuteParams& p) {
  if (p.num_tokens == 0) return;
  const bool vectors = p.cols % 4 == 0 &&
                       allows_vectors(p.rows, Format::kF32, p.row_stride, 4) &&
                       allows_vectors(p.y, Format::kF32, p.y_stride, 4);
  with_width<4>(vectors, [&](auto width) {
    constexpr int n = decltype(width)::value;
    // Of few tokens small blocks, so that more of them share the columns.
    const unsigned threads = threads_for(p.cols / n, p.num_tokens < exec.num_sms ? 64 : 256);
    const dim3 grid(static_cast<unsigned>(p.num_tokens), grid_for(p.cols, int64_t{threads} * n));
    launch_overlapped(exec, unpermute_kernel<n>, grid, threads, 0, p);
  });
  SLUICE_CHECK_LAUNCH("unpermute of ", p.num_tokens, " tokens, ", p.num_experts_per_token,
                      " rows of ", p.cols);
}

}  // namespace sluice::cuda
