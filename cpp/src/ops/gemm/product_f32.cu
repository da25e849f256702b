// F32 on the ordinary cores: tiles of 32 rows and 64 weight rows, 4 x 4 outputs a thread, the next
// 16 inputs in registers while these are multiplied. For any size. Where there are few tiles (a router's
// scores of a prompt) several groups of threads share one, each with every fourth slice. Sums as
// product_cuda.h says: slices of 64 inputs, one chain in each, added in order by the first group.
#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 128, kRows = 32, kWeights = 64, kStep = 16, kSlice = 64;
constexpr int kRowPitch = kRows + 4, kWeightPitch = kWeights + 4;  // floats
constexpr int kManyGroups = 4;

// Of one group of threads.
struct Buffers {
  float xs[2][kStep][kRowPitch], ws[2][kStep][kWeightPitch];
};

// Sums that the groups behind the first hand over; of two slices a group, since it writes the next while
// one is read.
constexpr int64_t partial_bytes(int groups) { return int64_t{2} * (groups - 1) * kThreads * 64; }

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

template <int kGroups>
__global__ void __launch_bounds__(kThreads* kGroups)
    product_f32_kernel(const __grid_constant__ Product p, int columns, bool vectors) {
  extern __shared__ __align__(16) uint8_t raw[];
  const int group = threadIdx.x / kThreads;
  auto& xs = reinterpret_cast<Buffers*>(raw)[group].xs;
  auto& ws = reinterpret_cast<Buffers*>(raw)[group].ws;
  auto* partials = reinterpret_cast<float4*>(raw + kGroups * sizeof(Buffers));
  auto* prefix = reinterpret_cast<int32_t*>(raw + kGroups * sizeof(Buffers) + partial_bytes(kGroups));
  const auto partial = [&](int of_group, int parity, int i) -> float4& {
    return partials[((parity * (kGroups - 1) + of_group - 1) * 4 + i) * kThreads +
                    threadIdx.x % kThreads];
  };
  const auto group_sync = [&] {
    asm volatile("bar.sync %0, %1;" ::"r"(1 + group), "n"(kThreads) : "memory");
  };
  const TileMap map(p, kRows, columns, prefix);
  const int tid = threadIdx.x % kThreads, tx = tid % 16, ty = tid / 16;
  const int slices = static_cast<int>((p.cols + kSlice - 1) / kSlice);
  const int rounds = (slices + kGroups - 1) / kGroups;
  int parity = 0;
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
    float total[4][4] = {};
    const auto first_input = [&](int step) {  // of this group's steps
      constexpr int kSteps = kSlice / kStep;
      return (int64_t{step / kSteps} * kGroups + group) * kSlice + step % kSteps * kStep;
    };
    bring(first_input(0));
    group_sync();  // the tile before is done with the buffers
    put(0);
    int buffer = 0, step = 0;
    for (int round = 0; round < rounds; ++round, parity ^= 1) {
      float sum[4][4] = {};
      for (int part = 0; part < kSlice / kStep; ++part, buffer ^= 1) {
        const int64_t here = first_input(step), next = first_input(++step);
        if (next < p.cols) bring(next);
        group_sync();
        if (here >= p.cols) continue;
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
        if (next < p.cols) put(buffer ^ 1);  // left by everybody before the barrier above
      }
      if constexpr (kGroups > 1) {
        if (group > 0) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            partial(group, parity, i) = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
          }
        }
        __syncthreads();
      }
      if (group > 0) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) total[i][j] += sum[i][j];
        for (int g = 1; g < kGroups && round * kGroups + g < slices; ++g) {
          const float4 other = partial(g, parity, i);
          total[i][0] += other.x, total[i][1] += other.y;
          total[i][2] += other.z, total[i][3] += other.w;
        }
      }
    }
    if (group > 0) continue;
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

template <int kGroups>
void launch(const CudaExec& exec, const Product& p, int64_t tiles, int columns) {
  const int64_t shared = kGroups * static_cast<int64_t>(sizeof(Buffers)) + partial_bytes(kGroups) +
                         tile_map_bytes(p);
  allow_shared(product_f32_kernel<kGroups>, shared, "f32 product");
  product_f32_kernel<kGroups>
      <<<grid_for(tiles, 1, 8 * exec.num_sms), kThreads * kGroups, static_cast<size_t>(shared),
         stream_of(exec)>>>(p, columns, reads_vectors_f32(p));
}

}  // namespace

void product_f32_tile(const CudaExec& exec, const Product& p) {
  const auto columns = static_cast<int>((p.weight_rows + kWeights - 1) / kWeights);
  const int64_t tiles = max_row_tiles(p, kRows) * columns;
  // One tile a multiprocessor leaves it idle but for four warps.
  if (tiles <= 2 * exec.num_sms && p.cols >= kManyGroups * kSlice) {
    launch<kManyGroups>(exec, p, tiles, columns);
  } else {
    launch<1>(exec, p, tiles, columns);
  }
  SLUICE_CHECK_LAUNCH("f32 product of ", p.max_rows, " rows, ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace sluice::cuda
