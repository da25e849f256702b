// F32 for few rows or few outputs (a router's scores). A warp has one weight row at a time, each
// lane a slice (64 inputs) of it, against 8 rows of x; both come to shared memory by cp.async. The
// lanes' sums are added in the order of product_cuda.h.
#include <cuda_pipeline.h>

#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4, kRows = 8, kSlice = 64, kRound = 32 * kSlice;
constexpr int kPitch = kSlice + 4;          // floats: 8 lanes' vectors lie in all banks
constexpr int kRowFloats = 32 * kPitch;     // of a round's inputs
constexpr int kPartialPitch = 33;
constexpr int kBytes = 4 * (kRowFloats * (kWarps + kRows) + kWarps * kRows * kPartialPitch);

// A round of a row, by one warp; zeros beyond the row and for a null one.
__device__ inline void bring_row(float* to, const float* row, int64_t k0, int64_t cols,
                                 bool vectors, int lane) {
  for (int i = 0; i < kRound / 128; ++i) {
    const int at = (lane + 32 * i) * 4;
    float* place = to + at / kSlice * kPitch + at % kSlice;
    const int64_t k = k0 + at;
    if (row != nullptr && vectors && k < cols) {
      __pipeline_memcpy_async(place, row + k, 16);
      continue;
    }
    for (int j = 0; j < 4; ++j) place[j] = row != nullptr && k + j < cols ? row[k + j] : 0.0f;
  }
}

// A tile is kWarps outputs of kRows rows; gated: a warp takes gate and up of its output in turn.
__global__ void __launch_bounds__(32 * kWarps)
    product_f32_stream_kernel(const __grid_constant__ Product p, int columns, bool vectors) {
  extern __shared__ __align__(16) float shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float* weights = shared + warp * kRowFloats;
  float* inputs = shared + kWarps * kRowFloats;
  float* partials =
      shared + (kWarps + kRows) * kRowFloats + warp * (kRows * kPartialPitch);
  auto* prefix = reinterpret_cast<int32_t*>(shared) + kBytes / 4;
  start_next_kernel();
  if (p.offsets != nullptr) await_kernel_before();
  const TileMap map(p, kRows, columns, prefix);
  const int64_t outputs = p.gated ? p.weight_rows / 2 : p.weight_rows;
  const int64_t tiles = map.count(p, kRows);
  const int parts = p.gated ? 2 : 1;
  for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
    const Tile tile = map.at(p, index, kRows);
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(kRows, tile.num_rows - tile.first_row);
    const int64_t n = int64_t{tile.column} * kWarps + warp;
    float results[2] = {};  // of lane r: row r
    for (int64_t k0 = 0; k0 < p.cols; k0 += kRound) {
      const int slices =
          static_cast<int>(min(int64_t{32}, (p.cols - k0 + kSlice - 1) / kSlice));
      for (int part = 0; part < parts; ++part) {
        const float* w = n >= outputs ? nullptr
                                      : static_cast<const float*>(p.w) +
                                            tile.group * p.w_group_stride +
                                            (n + part * outputs) * p.cols;
        __syncthreads();  // everybody has left what is overwritten
        bring_row(weights, w, k0, p.cols, vectors, lane);
        if (part == 0) {
          if (p.offsets == nullptr) await_kernel_before();
          for (int r = warp; r < rows; r += kWarps) {
            bring_row(inputs + r * kRowFloats, input_row<float>(p, tile.group, first + r), k0,
                      p.cols, vectors, lane);
          }
        }
        __pipeline_commit();
        __pipeline_wait_prior(0);
        __syncthreads();
        float sum[kRows] = {};
        const float* w_slice = weights + lane * kPitch;
        const float* x_slice = inputs + lane * kPitch;
        const int used = static_cast<int>(
            min(int64_t{kSlice}, max(int64_t{0}, p.cols - k0 - lane * kSlice)));
        for (int i = 0; i < used; i += 4) {
          const float4 v = *reinterpret_cast<const float4*>(w_slice + i);
#pragma unroll
          for (int r = 0; r < kRows; ++r) {
            if (r >= rows) break;
            const float4 u = *reinterpret_cast<const float4*>(x_slice + r * kRowFloats + i);
            sum[r] = fmaf(u.x, v.x, sum[r]);
            sum[r] = fmaf(u.y, v.y, sum[r]);
            sum[r] = fmaf(u.z, v.z, sum[r]);
            sum[r] = fmaf(u.w, v.w, sum[r]);
          }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) partials[r * kPartialPitch + lane] = sum[r];
        __syncwarp();
        if (lane < kRows) {
          for (int s = 0; s < slices; ++s) {
            results[part] += partials[lane * kPartialPitch + s];
          }
        }
        __syncwarp();
      }
    }
    if (lane < rows && n < outputs) {
      finish<float>(p, tile.group, first + lane, n, results[0], results[1]);
    }
  }
}

}  // namespace

void product_f32_stream(const CudaExec& exec, const Product& p) {
  const auto columns = static_cast<int>((outputs_of(p) + kWarps - 1) / kWarps);
  const int64_t tiles = max_row_tiles(p, kRows) * columns;
  const int64_t shared = kBytes + tile_map_bytes(p);
  allow_shared(product_f32_stream_kernel, shared, "f32 product of few rows");
  launch_overlapped(exec, product_f32_stream_kernel, grid_for(tiles, 1, 2 * exec.num_sms),
                    32 * kWarps, shared, p, columns, reads_vectors_f32(p));
  SLUICE_CHECK_LAUNCH("f32 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace sluice::cuda
