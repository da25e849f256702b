/// @file
/// One load or update of weights, from begin to finish or abort.
#ifndef SLUICE_RUNTIME_WEIGHT_SESSION_H_
#define SLUICE_RUNTIME_WEIGHT_SESSION_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "runtime/coverage.h"
#include "runtime/fault_points.h"
#include "runtime/weight_source.h"
#include "runtime/weight_upload.h"

namespace sluice {

/// What one rank holds of a part of a slot, or of one expert of it: what is filled as a whole.
struct PartKey {
  int store = 0;   ///< rank of this process
  int slot = 0;    ///< index in WeightStore::slots()
  int expert = 0;  ///< 0: a slot without experts
  int part = 0;    ///< index in WeightSlot::parts

  auto operator<=>(const PartKey& other) const = default;
};

/// Loader threads that read, convert and store queued weights, in host memory or through pinned
/// memory in a device's. Nothing is counted as done, and abort() does not return, before the device
/// has it. enqueue(), poll() and finish() are
/// for one caller at a time; request_abort() and abort() are safe from any thread.
class WeightSession {
 public:
  /// @param stores  of the ranks of this process; they hold the same slots, each its share
  /// @throws Error OUT_OF_HOST_MEMORY when the system gives no thread, or no pinned memory for
  ///         stores of a device
  WeightSession(std::vector<const WeightStore*> stores, const FaultPoints& faults, int num_threads);
  /// Aborts and waits for the threads.
  ~WeightSession();
  WeightSession(const WeightSession&) = delete;
  WeightSession& operator=(const WeightSession&) = delete;

  /// Checks a serialised WeightTransferList and queues it; a wrong entry queues nothing.
  /// @throws Error INVALID_ARGUMENT, UNSUPPORTED, IO, CORRUPT_DATA (a file too short); the
  /// session's
  ///         first failure once there is one; ABORTED
  void enqueue(std::span<const uint8_t> list);

  /// Waits until the queue is empty, at most `timeout_us` (< 0: without limit).
  /// @return whether it is
  /// @throws Error the first failure of a transfer; ABORTED
  bool poll(int64_t timeout_us, sluice_weights_progress* progress);

  /// Waits for the queue. @throws Error as poll()
  void drain();

  /// Parts with any cell filled or queued.
  std::set<PartKey> touched_parts() const;

  /// What is not filled whole, each with its first gap, at most ten of them and how many more; of
  /// all parts by default. Empty: everything is filled.
  std::string incomplete_parts(const std::optional<std::set<PartKey>>& among = std::nullopt) const;

  /// Drops the queue and returns at once. Calls in progress and later ones throw ABORTED.
  void request_abort();

  /// The same, and waits until no thread works.
  void abort();

 private:
  struct Job {
    std::shared_ptr<const WeightTransfer> transfer;
    std::shared_ptr<int64_t> jobs_left;  // of the transfer; under mutex_
    const WeightPiece* piece = nullptr;
    CellRange rectangle;
  };
  struct Covered {
    PartKey key;
    CellRange range;
  };

  void start_threads(int num_threads);
  std::vector<std::shared_ptr<const FileReader>> open_files(
      const Sluice__Proto__WeightTransferList& list);
  const WeightSlot& slot_of(const PartKey& key) const;
  Coverage& coverage_of(const PartKey& key);
  const Coverage& coverage_of(const PartKey& key) const;
  std::string part_name(const PartKey& key) const;
  CellRange global_range(const PartKey& key, CellRange range) const;
  template <class Visit>
  void for_each_part(Visit visit) const;  // in the order of the keys
  void cover(const WeightTransfer& transfer, std::vector<Covered>* added);
  void work(int thread);
  void run(const Job& job, WeightScratch* scratch);
  void guard(const WeightTransfer& transfer, const std::function<void()>& body);
  void finish_upload(const WeightTransfer& transfer, int thread);
  void throw_if_over() const;

  const std::vector<const WeightStore*> stores_;
  const FaultPoints& faults_;
  WeightUpload upload_;
  std::map<std::string, std::shared_ptr<const FileReader>> files_;  // by path

  mutable std::mutex coverage_mutex_;
  std::vector<std::vector<std::vector<Coverage>>> coverage_;  // [store][slot][expert, part]

  mutable std::mutex mutex_;
  std::condition_variable work_ready_;
  std::condition_variable progress_made_;
  std::deque<Job> queue_;
  int working_ = 0;
  bool aborted_ = false;
  bool stopping_ = false;
  std::optional<Error> failure_;
  sluice_weights_progress progress_ = {};
  std::vector<std::thread> threads_;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_WEIGHT_SESSION_H_
