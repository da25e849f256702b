#include "base/error.h"

#include <charconv>

namespace sluice {

void Error::add_context(std::string_view context) {
  std::string text(context);
  text += ": ";
  text += text_;
  text_ = std::move(text);
}

namespace internal {
namespace {

template <typename T>
void append_number(std::string& out, T value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value);
  out.append(digits, end.ptr);
}

}  // namespace

void append(std::string& out, std::string_view value) { out += value; }
void append(std::string& out, const char* value) { out += value == nullptr ? "(null)" : value; }
void append(std::string& out, char value) { out += value; }
void append(std::string& out, bool value) { out += value ? "true" : "false"; }
void append(std::string& out, int value) { append_number(out, value); }
void append(std::string& out, unsigned value) { append_number(out, value); }
void append(std::string& out, long value) { append_number(out, value); }
void append(std::string& out, unsigned long value) { append_number(out, value); }
void append(std::string& out, long long value) { append_number(out, value); }
void append(std::string& out, unsigned long long value) { append_number(out, value); }
void append(std::string& out, double value) { append_number(out, value); }

}  // namespace internal
}  // namespace sluice
