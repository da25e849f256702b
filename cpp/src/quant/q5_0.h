/// @file
/// Q5_0: 32 values in 22 bytes. [0, 2) scale d (f16); [2, 6) fifth bits, bit j of value j (u32);
/// [6, 22) nibbles as in Q4_0. x = d * (q - 16).
#ifndef SLUICE_QUANT_Q5_0_H_
#define SLUICE_QUANT_Q5_0_H_

#include <cstdint>

#include "quant/block.h"

namespace sluice {

inline constexpr int kQ5_0Values = 32;
inline constexpr int kQ5_0Bytes = 22;

/// Decodes one block of kQ5_0Bytes bytes to kQ5_0Values values.
inline void decode_q5_0(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const uint32_t high = load_u32(block + 2);
  const uint8_t* nibbles = block + 6;
  for (int j = 0; j < 16; ++j) {
    const int low_q = (nibbles[j] & 15) | static_cast<int>((high >> j) & 1) << 4;
    const int high_q = (nibbles[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1) << 4;
    out[j] = d * static_cast<float>(low_q - 16);
    out[j + 16] = d * static_cast<float>(high_q - 16);
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q5_0_H_
