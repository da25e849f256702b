// One thread makes the eight numbers of a Philox block, or those of them that a row has.
#include "ops/cuda/launch.h"
#include "ops/random_values/random_values.h"
#include "ops/random_values/random_values_cuda.h"
#include "ops/sampling/philox.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    normal_kernel(NormalFillParams p, float scale, int64_t blocks_per_row) {
  const int64_t items = p.num_rows * blocks_per_row;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < items;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / blocks_per_row;
    const uint64_t begin = p.first + static_cast<uint64_t>(row * p.row_step);
    const uint64_t end = begin + static_cast<uint64_t>(p.num_cols);
    const uint64_t block = begin / kNormalsPerBlock + static_cast<uint64_t>(i % blocks_per_row);
    const uint64_t at = block * kNormalsPerBlock;
    if (at >= end) continue;
    const PhiloxBlock random = philox4x32_10(p.seed, block, p.place);
    alignas(16) T values[kNormalsPerBlock];
#pragma unroll
    for (int k = 0; k < kNormalsPerBlock; ++k) {
      const uint32_t word = random.x[k / 2];
      store(values + k, scale * __ldg(p.quantiles + (k % 2 == 0 ? word & 0xffffu : word >> 16)));
    }
    T* out = static_cast<T*>(p.out) + row * p.out_stride + static_cast<int64_t>(at - begin);
    const bool whole = at >= begin && at + kNormalsPerBlock <= end;
    if (whole && reinterpret_cast<uintptr_t>(out) % 16 == 0) {
#pragma unroll
      for (int q = 0; q < static_cast<int>(sizeof(values) / 16); ++q) {
        reinterpret_cast<int4*>(out)[q] = reinterpret_cast<const int4*>(values)[q];
      }
    } else {
#pragma unroll
      for (int k = 0; k < kNormalsPerBlock; ++k) {
        if (at + k >= begin && at + k < end) out[k] = values[k];
      }
    }
  }
}

}  // namespace

void normal_fill(const CudaExec& exec, const NormalFillParams& params) {
  NormalFillParams p = params;
  if (p.num_rows == 0 || p.num_cols == 0) return;
  if (p.num_rows > 1 && p.row_step == p.num_cols && p.out_stride == p.num_cols) {
    p.num_cols *= p.num_rows;  // rows that follow one another are one
    p.num_rows = 1;
  }
  // A row that does not begin with a block touches one more.
  const int64_t blocks_per_row = (p.num_cols + kNormalsPerBlock - 2) / kNormalsPerBlock + 1;
  with_format(p.out_format, [&](auto* out) {
    normal_kernel<std::remove_pointer_t<decltype(out)>>
        <<<grid_for(p.num_rows * blocks_per_row, kThreads, 8 * exec.num_sms), kThreads, 0,
           stream_of(exec)>>>(p, static_cast<float>(p.std), blocks_per_row);
  });
  SLUICE_CHECK_LAUNCH("random values, ", p.num_rows, " rows of ", p.num_cols);
}

}  // namespace sluice::cuda
