/// @file
/// The process-wide bounded queue of log records behind sluice_log_poll. The only mutable state of
/// the library that no engine owns: the ABI defines it so. Thread-safe.
#ifndef SLUICE_BASE_LOG_H_
#define SLUICE_BASE_LOG_H_

#include <cstdint>
#include <string>

#include "base/error.h"

namespace sluice {

/// Records that the queue holds; when it is full the oldest goes.
inline constexpr int kLogCapacity = 1024;

struct LogRecord {
  sluice_log_level level = SLUICE_LOG_INFO;
  std::string text;  ///< UTF-8
};

/// Queues a record unless `level` is above the set one. Never throws.
void log(sluice_log_level level, std::string text) noexcept;

/// Whether a record of this level would be queued; lets callers skip building its text.
bool log_enabled(sluice_log_level level) noexcept;

/// Records above `level` are not queued. Default SLUICE_LOG_WARN.
void log_set_level(int32_t level) noexcept;

/// Shows the oldest record to `take`, which returns true to remove it and false to keep it (its
/// buffer was too small). One lock over both, so that two pollers never get the same record; `take`
/// must not log. When records were dropped, the next record's text starts with their number.
/// False when the queue is empty.
bool log_take(bool (*take)(const LogRecord& record, void* context), void* context);

}  // namespace sluice

#endif  // SLUICE_BASE_LOG_H_
