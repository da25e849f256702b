/// @file
/// Q5_1: 32 values in 24 bytes. [0, 2) scale d, [2, 4) minimum m (f16); [4, 8) fifth bits (u32);
/// [8, 24) nibbles as in Q4_0. x = d * q + m.
#ifndef SLUICE_QUANT_Q5_1_H_
#define SLUICE_QUANT_Q5_1_H_

#include <cstdint>

#include "quant/block.h"

namespace sluice {

inline constexpr int kQ5_1Values = 32;
inline constexpr int kQ5_1Bytes = 24;

/// Decodes one block of kQ5_1Bytes bytes to kQ5_1Values values.
inline void decode_q5_1(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const float m = load_f16(block + 2);
  const uint32_t high = load_u32(block + 4);
  const uint8_t* nibbles = block + 8;
  for (int j = 0; j < 16; ++j) {
    const int low_q = (nibbles[j] & 15) | static_cast<int>((high >> j) & 1) << 4;
    const int high_q = (nibbles[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1) << 4;
    out[j] = d * static_cast<float>(low_q) + m;
    out[j + 16] = d * static_cast<float>(high_q) + m;
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q5_1_H_
