/// @file
/// BF16 on the matrix units, as every kernel of product_cuda.h does it.
///
/// Weights are the left operand (16 weight rows), rows of x the right one (8 rows). A thread takes 8
/// consecutive inputs of a row, 16 bytes, for two mma of 16 inputs each: the first takes inputs 0-3
/// of each thread's 8, the second 4-7. So operands are read by 128-bit loads, from shared or global
/// memory, without ldmatrix, and every kernel adds in the same order.
#ifndef SLUICE_OPS_GEMM_PRODUCT_MMA_CUH_
#define SLUICE_OPS_GEMM_PRODUCT_MMA_CUH_

#include <cuda_bf16.h>

#include <cstdint>

namespace sluice::cuda {

inline constexpr int kBlock = 32;   ///< inputs that the four threads of a row's quad hold
inline constexpr int kSlice = 256;  ///< inputs whose sum starts at zero

/// sum[0], sum[1]: weight row lane / 4, rows of x 2 (lane % 4) and the next; sum[2], sum[3]: weight
/// row lane / 4 + 8. `low`, `high`: inputs 8 (lane % 4) .. + 7 of weight rows lane / 4 and
/// lane / 4 + 8; `x`: those of x's row lane / 4.
__device__ inline void mma_block(float (&sum)[4], const uint4& low, const uint4& high,
                                 const uint4& x) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(x.x), "r"(x.y));
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low.z), "r"(high.z), "r"(low.w), "r"(high.w), "r"(x.z), "r"(x.w));
}

/// 8 inputs of a row from any address, zeros from `cols` on and for a null row.
__device__ inline uint4 gather_inputs(const __nv_bfloat16* row, int64_t k, int64_t cols) {
  uint32_t words[4] = {};
  if (row != nullptr) {
    const auto* bits = reinterpret_cast<const uint16_t*>(row);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (k + i < cols) words[i / 2] |= uint32_t{bits[k + i]} << (16 * (i % 2));
    }
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_GEMM_PRODUCT_MMA_CUH_
