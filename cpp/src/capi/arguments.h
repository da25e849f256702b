/// @file
/// Checked reading of C arguments and writing of two-call outputs.
#ifndef SLUICE_CAPI_ARGUMENTS_H_
#define SLUICE_CAPI_ARGUMENTS_H_

#include <cstdint>
#include <cstring>
#include <span>

#include "base/error.h"
#include "runtime/engine.h"

/// The opaque handle of sluice.h.
struct sluice_engine {
  sluice::Engine engine;
};

namespace sluice {

template <class T>
T& checked_pointer(T* pointer, const char* name) {
  SLUICE_CHECK_ARG(pointer != nullptr, name, ": NULL (expected: an address)");
  return *pointer;
}

inline Engine& checked_engine(sluice_engine* engine) {
  return checked_pointer(engine, "engine").engine;
}

/// Bytes of a message; NULL is allowed for none.
inline std::span<const uint8_t> checked_bytes(const uint8_t* data, int64_t size, const char* name) {
  SLUICE_CHECK_ARG(size >= 0, name, ": ", size, " bytes (expected: 0 or more)");
  SLUICE_CHECK_ARG(data != nullptr || size == 0, name, ": NULL (expected: ", size, " bytes)");
  return {data, static_cast<size_t>(size)};
}

/// Writes a two-call output: *size always, the bytes when they fit.
inline sluice_status write_output(std::span<const uint8_t> bytes, uint8_t* buffer, int64_t capacity,
                                  int64_t* size) {
  checked_pointer(size, "size") = static_cast<int64_t>(bytes.size());
  if (buffer == nullptr || capacity < static_cast<int64_t>(bytes.size())) {
    return SLUICE_STATUS_BUFFER_TOO_SMALL;
  }
  if (!bytes.empty()) std::memcpy(buffer, bytes.data(), bytes.size());
  return SLUICE_STATUS_OK;
}

}  // namespace sluice
#endif  // SLUICE_CAPI_ARGUMENTS_H_
