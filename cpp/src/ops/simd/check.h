/// @file
/// Checks that the launchers of ops share; each failure names the field.
#ifndef SLUICE_OPS_SIMD_CHECK_H_
#define SLUICE_OPS_SIMD_CHECK_H_

#include <cstdint>

#include "base/error.h"
#include "base/format.h"

namespace sluice {

inline void check_compute_format(const char* field, Format format) {
  SLUICE_CHECK(is_compute_format(format), SLUICE_STATUS_UNSUPPORTED, field, ": ",
               format_name(format), " (expected: F32 or BF16)");
}

inline void check_at_least(const char* field, int64_t value, int64_t least) {
  SLUICE_CHECK_ARG(value >= least, field, ": ", value, " (expected: at least ", least, ")");
}

/// Rows of `width` elements `stride` apart. One row needs no stride.
inline void check_stride(const char* field, int64_t stride, int64_t width, int64_t num_rows) {
  SLUICE_CHECK_ARG(num_rows <= 1 || stride >= width, field, ": ", stride, " (expected: at least ",
                   width, ")");
}

inline void check_memory(const char* field, const void* pointer, int64_t num_elements) {
  SLUICE_CHECK_ARG(pointer != nullptr || num_elements == 0, field,
                   ": null (expected: ", num_elements, " elements)");
}

}  // namespace sluice

#endif  // SLUICE_OPS_SIMD_CHECK_H_
