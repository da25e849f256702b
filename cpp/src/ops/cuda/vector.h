/// @file
/// Several adjacent values at a time, in 16-byte accesses where the format allows. For .cu sources
/// only.
#ifndef SLUICE_OPS_CUDA_VECTOR_H_
#define SLUICE_OPS_CUDA_VECTOR_H_

#include "ops/cuda/launch.h"

namespace sluice::cuda {

/// Values of the narrower of two formats that fill 16 bytes.
template <typename A, typename B = A>
inline constexpr int kVector = sizeof(A) == 4 && sizeof(B) == 4 ? 4 : 8;

/// Whether rows at `base`, `stride` elements apart, can be read `values` at a time.
inline bool allows_vectors(const void* base, Format format, int64_t stride, int64_t values) {
  const int64_t bytes = values * (format == Format::kF32 ? 4 : 2);
  const int64_t alignment = bytes < 16 ? bytes : 16;
  return reinterpret_cast<uintptr_t>(base) % static_cast<uintptr_t>(alignment) == 0 &&
         stride % values == 0;
}

/// Calls f with std::integral_constant of `wide` when `vectors`, else of 1.
template <int wide, typename F>
void with_width(bool vectors, const F& f) {
  if (vectors) {
    f(std::integral_constant<int, wide>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

__device__ inline float2 unpack_bf16(uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}

__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, 4);
  return bits;
}

template <int n>
__device__ inline void load_values(const float* p, float (&v)[n]) {
  if constexpr (n == 1) {
    v[0] = *p;
  } else {
#pragma unroll
    for (int i = 0; i < n; i += 4) {
      const float4 q = *reinterpret_cast<const float4*>(p + i);
      v[i] = q.x, v[i + 1] = q.y, v[i + 2] = q.z, v[i + 3] = q.w;
    }
  }
}

template <int n>
__device__ inline void load_values(const __nv_bfloat16* p, float (&v)[n]) {
  if constexpr (n == 1) {
    v[0] = load(p);
  } else if constexpr (n == 4) {
    const uint2 q = *reinterpret_cast<const uint2*>(p);
    const float2 a = unpack_bf16(q.x), b = unpack_bf16(q.y);
    v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
  } else {
#pragma unroll
    for (int i = 0; i < n; i += 8) {
      const uint4 q = *reinterpret_cast<const uint4*>(p + i);
      const float2 a = unpack_bf16(q.x), b = unpack_bf16(q.y);
      const float2 c = unpack_bf16(q.z), d = unpack_bf16(q.w);
      v[i] = a.x, v[i + 1] = a.y, v[i + 2] = b.x, v[i + 3] = b.y;
      v[i + 4] = c.x, v[i + 5] = c.y, v[i + 6] = d.x, v[i + 7] = d.y;
    }
  }
}

template <int n>
__device__ inline void store_values(float* p, const float (&v)[n]) {
  if constexpr (n == 1) {
    *p = v[0];
  } else {
#pragma unroll
    for (int i = 0; i < n; i += 4) {
      *reinterpret_cast<float4*>(p + i) = {v[i], v[i + 1], v[i + 2], v[i + 3]};
    }
  }
}

template <int n>
__device__ inline void store_values(__nv_bfloat16* p, const float (&v)[n]) {
  if constexpr (n == 1) {
    store(p, v[0]);
  } else if constexpr (n == 4) {
    *reinterpret_cast<uint2*>(p) = {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3])};
  } else {
#pragma unroll
    for (int i = 0; i < n; i += 8) {
      *reinterpret_cast<uint4*>(p + i) = {pack_bf16(v[i], v[i + 1]), pack_bf16(v[i + 2], v[i + 3]),
                                          pack_bf16(v[i + 4], v[i + 5]),
                                          pack_bf16(v[i + 6], v[i + 7])};
    }
  }
}

/// Threads of a block for `items` of work, one or more a thread: a multiple of 32, at most `most`.
inline unsigned threads_for(int64_t items, int64_t most = 256) {
  return static_cast<unsigned>(std::clamp<int64_t>((items + 31) / 32 * 32, 32, most));
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_CUDA_VECTOR_H_
