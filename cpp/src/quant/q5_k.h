/// @file
/// Q5_K: 256 values in 176 bytes, eight sub-blocks of 32. [0, 2) d, [2, 4) dmin (f16); [4, 16)
/// scales and minimums (k_scales.h); [16, 48) fifth bits: bit s of byte l belongs to value l of
/// sub-block s; [48, 176) nibbles as in Q4_K. x = d * scale * q - dmin * minimum.
#ifndef SLUICE_QUANT_Q5_K_H_
#define SLUICE_QUANT_Q5_K_H_

#include <cstdint>

#include "quant/block.h"
#include "quant/k_scales.h"

namespace sluice {

inline constexpr int kQ5_KValues = 256;
inline constexpr int kQ5_KBytes = 176;

/// Decodes one block of kQ5_KBytes bytes to kQ5_KValues values.
inline void decode_q5_k(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const float dmin = load_f16(block + 2);
  const uint8_t* fifth = block + 16;
  for (int c = 0; c < 4; ++c) {
    const uint8_t* nibbles = block + 48 + 32 * c;
    const KScale low = load_k_scale(block + 4, 2 * c);
    const KScale high = load_k_scale(block + 4, 2 * c + 1);
    const float low_d = d * static_cast<float>(low.scale);
    const float low_m = dmin * static_cast<float>(low.minimum);
    const float high_d = d * static_cast<float>(high.scale);
    const float high_m = dmin * static_cast<float>(high.minimum);
    for (int l = 0; l < 32; ++l) {
      const int low_q = (nibbles[l] & 15) | ((fifth[l] >> (2 * c)) & 1) << 4;
      const int high_q = (nibbles[l] >> 4) | ((fifth[l] >> (2 * c + 1)) & 1) << 4;
      out[64 * c + l] = low_d * static_cast<float>(low_q) - low_m;
      out[64 * c + 32 + l] = high_d * static_cast<float>(high_q) - high_m;
    }
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q5_K_H_
