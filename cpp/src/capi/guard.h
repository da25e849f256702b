/// @file
/// The border between exceptions and statuses.
#ifndef SLUICE_CAPI_GUARD_H_
#define SLUICE_CAPI_GUARD_H_

#include <exception>
#include <new>
#include <string_view>

#include "base/error.h"

namespace sluice {

/// Fills `error` unless it is NULL; texts are cut at a character boundary. Never throws.
void fill_error(sluice_error* error, sluice_status status, std::string_view text, const char* file,
                int line, int64_t needed_bytes, int64_t free_bytes) noexcept;

/// Runs `body` and turns what it throws into a status and an error. `body` returns a status of its
/// own when there is nothing to explain: OK, TIMEOUT or BUFFER_TOO_SMALL. No exception that a
/// caller of the library could meet is caught anywhere else.
template <class Body>
sluice_status guard(sluice_error* error, const char* function, const Body& body) noexcept {
  try {
    const sluice_status status = body();
    if (status == SLUICE_STATUS_BUFFER_TOO_SMALL) {
      fill_error(error, status, "buffer: too small (expected: *size bytes)", function, 0, -1, -1);
    }
    return status;
  } catch (const Error& thrown) {
    fill_error(error, thrown.status(), thrown.text(), thrown.file(), thrown.line(),
               thrown.needed_bytes(), thrown.free_bytes());
    return thrown.status();
  } catch (const std::bad_alloc&) {
    fill_error(error, SLUICE_STATUS_OUT_OF_HOST_MEMORY,
               "memory: a small allocation failed (remedy: free memory of the host)", function, 0,
               -1, -1);
    return SLUICE_STATUS_OUT_OF_HOST_MEMORY;
  } catch (const std::exception& thrown) {
    fill_error(error, SLUICE_STATUS_INTERNAL, thrown.what(), function, 0, -1, -1);
    return SLUICE_STATUS_INTERNAL;
  } catch (...) {
    fill_error(error, SLUICE_STATUS_INTERNAL, "an unknown exception", function, 0, -1, -1);
    return SLUICE_STATUS_INTERNAL;
  }
}

}  // namespace sluice
#endif  // SLUICE_CAPI_GUARD_H_
