#include "capi/guard.h"

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

// Bytes of `text` that fit `capacity` with a NUL behind them and end at a character's end.
size_t fitting_bytes(std::string_view text, size_t capacity) {
  if (text.size() < capacity) return text.size();
  size_t bytes = capacity - 1;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return bytes;
}

template <size_t kCapacity>
void copy_text(std::string_view text, char (&out)[kCapacity]) {
  const size_t bytes = fitting_bytes(text, kCapacity);
  std::memcpy(out, text.data(), bytes);
  out[bytes] = '\0';
}

}  // namespace

void fill_error(sluice_error* error, sluice_status status, std::string_view text, const char* file,
                int line, int64_t needed_bytes, int64_t free_bytes) noexcept {
  if (error == nullptr) return;
  error->code = status;
  error->line = line;
  error->needed_bytes = needed_bytes;
  error->free_bytes = free_bytes;
  // The end of a path tells more than its start.
  std::string_view path = file == nullptr ? "" : file;
  if (path.size() >= sizeof(error->file)) path.remove_prefix(path.size() - sizeof(error->file) + 1);
  copy_text(path, error->file);
  copy_text(text, error->text);
}

}  // namespace sluice
