// BF16 for few rows (decode), bound by the memory that the weights come from. A warp holds 16
// weight rows of one slice (256 inputs) in registers, brought by 16 loads of 16 bytes a thread that
// are all in flight at once; the rows of x pass by 8 at a time, so weights are read once for up to
// kUnit rows of a group. The slices of a tile lie with the warps of a block, whose sums meet in
// shared memory in the order of product_cuda.h. While they are added, the weights of the block's
// next tile are on their way.
#include "ops/gemm/product_device.cuh"
#include "ops/gemm/product_mma.cuh"

namespace sluice::cuda {
namespace {

using Bits = __nv_bfloat16;

constexpr int kMaxWarps = 8, kRowsAtOnce = 8, kUnit = 64;
constexpr int kBlocks = kSlice / kBlock;          // of a slice
constexpr int kPitch = 20;                        // floats between rows of x in partial sums
constexpr int kPartial = kRowsAtOnce * kPitch;    // of a warp
constexpr int kPartials = 2 * kMaxWarps * kPartial;

/// Slices side by side in a block, rounds over them, and tiles of 16 weight rows side by side.
struct Cut {
  int slices, across, rounds, tiles;
};

Cut cut_of(const Product& p) {
  Cut cut;
  cut.slices = static_cast<int>((p.cols + kSlice - 1) / kSlice);
  cut.rounds = (cut.slices + kMaxWarps - 1) / kMaxWarps;
  cut.across = (cut.slices + cut.rounds - 1) / cut.rounds;
  cut.tiles = kMaxWarps / cut.across;
  return cut;
}

__device__ inline uint4 load_weights(const Bits* from) {
  uint4 out;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
               : "l"(from));
  return out;
}

struct Weights {
  uint4 low[kBlocks], high[kBlocks];
};

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

// Half a slice, to stay within the registers.
template <bool kVector>
__device__ inline void load_inputs(const Bits* row, int k, int cols,
                                   uint4 (&out)[kBlocks / 2]) {
#pragma unroll
  for (int b = 0; b < kBlocks / 2; ++b) {
    if constexpr (kVector) {
      out[b] = make_uint4(0, 0, 0, 0);
      if (row != nullptr && k + b * kBlock < cols) {
        out[b] = __ldg(reinterpret_cast<const uint4*>(row + k + b * kBlock));
      }
    } else {
      out[b] = gather_inputs(row, k + b * kBlock, cols);
    }
  }
}

template <bool kVector>
__global__ void __launch_bounds__(32 * kMaxWarps, 2)
    product_stream_kernel(const __grid_constant__ Product p, Cut cut, int columns) {
  extern __shared__ __align__(16) float shared[];
  float* totals = shared + kPartials;  // of rounds before: [kUnit][16 * tiles]
  const int width = 16 * cut.tiles;    // weight rows of a tile
  auto* prefix = reinterpret_cast<int32_t*>(totals + (cut.rounds > 1 ? kUnit * width : 0));
  const TileMap map(p, kUnit, columns, prefix);
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int slice_of_warp = warp % cut.across, tile_of_warp = warp / cut.across;
  const int64_t tiles = map.count(p);
  int64_t index = blockIdx.x;
  if (index >= tiles) return;

  Weights weights;
  const int cols = static_cast<int>(p.cols);
  const auto bring = [&](int group, int column, int round) {
    const Bits* w = static_cast<const Bits*>(p.w) + group * p.w_group_stride;
    const int k = (round * cut.across + slice_of_warp) * kSlice + lane % 4 * 8;
    const int64_t low = weight_row_of(p, column, width, 16 * tile_of_warp + lane / 4);
    const int64_t high = weight_row_of(p, column, width, 16 * tile_of_warp + lane / 4 + 8);
    load_slice<kVector>(low < 0 ? nullptr : w + low * cols, k, cols, weights.low);
    load_slice<kVector>(high < 0 ? nullptr : w + high * cols, k, cols, weights.high);
  };

  Tile tile = map.at(p, index, kUnit);
  bring(tile.group, tile.column, 0);
  int buffer = 0;
  while (true) {
    const int64_t first = first_row_of(p, tile.group) + tile.first_row;
    const int rows = min(kUnit, tile.num_rows - tile.first_row);
    const int64_t next_index = index + gridDim.x;
    Tile next = tile;
    if (next_index < tiles) next = map.at(p, next_index, kUnit);
    for (int round = 0; round < cut.rounds; ++round) {
      const int slices = min(cut.across, cut.slices - round * cut.across);
      const int k = (round * cut.across + slice_of_warp) * kSlice + lane % 4 * 8;
      for (int row0 = 0; row0 < rows; row0 += kRowsAtOnce) {
        const int row = row0 + lane / 4;
        const Bits* x_row = row < rows ? input_row<Bits>(p, tile.group, first + row) : nullptr;
        float sum[4] = {};
#pragma unroll
        for (int half = 0; half < kBlocks; half += kBlocks / 2) {
          uint4 x[kBlocks / 2];
          load_inputs<kVector>(x_row, k + half * kBlock, cols, x);
#pragma unroll
          for (int b = 0; b < kBlocks / 2; ++b) {
            mma_block(sum, weights.low[half + b], weights.high[half + b], x[b]);
          }
        }
        if (row0 + kRowsAtOnce >= rows) {
          const bool more = round + 1 < cut.rounds;
          if (more || next_index < tiles) {
            bring(more ? tile.group : next.group, more ? tile.column : next.column,
                  more ? round + 1 : 0);
          }
        }
        float* partial = shared + buffer * (kMaxWarps * kPartial) + warp * kPartial;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          partial[(lane % 4 * 2 + c % 2) * kPitch + lane / 4 + c / 2 * 8] = sum[c];
        }
        __syncthreads();  // partial sums alternate: nobody writes here before the next barrier
        for (int o = tid; o < kRowsAtOnce * width; o += blockDim.x) {
          const int r = o / width, s = o % width;
          const float* from = shared + buffer * (kMaxWarps * kPartial) +
                              s / 16 * cut.across * kPartial + r * kPitch + s % 16;
          float* total = totals + (row0 + r) * width + s;
          float value = round == 0 ? 0.0f : *total;
          for (int i = 0; i < slices; ++i) value += from[i * kPartial];
          if (round + 1 < cut.rounds) {
            *total = value;
            continue;
          }
          const float up = __shfl_down_sync(kAllLanes, value, 8);
          if (row0 + r >= rows || (p.gated && s % 16 >= 8)) continue;
          const int64_t n = p.gated ? int64_t{tile.column} * (width / 2) + s / 16 * 8 + s % 8
                                    : int64_t{tile.column} * width + s;
          if (n >= (p.gated ? p.weight_rows / 2 : p.weight_rows)) continue;
          if (p.y_format == Format::kF32) {
            finish<float>(p, tile.group, first + row0 + r, n, value, up);
          } else {
            finish<Bits>(p, tile.group, first + row0 + r, n, value, up);
          }
        }
        buffer ^= 1;
      }
    }
    if (next_index >= tiles) break;
    index = next_index;
    tile = next;
  }
}

template <bool kVector>
void launch(const CudaExec& exec, const Product& p) {
  const Cut cut = cut_of(p);
  const int width = 16 * cut.tiles;
  const auto columns = static_cast<int>((p.weight_rows + width - 1) / width);
  const int64_t tiles = max_row_tiles(p, kUnit) * columns;
  const int64_t shared =
      tile_map_bytes(p) + 4 * (kPartials + (cut.rounds > 1 ? kUnit * width : 0));
  const auto kernel = product_stream_kernel<kVector>;
  allow_shared(kernel, shared, "bf16 product of few rows");
  kernel<<<grid_for(tiles, 1, 2 * exec.num_sms), 32 * cut.across * cut.tiles,
           static_cast<size_t>(shared), stream_of(exec)>>>(p, cut, columns);
  SLUICE_CHECK_LAUNCH("bf16 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace

void product_bf16_stream(const CudaExec& exec, const Product& p) {
  reads_vectors(p) ? launch<true>(exec, p) : launch<false>(exec, p);
}

}  // namespace sluice::cuda
