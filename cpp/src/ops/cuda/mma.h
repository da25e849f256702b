/// @file
/// Tensor core products of one warp and the loads that feed them, for sm_80 and later. For .cu
/// sources only.
#ifndef SLUICE_OPS_CUDA_MMA_H_
#define SLUICE_OPS_CUDA_MMA_H_

#include <cuda_bf16.h>

#include <cstdint>

namespace sluice::cuda {

__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/// Copies 16 bytes to shared memory without waiting; zeros instead unless `real`.
__device__ inline void copy_async(uint32_t to, const void* from, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from),
               "r"(real ? 16 : 0));
}
/// Ends a group of copies of this thread.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
/// Waits until all but the last `kPending` groups of this thread are done.
template <int kPending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

/// Waits until all copies of this thread are done, also those of a group that has not ended yet.
__device__ inline void wait_all_copies() { asm volatile("cp.async.wait_all;\n" ::: "memory"); }

/// Writes 16 bytes of bf16 NaN to shared memory; behind wait_all_copies() where the thread has
/// started a copy to there.
__device__ inline void fill_with_nan(uint32_t to) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};\n" ::"r"(to), "r"(0x7fff7fffu)
               : "memory");
}

/// Four 8x8 tiles of 16-bit values; lane i gives the address of row i % 8 of tile i / 8.
__device__ inline void load_matrix(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
/// The same, each tile transposed.
__device__ inline void load_matrix_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// c += a b of bf16: a is 16 x 16, b 16 x 8, c 16 x 8 in float32. Lane i has of c the columns
/// 2 (i % 4) and the next, of rows i / 4 (c[0], c[1]) and i / 4 + 8 (c[2], c[3]).
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Two floats as bf16, the first in the low half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, 4);
  return bits;
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_CUDA_MMA_H_
