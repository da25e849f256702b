// A row of blocks for each row of y; a thread moves up to 16 bytes.
#include "ops/cuda/launch.h"
#include "ops/cuda/vector.h"
#include "ops/embedding/embedding_cuda.h"

namespace sluice::cuda {
namespace {

struct Rows {
  const int32_t* index;
  int64_t num_source_rows;
  const void* x;
  int64_t x_stride;
  float multiplier;
  void* y;
  int64_t y_stride;
  int64_t cols;
};

template <typename X, typename Y, int n>
__global__ void gather_kernel(Rows p) {
  start_next_kernel();
  await_kernel_before();
  const int64_t row = blockIdx.x;
  const int64_t col = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
  if (col >= p.cols) return;
  const int64_t index = p.index[row];
  float v[n];
  if (index >= 0 && index < p.num_source_rows) {
    load_values(static_cast<const X*>(p.x) + index * p.x_stride + col, v);
#pragma unroll
    for (int i = 0; i < n; ++i) v[i] *= p.multiplier;
  } else {
    // No row of the source: the step's check of its results must see that.
    const float fill = index < 0 ? 0.0f : __int_as_float(0x7fffffff);
#pragma unroll
    for (int i = 0; i < n; ++i) v[i] = fill;
  }
  store_values(static_cast<Y*>(p.y) + row * p.y_stride + col, v);
}

void gather(const CudaExec& exec, const Rows& p, int64_t num_rows, Format x_format,
            Format y_format) {
  if (num_rows == 0 || p.cols == 0) return;
  with_format(x_format, [&](auto* x) {
    with_format(y_format, [&](auto* y) {
      using X = std::remove_pointer_t<decltype(x)>;
      using Y = std::remove_pointer_t<decltype(y)>;
      constexpr int kWide = kVector<X, Y>;
      const bool vectors = p.cols % kWide == 0 &&
                           allows_vectors(p.x, x_format, p.x_stride, kWide) &&
                           allows_vectors(p.y, y_format, p.y_stride, kWide);
      with_width<kWide>(vectors, [&](auto width) {
        constexpr int n = decltype(width)::value;
        const unsigned threads = threads_for(p.cols / n);
        const dim3 grid(static_cast<unsigned>(num_rows), grid_for(p.cols, int64_t{threads} * n));
        launch_overlapped(exec, gather_kernel<X, Y, n>, grid, threads, 0, p);
      });
    });
  });
}

}  // namespace

void embedding(const CudaExec& exec, const EmbeddingParams& p) {
  gather(exec,
         {p.ids, p.table.rows, p.table.data, p.table.cols, p.multiplier, p.y, p.y_stride,
          p.table.cols},
         p.num_tokens, p.table.format, p.y_format);
  SLUICE_CHECK_LAUNCH("embedding of ", p.num_tokens, " tokens of ", p.table.cols);
}

void gather_rows(const CudaExec& exec, const GatherRowsParams& p) {
  gather(exec, {p.index, p.num_source_rows, p.x, p.x_stride, 1.0f, p.y, p.y_stride, p.cols},
         p.num_rows, p.x_format, p.y_format);
  SLUICE_CHECK_LAUNCH("gather of ", p.num_rows, " rows of ", p.cols);
}

}  // namespace sluice::cuda
