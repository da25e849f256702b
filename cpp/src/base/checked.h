/// @file
/// Integer arithmetic on sizes that refuses to overflow.
#ifndef SLUICE_BASE_CHECKED_H_
#define SLUICE_BASE_CHECKED_H_

#include <cstdint>
#include <limits>

#include "base/error.h"

namespace sluice {

/// a * b; throws INVALID_ARGUMENT when it does not fit int64.
inline int64_t checked_mul(int64_t a, int64_t b) {
  int64_t product = 0;
  SLUICE_CHECK_ARG(!__builtin_mul_overflow(a, b, &product), "size: ", a, " * ", b,
                   " (expected: a product below 2^63)");
  return product;
}

/// a + b; throws INVALID_ARGUMENT when it does not fit int64.
inline int64_t checked_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  SLUICE_CHECK_ARG(!__builtin_add_overflow(a, b, &sum), "size: ", a, " + ", b,
                   " (expected: a sum below 2^63)");
  return sum;
}

/// The value as int32; throws INVALID_ARGUMENT when it does not fit.
inline int32_t checked_int32(int64_t value) {
  SLUICE_CHECK_ARG(
      value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max(),
      "value: ", value, " (expected: 32 bits)");
  return static_cast<int32_t>(value);
}

/// Quotient rounded up; both non-negative, divisor positive.
constexpr int64_t ceil_div(int64_t value, int64_t divisor) {
  return value / divisor + (value % divisor != 0);
}

/// The smallest multiple of `multiple` that is not below `value`; no overflow check.
constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return ceil_div(value, multiple) * multiple;
}

}  // namespace sluice

#endif  // SLUICE_BASE_CHECKED_H_
