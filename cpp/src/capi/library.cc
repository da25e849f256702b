// Status names, versions, system information and logging.
#include <cstring>
#include <string>

#include "base/log.h"
#include "capi/arguments.h"
#include "capi/guard.h"
#include "runtime/system_info.h"
#include "version.h"

namespace {

constexpr const char* kStatusNames[] = {
    "OK",
    "INVALID_ARGUMENT",
    "UNSUPPORTED",
    "OUT_OF_HOST_MEMORY",
    "OUT_OF_DEVICE_MEMORY",
    "IO",
    "CORRUPT_DATA",
    "INCOMPLETE",
    "TIMEOUT",
    "ABORTED",
    "WRONG_STATE",
    "DEVICE_LOST",
    "ENGINE_FAILED",
    "BUFFER_TOO_SMALL",
    "LIBRARY_MISSING",
    "INTERNAL",
};
static_assert(std::size(kStatusNames) == SLUICE_STATUS_COUNT);

// One caller's place for a log record.
struct LogOutput {
  int32_t* level;
  uint8_t* buffer;
  int64_t capacity;
  int64_t* size;
  sluice_status status;
};

bool take_record(const sluice::LogRecord& record, void* context) {
  auto& output = *static_cast<LogOutput*>(context);
  *output.level = record.level;
  const auto* bytes = reinterpret_cast<const uint8_t*>(record.text.data());
  output.status = sluice::write_output({bytes, record.text.size()}, output.buffer, output.capacity,
                                       output.size);
  return output.status == SLUICE_STATUS_OK;
}

}  // namespace

const char* sluice_status_name(int32_t status) noexcept {
  return status >= 0 && status < SLUICE_STATUS_COUNT ? kStatusNames[status] : "UNKNOWN";
}

const char* sluice_version(void) noexcept { return SLUICE_VERSION; }

uint32_t sluice_abi_version(void) noexcept { return SLUICE_ABI_VERSION; }

sluice_status sluice_system_info(const char* onednn_path, uint8_t* buffer, int64_t capacity,
                                 int64_t* size, sluice_error* error) noexcept {
  return sluice::guard(error, __func__, [&] {
    sluice::checked_pointer(size, "size");
    const auto bytes =
        sluice::make_system_info(onednn_path == nullptr ? "" : onednn_path, SLUICE_VERSION);
    return sluice::write_output(bytes, buffer, capacity, size);
  });
}

sluice_status sluice_library_info(const char* name, const char* path, uint8_t* buffer,
                                  int64_t capacity, int64_t* size, sluice_error* error) noexcept {
  return sluice::guard(error, __func__, [&] {
    sluice::checked_pointer(name, "name");
    sluice::checked_pointer(size, "size");
    return sluice::write_output(sluice::make_library_info(name, path == nullptr ? "" : path), buffer,
                                capacity, size);
  });
}

sluice_status sluice_log_poll(int32_t* level, uint8_t* buffer, int64_t capacity, int64_t* size,
                              sluice_error* error) noexcept {
  return sluice::guard(error, __func__, [&] {
    sluice::checked_pointer(level, "level");
    sluice::checked_pointer(size, "size");
    LogOutput output{level, buffer, capacity, size, SLUICE_STATUS_OK};
    if (!sluice::log_take(take_record, &output)) {
      if (output.status == SLUICE_STATUS_OK) *size = 0;
    }
    return output.status;
  });
}

void sluice_log_set_level(int32_t level) noexcept { sluice::log_set_level(level); }
