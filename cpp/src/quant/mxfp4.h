/// @file
/// MXFP4, the block of GGUF: 32 values in 17 bytes. [0, 1) scale d (E8M0, see f8_e8m0.h); [1, 17)
/// nibbles: value j (j < 16) is the low nibble of byte j, value j + 16 the high one. x = d *
/// e2m1(q).
///
/// E2M1: bit 3 sign, bits 1-2 exponent e, bit 0 mantissa m. +-(1 + m/2) * 2^(e-1); e = 0: +-m/2.
#ifndef SLUICE_QUANT_MXFP4_H_
#define SLUICE_QUANT_MXFP4_H_

#include <cstdint>

#include "quant/f8_e8m0.h"

namespace sluice {

inline constexpr int kMxfp4Values = 32;
inline constexpr int kMxfp4Bytes = 17;

/// The sixteen values of E2M1, by code.
inline constexpr float kE2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/// Decodes one block of kMxfp4Bytes bytes to kMxfp4Values values.
inline void decode_mxfp4(const uint8_t* block, float* out) {
  const float d = load_e8m0(block[0]);
  const uint8_t* nibbles = block + 1;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * kE2m1[nibbles[j] & 15];
    out[j + 16] = d * kE2m1[nibbles[j] >> 4];
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_MXFP4_H_
