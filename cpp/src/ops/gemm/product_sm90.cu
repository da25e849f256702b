// Products of many rows on Hopper: persistent CTAs of one warpgroup that brings tiles and two that
// multiply them (wgmma), each 64 rows of a 128-row tile. Tiles of the weights, and of inputs that lie
// in order, come by the bulk tensor copy engine; inputs behind an index by cp.async.
//
// A row's sums run over the inputs in rising order, 16 at a time, and depend on nothing but the row
// and its weights; but the order is not that of product_cuda.h's other kernels.
#include "ops/activation/activation_device.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/sm90.h"
#include "ops/cuda/tensor_map.h"
#include "ops/gemm/product_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kTileRows = 128, kTileCols = 64, kStages = 4;
constexpr int kMaxGroups = 512;
constexpr int kThreads = 384;  // one warpgroup of copies, two of products
constexpr int kLag = 2;        // groups of gathered copies in flight behind the newest

// What happens to a sum before it is stored.
enum class Finish {
  kNothing,
  kSilu,     // silu(gate) * up
  kGeneral,  // everything that Product can ask for
};

// kWeights: rows of the weights in a tile.
template <int kWeights>
struct Shared {
  alignas(1024) __nv_bfloat16 x[kStages][kTileRows * kTileCols];
  alignas(1024) __nv_bfloat16 w[kStages][kWeights * kTileCols];
  uint64_t full[kStages], empty[kStages];
  int32_t first_row[kMaxGroups + 1];
  int32_t first_tile[kMaxGroups + 1];  // in tiles of rows
};

struct Tile {
  int group, row, rows_end, column;
};

// Walks over a CTA's tiles: groups in order; inside one, tiles of rows run fastest, so that CTAs at
// work at the same time share the tile of the weights in the L2 cache.
template <int kWeights>
class TileWalk {
 public:
  __device__ TileWalk(const Shared<kWeights>& shared, int num_groups, int column_tiles)
      : shared_(shared), num_groups_(num_groups), column_tiles_(column_tiles) {}

  __device__ bool find(int index, Tile& tile) {
    if (index >= shared_.first_tile[num_groups_] * column_tiles_) return false;
    while (index >= shared_.first_tile[group_ + 1] * column_tiles_) ++group_;
    const int row_tiles = shared_.first_tile[group_ + 1] - shared_.first_tile[group_];
    const int local = index - shared_.first_tile[group_] * column_tiles_;
    tile.group = group_;
    tile.column = local / row_tiles;
    tile.row = shared_.first_row[group_] + local % row_tiles * kTileRows;
    tile.rows_end = shared_.first_row[group_ + 1];
    return true;
  }

 private:
  const Shared<kWeights>& shared_;
  int num_groups_, column_tiles_;
  int group_ = 0;
};

// One warp: how many tiles come before each group.
template <int kWeights>
__device__ void count_tiles(Shared<kWeights>& s, int num_groups) {
  const int lane = threadIdx.x;
  int before = 0;
  for (int base = 0; base <= num_groups; base += 32) {
    const int g = base + lane;
    const int tiles =
        g < num_groups ? (s.first_row[g + 1] - s.first_row[g] + kTileRows - 1) / kTileRows : 0;
    int sum = tiles;
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += other;
    }
    if (g <= num_groups) s.first_tile[g] = before + sum - tiles;
    before += __shfl_sync(kAllLanes, sum, 31);
  }
}

template <int kWeights, bool kGated, bool kGather>
__device__ void bring_tiles(Shared<kWeights>& s, const CUtensorMap& map_x, const CUtensorMap& map_w,
                            const Product& p, TileWalk<kWeights> walk) {
  constexpr int kOutputs = kGated ? kWeights / 2 : kWeights;
  if (!kGather && threadIdx.x != 0) return;
  const int blocks = static_cast<int>((p.cols + kTileCols - 1) / kTileCols);
  const int outputs = static_cast<int>(kGated ? p.weight_rows / 2 : p.weight_rows);
  const auto* x = static_cast<const __nv_bfloat16*>(p.x);
  int stage = 0, done = 0, issued = 0;
  uint32_t phase = 0;
  const auto hand_over = [&] {
    shared_fence();
    barrier_arrive(&s.full[done]);
    if (++done == kStages) done = 0;
  };
  Tile t;
  for (int index = blockIdx.x; walk.find(index, t); index += gridDim.x) {
    const int chunk = threadIdx.x % 8;  // of a row's 16-byte chunks
    const __nv_bfloat16* rows[kTileRows / 16];
    if constexpr (kGather) {
#pragma unroll
      for (int i = 0; i < kTileRows / 16; ++i) {
        const int row = min(t.row + i * 16 + static_cast<int>(threadIdx.x) / 8, t.rows_end - 1);
        rows[i] = x + int64_t{p.row_index[row]} * p.x_stride + chunk * 8;
      }
    }
    for (int block = 0; block < blocks; ++block) {
      barrier_wait(&s.empty[stage], phase ^ 1);
      const int col = block * kTileCols;
      if (threadIdx.x == 0) {
        barrier_expect(&s.full[stage], ((kGather ? 0 : kTileRows) + kWeights) * kTileCols * 2);
        if constexpr (!kGather) copy_box(s.x[stage], &map_x, &s.full[stage], col, t.row);
        copy_box(s.w[stage], &map_w, &s.full[stage], col, t.column * kOutputs, t.group);
        if constexpr (kGated) {
          copy_box(s.w[stage] + kOutputs * kTileCols, &map_w, &s.full[stage], col,
                   outputs + t.column * kOutputs, t.group);
        }
      }
      if constexpr (kGather) {
        const bool real = col + chunk * 8 < p.cols;
        const uint32_t to = shared_address(s.x[stage]);
#pragma unroll
        for (int i = 0; i < kTileRows / 16; ++i) {
          const int row = i * 16 + static_cast<int>(threadIdx.x) / 8;
          copy_async(to + swizzled(row, chunk * 8), rows[i] + (real ? col : 0), real);
        }
        commit_copies();
        if (++issued > kLag) {
          wait_copies<kLag>();
          hand_over();
        }
      }
      if (++stage == kStages) {
        stage = 0;
        phase ^= 1;
      }
    }
  }
  if constexpr (kGather) {
    wait_copies<0>();
    for (int left = min(issued, kLag); left > 0; --left) hand_over();
  }
}

// What Product asks for, of the sums of one output.
template <bool kGated>
__device__ float finish(const Product& p, const Tile& t, int row, int col, float sum, float up) {
  const int outputs = static_cast<int>(kGated ? p.weight_rows / 2 : p.weight_rows);
  if (col >= outputs || row >= t.rows_end) return 0;
  const float scale = p.row_scale == nullptr ? 1.0f : p.row_scale[row];
  const float* bias = p.bias == nullptr ? nullptr : p.bias + t.group * p.bias_group_stride;
  float value = p.alpha * (scale * sum + (bias == nullptr ? 0.0f : bias[col]));
  if constexpr (kGated) {
    const float other = p.alpha * (scale * up + (bias == nullptr ? 0.0f : bias[outputs + col]));
    return activate_gated(p.activation, p.activation_alpha, p.activation_beta, p.activation_limit,
                          value, other);
  }
  return p.activates ? activate(p.activation, value) : value;
}

template <int kWeights, Finish kFinish, bool kGated, typename Y>
__device__ void store_tile(const Product& p, const Tile& t, const float (&sums)[kWeights / 2],
                           int warpgroup) {
  constexpr int kOutputs = kGated ? kWeights / 2 : kWeights;
  const int outputs = static_cast<int>(kGated ? p.weight_rows / 2 : p.weight_rows);
  const int lane = threadIdx.x % 32, quad = lane % 4;
  const int first_col = t.column * kOutputs;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = t.row + warpgroup * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4 + 8 * half;
    const bool live = row < t.rows_end;
    Y* y = static_cast<Y*>(p.y) + int64_t{row} * p.y_stride;
    const auto value = [&](int group, int odd) {  // of a column of this thread's pair
      const int at = 4 * group + 2 * half + odd;
      const float up = kGated ? sums[(at + kWeights / 4) % (kWeights / 2)] : 0;
      if constexpr (kFinish == Finish::kNothing) return sums[at];
      if constexpr (kFinish == Finish::kSilu) return sums[at] / (1 + __expf(-sums[at])) * up;
      return finish<kGated>(p, t, row, first_col + 8 * group + 2 * quad + odd, sums[at], up);
    };
    if constexpr (sizeof(Y) == 2) {
#pragma unroll
      for (int first = 0; first < kOutputs / 8; first += 4) {
        uint32_t pairs[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) pairs[i] = pack_bf16(value(first + i, 0), value(first + i, 1));
        const uint4 eight = gather_group(pairs, quad);
        const int col = first_col + 8 * (first + quad);
        if (live && col < outputs) *reinterpret_cast<uint4*>(y + col) = eight;
      }
    } else {
#pragma unroll
      for (int group = 0; group < kOutputs / 8; ++group) {
        const int col = first_col + 8 * group + 2 * quad;
        float2 pair = make_float2(value(group, 0), value(group, 1));
        if (!live || col >= outputs) continue;
        auto* to = reinterpret_cast<float2*>(y + col);
        if (kFinish == Finish::kGeneral && p.accumulate) {
          pair.x += to->x;
          pair.y += to->y;
        }
        *to = pair;
      }
    }
  }
}

template <int kWeights, Finish kFinish, bool kGated, bool kGather, typename Y>
__global__ void __launch_bounds__(kThreads, 1)
    product_kernel(const __grid_constant__ CUtensorMap map_x,
                   const __grid_constant__ CUtensorMap map_w, const __grid_constant__ Product p) {
  extern __shared__ uint8_t raw[];
  auto& s = *reinterpret_cast<Shared<kWeights>*>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                                 ~uintptr_t{1023});
  constexpr int kOutputs = kGated ? kWeights / 2 : kWeights;
  const int outputs = static_cast<int>(kGated ? p.weight_rows / 2 : p.weight_rows);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&s.full[i], kGather ? 1 + 128 : 1);
      barrier_init(&s.empty[i], 2);
    }
    barrier_init_fence();
    if constexpr (!kGather) prefetch_map(&map_x);
    prefetch_map(&map_w);
  }
  for (int g = threadIdx.x; g <= p.num_groups; g += kThreads) {
    s.first_row[g] = p.offsets == nullptr ? static_cast<int>(g * p.max_rows) : p.offsets[g];
  }
  __syncthreads();
  if (threadIdx.x < 32) count_tiles(s, p.num_groups);
  __syncthreads();
  TileWalk<kWeights> walk(s, p.num_groups, (outputs + kOutputs - 1) / kOutputs);
  // Each role is one branch, so that its registers can be given and taken.
  if (threadIdx.x < 128) {
    give_registers<kGather ? 56 : 40>();
    bring_tiles<kWeights, kGated, kGather>(s, map_x, map_w, p, walk);
    return;
  }
  take_registers<kGather ? 224 : 232>();
  const int warpgroup = threadIdx.x / 128 - 1;
  const bool leader = threadIdx.x % 128 == 0;
  const int blocks = static_cast<int>((p.cols + kTileCols - 1) / kTileCols);
  int stage = 0;
  uint32_t phase = 0;
  float sums[kWeights / 2];
  Tile t;
  for (int index = blockIdx.x; walk.find(index, t); index += gridDim.x) {
    int previous = -1;
    for (int block = 0; block < blocks; ++block) {
      barrier_wait(&s.full[stage], phase);
      const uint64_t x = operand_descriptor(s.x[stage] + warpgroup * 64 * kTileCols);
      const uint64_t w = operand_descriptor(s.w[stage]);
      product_fence();
#pragma unroll
      for (int i = 0; i < kTileCols / 16; ++i) {
        if constexpr (kWeights == 256) product_64x256(sums, x + 2 * i, w + 2 * i, block + i > 0);
        if constexpr (kWeights == 128) product_64x128(sums, x + 2 * i, w + 2 * i, block + i > 0);
      }
      product_commit();
      product_wait<1>();  // the products before these have read their stage
      if (previous >= 0 && leader) barrier_arrive(&s.empty[previous]);
      previous = stage;
      if (++stage == kStages) {
        stage = 0;
        phase ^= 1;
      }
    }
    product_wait<0>();
    if (leader) barrier_arrive(&s.empty[previous]);
    store_tile<kWeights, kFinish, kGated, Y>(p, t, sums, warpgroup);
  }
}

template <int kWeights, Finish kFinish, bool kGated, bool kGather, typename Y>
void launch(const CudaExec& exec, const Product& p) {
  constexpr int64_t kBoxRows = kGated ? kWeights / 2 : kWeights;
  const CUtensorMap map_w =
      tensor_map(p.w, {p.cols, p.weight_rows, p.num_groups},
                 {p.cols * 2, p.num_groups == 1 ? p.weight_rows * p.cols * 2 : p.w_group_stride * 2},
                 {kTileCols, kBoxRows, 1});
  const CUtensorMap map_x =
      kGather ? CUtensorMap{}
              : tensor_map(p.x, {p.cols, p.max_rows}, {p.x_stride * 2}, {kTileCols, kTileRows});
  const auto kernel = product_kernel<kWeights, kFinish, kGated, kGather, Y>;
  constexpr int kBytes = sizeof(Shared<kWeights>) + 1024;
  allow_shared(kernel, kBytes, "product");
  kernel<<<exec.num_sms, kThreads, kBytes, stream_of(exec)>>>(map_x, map_w, p);
}

bool is_plain(const Product& p) {
  return p.bias == nullptr && p.row_scale == nullptr && p.alpha == 1 && !p.accumulate;
}

}  // namespace

bool product_sm90_fits(const CudaExec& exec, const Product& p) {
  const int64_t outputs = outputs_of(p);
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  const bool grouped = p.offsets != nullptr || p.num_groups == 1;
  return exec.has_sm90a() && p.format == Format::kBf16 && grouped && p.num_groups <= kMaxGroups &&
         p.max_rows > 0 && p.cols % 8 == 0 && p.x_stride % 8 == 0 &&
         (p.num_groups == 1 || p.w_group_stride % 8 == 0) && aligned(p.x) && aligned(p.w) &&
         outputs % 8 == 0 && aligned(p.y) && p.y_stride % (p.y_format == Format::kBf16 ? 8 : 4) == 0 &&
         (!p.gated || p.y_format == Format::kBf16) && (p.row_index == nullptr || p.gated) &&
         !(p.accumulate && p.y_format == Format::kBf16);
}

void product_sm90(const CudaExec& exec, const Product& p) {
  using Bf16Value = __nv_bfloat16;
  const bool gather = p.row_index != nullptr;
  if (p.gated && is_plain(p) && p.activation == ActivationKind::kSilu) {
    gather ? launch<256, Finish::kSilu, true, true, Bf16Value>(exec, p)
           : launch<256, Finish::kSilu, true, false, Bf16Value>(exec, p);
  } else if (p.gated) {
    gather ? launch<128, Finish::kGeneral, true, true, Bf16Value>(exec, p)
           : launch<128, Finish::kGeneral, true, false, Bf16Value>(exec, p);
  } else if (is_plain(p) && !p.activates) {
    p.y_format == Format::kBf16 ? launch<256, Finish::kNothing, false, false, Bf16Value>(exec, p)
                                : launch<256, Finish::kNothing, false, false, float>(exec, p);
  } else {
    p.y_format == Format::kBf16 ? launch<128, Finish::kGeneral, false, false, Bf16Value>(exec, p)
                                : launch<128, Finish::kGeneral, false, false, float>(exec, p);
  }
  SLUICE_CHECK_LAUNCH("product of ", p.max_rows, " rows with ", p.num_groups, " x ", p.weight_rows,
                      " x ", p.cols);
}

}  // namespace sluice::cuda
