/// @file
/// vec.h on AVX-512.
#ifndef SLUICE_OPS_SIMD_VEC_AVX512_H_
#define SLUICE_OPS_SIMD_VEC_AVX512_H_

#include <immintrin.h>

namespace sluice::SLUICE_ISA_NAMESPACE {

using Vec = __m512;
using Pairs = __m512i;  // 16 pairs of bf16; the even element in the low half
using Mask = __mmask16;

SLUICE_INLINE Mask first_n(int n) { return static_cast<Mask>((1u << n) - 1u); }
SLUICE_INLINE Vec zero() { return _mm512_setzero_ps(); }
SLUICE_INLINE Vec splat(float x) { return _mm512_set1_ps(x); }
SLUICE_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
SLUICE_INLINE Vec load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first_n(n), p); }
SLUICE_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
SLUICE_INLINE void store_n(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, first_n(n), v); }

SLUICE_INLINE Vec widen_bf16(__m256i v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
SLUICE_INLINE __m256i narrow_bf16(Vec v) {
  // Integer rounding, not the conversion instruction: that one turns subnormals into zero.
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}
SLUICE_INLINE Vec load_bf16(const uint16_t* p) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SLUICE_INLINE Vec load_bf16_n(const uint16_t* p, int n) {
  return widen_bf16(_mm256_maskz_loadu_epi16(first_n(n), p));
}
SLUICE_INLINE void store_bf16(uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(v));
}
SLUICE_INLINE void store_bf16_n(uint16_t* p, Vec v, int n) {
  _mm256_mask_storeu_epi16(p, first_n(n), narrow_bf16(v));
}

/// store_bf16 for values whose subnormals do not matter.
SLUICE_INLINE void store_probabilities(uint16_t* p, Vec v) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
#else
  store_bf16(p, v);
#endif
}

SLUICE_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
SLUICE_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
SLUICE_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
SLUICE_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
SLUICE_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// The second operand when one is NaN.
SLUICE_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
SLUICE_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
SLUICE_INLINE Vec abs(Vec a) { return _mm512_abs_ps(a); }
SLUICE_INLINE Vec round(Vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SLUICE_INLINE Vec scale_by_power(Vec a, Vec n) { return _mm512_scalef_ps(a, n); }

SLUICE_INLINE Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
SLUICE_INLINE Mask equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
/// a > b, or one is NaN.
SLUICE_INLINE Mask above(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ); }
/// Lanes of `set` where the mask is set, else of `clear`.
SLUICE_INLINE Vec blend(Mask mask, Vec clear, Vec set) {
  return _mm512_mask_blend_ps(mask, clear, set);
}
SLUICE_INLINE uint32_t mask_bits(Mask mask) { return mask; }
SLUICE_INLINE Mask mask_of(uint32_t bits) { return static_cast<Mask>(bits); }

/// Lanes of the mask's set bits side by side, and the numbers first + lane of those lanes. Sixteen
/// places are written; what lies behind the last one is of no meaning. Packed in a register: the
/// instruction that packs into memory is many times slower on some processors.
SLUICE_INLINE void pack(float* p, Vec v, uint32_t bits) {
  _mm512_storeu_ps(p, _mm512_maskz_compress_ps(static_cast<Mask>(bits), v));
}
SLUICE_INLINE void pack(int32_t* p, const int32_t* from, uint32_t bits) {
  _mm512_storeu_si512(
      p, _mm512_maskz_compress_epi32(static_cast<Mask>(bits), _mm512_loadu_si512(from)));
}
SLUICE_INLINE void pack_numbers(int32_t* p, int32_t first, uint32_t bits) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  _mm512_storeu_si512(
      p, _mm512_maskz_compress_epi32(static_cast<Mask>(bits),
                                     _mm512_add_epi32(lanes, _mm512_set1_epi32(first))));
}

// Halves, quarters, pairs: the same tree on every instruction set.
SLUICE_INLINE float reduce_add(Vec v) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  quarter = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}
SLUICE_INLINE float reduce_max(Vec v) { return _mm512_reduce_max_ps(v); }

SLUICE_INLINE Pairs load_pairs(const void* p) { return _mm512_loadu_si512(p); }
SLUICE_INLINE Pairs splat_pair(const void* p) {
  int bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm512_set1_epi32(bits);
}
SLUICE_INLINE Vec pair_even(Pairs p) { return _mm512_castsi512_ps(_mm512_slli_epi32(p, 16)); }
SLUICE_INLINE Vec pair_odd(Pairs p) {
  return _mm512_castsi512_ps(_mm512_and_si512(p, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
/// acc + a.odd * b.odd + a.even * b.even in each lane.
SLUICE_INLINE Vec dot_pairs(Vec acc, Pairs a, Pairs b) {
#if defined(__AVX512BF16__)
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
#else
  return fma(pair_even(a), pair_even(b), fma(pair_odd(a), pair_odd(b), acc));
#endif
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_SIMD_VEC_AVX512_H_
