/// @file
/// F8_E8M0: one byte a value, a power of two without sign. x = 2^(e-127); e = 255: NaN. A format of
/// scales.
#ifndef SLUICE_QUANT_F8_E8M0_H_
#define SLUICE_QUANT_F8_E8M0_H_

#include <bit>
#include <cstdint>

namespace sluice {

/// The value of one code. 2^-127 is a subnormal float32.
inline float load_e8m0(uint8_t code) {
  if (code == 0) return 0x1p-127f;
  if (code == 255) return std::bit_cast<float>(0x7fc00000u);
  return std::bit_cast<float>(static_cast<uint32_t>(code) << 23);
}

/// Decodes one value.
inline void decode_f8_e8m0(const uint8_t* block, float* out) { *out = load_e8m0(*block); }

}  // namespace sluice

#endif  // SLUICE_QUANT_F8_E8M0_H_
