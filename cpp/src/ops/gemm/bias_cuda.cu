// What cuBLASLt adds its product to where its own end cannot add the bias.
#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

template <typename Y>
__global__ void write_bias_kernel(GemmParams p) {
  const int64_t values = p.num_rows * p.w.rows;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < values;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / p.w.rows, n = i % p.w.rows;
    Y* y = static_cast<Y*>(p.y) + row * p.y_stride + n;
    store(y, p.alpha * p.bias[n] + (p.accumulate ? load(y) : 0.0f));
  }
}

}  // namespace

void write_bias(const CudaExec& exec, const GemmParams& p) {
  with_format(p.y_format, [&](auto* y) {
    write_bias_kernel<std::remove_pointer_t<decltype(y)>>
        <<<grid_for(p.num_rows * p.w.rows, kThreads, 8 * exec.num_sms), kThreads, 0,
           stream_of(exec)>>>(p);
  });
  SLUICE_CHECK_LAUNCH("bias of ", p.num_rows, " x ", p.w.rows);
}

}  // namespace sluice::cuda
