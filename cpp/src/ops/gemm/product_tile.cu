// BF16 by mma.sync for any number of rows: tiles of 128 weight rows, brought by cp.async into a ring
// of stages of 64 inputs. Both halves of a stage (32 inputs each) lie as rows of 64 bytes; in the
// second half each two rows change places, so that neither the copies nor the 128-bit reads of the
// operands meet in a bank.
#include <cuda_pipeline.h>

#include "ops/gemm/product_device.cuh"
#include "ops/gemm/product_mma.cuh"

namespace sluice::cuda {
namespace {

using Bits = __nv_bfloat16;

constexpr int kThreads = 256, kWarps = 8, kWeights = 128, kStep = 64, kStages = 4;
constexpr int kRowBytes = 2 * kBlock;  // of a half stage

/// How a tile of kRows rows of x is cut over the warps.
template <int kRows_, int kWarpsAcross_>
struct Shape {
  static constexpr int kRows = kRows_;
  static constexpr int kWarpsAcross = kWarpsAcross_;  // over the weights
  static constexpr int kWeightFragments = kWeights / kWarpsAcross / 16;
  static constexpr int kRowFragments = kRows / (kWarps / kWarpsAcross) / 8;
  static constexpr int kStageBytes = (kWeights + kRows) * kStep * 2;
  static constexpr int kOutPitch = kWeights + 4;  // floats
  static constexpr int kBytes = kStages * kStageBytes > kRows * kOutPitch * 4
                                    ? kStages * kStageBytes
                                    : kRows * kOutPitch * 4;
};

__device__ inline char* piece_at(char* matrix, int rows, int row, int column) {
  const int half = column / 4;
  return matrix + (half * rows + (row ^ half)) * kRowBytes + column % 4 * 16;
}

/// 16 bytes of a row to shared memory; zeros beyond the row's end or for a null row.
template <bool kVector>
__device__ inline void bring(char* to, const Bits* row, int64_t k, int64_t cols) {
  if constexpr (kVector) {
    if (row != nullptr && k < cols) {
      __pipeline_memcpy_async(to, row + k, 16);
    } else {
      *reinterpret_cast<uint4*>(to) = make_uint4(0, 0, 0, 0);
    }
  } else {
    *reinterpret_cast<uint4*>(to) = gather_inputs(row, k, cols);
  }
}

template <typename S, bool kVector>
__global__ void __launch_bounds__(kThreads, 1)
    product_tile_kernel(const __grid_constant__ Product p, int columns) {
  extern __shared__ __align__(128) char shared[];
  const TileMap map(p, S::kRows, columns, reinterpret_cast<int32_t*>(shared));
  char* stages = shared + ((p.num_groups + 1) * 4 + 127) / 128 * 128;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int piece = tid % 8, piece_row = tid / 8;  // of what this thread brings: 32 rows at a time
  const int weight0 = warp % S::kWarpsAcross * (16 * S::kWeightFragments);
  const int row0 = warp / S::kWarpsAcross * (8 * S::kRowFragments);
  const int steps = static_cast<int>((p.cols + kStep - 1) / kStep);
  const int64_t tiles = map.count(p, S::kRows);

  for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
    const Tile tile = map.at(p, index, S::kRows);
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(S::kRows, tile.num_rows - tile.first_row);
    const Bits* w = static_cast<const Bits*>(p.w) + tile.group * p.w_group_stride;
    const Bits *x_rows[S::kRows / 32], *w_rows[kWeights / 32];
#pragma unroll
    for (int i = 0; i < S::kRows / 32; ++i) {
      const int row = piece_row + 32 * i;
      x_rows[i] = row < rows ? input_row<Bits>(p, tile.group, first + row) : nullptr;
    }
#pragma unroll
    for (int i = 0; i < kWeights / 32; ++i) {
      const int64_t row = weight_row_of(p, tile.column, kWeights, piece_row + 32 * i);
      w_rows[i] = row < 0 ? nullptr : w + row * p.cols;
    }
    const auto bring_step = [&](int step) {
      if (step < steps) {
        char* stage = stages + step % kStages * S::kStageBytes;
        const int64_t k = int64_t{step} * kStep + piece * 8;
#pragma unroll
        for (int i = 0; i < kWeights / 32; ++i) {
          bring<kVector>(piece_at(stage, kWeights, piece_row + 32 * i, piece), w_rows[i], k, p.cols);
        }
#pragma unroll
        for (int i = 0; i < S::kRows / 32; ++i) {
          bring<kVector>(piece_at(stage + kWeights * kStep * 2, S::kRows, piece_row + 32 * i, piece),
                         x_rows[i], k, p.cols);
        }
      }
      __pipeline_commit();
    };

    float total[S::kWeightFragments][S::kRowFragments][4] = {};
    float sum[S::kWeightFragments][S::kRowFragments][4] = {};
    for (int step = 0; step < kStages - 1; ++step) bring_step(step);
    for (int step = 0; step < steps; ++step) {
      __pipeline_wait_prior(kStages - 2);
      __syncthreads();
      bring_step(step + kStages - 1);  // into the stage that everybody left before the barrier
      char* w_stage = stages + step % kStages * S::kStageBytes;
      char* x_stage = w_stage + kWeights * kStep * 2;
#pragma unroll
      for (int half = 0; half < kStep / kBlock; ++half) {
        uint4 x[S::kRowFragments];
#pragma unroll
        for (int j = 0; j < S::kRowFragments; ++j) {
          x[j] = *reinterpret_cast<const uint4*>(
              piece_at(x_stage, S::kRows, row0 + 8 * j + lane / 4, 4 * half + lane % 4));
        }
#pragma unroll
        for (int i = 0; i < S::kWeightFragments; ++i) {
          const int row = weight0 + 16 * i + lane / 4;
          const uint4 low = *reinterpret_cast<const uint4*>(
              piece_at(w_stage, kWeights, row, 4 * half + lane % 4));
          const uint4 high = *reinterpret_cast<const uint4*>(
              piece_at(w_stage, kWeights, row + 8, 4 * half + lane % 4));
#pragma unroll
          for (int j = 0; j < S::kRowFragments; ++j) mma_block(sum[i][j], low, high, x[j]);
        }
      }
      if ((step + 1) % (kSlice / kStep) == 0 || step + 1 == steps) {
#pragma unroll
        for (int i = 0; i < S::kWeightFragments; ++i) {
#pragma unroll
          for (int j = 0; j < S::kRowFragments; ++j) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
              total[i][j][c] += sum[i][j][c];
              sum[i][j][c] = 0;
            }
          }
        }
      }
    }
    __pipeline_wait_prior(0);
    __syncthreads();
    // Through shared memory, so that a warp writes one row's outputs side by side.
    auto* out = reinterpret_cast<float*>(stages);
#pragma unroll
    for (int i = 0; i < S::kWeightFragments; ++i) {
#pragma unroll
      for (int j = 0; j < S::kRowFragments; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          out[(row0 + 8 * j + lane % 4 * 2 + c % 2) * S::kOutPitch + weight0 + 16 * i + lane / 4 +
              c / 2 * 8] = total[i][j][c];
        }
      }
    }
    __syncthreads();
    const int width = p.gated ? kWeights / 2 : kWeights;
    const int64_t outputs = p.gated ? p.weight_rows / 2 : p.weight_rows;
    for (int i = tid; i < rows * width; i += kThreads) {
      const int row = i / width, s = i % width;
      const int64_t n = int64_t{tile.column} * width + s;
      if (n >= outputs) continue;
      const float* from = out + row * S::kOutPitch + (p.gated ? s / 8 * 16 + s % 8 : s);
      if (p.y_format == Format::kF32) {
        finish<float>(p, tile.group, first + row, n, from[0], p.gated ? from[8] : 0.0f);
      } else {
        finish<Bits>(p, tile.group, first + row, n, from[0], p.gated ? from[8] : 0.0f);
      }
    }
    __syncthreads();
  }
}

template <typename S, bool kVector>
void launch(const CudaExec& exec, const Product& p) {
  const auto columns = static_cast<int>((p.weight_rows + kWeights - 1) / kWeights);
  const int64_t tiles = max_row_tiles(p, S::kRows) * columns;
  const int64_t shared = tile_map_bytes(p) + S::kBytes;
  const auto kernel = product_tile_kernel<S, kVector>;
  allow_shared(kernel, shared, "bf16 product");
  kernel<<<grid_for(tiles, 1, exec.num_sms), kThreads, static_cast<size_t>(shared),
           stream_of(exec)>>>(p, columns);
  SLUICE_CHECK_LAUNCH("bf16 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

template <typename S>
void launch(const CudaExec& exec, const Product& p) {
  reads_vectors(p) ? launch<S, true>(exec, p) : launch<S, false>(exec, p);
}

}  // namespace

void product_bf16_tile(const CudaExec& exec, const Product& p) {
  // Tiles of few rows where groups have few, on average over those that could have any. Groups
  // with more than the average should still fill one tile.
  const int64_t groups = p.offsets == nullptr ? 1 : std::min<int64_t>(p.num_groups, p.max_rows);
  const int64_t rows = p.max_rows / groups;
  if (rows > 64) {
    launch<Shape<128, 2>>(exec, p);
  } else if (rows > 32) {
    launch<Shape<64, 4>>(exec, p);
  } else {
    launch<Shape<32, 4>>(exec, p);
  }
}

}  // namespace sluice::cuda
