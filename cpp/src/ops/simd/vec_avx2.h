/// @file
/// vec.h on AVX2 with FMA: two registers.
#ifndef SLUICE_OPS_SIMD_VEC_AVX2_H_
#define SLUICE_OPS_SIMD_VEC_AVX2_H_

#include <immintrin.h>

namespace sluice::SLUICE_ISA_NAMESPACE {

struct Vec {
  __m256 lo, hi;
};
struct Pairs {
  __m256i lo, hi;  // 16 pairs of bf16; the even element in the low half
};
using Mask = Vec;  // all bits of a lane set or clear

SLUICE_INLINE __m256i lane_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SLUICE_INLINE Mask first_n(int n) {
  return {_mm256_castsi256_ps(lane_mask(n)), _mm256_castsi256_ps(lane_mask(n - 8))};
}
SLUICE_INLINE Vec zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
SLUICE_INLINE Vec splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
SLUICE_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SLUICE_INLINE Vec load_n(const float* p, int n) {
  return {_mm256_maskload_ps(p, lane_mask(n)), _mm256_maskload_ps(p + 8, lane_mask(n - 8))};
}
SLUICE_INLINE void store(float* p, Vec v) {
  _mm256_storeu_ps(p, v.lo);
  _mm256_storeu_ps(p + 8, v.hi);
}
SLUICE_INLINE void store_n(float* p, Vec v, int n) {
  _mm256_maskstore_ps(p, lane_mask(n), v.lo);
  _mm256_maskstore_ps(p + 8, lane_mask(n - 8), v.hi);
}

SLUICE_INLINE __m256 widen_bf16(__m128i v) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
SLUICE_INLINE __m256i round_bf16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
  return _mm256_srli_epi32(_mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(rounded),
                                                                _mm256_castsi256_ps(quiet), nan)),
                           16);
}
SLUICE_INLINE __m256i narrow_bf16(Vec v) {
  const __m256i packed = _mm256_packus_epi32(round_bf16(v.lo), round_bf16(v.hi));
  return _mm256_permute4x64_epi64(packed, 0xd8);
}
SLUICE_INLINE Vec load_bf16(const uint16_t* p) {
  return {widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
SLUICE_INLINE Vec load_bf16_n(const uint16_t* p, int n) {
  uint16_t values[16] = {};
  for (int i = 0; i < n; ++i) values[i] = p[i];
  return load_bf16(values);
}
SLUICE_INLINE void store_bf16(uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(v));
}
SLUICE_INLINE void store_bf16_n(uint16_t* p, Vec v, int n) {
  uint16_t values[16];
  store_bf16(values, v);
  for (int i = 0; i < n; ++i) p[i] = values[i];
}

/// store_bf16 for values whose subnormals do not matter.
SLUICE_INLINE void store_probabilities(uint16_t* p, Vec v) { store_bf16(p, v); }

SLUICE_INLINE Vec add(Vec a, Vec b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
SLUICE_INLINE Vec sub(Vec a, Vec b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
SLUICE_INLINE Vec mul(Vec a, Vec b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
SLUICE_INLINE Vec div(Vec a, Vec b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
SLUICE_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
// The second operand when one is NaN.
SLUICE_INLINE Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
SLUICE_INLINE Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
SLUICE_INLINE Vec abs(Vec a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
SLUICE_INLINE Vec round(Vec a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SLUICE_INLINE __m256 power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// In two factors, so that results below the normal range and above the largest come out right.
SLUICE_INLINE __m256 scale_half(__m256 a, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i first = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(a, power_of_two(first)),
                       power_of_two(_mm256_sub_epi32(whole, first)));
}
SLUICE_INLINE Vec scale_by_power(Vec a, Vec n) {
  return {scale_half(a.lo, n.lo), scale_half(a.hi, n.hi)};
}

SLUICE_INLINE Mask less(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
SLUICE_INLINE Mask equal(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
/// a > b, or one is NaN.
SLUICE_INLINE Mask above(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_NLE_UQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_NLE_UQ)};
}
/// Lanes of `set` where the mask is set, else of `clear`.
SLUICE_INLINE Vec blend(Mask mask, Vec clear, Vec set) {
  return {_mm256_blendv_ps(clear.lo, set.lo, mask.lo), _mm256_blendv_ps(clear.hi, set.hi, mask.hi)};
}
SLUICE_INLINE uint32_t mask_bits(Mask mask) {
  return static_cast<uint32_t>(_mm256_movemask_ps(mask.lo)) |
         static_cast<uint32_t>(_mm256_movemask_ps(mask.hi)) << 8;
}
SLUICE_INLINE __m256 half_mask_of(uint32_t bits) {
  const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lanes);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lanes));
}
SLUICE_INLINE Mask mask_of(uint32_t bits) { return {half_mask_of(bits), half_mask_of(bits >> 8)}; }

/// Lanes of the mask's set bits side by side, and the numbers first + lane of those lanes. Up to
/// sixteen places are written.
SLUICE_INLINE void pack(float* p, Vec v, uint32_t bits) {
  float lanes[16];
  store(lanes, v);
  for (; bits != 0; bits &= bits - 1) *p++ = lanes[__builtin_ctz(bits)];
}
SLUICE_INLINE void pack(int32_t* p, const int32_t* from, uint32_t bits) {
  for (; bits != 0; bits &= bits - 1) *p++ = from[__builtin_ctz(bits)];
}
SLUICE_INLINE void pack_numbers(int32_t* p, int32_t first, uint32_t bits) {
  for (; bits != 0; bits &= bits - 1) *p++ = first + __builtin_ctz(bits);
}

SLUICE_INLINE float reduce_add(Vec v) {
  const __m256 half = _mm256_add_ps(v.lo, v.hi);
  __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  quarter = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}
SLUICE_INLINE float reduce_max(Vec v) {
  const __m256 half = _mm256_max_ps(v.lo, v.hi);
  __m128 quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  quarter = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_max_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}

SLUICE_INLINE Pairs load_pairs(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
SLUICE_INLINE Pairs splat_pair(const void* p) {
  int bits;
  __builtin_memcpy(&bits, p, 4);
  return {_mm256_set1_epi32(bits), _mm256_set1_epi32(bits)};
}
SLUICE_INLINE Vec pair_even(Pairs p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(p.lo, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(p.hi, 16))};
}
SLUICE_INLINE Vec pair_odd(Pairs p) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(p.lo, high)),
          _mm256_castsi256_ps(_mm256_and_si256(p.hi, high))};
}
/// acc + a.odd * b.odd + a.even * b.even in each lane.
SLUICE_INLINE Vec dot_pairs(Vec acc, Pairs a, Pairs b) {
  return fma(pair_even(a), pair_even(b), fma(pair_odd(a), pair_odd(b), acc));
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_SIMD_VEC_AVX2_H_
