#include "base/log.h"

#include <atomic>
#include <deque>
#include <mutex>

namespace sluice {
namespace {

struct Queue {
  std::mutex mutex;
  std::deque<LogRecord> records;
  int64_t dropped = 0;
  std::atomic<int32_t> level{SLUICE_LOG_WARN};
};

// Leaked on purpose: threads may log while the process runs its exit handlers.
Queue& queue() {
  static Queue* const instance = new Queue;
  return *instance;
}

}  // namespace

bool log_enabled(sluice_log_level level) noexcept {
  return static_cast<int32_t>(level) <= queue().level.load(std::memory_order_relaxed);
}

void log(sluice_log_level level, std::string text) noexcept {
  if (!log_enabled(level)) return;
  Queue& q = queue();
  try {
    const std::lock_guard lock(q.mutex);
    if (q.records.size() >= static_cast<size_t>(kLogCapacity)) {
      q.records.pop_front();
      ++q.dropped;
    }
    q.records.push_back({level, std::move(text)});
  } catch (...) {
    // Out of memory while logging: the record is lost, the caller's work is not.
  }
}

void log_set_level(int32_t level) noexcept {
  queue().level.store(level, std::memory_order_relaxed);
}

bool log_take(bool (*take)(const LogRecord& record, void* context), void* context) {
  Queue& q = queue();
  const std::lock_guard lock(q.mutex);
  if (q.records.empty()) return false;
  if (q.dropped > 0) {
    q.records.front().text =
        concat(q.dropped, " log records were dropped\n") + q.records.front().text;
    q.dropped = 0;
  }
  if (take(q.records.front(), context)) q.records.pop_front();
  return true;
}

}  // namespace sluice
