/// @file
/// Number formats: how values lie in memory, and the two 16-bit float types.
#ifndef SLUICE_BASE_FORMAT_H_
#define SLUICE_BASE_FORMAT_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sluice {

/// Numbers equal those of `Format` in sluice.proto.
enum class Format : int32_t {
  kUnknown = 0,
  kF32 = 1,
  kF16 = 2,
  kBf16 = 3,
  kF64 = 4,
  kI32 = 5,
  kI64 = 6,
  kU8 = 7,
  kI8 = 8,
  kF8E4m3 = 9,
  kF8E5m2 = 10,
  kF8E8m0 = 11,
  kU16 = 12,
  kQ4_0 = 32,
  kQ4_1 = 33,
  kQ5_0 = 34,
  kQ5_1 = 35,
  kQ8_0 = 36,
  kQ4_K = 37,
  kQ5_K = 38,
  kQ6_K = 39,
  kMxfp4 = 40,
  kMxfp4Split = 64,
  kInt4Grouped = 65,
};

/// Constant data of a format.
struct FormatTraits {
  std::string_view name;     ///< spelling of sluice.proto
  int32_t values_per_block;  ///< 1 for plain formats; 0: no block size, not built
  int32_t bytes_per_block;   ///< without the scales that a tensor of their own holds
};

/// Traits of a format; throws UNSUPPORTED for a number that is none.
const FormatTraits& format_traits(Format format);

inline std::string_view format_name(Format format) { return format_traits(format).name; }

/// Bytes of `num_values` adjacent values. Throws INVALID_ARGUMENT when they are not whole blocks or
/// the byte count exceeds int64.
int64_t format_bytes(Format format, int64_t num_values);

/// True for the formats that arithmetic is done in: F32 and BF16.
inline bool is_compute_format(Format format) {
  return format == Format::kF32 || format == Format::kBf16;
}

/// bfloat16: the upper half of a float32.
struct Bf16 {
  uint16_t bits = 0;
};

/// IEEE binary16.
struct F16 {
  uint16_t bits = 0;
};

inline float to_float(Bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

/// Rounds to nearest, ties to even. NaN stays a quiet NaN.
inline Bf16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x0040u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

/// Exact; subnormals included.
inline float to_float(F16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

/// Rounds to nearest, ties to even; too large becomes infinity. NaN stays a quiet NaN.
inline F16 to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {
    // Adding 0.5 aligns the value to multiples of 2^-24, the spacing of subnormals, with the
    // hardware's own rounding.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23);
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

}  // namespace sluice

#endif  // SLUICE_BASE_FORMAT_H_
