/// @file
/// The one exception of the engine, and the checks that throw it.
#ifndef SLUICE_BASE_ERROR_H_
#define SLUICE_BASE_ERROR_H_

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/sluice.h"

namespace sluice {

/// A failure with the status that crosses the C border. Thrown inside, caught in capi only.
/// The text has the form `value: X (expected: ...)` plus a remedy where there is one.
class Error : public std::exception {
 public:
  Error(sluice_status status, std::string text, const char* file, int line)
      : status_(status), text_(std::move(text)), file_(file), line_(line) {}

  const char* what() const noexcept override { return text_.c_str(); }
  sluice_status status() const noexcept { return status_; }
  const std::string& text() const noexcept { return text_; }
  const char* file() const noexcept { return file_; }
  int line() const noexcept { return line_; }

  /// Bytes needed and free, for the OUT_OF_*_MEMORY statuses; -1 otherwise.
  int64_t needed_bytes() const noexcept { return needed_bytes_; }
  int64_t free_bytes() const noexcept { return free_bytes_; }
  Error&& with_bytes(int64_t needed, int64_t free) && {
    needed_bytes_ = needed;
    free_bytes_ = free;
    return std::move(*this);
  }

  /// Puts `context` and ": " in front of the text, e.g. the layer in which an op failed.
  void add_context(std::string_view context);

 private:
  sluice_status status_;
  std::string text_;
  const char* file_;
  int line_;
  int64_t needed_bytes_ = -1;
  int64_t free_bytes_ = -1;
};

namespace internal {
void append(std::string& out, std::string_view value);
void append(std::string& out, const char* value);
void append(std::string& out, char value);
void append(std::string& out, bool value);
void append(std::string& out, int value);
void append(std::string& out, unsigned value);
void append(std::string& out, long value);
void append(std::string& out, unsigned long value);
void append(std::string& out, long long value);
void append(std::string& out, unsigned long long value);
void append(std::string& out, double value);
}  // namespace internal

/// The arguments' texts, one after the other. Numbers in shortest form.
template <typename... Args>
std::string concat(const Args&... args) {
  std::string out;
  (internal::append(out, args), ...);
  return out;
}

}  // namespace sluice

/// Throws an Error with the status and the concatenation of the other arguments.
#define SLUICE_FAIL(status, ...) \
  throw ::sluice::Error((status), ::sluice::concat(__VA_ARGS__), __FILE__, __LINE__)

/// Throws an Error unless `condition` holds. The text is built only on failure.
#define SLUICE_CHECK(condition, status, ...) \
  do {                                       \
    if (!(condition)) [[unlikely]] {         \
      SLUICE_FAIL(status, __VA_ARGS__);      \
    }                                        \
  } while (false)

/// SLUICE_CHECK for what a caller passed in.
#define SLUICE_CHECK_ARG(condition, ...) \
  SLUICE_CHECK(condition, SLUICE_STATUS_INVALID_ARGUMENT, __VA_ARGS__)

/// SLUICE_CHECK for what only a defect of Sluice can break.
#define SLUICE_CHECK_INTERNAL(condition, ...) \
  SLUICE_CHECK(condition, SLUICE_STATUS_INTERNAL, __VA_ARGS__)

#endif  // SLUICE_BASE_ERROR_H_
