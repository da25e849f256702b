// BF16 for one row of inputs a group, or a few rows of few groups (a decode step of one sequence),
// bound by the memory that the weights come from. A warp has two weight rows at a time, two outputs or
// gate and up of one, and its lanes 16 bytes side by side of each; eight loads of a lane are in flight
// at once and no warp waits for another, so requests never cease. Inputs lie in shared memory. Sums run
// in float32 over the lanes' columns, then over the lanes: an order of its own.
//
// Programmatic dependent launch as in product_stream.cu.
#include <cuda_pipeline.h>

#include "ops/gemm/product_device.cuh"

namespace sluice::cuda {
namespace {

using Bits = __nv_bfloat16;

constexpr int kWarps = 8, kBlocksPerSm = 3;
constexpr int kUnroll = 4;           // loads of a lane and weight row that are in flight together
constexpr int kStep = 32 * 8;        // inputs of a warp's load
constexpr int64_t kMaxCols = 23552;  // 46 KiB: more would have to be asked for
constexpr int64_t kMaxRows = 8;      // of few groups

__device__ inline float low_of(uint32_t two) { return __uint_as_float(two << 16); }
__device__ inline float high_of(uint32_t two) { return __uint_as_float(two & 0xffff0000u); }

__device__ inline float add_products(uint32_t a, uint32_t b, float sum) {
  return fmaf(high_of(a), high_of(b), fmaf(low_of(a), low_of(b), sum));
}

__device__ inline float add_products(const uint4& a, const uint4& b, float sum) {
  sum = add_products(a.y, b.y, add_products(a.x, b.x, sum));
  return add_products(a.w, b.w, add_products(a.z, b.z, sum));
}

struct Loads {
  uint4 first[kUnroll], second[kUnroll];

  __device__ void bring(const Bits* a, const Bits* b, int k, int cols) {
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      first[i] = second[i] = make_uint4(0, 0, 0, 0);
      if (k + i * kStep >= cols) continue;
      first[i] = load_weights(a + k + i * kStep);
      second[i] = load_weights(b + k + i * kStep);
    }
  }
};

// The group whose rows include `row`.
__device__ inline int group_of(const Product& p, int row) {
  int low = 0, high = p.num_groups;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (p.offsets[middle] <= row ? low : high) = middle;
  }
  return low;
}

__global__ void __launch_bounds__(32 * kWarps, kBlocksPerSm)
    product_one_row_kernel(const __grid_constant__ Product p, int blocks_of_row) {
  extern __shared__ uint4 inputs[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = static_cast<int>(blockIdx.x) / blocks_of_row;
  const int block = static_cast<int>(blockIdx.x) % blocks_of_row;
  const int cols = static_cast<int>(p.cols);
  const int outputs = static_cast<int>(p.gated ? p.weight_rows / 2 : p.weight_rows);
  const int each = p.gated ? 1 : 2;  // outputs of a warp at a time
  // By warps first: where they do not divide evenly, all blocks still have as much to do.
  int n = (warp * blocks_of_row + block) * each;
  const int stride = kWarps * blocks_of_row * each;

  if (p.offsets != nullptr) {
    await_kernel_before();
    start_next_kernel();
    if (row >= p.offsets[p.num_groups]) return;
  }
  const int group = p.offsets == nullptr ? row : group_of(p, row);
  const Bits* w = static_cast<const Bits*>(p.w) + group * p.w_group_stride;
  Loads loads;
  // Of the outputs from n on; beyond the last its row once more.
  const auto bring = [&](int k) {
    const int64_t first = min(n, outputs - 1);
    const int64_t second = p.gated ? outputs + first : min(n + 1, outputs - 1);
    loads.bring(w + first * cols, w + second * cols, k, cols);
  };
  bring(lane * 8);
  if (p.offsets == nullptr) {
    if (!p.beside) await_kernel_before();
    start_next_kernel();
  }
  const int64_t own = p.offsets == nullptr ? 0 : row;
  const Bits* x = input_row<Bits>(p, group, own);
  for (int k = threadIdx.x * 8; k < cols; k += 32 * kWarps * 8) {
    __pipeline_memcpy_async(&inputs[k / 8], x + k, 16);
  }
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  while (n < outputs) {
    float sum = 0, second_sum = 0;
    for (int k = lane * 8; k < cols; k += kUnroll * kStep) {
      if (k >= kUnroll * kStep) bring(k);
#pragma unroll
      for (int i = 0; i < kUnroll; ++i) {
        if (k + i * kStep >= cols) break;
        const uint4 v = inputs[(k + i * kStep) / 8];
        sum = add_products(loads.first[i], v, sum);
        second_sum = add_products(loads.second[i], v, second_sum);
      }
    }
    const int done = n;
    n += stride;
    if (n < outputs) bring(lane * 8);
    sum = warp_sum(sum);
    second_sum = warp_sum(second_sum);
    if (lane >= each || done + lane >= outputs) continue;
    const float value = lane == 0 ? sum : second_sum;
    if (p.y_format == Format::kF32) {
      finish<float>(p, group, own, done + lane, value, second_sum);
    } else {
      finish<Bits>(p, group, own, done + lane, value, second_sum);
    }
  }
  if (p.beside) await_kernel_before();
}

}  // namespace

bool product_one_row_fits(const Product& p) {
  const bool few = p.offsets == nullptr ? p.max_rows == 1 : p.max_rows <= kMaxRows;
  return few && p.format == Format::kBf16 && p.cols >= 2 * kStep && p.cols <= kMaxCols &&
         p.weight_rows < INT32_MAX / 2 && reads_vectors(p);
}

void product_one_row(const CudaExec& exec, const Product& p) {
  const int64_t rows = p.offsets == nullptr ? p.num_groups : p.max_rows;
  const int64_t items = p.gated ? p.weight_rows / 2 : (p.weight_rows + 1) / 2;
  // Beside another kernel: some multiprocessors' room is left to that.
  constexpr int kLeft = 8;
  const int64_t blocks =
      kBlocksPerSm * (p.beside ? std::max(1, exec.num_sms - kLeft) : exec.num_sms);
  const int64_t of_row =
      std::clamp<int64_t>((items + kWarps - 1) / kWarps, 1, std::max<int64_t>(1, blocks / rows));
  launch_overlapped(exec, product_one_row_kernel, static_cast<unsigned>(rows * of_row), 32 * kWarps,
                    p.cols * 2, p, static_cast<int>(of_row));
  SLUICE_CHECK_LAUNCH("bf16 product of one row, ", p.num_groups, " x ", p.weight_rows, " x ",
                      p.cols);
}

}  // namespace sluice::cuda
