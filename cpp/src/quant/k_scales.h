/// @file
/// The packed scales that Q4_K and Q5_K share: eight 6-bit scales and eight 6-bit minimums in 12
/// bytes. Bytes 0-3: scales 0-3 in the low 6 bits; bytes 4-7: minimums 0-3 in the low 6 bits; bytes
/// 8-11: low 4 bits of scales 4-7 in the low nibble, of minimums 4-7 in the high one; the upper two
/// bits of scales 4-7 stand in the top of bytes 0-3, those of minimums 4-7 in the top of bytes 4-7.
#ifndef SLUICE_QUANT_K_SCALES_H_
#define SLUICE_QUANT_K_SCALES_H_

#include <cstdint>

namespace sluice {

struct KScale {
  int scale;
  int minimum;
};

/// Scale and minimum of sub-block j in [0, 8).
inline KScale load_k_scale(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6)
                                                                                       << 4};
}

}  // namespace sluice

#endif  // SLUICE_QUANT_K_SCALES_H_
