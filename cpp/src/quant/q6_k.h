/// @file
/// Q6_K: 256 values in 210 bytes, sixteen sub-blocks of 16. [0, 128) low nibbles; [128, 192) upper
/// two bits; [192, 208) signed scales; [208, 210) d (f16). Each half of 128 values takes 64 bytes
/// of nibbles and 32 of upper bits: quarter r of the half (32 values) has its nibbles in bytes 32 *
/// (r % 2) + l, the low ones for r < 2, the high ones else, and its upper bits in bits 2r, 2r + 1
/// of byte l. x = d * scale * (q - 32).
#ifndef SLUICE_QUANT_Q6_K_H_
#define SLUICE_QUANT_Q6_K_H_

#include <cstdint>

#include "quant/block.h"

namespace sluice {

inline constexpr int kQ6_KValues = 256;
inline constexpr int kQ6_KBytes = 210;

/// Decodes one block of kQ6_KBytes bytes to kQ6_KValues values.
inline void decode_q6_k(const uint8_t* block, float* out) {
  const float d = load_f16(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* nibbles = block + 64 * half;
    const uint8_t* upper = block + 128 + 32 * half;
    const uint8_t* scales = block + 192 + 8 * half;
    for (int r = 0; r < 4; ++r) {
      for (int l = 0; l < 32; ++l) {
        const uint8_t byte = nibbles[32 * (r % 2) + l];
        const int q = ((r < 2 ? byte & 15 : byte >> 4) | ((upper[l] >> (2 * r)) & 3) << 4) - 32;
        const float scale = d * static_cast<float>(static_cast<int8_t>(scales[2 * r + l / 16]));
        out[128 * half + 32 * r + l] = scale * static_cast<float>(q);
      }
    }
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q6_K_H_
