/// @file
/// Decodes stored weights to float32. Layouts are documented beside each format's decoder.
#ifndef SLUICE_QUANT_DECODE_H_
#define SLUICE_QUANT_DECODE_H_

#include <cstdint>

#include "base/format.h"

namespace sluice {

/// Whether decode_values() knows the format: F32, F16, BF16, F64, F8_E4M3, F8_E5M2, F8_E8M0, Q4_0,
/// Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, MXFP4 and MXFP4_SPLIT.
bool can_decode(Format format);

/// out[i] = value i of `source`, for num_values values: whole blocks, any alignment, little endian.
/// MXFP4_SPLIT and the F8 formats come without the scales that a tensor of their own holds.
/// Exact for formats with at most 24 significant bits; F64 rounds to nearest even. Thread-safe.
/// Throws UNSUPPORTED for a format that it does not know, INVALID_ARGUMENT for a broken block.
void decode_values(Format format, const void* source, int64_t num_values, float* out);

/// The same, rounded to bfloat16 (nearest even). BF16 sources are copied bit by bit.
void decode_values(Format format, const void* source, int64_t num_values, Bf16* out);

}  // namespace sluice

#endif  // SLUICE_QUANT_DECODE_H_
