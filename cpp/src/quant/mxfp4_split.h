/// @file
/// MXFP4_SPLIT: two tensors. Of the packed one, 32 values are 16 bytes: value 2j is the low nibble
/// of byte j, value 2j + 1 the high one. The other one holds a scale (E8M0, see f8_e8m0.h) for each
/// 32 values along the innermost dimension. x = scale * e2m1(q), E2M1 as in mxfp4.h.
#ifndef SLUICE_QUANT_MXFP4_SPLIT_H_
#define SLUICE_QUANT_MXFP4_SPLIT_H_

#include <cstdint>

#include "quant/mxfp4.h"

namespace sluice {

inline constexpr int kMxfp4SplitValues = 32;
inline constexpr int kMxfp4SplitBytes = 16;

/// Decodes the nibbles of one block; the caller multiplies by the block's scale.
inline void decode_mxfp4_split(const uint8_t* block, float* out) {
  for (int j = 0; j < 16; ++j) {
    out[2 * j] = kE2m1[block[j] & 15];
    out[2 * j + 1] = kE2m1[block[j] >> 4];
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_MXFP4_SPLIT_H_
