/// @file
/// vec.h in plain C++: loops over 16 lanes that a compiler can turn into what the processor has.
#ifndef SLUICE_OPS_SIMD_VEC_PORTABLE_H_
#define SLUICE_OPS_SIMD_VEC_PORTABLE_H_

namespace sluice::SLUICE_ISA_NAMESPACE {

struct Vec {
  float v[16];
};
struct Pairs {
  uint32_t v[16];  // 16 pairs of bf16; the even element in the low half
};
struct Mask {
  bool v[16];
};

template <typename Function>
SLUICE_INLINE Vec each(const Function& function) {
  Vec out;
  for (int i = 0; i < 16; ++i) out.v[i] = function(i);
  return out;
}
SLUICE_INLINE float as_float(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
SLUICE_INLINE uint32_t as_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}
SLUICE_INLINE uint16_t narrow_bf16(float value) {
  const uint32_t bits = as_bits(value);
  if (value != value) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

SLUICE_INLINE Mask first_n(int n) {
  Mask out;
  for (int i = 0; i < 16; ++i) out.v[i] = i < n;
  return out;
}
SLUICE_INLINE Vec splat(float x) {
  return each([&](int) { return x; });
}
SLUICE_INLINE Vec zero() { return splat(0.0f); }
SLUICE_INLINE Vec load(const float* p) {
  return each([&](int i) { return p[i]; });
}
SLUICE_INLINE Vec load_n(const float* p, int n) {
  return each([&](int i) { return i < n ? p[i] : 0.0f; });
}
SLUICE_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, v.v, sizeof(v.v)); }
SLUICE_INLINE void store_n(float* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v.v[i];
}
SLUICE_INLINE Vec load_bf16(const uint16_t* p) {
  return each([&](int i) { return as_float(static_cast<uint32_t>(p[i]) << 16); });
}
SLUICE_INLINE Vec load_bf16_n(const uint16_t* p, int n) {
  return each([&](int i) { return i < n ? as_float(static_cast<uint32_t>(p[i]) << 16) : 0.0f; });
}
SLUICE_INLINE void store_bf16(uint16_t* p, Vec v) {
  for (int i = 0; i < 16; ++i) p[i] = narrow_bf16(v.v[i]);
}
SLUICE_INLINE void store_bf16_n(uint16_t* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) p[i] = narrow_bf16(v.v[i]);
}

/// store_bf16 for values whose subnormals do not matter.
SLUICE_INLINE void store_probabilities(uint16_t* p, Vec v) { store_bf16(p, v); }

SLUICE_INLINE Vec add(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
SLUICE_INLINE Vec sub(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
SLUICE_INLINE Vec mul(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
SLUICE_INLINE Vec div(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
// A product and a sum, rounded twice: without the instruction a fused one is a slow function.
SLUICE_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
// The second operand when one is NaN.
SLUICE_INLINE Vec max(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
SLUICE_INLINE Vec min(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
SLUICE_INLINE Vec abs(Vec a) {
  return each([&](int i) { return as_float(as_bits(a.v[i]) & 0x7fffffffu); });
}
// For |a| < 2^22: the addition pushes the fraction out of the number.
SLUICE_INLINE Vec round(Vec a) {
  return each([&](int i) { return (a.v[i] + 12582912.0f) - 12582912.0f; });
}
// n in [-252, 254]. In two factors, so that results below the normal range and above the largest
// come out right. A NaN in n goes with a NaN in a.
SLUICE_INLINE Vec scale_by_power(Vec a, Vec n) {
  return each([&](int i) {
    const int whole = n.v[i] == n.v[i] ? static_cast<int>(n.v[i]) : 0;
    const int first = whole >> 1;
    return a.v[i] * as_float(static_cast<uint32_t>(first + 127) << 23) *
           as_float(static_cast<uint32_t>(whole - first + 127) << 23);
  });
}

SLUICE_INLINE Mask less(Vec a, Vec b) {
  Mask out;
  for (int i = 0; i < 16; ++i) out.v[i] = a.v[i] < b.v[i];
  return out;
}
SLUICE_INLINE Mask equal(Vec a, Vec b) {
  Mask out;
  for (int i = 0; i < 16; ++i) out.v[i] = a.v[i] == b.v[i];
  return out;
}
/// a > b, or one is NaN.
SLUICE_INLINE Mask above(Vec a, Vec b) {
  Mask out;
  for (int i = 0; i < 16; ++i) out.v[i] = !(a.v[i] <= b.v[i]);
  return out;
}
/// Lanes of `set` where the mask is set, else of `clear`.
SLUICE_INLINE Vec blend(Mask mask, Vec clear, Vec set) {
  return each([&](int i) { return mask.v[i] ? set.v[i] : clear.v[i]; });
}
SLUICE_INLINE uint32_t mask_bits(Mask mask) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i) bits |= static_cast<uint32_t>(mask.v[i]) << i;
  return bits;
}
SLUICE_INLINE Mask mask_of(uint32_t bits) {
  Mask out;
  for (int i = 0; i < 16; ++i) out.v[i] = (bits >> i & 1u) != 0;
  return out;
}

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
  for (int width = 8; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) v.v[i] += v.v[i + width];
  }
  return v.v[0];
}
SLUICE_INLINE float reduce_max(Vec v) {
  for (int width = 8; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) v.v[i] = v.v[i] > v.v[i + width] ? v.v[i] : v.v[i + width];
  }
  return v.v[0];
}

SLUICE_INLINE Pairs load_pairs(const void* p) {
  Pairs out;
  __builtin_memcpy(out.v, p, sizeof(out.v));
  return out;
}
SLUICE_INLINE Pairs splat_pair(const void* p) {
  uint32_t bits;
  __builtin_memcpy(&bits, p, 4);
  Pairs out;
  for (int i = 0; i < 16; ++i) out.v[i] = bits;
  return out;
}
SLUICE_INLINE Vec pair_even(Pairs p) {
  return each([&](int i) { return as_float(p.v[i] << 16); });
}
SLUICE_INLINE Vec pair_odd(Pairs p) {
  return each([&](int i) { return as_float(p.v[i] & 0xffff0000u); });
}
/// acc + a.odd * b.odd + a.even * b.even in each lane.
SLUICE_INLINE Vec dot_pairs(Vec acc, Pairs a, Pairs b) {
  return fma(pair_even(a), pair_even(b), fma(pair_odd(a), pair_odd(b), acc));
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_SIMD_VEC_PORTABLE_H_
