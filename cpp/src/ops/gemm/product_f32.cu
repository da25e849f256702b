// F32 on the ordinary cores: tiles of 64 rows and 64 weight rows, 4 x 4 outputs a thread. For any
// size. Sums as product_cuda.h says: slices of 64 inputs, one chain in each.
#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256, kTile = 64, kStep = 16, kSlice = 64;
constexpr int kPitch = kTile + 4;

__global__ void __launch_bounds__(kThreads)
    product_f32_kernel(const __grid_constant__ Product p, int columns) {
  extern __shared__ int32_t prefix[];
  __shared__ float xs[kStep][kPitch], ws[kStep][kPitch];
  const TileMap map(p, kTile, columns, prefix);
  const int tid = threadIdx.x, tx = tid % 16, ty = tid / 16;
  const int64_t tiles = map.count(p);
  for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
    const Tile tile = map.at(p, index, kTile);
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(kTile, tile.num_rows - tile.first_row);
    const float* w = static_cast<const float*>(p.w) + tile.group * p.w_group_stride;
    // Each thread brings column tid % 16 of rows tid / 16 + 16 i of both tiles.
    const float* x_rows[4];
    int64_t w_rows[4];
    for (int i = 0; i < 4; ++i) {
      const int row = ty + 16 * i;
      x_rows[i] = row < rows ? input_row<float>(p, tile.group, first + row) : nullptr;
      w_rows[i] = weight_row_of(p, tile.column, kTile, row);
    }
    float total[4][4] = {}, sum[4][4] = {};
    for (int64_t k0 = 0; k0 < p.cols; k0 += kStep) {
      const int64_t k = k0 + tx;
      __syncthreads();
      for (int i = 0; i < 4; ++i) {
        xs[tx][ty + 16 * i] = x_rows[i] != nullptr && k < p.cols ? x_rows[i][k] : 0.0f;
        ws[tx][ty + 16 * i] = w_rows[i] >= 0 && k < p.cols ? w[w_rows[i] * p.cols + k] : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int s = 0; s < kStep; ++s) {
        float x[4], v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          x[i] = xs[s][ty + 16 * i];
          v[i] = ws[s][tx + 16 * i];
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(x[i], v[j], sum[i][j]);
        }
      }
      if ((k0 + kStep) % kSlice == 0 || k0 + kStep >= p.cols) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            total[i][j] += sum[i][j];
            sum[i][j] = 0;
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = ty + 16 * i;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float up = __shfl_down_sync(kAllLanes, total[i][j], 8);  // tx and tx + 8: gate, up
        const int s = tx + 16 * j;
        if (row >= rows || (p.gated && s % 16 >= 8)) continue;
        const int64_t n = p.gated ? int64_t{tile.column} * (kTile / 2) + s / 16 * 8 + s % 8
                                  : int64_t{tile.column} * kTile + s;
        if (n < (p.gated ? p.weight_rows / 2 : p.weight_rows)) {
          finish<float>(p, tile.group, first + row, n, total[i][j], up);
        }
      }
    }
  }
}

}  // namespace

void product_f32_tile(const CudaExec& exec, const Product& p) {
  const auto columns = static_cast<int>((p.weight_rows + kTile - 1) / kTile);
  const int64_t tiles = max_row_tiles(p, kTile) * columns;
  const int64_t shared = tile_map_bytes(p);
  allow_shared(product_f32_kernel, shared, "f32 product");
  product_f32_kernel<<<grid_for(tiles, 1, 4 * exec.num_sms), kThreads,
                       static_cast<size_t>(shared), stream_of(exec)>>>(p, columns);
  SLUICE_CHECK_LAUNCH("f32 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace sluice::cuda
