// BF16 for few rows (decode), bound by the memory that the weights come from. A warp holds 16
// weight rows of one slice (256 inputs) in registers, brought by 16 loads of 16 bytes a thread that
// are all in flight at once, and its slice of up to kUnit rows of x in shared memory. The slices of
// a tile lie with the warps of a block, whose sums meet in shared memory in the order of
// product_cuda.h. While they are added, the weights of the block's next tile are on their way. A
// block's tiles follow one another, so that it mostly keeps the inputs (next outputs of the same
// group) or the weights (next rows of the same outputs).
//
// Programmatic dependent launch: without offsets the first weights, which no kernel before writes,
// are asked for before the kernel before has ended.
#include <cuda_pipeline.h>

#include "ops/gemm/product_device.cuh"
#include "ops/gemm/product_mma.cuh"

namespace sluice::cuda {
namespace {

using Bits = __nv_bfloat16;

constexpr int kMaxWarps = 8, kUnit = 16, kChunks = kUnit / 8;
constexpr int kBlocks = kSlice / kBlock;         // of a slice
constexpr int kInputPitch = 2 * kSlice + 64;     // bytes: two rows of 64 bytes lie in all banks
constexpr int kInputs = kUnit * kInputPitch;     // bytes of a warp
constexpr int kPitch = 20;                       // floats between rows of x in partial sums
constexpr int kPartial = kUnit * kPitch;         // floats of a warp

/// Slices side by side in a block, rounds over them, and tiles of 16 weight rows side by side.
struct Cut {
  int slices, across, rounds, tiles;
  int warps() const { return across * tiles; }
  int64_t bytes() const {
    return warps() * (kInputs + 2 * 4 * kPartial) + (rounds > 1 ? 4 * kUnit * 16 * tiles : 0);
  }
};

Cut cut_of(const Product& p) {
  Cut cut;
  cut.slices = static_cast<int>((p.cols + kSlice - 1) / kSlice);
  cut.rounds = (cut.slices + kMaxWarps - 1) / kMaxWarps;
  cut.across = (cut.slices + cut.rounds - 1) / cut.rounds;
  cut.tiles = kMaxWarps / cut.across;
  return cut;
}

template <bool kVector>
__device__ inline void load_slice(const Bits* row, int k, int cols, uint4 (&out)[kBlocks]) {
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
    if constexpr (kVector) {
      out[b] = make_uint4(0, 0, 0, 0);
      if (row != nullptr && k + b * kBlock < cols) out[b] = load_weights(row + k + b * kBlock);
    } else {
      out[b] = gather_inputs(row, k + b * kBlock, cols);
    }
  }
}

template <bool kVector>
__global__ void __launch_bounds__(32 * kMaxWarps, 2)
    product_stream_kernel(const __grid_constant__ Product p, Cut cut, int columns) {
  extern __shared__ __align__(128) char shared[];
  const int warps = cut.across * cut.tiles, width = 16 * cut.tiles;  // weight rows of a tile
  auto* partials = reinterpret_cast<float*>(shared + warps * kInputs);
  float* totals = partials + 2 * warps * kPartial;  // of rounds before: [kUnit][width]
  auto* prefix = reinterpret_cast<int32_t*>(totals + (cut.rounds > 1 ? kUnit * width : 0));
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int slice_of_warp = warp % cut.across, tile_of_warp = warp / cut.across;
  char* inputs = shared + warp * kInputs;
  const int cols = static_cast<int>(p.cols);

  uint4 low[kBlocks], high[kBlocks];
  const auto bring_weights = [&](int group, int column, int round) {
    const Bits* w = static_cast<const Bits*>(p.w) + group * p.w_group_stride;
    const int k = (round * cut.across + slice_of_warp) * kSlice + lane % 4 * 8;
    const int64_t first = weight_row_of(p, column, width, 16 * tile_of_warp + lane / 4);
    const int64_t second = weight_row_of(p, column, width, 16 * tile_of_warp + lane / 4 + 8);
    load_slice<kVector>(first < 0 ? nullptr : w + first * cols, k, cols, low);
    load_slice<kVector>(second < 0 ? nullptr : w + second * cols, k, cols, high);
  };
  // This warp's slice of all rows of a unit: 16 bytes a lane and row.
  const auto bring_inputs = [&](const Tile& tile, int round) {
    const int rows = min(kUnit, tile.num_rows - tile.first_row);
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int k = (round * cut.across + slice_of_warp) * kSlice + lane * 8;
    const Bits* own = lane < rows ? input_row<Bits>(p, tile.group, first + lane) : nullptr;
    __syncwarp();
    for (int r = 0; r < (rows + 7) / 8 * 8; ++r) {
      const auto* row = reinterpret_cast<const Bits*>(
          __shfl_sync(kAllLanes, reinterpret_cast<unsigned long long>(own), r));
      char* to = inputs + r * kInputPitch + lane * 16;
      if (kVector && row != nullptr && k < cols) {
        __pipeline_memcpy_async(to, row + k, 16);
      } else {
        *reinterpret_cast<uint4*>(to) = gather_inputs(row, k, cols);
      }
    }
    __pipeline_commit();
  };

  if (p.offsets != nullptr) {
    await_kernel_before();
    start_next_kernel();
  }
  const TileMap map(p, kUnit, columns, prefix);
  const int64_t tiles = map.count(p, kUnit);
  int64_t index = tiles * blockIdx.x / gridDim.x;
  const int64_t end = tiles * (blockIdx.x + 1) / gridDim.x;
  if (index >= end) return;
  Tile tile = map.at(p, index, kUnit);
  bring_weights(tile.group, tile.column, 0);
  if (p.offsets == nullptr) {
    if (!p.beside) await_kernel_before();
    start_next_kernel();
  }
  bring_inputs(tile, 0);
  int buffer = 0;
  for (int round = 0;;) {
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(kUnit, tile.num_rows - tile.first_row);
    __pipeline_wait_prior(0);
    __syncwarp();
    float* partial = partials + (buffer * warps + warp) * kPartial;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      if (8 * chunk >= rows) break;
      const char* x = inputs + (8 * chunk + lane / 4) * kInputPitch + lane % 4 * 16;
      float sum[4] = {};
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        mma_block(sum, low[b], high[b], *reinterpret_cast<const uint4*>(x + b * 2 * kBlock));
      }
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        partial[(8 * chunk + lane % 4 * 2 + c % 2) * kPitch + lane / 4 + c / 2 * 8] = sum[c];
      }
    }
    // What comes next: the tile's next round, or another tile's first.
    const bool last_round = round + 1 == cut.rounds;
    const int64_t next_index = last_round ? index + 1 : index;
    const int next_round = last_round ? 0 : round + 1;
    Tile next = tile;
    if (next_index < end) {
      if (last_round) {
        next.first_row += kUnit;
        if (next.first_row >= tile.num_rows) {
          next.first_row = 0;
          if (++next.column == columns) next = map.at(p, next_index, kUnit);
        }
      }
      const bool same_group = next.group == tile.group;
      if (cut.rounds > 1 || !same_group || next.column != tile.column) {
        bring_weights(next.group, next.column, next_round);
      }
      if (cut.rounds > 1 || !same_group || next.first_row != tile.first_row) {
        bring_inputs(next, next_round);
      }
    }
    __syncthreads();  // partial sums alternate: nobody writes these before the next barrier
    const int slices = min(cut.across, cut.slices - round * cut.across);
    for (int o = tid; o < (rows + 1) / 2 * 2 * width; o += blockDim.x) {
      const int r = o / width, s = o % width;
      const float* from = partials + (buffer * warps + s / 16 * cut.across) * kPartial +
                          r * kPitch + s % 16;
      float value = round == 0 ? 0.0f : totals[o];
      for (int i = 0; i < slices; ++i) value += from[i * kPartial];
      if (!last_round) {
        totals[o] = value;
        continue;
      }
      const float up = __shfl_down_sync(kAllLanes, value, 8);
      if (r >= rows || (p.gated && s % 16 >= 8)) continue;
      const int64_t n = p.gated ? int64_t{tile.column} * (width / 2) + s / 16 * 8 + s % 8
                                : int64_t{tile.column} * width + s;
      if (n >= (p.gated ? p.weight_rows / 2 : p.weight_rows)) continue;
      if (p.y_format == Format::kF32) {
        finish<float>(p, tile.group, first + r, n, value, up);
      } else {
        finish<Bits>(p, tile.group, first + r, n, value, up);
      }
    }
    if (next_index >= end) break;
    buffer ^= 1;
    index = next_index;
    round = next_round;
    tile = next;
  }
  if (p.beside) await_kernel_before();
}

template <bool kVector>
void launch(const CudaExec& exec, const Product& p) {
  const Cut cut = cut_of(p);
  const int width = 16 * cut.tiles;
  const auto columns = static_cast<int>((p.weight_rows + width - 1) / width);
  const int64_t tiles = max_row_tiles(p, kUnit) * columns;
  const int64_t shared = tile_map_bytes(p) + cut.bytes();
  const auto kernel = product_stream_kernel<kVector>;
  allow_shared(kernel, shared, "bf16 product of few rows");
  // Beside another kernel: some multiprocessors' room is left to that.
  constexpr int kLeft = 8;
  const int64_t blocks = 2 * (p.beside ? std::max(1, exec.num_sms - kLeft) : exec.num_sms);
  launch_overlapped(exec, kernel, grid_for(tiles, 1, blocks), 32 * cut.warps(), shared, p, cut,
                    columns);
  SLUICE_CHECK_LAUNCH("bf16 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace

void product_bf16_stream(const CudaExec& exec, const Product& p) {
  if (reads_vectors(p)) return launch<true>(exec, p);
  Product waits = p;
  waits.beside = false;  // its inputs do not come past the first cache
  launch<false>(exec, waits);
}

}  // namespace sluice::cuda
