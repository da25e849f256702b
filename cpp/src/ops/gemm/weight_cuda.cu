// Tiles of 32 x 32 through shared memory, so that both sides are read and written along their rows.
#include "ops/cuda/launch.h"
#include "ops/gemm/weight_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kTile = 32;
constexpr int kTileRows = 8;  // rows of a tile that the block moves at once

template <typename T>
__global__ void __launch_bounds__(kTile * kTileRows) copy_stack_kernel(CopyStackParams p) {
  __shared__ T tile[kTile][kTile + 1];
  const T* in = static_cast<const T*>(p.source) + blockIdx.z * p.source_stride;
  T* out = reinterpret_cast<T*>(static_cast<char*>(p.to.first.data) +
                                blockIdx.z * p.to.stride_bytes);
  const int64_t rows = p.to.first.rows, cols = p.to.first.cols;
  const int64_t row0 = int64_t{blockIdx.y} * kTile, col0 = int64_t{blockIdx.x} * kTile;
  const bool transposed = p.row_stride == 1;
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    // The lanes of a warp read neighbours in the source.
    const int r = transposed ? threadIdx.x : i, c = transposed ? i : threadIdx.x;
    if (row0 + r < rows && col0 + c < cols) {
      tile[r][c] = in[(row0 + r) * p.row_stride + (col0 + c) * p.col_stride];
    }
  }
  __syncthreads();
  for (int r = threadIdx.y; r < kTile; r += kTileRows) {
    if (row0 + r < rows && col0 + threadIdx.x < cols) {
      out[(row0 + r) * cols + col0 + threadIdx.x] = tile[r][threadIdx.x];
    }
  }
}

}  // namespace

void copy_stack(const CudaExec& exec, const CopyStackParams& p) {
  const WeightView& to = p.to.first;
  SLUICE_CHECK_INTERNAL(p.source_format == to.format && to.layout == WeightLayout::kRowMajor &&
                            (p.row_stride == 1 || p.col_stride == 1),
                        "copy_stack: ", format_name(p.source_format), " to ",
                        format_name(to.format), ", strides ", p.row_stride, ", ", p.col_stride);
  if (p.to.count == 0 || to.rows == 0 || to.cols == 0) return;
  const dim3 grid(static_cast<unsigned>((to.cols + kTile - 1) / kTile),
                  static_cast<unsigned>((to.rows + kTile - 1) / kTile),
                  static_cast<unsigned>(p.to.count));
  with_format(to.format, [&](auto* value) {
    copy_stack_kernel<std::remove_pointer_t<decltype(value)>>
        <<<grid, dim3(kTile, kTileRows), 0, stream_of(exec)>>>(p);
  });
  SLUICE_CHECK_LAUNCH("copy of ", p.to.count, " matrices of ", to.rows, " x ", to.cols);
}

}  // namespace sluice::cuda
