// F32 on the ordinary cores: tiles of 32 rows and 64 weight rows, 4 x 4 outputs a thread, the next
// 16 inputs in registers while these are multiplied. For any size. Sums as product_cuda.h says:
// slices of 64 inputs, one chain in each.
#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 128, kRows = 32, kWeights = 64, kStep = 16, kSlice = 64;
constexpr int kRowPitch = kRows + 4, kWeightPitch = kWeights + 4;  // floats

__device__ inline void load_four(const float* row, int64_t k, int64_t cols, bool vectors,
                                 float (&out)[4]) {
  if (row != nullptr && vectors && k < cols) {
    const float4 v = __ldg(reinterpret_cast<const float4*>(row + k));
    out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) out[i] = row != nullptr && k + i < cols ? row[k + i] : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    product_f32_kernel(const __grid_constant__ Product p, int columns, bool vectors) {
  extern __shared__ int32_t prefix[];
  __shared__ __align__(16) float xs[2][kStep][kRowPitch], ws[2][kStep][kWeightPitch];
  const TileMap map(p, kRows, columns, prefix);
  const int tid = threadIdx.x, tx = tid % 16, ty = tid / 16;
  const int64_t tiles = map.count(p, kRows);
  for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
    const Tile tile = map.at(p, index, kRows);
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(kRows, tile.num_rows - tile.first_row);
    const float* w = static_cast<const float*>(p.w) + tile.group * p.w_group_stride;
    // This thread brings 4 inputs from 4 * (tid % 4) on, of row tid / 4 of x and of weight rows
    // tid / 4 and tid / 4 + 32.
    const int column = tid % 4 * 4, line = tid / 4;
    const float* x_row =
        line < rows ? input_row<float>(p, tile.group, first + line) : nullptr;
    const float* w_rows[2];
    for (int i = 0; i < 2; ++i) {
      const int64_t row = weight_row_of(p, tile.column, kWeights, line + 32 * i);
      w_rows[i] = row < 0 ? nullptr : w + row * p.cols;
    }
    float x_next[4], w_next[2][4];
    const auto bring = [&](int64_t k0) {
      load_four(x_row, k0 + column, p.cols, vectors, x_next);
      load_four(w_rows[0], k0 + column, p.cols, vectors, w_next[0]);
      load_four(w_rows[1], k0 + column, p.cols, vectors, w_next[1]);
    };
    const auto put = [&](int buffer) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        xs[buffer][column + i][line] = x_next[i];
        ws[buffer][column + i][line] = w_next[0][i];
        ws[buffer][column + i][line + 32] = w_next[1][i];
      }
    };
    float total[4][4] = {}, sum[4][4] = {};
    bring(0);
    __syncthreads();  // the tile before is done with the buffers
    put(0);
    int buffer = 0;
    for (int64_t k0 = 0; k0 < p.cols; k0 += kStep, buffer ^= 1) {
      const bool more = k0 + kStep < p.cols;
      if (more) bring(k0 + kStep);
      __syncthreads();
#pragma unroll
      for (int s = 0; s < kStep; ++s) {
        const float4 x = *reinterpret_cast<const float4*>(&xs[buffer][s][4 * ty]);
        const float4 v = *reinterpret_cast<const float4*>(&ws[buffer][s][4 * tx]);
        const float xv[4] = {x.x, x.y, x.z, x.w}, wv[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(xv[i], wv[j], sum[i][j]);
        }
      }
      if ((k0 + kStep) % kSlice == 0 || !more) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            total[i][j] += sum[i][j];
            sum[i][j] = 0;
          }
        }
      }
      if (more) put(buffer ^ 1);  // left by everybody before the barrier above
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 4 * ty + i;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float up = __shfl_down_sync(kAllLanes, total[i][j], 2);  // 8 columns on
        const int s = 4 * tx + j;
        if (row >= rows || (p.gated && s % 16 >= 8)) continue;
        const int64_t n = p.gated ? int64_t{tile.column} * (kWeights / 2) + s / 16 * 8 + s % 8
                                  : int64_t{tile.column} * kWeights + s;
        if (n < (p.gated ? p.weight_rows / 2 : p.weight_rows)) {
          finish<float>(p, tile.group, first + row, n, total[i][j], up);
        }
      }
    }
  }
}

}  // namespace

void product_f32_tile(const CudaExec& exec, const Product& p) {
  const auto columns = static_cast<int>((p.weight_rows + kWeights - 1) / kWeights);
  const int64_t tiles = max_row_tiles(p, kRows) * columns;
  const int64_t shared = tile_map_bytes(p);
  allow_shared(product_f32_kernel, shared, "f32 product");
  product_f32_kernel<<<grid_for(tiles, 1, 8 * exec.num_sms), kThreads,
                       static_cast<size_t>(shared), stream_of(exec)>>>(p, columns,
                                                                       reads_vectors_f32(p));
  SLUICE_CHECK_LAUNCH("f32 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace sluice::cuda
