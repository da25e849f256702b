/// @file
/// Texts of refused step messages: section, element, field, value, expectation.
#ifndef SLUICE_RUNTIME_STEP_REFUSE_H_
#define SLUICE_RUNTIME_STEP_REFUSE_H_

#include <cstdint>
#include <string>

#include "base/error.h"
#include "runtime/step_view.h"

namespace sluice {

/// `OUTPUT_ROW[2].top_p: 1.5 (expected: ...)`. `field` starts with a dot, or is empty.
template <class T>
[[noreturn]] void refuse(int section, int64_t index, const char* field, T value,
                         const std::string& expected) {
  SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, section_name(section), "[", index, "]", field, ": ",
              value, " (expected: ", expected, ")");
}

/// "0 to 7", or a sentence for an empty range.
inline std::string up_to(int64_t count) {
  return count > 0 ? concat("0 to ", count - 1) : "no such index, there are none";
}

/// Refuses a value outside [0, count). The text is built on failure only: this runs for every token
/// of every step.
inline void check_index(int section, int64_t index, const char* field, int64_t value,
                        int64_t count) {
  if (value < 0 || value >= count) refuse(section, index, field, value, up_to(count));
}

}  // namespace sluice
#endif  // SLUICE_RUNTIME_STEP_REFUSE_H_
