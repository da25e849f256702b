// A row (or head) is read once and stays in registers: short rows belong to a warp each, long ones
// to a block. How many threads share a row depends on cols alone, and the sums run over them in a
// fixed order, so a row's bits depend on nothing but itself and cols. Rows beyond 16 Ki columns, or
// whose addresses do not allow 16-byte accesses, take the loop that reads them again.
#include "ops/cuda/launch.h"
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
  await_kernel_before();
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

// Each thread has n groups of 4 columns of a row, the threads' groups side by side.
template <int n>
using RowPart = float[n][kVec];

template <int n, typename T>
__device__ void load_part(const T* row, int rank, int threads, int cols, float missing,
                          RowPart<n>& v) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    const int c = (rank + i * threads) * kVec;
    if (row != nullptr && c < cols) {
      load_values(row + c, v[i]);
    } else {
#pragma unroll
      for (int j = 0; j < kVec; ++j) v[i][j] = missing;
    }
  }
}

// The norm of one row (or head) whose part v is; `factor` are its weights, 1 without.
template <int n, bool whole_block, typename Y>
__device__ void norm_part(const NormParams& p, int64_t row, int64_t head, int rank, int threads,
                          RowPart<n>& v, const RowPart<n>& factor, float* scratch) {
  const int cols = static_cast<int>(p.cols);
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
  const float* bias = p.bias == nullptr ? nullptr : p.bias + head * p.weight_head_stride;
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
  RowPart<n> v, factor;
  load_part<n>(p.weight == nullptr ? nullptr : p.weight + head * p.weight_head_stride, rank, threads,
               cols, 1.0f, factor);
  await_kernel_before();
  load_part<n>(static_cast<const X*>(p.x) + row * p.x_stride + head * p.cols, rank, threads, cols,
               0.0f, v);
  norm_part<n, whole_block, Y>(p, row, head, rank, threads, v, factor, scratch);
}

// Many rows: a block takes one after another, so that it reads the weights once, which are twice as
// wide as rows in BF16, and asks for the next row before it sums this one up.
constexpr int kRowsThreads = 512;

template <int n, typename X, typename Y>
__global__ void __launch_bounds__(kRowsThreads, 2) norm_rows_kernel(NormParams p) {
  using Group = std::conditional_t<std::is_same_v<X, float>, float4, uint2>;
  static_assert(sizeof(Group) == kVec * sizeof(X));
  start_next_kernel();
  __shared__ float scratch[32];
  const int threads = static_cast<int>(blockDim.x), rank = static_cast<int>(threadIdx.x);
  const int cols = static_cast<int>(p.cols);
  Group next[n] = {};
  const auto ask = [&](int64_t row) {
    const X* x = static_cast<const X*>(p.x) + row * p.x_stride;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const int c = (rank + i * threads) * kVec;
      if (c < cols) next[i] = *reinterpret_cast<const Group*>(x + c);
    }
  };
  RowPart<n> v, factor;
  ask(blockIdx.x);
  load_part<n>(p.weight, rank, threads, cols, 1.0f, factor);
  for (int64_t row = blockIdx.x; row < p.num_rows; row += gridDim.x) {
#pragma unroll
    for (int i = 0; i < n; ++i) load_values(reinterpret_cast<const X*>(&next[i]), v[i]);
    if (row + gridDim.x < p.num_rows) ask(row + gridDim.x);
    norm_part<n, true, Y>(p, row, 0, rank, threads, v, factor, scratch);
  }
}

template <int n, bool whole_block, typename X, typename Y>
void launch(const CudaExec& exec, const NormParams& p, unsigned threads) {
  const int64_t rows = p.num_rows * p.num_heads;
  if constexpr (whole_block) {
    // As many blocks as are on the device at once, when each has several rows.
    const int64_t resident = exec.num_sms * (2 * kRowsThreads / int64_t{threads});
    if (p.num_heads == 1 && threads <= kRowsThreads && rows >= 4 * resident) {
      norm_rows_kernel<n, X, Y>
          <<<static_cast<unsigned>(resident), threads, 0, stream_of(exec)>>>(p);
      return;
    }
  }
  const unsigned blocks = grid_for(rows, whole_block ? 1 : threads / 32, INT32_MAX);
  launch_overlapped(exec, norm_kernel<n, whole_block, X, Y>, blocks, static_cast<int>(threads), 0, p);
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
    launch_overlapped(exec, norm_loop_kernel<X, Y>, blocks, kThreads, 0, p);
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
  start_next_kernel();
  await_kernel_before();
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
      launch_overlapped(exec, residual_add_kernel<X, n>, grid, threads, 0, p);
    });
  });
  SLUICE_CHECK_LAUNCH("residual_add of ", p.num_rows, " rows of ", p.cols);
}

}  // namespace sluice::cuda
