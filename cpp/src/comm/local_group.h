/// @file
/// Ranks that are threads of this process and compute on the CPU.
#ifndef SLUICE_COMM_LOCAL_GROUP_H_
#define SLUICE_COMM_LOCAL_GROUP_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "comm/communicator.h"

namespace sluice {

/// The meeting point of `size` threads. They read and write each other's arrays directly; nothing
/// is allocated after construction. A rank that waits spins for some microseconds, then sleeps.
class LocalGroup {
 public:
  /// @throws Error INVALID_ARGUMENT for a size below 1
  explicit LocalGroup(int size);
  ~LocalGroup();
  LocalGroup(const LocalGroup&) = delete;
  LocalGroup& operator=(const LocalGroup&) = delete;

  int size() const { return static_cast<int>(ranks_.size()); }

  /// The end of one rank; lives as long as the group.
  Communicator& rank(int rank);

  /// A rank cannot go on, or must not: every collective in progress and every later one throws a
  /// copy of the first error given here. For good: a group does not recover. Safe from any thread.
  void fail(const Error& error);

  /// The first error given to fail().
  std::optional<Error> failure() const;

 private:
  class Rank;
  // Written by its own rank before a barrier, read by the others after it.
  struct alignas(64) Shown {
    float* values = nullptr;          // of all_reduce
    const void* rows = nullptr;       // of all_gather
    int64_t count = 0;                // values or rows
    int64_t row_bytes = 0;            // 0: all_reduce
    std::atomic<bool> reads = false;  // whether this rank is looking at the others' arrays
  };
  class Reading;

  void meet();
  void throw_if_failed() const;
  void check_calls(const Shown& own) const;
  void sum(int rank, int64_t count);
  void collect(int rank, int64_t count);

  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<Shown> shown_;  // [ranks], never resized

  alignas(64) std::atomic<int> arrived_ = 0;
  alignas(64) std::atomic<uint32_t> round_ = 0;  // grows when all have arrived, or on failure
  std::atomic<bool> failed_ = false;
  mutable std::mutex mutex_;
  std::condition_variable round_changed_;
  int sleeping_ = 0;  // under mutex_
  std::optional<Error> failure_;
};

}  // namespace sluice
#endif  // SLUICE_COMM_LOCAL_GROUP_H_
