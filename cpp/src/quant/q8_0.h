/// @file
/// Q8_0: 32 values in 34 bytes. [0, 2) scale d (f16); [2, 34) signed bytes q. x = d * q.
#ifndef SLUICE_QUANT_Q8_0_H_
#define SLUICE_QUANT_Q8_0_H_

#include <cstdint>

#include "quant/block.h"

namespace sluice {

inline constexpr int kQ8_0Values = 32;
inline constexpr int kQ8_0Bytes = 34;

/// Decodes one block of kQ8_0Bytes bytes to kQ8_0Values values.
inline void decode_q8_0(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int j = 0; j < 32; ++j) {
    out[j] = d * static_cast<float>(static_cast<int8_t>(block[2 + j]));
  }
}

}  // namespace sluice

#endif  // SLUICE_QUANT_Q8_0_H_
