/// @file
/// F8_E4M3: one byte a value, no infinity. Bit 7 sign, bits 3-6 exponent e, bits 0-2 mantissa m.
/// x = +-(1 + m/8) * 2^(e-7); e = 0: +-(m/8) * 2^-6; e = 15 and m = 7: NaN. Largest: 448.
#ifndef SLUICE_QUANT_F8_E4M3_H_
#define SLUICE_QUANT_F8_E4M3_H_

#include <array>
#include <bit>
#include <cstdint>

namespace sluice {

namespace f8_e4m3 {

// No float32 is subnormal on the way: those are slow on many processors.
constexpr float value_of(uint32_t code) {
  const uint32_t sign = (code & 0x80u) << 24;
  const uint32_t exponent = (code >> 3) & 15u;
  const uint32_t mantissa = code & 7u;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if ((code & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  return std::bit_cast<float>(sign | (exponent + 120u) << 23 | mantissa << 20);
}

constexpr std::array<float, 256> make_values() {
  std::array<float, 256> values{};
  for (uint32_t code = 0; code < 256; ++code) values[code] = value_of(code);
  return values;
}

inline constexpr std::array<float, 256> kValues = make_values();

}  // namespace f8_e4m3

/// Decodes one value.
inline void decode_f8_e4m3(const uint8_t* block, float* out) { *out = f8_e4m3::kValues[*block]; }

}  // namespace sluice

#endif  // SLUICE_QUANT_F8_E4M3_H_
