/// @file
/// Q4_0: 32 values in 18 bytes. [0, 2) scale d (f16); [2, 18) nibbles: value j (j < 16) is the low
/// nibble of byte j, value j + 16 the high one. x = d * (q - 8).
#ifndef SLUICE_QUANT_Q4_0_H_
#define SLUICE_QUANT_Q4_0_H_

#include <cstdint>

#include "quant/block.h"

namespace sluice {

inline constexpr int kQ4_0Values = 32;
inline constexpr int kQ4_0Bytes = 18;

/// Decodes one block of kQ4_0Bytes bytes to kQ4_0Values values.
inline void decode_q4_0(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const uint8_t* nibbles = block + 2;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((nibbles[j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((nibbles[j] >> 4) - 8);
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q4_0_H_
