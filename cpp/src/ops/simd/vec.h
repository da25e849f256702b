/// @file
/// Sixteen float32 lanes, whatever the instruction set: one AVX-512 register, two AVX2 registers,
/// or an array that the compiler vectorises as it can. Kernels are written once on these and
/// compiled once per instruction set; the number of lanes, and so the order of every sum, is always
/// the same.
///
/// Only for sources compiled by sluice_add_isa_sources. Everything is force-inlined.
#ifndef SLUICE_OPS_SIMD_VEC_H_
#define SLUICE_OPS_SIMD_VEC_H_

#include <stdint.h>

#if !defined(SLUICE_ISA_NAMESPACE)
#error "vec.h: only for sources of sluice_add_isa_sources"
#endif

#define SLUICE_INLINE static inline __attribute__((always_inline))

namespace sluice::SLUICE_ISA_NAMESPACE {
inline constexpr int kLanes = 16;
}

#if defined(__AVX512F__)
#include "ops/simd/vec_avx512.h"
#elif defined(__AVX2__)
#include "ops/simd/vec_avx2.h"
#else
#include "ops/simd/vec_portable.h"
#endif

namespace sluice::SLUICE_ISA_NAMESPACE {

/// A row of F32 (kBf16 false) or BF16 values, read and written as float32 lanes. `n` lanes at the
/// end of a row; the others read as zero and are not written.
template <bool kBf16>
SLUICE_INLINE Vec load_row(const void* row, int64_t i) {
  if constexpr (kBf16) {
    return load_bf16(static_cast<const uint16_t*>(row) + i);
  } else {
    return load(static_cast<const float*>(row) + i);
  }
}
template <bool kBf16>
SLUICE_INLINE Vec load_row_n(const void* row, int64_t i, int n) {
  if constexpr (kBf16) {
    return load_bf16_n(static_cast<const uint16_t*>(row) + i, n);
  } else {
    return load_n(static_cast<const float*>(row) + i, n);
  }
}
template <bool kBf16>
SLUICE_INLINE void store_row(void* row, int64_t i, Vec value) {
  if constexpr (kBf16) {
    store_bf16(static_cast<uint16_t*>(row) + i, value);
  } else {
    store(static_cast<float*>(row) + i, value);
  }
}
template <bool kBf16>
SLUICE_INLINE void store_row_n(void* row, int64_t i, Vec value, int n) {
  if constexpr (kBf16) {
    store_bf16_n(static_cast<uint16_t*>(row) + i, value, n);
  } else {
    store_n(static_cast<float*>(row) + i, value, n);
  }
}

/// e^x, relative error below 2e-7; 0 for x <= -104, infinity from 88.8 on, NaN for NaN.
SLUICE_INLINE Vec exp(Vec x) {
  x = min(splat(89.0f), max(splat(-104.0f), x));
  const Vec n = round(mul(x, splat(1.44269504088896341f)));
  Vec r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440e-4f), r);
  Vec p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(mul(r, r), p, add(r, splat(1.0f)));
  return scale_by_power(p, n);
}

/// 2^x, relative error below 2e-7 and exactly 1 at 0; 0 for x <= -150, infinity from 128 on, NaN
/// for NaN. Seven operations less than exp.
SLUICE_INLINE Vec exp2(Vec x) {
  x = min(splat(130.0f), max(splat(-151.0f), x));
  const Vec n = round(x);
  const Vec r = sub(x, n);
  Vec p = splat(1.535336188319500e-4f);
  p = fma(p, r, splat(1.339887440266574e-3f));
  p = fma(p, r, splat(9.618437357674640e-3f));
  p = fma(p, r, splat(5.550332471162809e-2f));
  p = fma(p, r, splat(2.402264791363012e-1f));
  p = fma(p, r, splat(6.931472028550421e-1f));
  p = fma(p, r, splat(1.0f));
  return scale_by_power(p, n);
}

/// 1 / (1 + e^-x).
SLUICE_INLINE Vec sigmoid(Vec x) {
  return div(splat(1.0f), add(splat(1.0f), exp(sub(splat(0.0f), x))));
}

/// tanh x. Near zero the odd series, since 1 - 2 / (e^2x + 1) cancels there.
SLUICE_INLINE Vec tanh(Vec x) {
  const Vec square = mul(x, x);
  Vec series = splat(-0.0218694885f);
  series = fma(series, square, splat(0.0539682540f));
  series = fma(series, square, splat(-0.1333333333f));
  series = fma(series, square, splat(0.3333333333f));
  series = sub(x, mul(mul(x, square), series));
  const Vec e = exp(add(x, x));
  const Vec wide = sub(splat(1.0f), div(splat(2.0f), add(e, splat(1.0f))));
  return blend(less(square, splat(0.0625f)), wide, series);
}

/// erf x, absolute error below 5e-7: Taylor series for small x, Abramowitz and Stegun 7.1.28
/// beyond, whose error there is below 3e-7.
SLUICE_INLINE Vec erf(Vec x) {
  const Vec square = mul(x, x);
  Vec series = splat(-7.5757576e-4f);
  series = fma(series, square, splat(4.6296296e-3f));
  series = fma(series, square, splat(-2.3809524e-2f));
  series = fma(series, square, splat(0.1f));
  series = fma(series, square, splat(-0.33333333f));
  series = fma(series, square, splat(1.0f));
  series = mul(mul(series, x), splat(1.12837917f));
  const Vec a = abs(x);
  Vec p = splat(4.30638e-5f);
  p = fma(p, a, splat(2.765672e-4f));
  p = fma(p, a, splat(1.520143e-4f));
  p = fma(p, a, splat(9.2705272e-3f));
  p = fma(p, a, splat(4.22820123e-2f));
  p = fma(p, a, splat(7.05230784e-2f));
  p = fma(p, a, splat(1.0f));
  p = mul(p, p);
  p = mul(p, p);
  p = mul(p, p);
  p = mul(p, p);
  Vec wide = sub(splat(1.0f), div(splat(1.0f), p));
  wide = blend(less(x, splat(0.0f)), wide, sub(splat(0.0f), wide));
  return blend(less(square, splat(0.25f)), wide, series);
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_SIMD_VEC_H_
