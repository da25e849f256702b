/// @file
/// Waiting with the time-outs of sluice.h.
#ifndef SLUICE_RUNTIME_TIMED_WAIT_H_
#define SLUICE_RUNTIME_TIMED_WAIT_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace sluice {

/// Time-outs above this (11 days) are none: a clock's time plus INT64_MAX would lie in the past.
inline constexpr int64_t kMaxTimeoutMicros = 1'000'000'000'000;

/// Waits until `done`, at most `timeout_us` (0: not at all; < 0: without limit).
/// @return whether it is done
template <class Predicate>
bool wait_at_most(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
                  int64_t timeout_us, Predicate done) {
  if (timeout_us < 0 || timeout_us > kMaxTimeoutMicros) {
    condition.wait(lock, done);
    return true;
  }
  return condition.wait_for(lock, std::chrono::microseconds(timeout_us), done);
}

}  // namespace sluice
#endif  // SLUICE_RUNTIME_TIMED_WAIT_H_
