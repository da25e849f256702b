// A row (or head) is read once and stays in registers: short rows belong to a warp each, long ones
// to a block. How many threads share a row depends on cols alone, and the sums run over them in a
// fixed order, so a row's bits depend on nothing but itself and cols. Rows beyond 16 Ki columns, or
// whose addresses do not allow 16-byte accesses, take the loop that reads them again.
#include "ops/cuda/vector.h"
#include "ops/norm/norm_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarpCols = 512;  // most columns of a row that a warp keeps
constexpr int kVec = 4;         // columns side by side of a thread

template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads) norm_loop_kernel(NormParams p) {
  start_next_kernel();  // which may ask for weights already
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

// Sum over the threads of a row: a warp's, or the whole block's.
template <bool whole_block>
__device__ float row_sum(float value, float* scratch) {
  if constexpr (whole_block) {
    return block_sum(value, scratch);
  } else {
    return warp_sum(value);
  }
}

// Each thread has n groups of 4 columns, the threads' groups side by side.
template <int n, bool whole_block, typename X, typename Y>
__global__ void norm_kernel(NormParams p) {
  start_next_kernel();  // which may ask for weights already
  __shared__ float scratch[32];
  const int threads = whole_block ? static_cast<int>(blockDim.x) : 32;
  const int rank = threadIdx.x % threads;
  const int64_t item =
      whole_block ? int64_t{blockIdx.x}
                  : (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  if (item >= p.num_rows * p.num_heads) return;  // a whole warp
  const int64_t row = p.num_heads == 1 ? item : item / p.num_heads;
  const int64_t head = p.num_heads == 1 ? 0 : item - row * p.num_heads;
  const int cols = static_cast<int>(p.cols);
  const X* x = static_cast<const X*>(p.x) + row * p.x_stride + head * p.cols;
  float v[n][kVec];
#pragma unroll
  for (int i = 0; i < n; ++i) {
    const int c = (rank + i * threads) * kVec;
    if (c < cols) {
      load_values(x + c, v[i]);
    } else {
#pragma unroll
      for (int j = 0; j < kVec; ++j) v[i][j] = 0.0f;
    }
  }
  const float* weight = p.weight == nullptr ? nullptr : p.weight + head * p.weight_head_stride;
  const float* bias = p.bias == nullptr ? nullptr : p.bias + head * p.weight_head_stride;
  float factor[n][kVec];  // asked for before the sums, which wait
#pragma unroll
  for (int i = 0; i < n; ++i) {
    const int c = (rank + i * threads) * kVec;
#pragma unroll
    for (int j = 0; j < kVec; ++j) factor[i][j] = 1.0f;
    if (weight != nullptr && c < cols) load_values(weight + c, factor[i]);
  }
  if (p.residual != nullptr) {
    float* residual = p.residual + row * p.residual_stride;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const int c = (rank + i * threads) * kVec;
      if (c >= cols) continue;
      float sum[kVec];
      load_values(residual + c, sum);
#pragma unroll
      for (int j = 0; j < kVec; ++j) v[i][j] = sum[j] + p.residual_multiplier * v[i][j];
      store_values(residual + c, v[i]);
    }
  }
  float mean = 0;
  if (p.kind == NormKind::kLayerNorm) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < n; ++i) {
#pragma unroll
      for (int j = 0; j < kVec; ++j) sum += v[i][j];
    }
    mean = row_sum<whole_block>(sum, scratch) / static_cast<float>(cols);
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < n; ++i) {
    if ((rank + i * threads) * kVec >= cols) continue;
#pragma unroll
    for (int j = 0; j < kVec; ++j) {
      v[i][j] -= mean;
      squares += v[i][j] * v[i][j];
    }
  }
  squares = row_sum<whole_block>(squares, scratch);
  const float scale =
      1.0f / sqrtf(squares / static_cast<float>(cols) + static_cast<float>(p.eps));
  Y* y = static_cast<Y*>(p.y) + row * p.y_stride + head * p.cols;
#pragma unroll
  for (int i = 0; i < n; ++i) {
    const int c = (rank + i * threads) * kVec;
    if (c >= cols) continue;
#pragma unroll
    for (int j = 0; j < kVec; ++j) v[i][j] *= scale * (p.weight_offset + factor[i][j]);
    if (bias != nullptr) {
      float b[kVec];
      load_values(bias + c, b);
#pragma unroll
      for (int j = 0; j < kVec; ++j) v[i][j] += b[j];
    }
    store_values(y + c, v[i]);
  }
}

template <int n, bool whole_block, typename X, typename Y>
void launch(const CudaExec& exec, const NormParams& p, unsigned threads) {
  const int64_t rows = p.num_rows * p.num_heads;
  const unsigned blocks = grid_for(rows, whole_block ? 1 : threads / 32, INT32_MAX);
  norm_kernel<n, whole_block, X, Y><<<blocks, threads, 0, stream_of(exec)>>>(p);
}

bool allows_wide(const NormParams& p) {
  const auto rows = [&](const void* base, Format format, int64_t stride) {
    return base == nullptr || allows_vectors(base, format, stride, kVec);
  };
  return p.cols % kVec == 0 && p.cols <= 16 * 1024 && rows(p.x, p.x_format, p.x_stride) &&
         rows(p.y, p.y_format, p.y_stride) && rows(p.residual, Format::kF32, p.residual_stride) &&
         rows(p.weight, Format::kF32, p.weight_head_stride) &&
         rows(p.bias, Format::kF32, p.weight_head_stride);
}

template <typename X, typename Y>
void dispatch(const CudaExec& exec, const NormParams& p) {
  if (!allows_wide(p)) {
    const auto blocks = static_cast<unsigned>(p.num_rows * p.num_heads);
    norm_loop_kernel<X, Y><<<blocks, kThreads, 0, stream_of(exec)>>>(p);
  } else if (p.cols <= 32 * kVec) {
    launch<1, false, X, Y>(exec, p, 128);
  } else if (p.cols <= 64 * kVec) {
    launch<2, false, X, Y>(exec, p, 128);
  } else if (p.cols <= kWarpCols) {
    launch<4, false, X, Y>(exec, p, 128);
  } else {
    // Four loads of a thread in flight, and several blocks on a multiprocessor.
    launch<4, true, X, Y>(exec, p, threads_for((p.cols + 4 * kVec - 1) / (4 * kVec), 1024));
  }
}

template <typename X, int n>
__global__ void residual_add_kernel(ResidualAddParams p) {
  const int64_t col = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
  if (col >= p.cols) return;
  const int64_t row = blockIdx.x;
  float* residual = p.residual + row * p.residual_stride + col;
  float v[n], sum[n];
  load_values(static_cast<const X*>(p.x) + row * p.x_stride + col, v);
  load_values(residual, sum);
#pragma unroll
  for (int i = 0; i < n; ++i) sum[i] += p.multiplier * v[i];
  store_values(residual, sum);
}

}  // namespace

void norm(const CudaExec& exec, const NormParams& p) {
  if (p.num_rows == 0) return;
  with_format(p.x_format, [&](auto* x) {
    with_format(p.y_format, [&](auto* y) {
      dispatch<std::remove_pointer_t<decltype(x)>, std::remove_pointer_t<decltype(y)>>(exec, p);
    });
  });
  SLUICE_CHECK_LAUNCH("norm of ", p.num_rows, " rows of ", p.num_heads, " x ", p.cols);
}

void residual_add(const CudaExec& exec, const ResidualAddParams& p) {
  if (p.num_rows == 0) return;
  with_format(p.x_format, [&](auto* x) {
    using X = std::remove_pointer_t<decltype(x)>;
    const bool vectors = p.cols % kVec == 0 && allows_vectors(p.x, p.x_format, p.x_stride, kVec) &&
                         allows_vectors(p.residual, Format::kF32, p.residual_stride, kVec);
    with_width<kVec>(vectors, [&](auto width) {
      constexpr int n = decltype(width)::value;
      const unsigned threads = threads_for(p.cols / n);
      const dim3 grid(static_cast<unsigned>(p.num_rows), grid_for(p.cols, int64_t{threads} * n));
      residual_add_kernel<X, n><<<grid, threads, 0, stream_of(exec)>>>(p);
    });
  });
  SLUICE_CHECK_LAUNCH("residual_add of ", p.num_rows, " rows of ", p.cols);
}

}  // namespace sluice::cuda
