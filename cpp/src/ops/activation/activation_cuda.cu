// Blocks stride over rows; a thread keeps its columns.
#include "ops/activation/activation_cuda.h"
#include "ops/activation/activation_device.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/vector.h"

namespace sluice::cuda {
namespace {

template <typename X, typename Y, int n>
__global__ void activation_kernel(ActivationParams p) {
  start_next_kernel();
  await_kernel_before();
  const int64_t col = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
  if (col >= p.cols) return;
  for (int64_t row = blockIdx.x; row < p.num_rows; row += gridDim.x) {
    float v[n];
    load_values(static_cast<const X*>(p.x) + row * p.x_stride + col, v);
    if (p.up != nullptr) {
      float u[n];
      load_values(static_cast<const X*>(p.up) + row * p.x_stride + col, u);
#pragma unroll
      for (int i = 0; i < n; ++i) {
        v[i] = activate_gated(p.kind, p.alpha, p.beta, p.limit, v[i], u[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < n; ++i) v[i] = activate(p.kind, v[i]);
    }
    store_values(static_cast<Y*>(p.y) + row * p.y_stride + col, v);
  }
}

}  // namespace

void activation(const CudaExec& exec, const ActivationParams& p) {
  if (p.num_rows == 0) return;
  with_format(p.x_format, [&](auto* x) {
    with_format(p.y_format, [&](auto* y) {
      using X = std::remove_pointer_t<decltype(x)>;
      using Y = std::remove_pointer_t<decltype(y)>;
      constexpr int kWide = kVector<X, Y>;
      const bool vectors =
          p.cols % kWide == 0 && allows_vectors(p.x, p.x_format, p.x_stride, kWide) &&
          (p.up == nullptr || allows_vectors(p.up, p.x_format, p.x_stride, kWide)) &&
          allows_vectors(p.y, p.y_format, p.y_stride, kWide);
      with_width<kWide>(vectors, [&](auto width) {
        constexpr int n = decltype(width)::value;
        const unsigned threads = threads_for(p.cols / n);
        const unsigned columns = grid_for(p.cols, int64_t{threads} * n);
        // Enough blocks to fill the device; more would only be started and ended.
        const int64_t most = std::max<int64_t>(1, int64_t{exec.num_sms} * 4096 / threads / columns);
        const dim3 grid(grid_for(p.num_rows, 1, most), columns);
        launch_overlapped(exec, activation_kernel<X, Y, n>, grid, threads, 0, p);
      });
    });
  });
  SLUICE_CHECK_LAUNCH("activation of ", p.num_rows, " rows of ", p.cols);
}

}  // namespace sluice::cuda
