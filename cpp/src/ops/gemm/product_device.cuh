/// @file
/// What the kernels of product_cuda.h share on the device: how tiles are found, how outputs end.
#ifndef SLUICE_OPS_GEMM_PRODUCT_DEVICE_CUH_
#define SLUICE_OPS_GEMM_PRODUCT_DEVICE_CUH_

#include "ops/activation/activation_device.h"
#include "ops/cuda/launch.h"
#include "ops/gemm/product_cuda.h"

namespace sluice::cuda {

/// Bytes that TileMap needs in shared memory.
inline int64_t tile_map_bytes(const Product& p) {
  return ((int64_t{p.num_groups} + 1) * 4 + 127) / 128 * 128;
}

/// Row tiles of all groups together, at most: what the host can know.
inline int64_t max_row_tiles(const Product& p, int64_t tile_rows) {
  const int64_t tiles = (p.max_rows + tile_rows - 1) / tile_rows;
  if (p.offsets == nullptr) return tiles * p.num_groups;
  // Every group with rows may waste part of a tile.
  return p.max_rows / tile_rows + std::min<int64_t>(p.num_groups, p.max_rows);
}

/// Whether all rows of x and W start at multiples of 16 bytes and are whole numbers of them, which
/// are `elements` elements.
inline bool reads_vectors_of(const Product& p, int64_t elements) {
  const auto address = reinterpret_cast<uintptr_t>(p.x) | reinterpret_cast<uintptr_t>(p.w);
  return address % 16 == 0 &&
         (p.cols | p.x_stride | p.x_group_stride | p.w_group_stride) % elements == 0;
}
inline bool reads_vectors(const Product& p) { return reads_vectors_of(p, 8); }      // BF16
inline bool reads_vectors_f32(const Product& p) { return reads_vectors_of(p, 4); }

/// 8 weights that are read once: past the L1, and the rest of their 256 bytes into the L2.
__device__ inline uint4 load_weights(const __nv_bfloat16* from) {
  uint4 out;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
               : "l"(from));
  return out;
}

struct Tile {
  int32_t group;
  int32_t first_row;  ///< in the group
  int32_t num_rows;   ///< of the whole group
  int32_t column;     ///< tile of outputs
};

/// Tiles in one line: groups, in a group the tiles of outputs, in one of them its tiles of rows. So
/// blocks that work at the same time share weights, and weights are read once.
struct TileMap {
  const int32_t* prefix;  ///< [num_groups + 1] row tiles before each group
  int32_t columns;        ///< tiles of outputs

  /// All threads of the block, a warp at least, call it; `shared` is tile_map_bytes(). Without
  /// offsets all groups are alike and nothing is read or awaited.
  __device__ TileMap(const Product& p, int tile_rows, int32_t column_tiles, int32_t* shared)
      : prefix(shared), columns(column_tiles) {
    if (p.offsets == nullptr) return;
    for (int g = threadIdx.x; g < p.num_groups; g += blockDim.x) {
      shared[g + 1] = (p.offsets[g + 1] - p.offsets[g] + tile_rows - 1) / tile_rows;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      const int lane = threadIdx.x;
      int before = 0;
      if (lane == 0) shared[0] = 0;
      for (int base = 0; base < p.num_groups; base += 32) {
        const int g = base + lane;
        int sum = g < p.num_groups ? shared[g + 1] : 0;
        for (int step = 1; step < 32; step *= 2) {
          const int other = __shfl_up_sync(kAllLanes, sum, step);
          if (lane >= step) sum += other;
        }
        sum += before;
        if (g < p.num_groups) shared[g + 1] = sum;
        before = __shfl_sync(kAllLanes, sum, 31);
      }
    }
    __syncthreads();
  }

  __device__ int64_t count(const Product& p, int tile_rows) const {
    if (p.offsets == nullptr) {
      return p.num_groups * ((p.max_rows + tile_rows - 1) / tile_rows) * columns;
    }
    return int64_t{prefix[p.num_groups]} * columns;
  }

  __device__ Tile at(const Product& p, int64_t index, int tile_rows) const {
    if (p.offsets == nullptr) {
      const int rows = static_cast<int>(p.max_rows), row_tiles = (rows + tile_rows - 1) / tile_rows;
      const int of_group = row_tiles * columns;
      const int group = static_cast<int>(index / of_group);
      const int in_group = static_cast<int>(index % of_group);
      return {group, in_group % row_tiles * tile_rows, rows, in_group / row_tiles};
    }
    int low = 0, high = p.num_groups;  // the last group whose first tile is not after `index`
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (int64_t{prefix[middle]} * columns <= index) {
        low = middle;
      } else {
        high = middle;
      }
    }
    const int row_tiles = prefix[low + 1] - prefix[low];
    const int in_group = static_cast<int>(index - int64_t{prefix[low]} * columns);
    Tile tile;
    tile.group = low;
    tile.column = in_group / row_tiles;
    tile.first_row = in_group % row_tiles * tile_rows;
    tile.num_rows = p.offsets[low + 1] - p.offsets[low];
    return tile;
  }
};

/// Row of y, row_index and row_scale of a group's row 0.
__device__ inline int64_t first_row_of(const Product& p, int group) {
  return p.offsets == nullptr ? 0 : p.offsets[group];
}

/// x of a row of y.
template <typename X>
__device__ inline const X* input_row(const Product& p, int group, int64_t row) {
  const int64_t from = p.row_index == nullptr ? row : p.row_index[row];
  return static_cast<const X*>(p.x) + group * p.x_group_stride + from * p.x_stride;
}

/// Row of the group's weights that column `s` of an output tile reads, or -1 beyond the last.
/// A tile has `width` columns. Gated: of each 16 columns the first 8 are gates, the others the ups
/// of the same outputs, so both meet in one thread of an mma and 8 columns apart in a row.
__device__ inline int64_t weight_row_of(const Product& p, int64_t column_tile, int width, int s) {
  if (!p.gated) {
    const int64_t n = column_tile * width + s;
    return n < p.weight_rows ? n : -1;
  }
  const int64_t half = p.weight_rows / 2;
  const int64_t n = column_tile * (width / 2) + s / 16 * 8 + s % 8;
  if (n >= half) return -1;
  return s % 16 < 8 ? n : half + n;
}

/// The end of output n of a row: bias, scales, activation, what y had.
/// @param sum  x W^T of weight row n; gated: the gate, and sum_up the up
template <typename Y>
__device__ inline void finish(const Product& p, int group, int64_t row, int64_t n, float sum,
                              float sum_up) {
  const float scale = p.row_scale == nullptr ? 1.0f : p.row_scale[row];
  const float* bias = p.bias == nullptr ? nullptr : p.bias + group * p.bias_group_stride;
  const auto value = [&](float s, int64_t weight_row) {
    const float scaled = scale * s;
    return p.alpha * (bias == nullptr ? scaled : scaled + bias[weight_row]);
  };
  float out = value(sum, n);
  if (p.gated) {
    out = activate_gated(p.activation, p.activation_alpha, p.activation_beta, p.activation_limit,
                         out, value(sum_up, p.weight_rows / 2 + n));
  } else if (p.activates) {
    out = activate(p.activation, out);
  }
  Y* y = static_cast<Y*>(p.y) + group * p.y_group_stride + row * p.y_stride + n;
  if (p.accumulate) {
    // Past the first cache, which a kernel that has not waited may find full of what was.
    if constexpr (sizeof(Y) == 4) {
      out += __ldcg(y);
    } else {
      out += load(y);
    }
  }
  store(y, out);
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_GEMM_PRODUCT_DEVICE_CUH_
