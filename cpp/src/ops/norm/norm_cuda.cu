// One block a row and head: the sums are taken over the block's threads in a fixed order, so a row's
// bits depend on nothing but itself and cols.
#include "ops/cuda/launch.h"
#include "ops/norm/norm_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads) norm_kernel(NormParams p) {
  __shared__ float scratch[kThreads / 32];
  const int64_t row = blockIdx.x / p.num_heads, head = blockIdx.x % p.num_heads;
  const X* x = static_cast<const X*>(p.x) + row * p.x_stride + head * p.cols;
  Y* y = static_cast<Y*>(p.y) + row * p.y_stride + head * p.cols;
  float* residual = p.residual == nullptr ? nullptr : p.residual + row * p.residual_stride;
  const auto value = [&](int64_t c) { return residual == nullptr ? load(x + c) : residual[c]; };

  float sum = 0;
  for (int64_t c = threadIdx.x; c < p.cols; c += kThreads) {
    if (residual != nullptr) residual[c] += p.residual_multiplier * load(x + c);
    const float v = value(c);
    sum += p.kind == NormKind::kRmsNorm ? v * v : v;
  }
  sum = block_sum(sum, scratch);
  const float cols = static_cast<float>(p.cols);
  float mean = 0;
  float square = sum / cols;
  if (p.kind == NormKind::kLayerNorm) {
    mean = sum / cols;
    float squares = 0;
    for (int64_t c = threadIdx.x; c < p.cols; c += kThreads) {
      const float d = value(c) - mean;
      squares += d * d;
    }
    square = block_sum(squares, scratch) / cols;
  }
  const float scale = 1.0f / sqrtf(square + static_cast<float>(p.eps));
  const float* weight = p.weight == nullptr ? nullptr : p.weight + head * p.weight_head_stride;
  const float* bias = p.bias == nullptr ? nullptr : p.bias + head * p.weight_head_stride;
  for (int64_t c = threadIdx.x; c < p.cols; c += kThreads) {
    float out = (value(c) - mean) * scale * (p.weight_offset + (weight ? weight[c] : 1.0f));
    if (bias != nullptr) out += bias[c];
    store(y + c, out);
  }
}

template <typename X>
__global__ void residual_add_kernel(ResidualAddParams p) {
  const int64_t values = p.num_rows * p.cols;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < values;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t row = i / p.cols, col = i % p.cols;
    p.residual[row * p.residual_stride + col] +=
        p.multiplier * load(static_cast<const X*>(p.x) + row * p.x_stride + col);
  }
}

}  // namespace

void norm(const CudaExec& exec, const NormParams& p) {
  if (p.num_rows == 0) return;
  const auto blocks = static_cast<unsigned>(p.num_rows * p.num_heads);
  with_format(p.x_format, [&](auto* x) {
    with_format(p.y_format, [&](auto* y) {
      norm_kernel<std::remove_pointer_t<decltype(x)>, std::remove_pointer_t<decltype(y)>>
          <<<blocks, kThreads, 0, stream_of(exec)>>>(p);
    });
  });
  SLUICE_CHECK_LAUNCH("norm of ", p.num_rows, " rows of ", p.num_heads, " x ", p.cols);
}

void residual_add(const CudaExec& exec, const ResidualAddParams& p) {
  if (p.num_rows == 0) return;
  with_format(p.x_format, [&](auto* x) {
    residual_add_kernel<std::remove_pointer_t<decltype(x)>>
        <<<grid_for(p.num_rows * p.cols, kThreads, 8 * exec.num_sms), kThreads, 0,
           stream_of(exec)>>>(p);
  });
  SLUICE_CHECK_LAUNCH("residual_add of ", p.num_rows, " rows of ", p.cols);
}

}  // namespace sluice::cuda
