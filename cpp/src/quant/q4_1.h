/// @file
/// Q4_1: 32 values in 20 bytes. [0, 2) scale d, [2, 4) minimum m (f16); [4, 20) nibbles as in Q4_0.
/// x = d * q + m.
#ifndef SLUICE_QUANT_Q4_1_H_
#define SLUICE_QUANT_Q4_1_H_

#include <cstdint>

#include "quant/block.h"

namespace sluice {

inline constexpr int kQ4_1Values = 32;
inline constexpr int kQ4_1Bytes = 20;

/// Decodes one block of kQ4_1Bytes bytes to kQ4_1Values values.
inline void decode_q4_1(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const float m = load_f16(block + 2);
  const uint8_t* nibbles = block + 4;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(nibbles[j] & 15) + m;
    out[j + 16] = d * static_cast<float>(nibbles[j] >> 4) + m;
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q4_1_H_
