/// @file
/// Q4_K: 256 values in 144 bytes, eight sub-blocks of 32. [0, 2) d, [2, 4) dmin (f16); [4, 16)
/// scales and minimums (k_scales.h); [16, 144) nibbles: 32 bytes hold sub-block 2c in the low
/// nibbles and 2c + 1 in the high ones. x = d * scale * q - dmin * minimum.
#ifndef SLUICE_QUANT_Q4_K_H_
#define SLUICE_QUANT_Q4_K_H_

#include <cstdint>

#include "quant/block.h"
#include "quant/k_scales.h"

namespace sluice {

inline constexpr int kQ4_KValues = 256;
inline constexpr int kQ4_KBytes = 144;

/// Decodes one block of kQ4_KBytes bytes to kQ4_KValues values.
inline void decode_q4_k(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const float dmin = load_f16(block + 2);
  for (int c = 0; c < 4; ++c) {
    const uint8_t* nibbles = block + 16 + 32 * c;
    const KScale low = load_k_scale(block + 4, 2 * c);
    const KScale high = load_k_scale(block + 4, 2 * c + 1);
    const float low_d = d * static_cast<float>(low.scale);
    const float low_m = dmin * static_cast<float>(low.minimum);
    const float high_d = d * static_cast<float>(high.scale);
    const float high_m = dmin * static_cast<float>(high.minimum);
    for (int l = 0; l < 32; ++l) {
      out[64 * c + l] = low_d * static_cast<float>(nibbles[l] & 15) - low_m;
      out[64 * c + 32 + l] = high_d * static_cast<float>(nibbles[l] >> 4) - high_m;
    }
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q4_K_H_
