// F32 for few rows or few outputs (a router's scores). A warp has one weight row: each lane a slice
// (64 inputs) of it in registers, and 8 rows of x pass by at once. The lanes' sums are added in the
// order of product_cuda.h.
#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 8, kRows = 8, kSlice = 64, kRound = 32 * kSlice;

__device__ inline float4 load_four(const float* row, int64_t k, int64_t cols, bool vectors) {
  if (row == nullptr || k >= cols) return make_float4(0, 0, 0, 0);
  if (vectors) return __ldg(reinterpret_cast<const float4*>(row + k));
  float4 out{row[k], 0, 0, 0};
  if (k + 1 < cols) out.y = row[k + 1];
  if (k + 2 < cols) out.z = row[k + 2];
  if (k + 3 < cols) out.w = row[k + 3];
  return out;
}

// A tile is kWarps outputs of kRows rows; gated: a warp takes gate and up of its output in turn.
__global__ void __launch_bounds__(32 * kWarps)
    product_f32_stream_kernel(const __grid_constant__ Product p, int columns, bool vectors) {
  extern __shared__ int32_t prefix[];
  __shared__ float partials[kWarps][kRows][33];
  const TileMap map(p, kRows, columns, prefix);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t outputs = p.gated ? p.weight_rows / 2 : p.weight_rows;
  const int64_t tiles = map.count(p);
  for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
    const Tile tile = map.at(p, index, kRows);
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(kRows, tile.num_rows - tile.first_row);
    const int64_t n = int64_t{tile.column} * kWarps + warp;
    if (n >= outputs) continue;  // no barrier of the block below
    const float* x[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      x[r] = r < rows ? input_row<float>(p, tile.group, first + r) : nullptr;
    }
    float results[2] = {};  // of lane r: row r
    for (int part = 0; part < (p.gated ? 2 : 1); ++part) {
      const float* w = static_cast<const float*>(p.w) + tile.group * p.w_group_stride +
                       (n + part * outputs) * p.cols;
      for (int64_t k0 = 0; k0 < p.cols; k0 += kRound) {
        const int64_t k = k0 + lane * kSlice;
        float sum[kRows] = {};
#pragma unroll 4
        for (int i = 0; i < kSlice; i += 4) {
          const float4 v = load_four(w, k + i, p.cols, vectors);
#pragma unroll
          for (int r = 0; r < kRows; ++r) {
            const float4 u = load_four(x[r], k + i, p.cols, vectors);
            sum[r] = fmaf(u.x, v.x, sum[r]);
            sum[r] = fmaf(u.y, v.y, sum[r]);
            sum[r] = fmaf(u.z, v.z, sum[r]);
            sum[r] = fmaf(u.w, v.w, sum[r]);
          }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) partials[warp][r][lane] = sum[r];
        __syncwarp();
        if (lane < kRows) {
          const int slices = static_cast<int>(
              min(int64_t{32}, (p.cols - k0 + kSlice - 1) / kSlice));
          for (int s = 0; s < slices; ++s) results[part] += partials[warp][lane][s];
        }
        __syncwarp();
      }
    }
    if (lane < rows) finish<float>(p, tile.group, first + lane, n, results[0], results[1]);
  }
}

}  // namespace

void product_f32_stream(const CudaExec& exec, const Product& p) {
  const auto columns = static_cast<int>((outputs_of(p) + kWarps - 1) / kWarps);
  const int64_t tiles = max_row_tiles(p, kRows) * columns;
  const int64_t shared = tile_map_bytes(p);
  const auto address = reinterpret_cast<uintptr_t>(p.x) | reinterpret_cast<uintptr_t>(p.w);
  const bool vectors = address % 16 == 0 &&
                       (p.cols | p.x_stride | p.x_group_stride | p.w_group_stride) % 4 == 0;
  allow_shared(product_f32_stream_kernel, shared, "f32 product of few rows");
  product_f32_stream_kernel<<<grid_for(tiles, 1, 8 * exec.num_sms), 32 * kWarps,
                              static_cast<size_t>(shared), stream_of(exec)>>>(p, columns, vectors);
  SLUICE_CHECK_LAUNCH("f32 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace sluice::cuda
