/// @file
/// Checked reading of decoded message fields; every failure names the field's path and its value.
#ifndef SLUICE_MODEL_SPEC_FIELDS_H_
#define SLUICE_MODEL_SPEC_FIELDS_H_

#include <cmath>
#include <cstdint>
#include <string>

#include "base/error.h"

namespace sluice {

/// "layers" and 3 make "layers[3]".
inline std::string indexed(const char* name, size_t index) { return concat(name, "[", index, "]"); }

/// Reads the fields of one message. Copies the path, so that it may be built on the fly.
class FieldReader {
 public:
  /// `path` of the message; empty for the outermost.
  explicit FieldReader(std::string path = "") : path_(std::move(path)) {}

  std::string name(const std::string& field) const {
    return path_.empty() ? field : path_ + "." + field;
  }
  FieldReader child(const std::string& field) const { return FieldReader(name(field)); }

  /// An integer in [lowest, highest].
  template <class T>
  int64_t integer(const char* field, T value, int64_t lowest, int64_t highest) const {
    const bool fits = static_cast<uint64_t>(value) <= static_cast<uint64_t>(INT64_MAX) ||
                      static_cast<int64_t>(value) < 0;
    if (!fits || static_cast<int64_t>(value) < lowest || static_cast<int64_t>(value) > highest ||
        (value > T{0} && static_cast<int64_t>(value) < 0)) {
      SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, name(field), ": ", value, " (expected: ", lowest,
                  " to ", highest, ")");
    }
    return static_cast<int64_t>(value);
  }

  /// The same for a field without a default: it must be there.
  template <class T>
  int64_t required(const char* field, bool present, T value, int64_t lowest,
                   int64_t highest) const {
    require(field, present);
    return integer(field, value, lowest, highest);
  }

  void require(const char* field, bool present) const {
    SLUICE_CHECK_ARG(present, name(field), ": absent (expected: a value)");
  }

  /// A finite number.
  double finite(const char* field, double value) const {
    SLUICE_CHECK_ARG(std::isfinite(value) && std::fabs(value) <= 3.4e38, name(field), ": ", value,
                     " (expected: a finite number that float32 can hold)");
    return value;
  }

  /// A finite number of at least 0, of which 0 means off.
  double not_negative(const char* field, double value) const {
    SLUICE_CHECK_ARG(finite(field, value) >= 0, name(field), ": ", value, " (expected: 0 or more)");
    return value;
  }

  /// A finite number above 0.
  double positive(const char* field, double value) const {
    SLUICE_CHECK_ARG(finite(field, value) > 0, name(field), ": ", value,
                     " (expected: more than 0)");
    return value;
  }

  /// Refuses what this build has no code for.
  void unsupported_if(bool used, const char* field, const char* built) const {
    SLUICE_CHECK(!used, SLUICE_STATUS_UNSUPPORTED, name(field), ": not built (built: ", built, ")");
  }

 private:
  std::string path_;
};

}  // namespace sluice
#endif  // SLUICE_MODEL_SPEC_FIELDS_H_
