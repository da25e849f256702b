/// @file
/// F8_E5M2: one byte a value, the upper half of an IEEE binary16. Bit 7 sign, bits 2-6 exponent e,
/// bits 0-1 mantissa m. x = +-(1 + m/4) * 2^(e-15); e = 0: +-(m/4) * 2^-14; e = 31: infinity
/// (m = 0) or NaN. Largest: 57344.
#ifndef SLUICE_QUANT_F8_E5M2_H_
#define SLUICE_QUANT_F8_E5M2_H_

#include <cstdint>

#include "base/format.h"

namespace sluice {

/// Decodes one value.
inline void decode_f8_e5m2(const uint8_t* block, float* out) {
  *out = to_float(F16{static_cast<uint16_t>(*block << 8)});
}

}  // namespace sluice

#endif  // SLUICE_QUANT_F8_E5M2_H_
