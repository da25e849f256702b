/// @file
/// Reading the little-endian fields of quantized blocks, at any alignment.
#ifndef SLUICE_QUANT_BLOCK_H_
#define SLUICE_QUANT_BLOCK_H_

#include <cstdint>

#include "base/format.h"

namespace sluice {

/// Little-endian 16 bits at `bytes`, read as IEEE binary16.
inline float load_f16(const uint8_t* bytes) {
  return to_float(F16{static_cast<uint16_t>(bytes[0] | bytes[1] << 8)});
}

/// Little-endian 32 bits.
inline uint32_t load_u32(const uint8_t* bytes) {
  return static_cast<uint32_t>(bytes[0]) | static_cast<uint32_t>(bytes[1]) << 8 |
         static_cast<uint32_t>(bytes[2]) << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

}  // namespace sluice

#endif  // SLUICE_QUANT_BLOCK_H_
