/// @file
/// One engine: memory, weights, and a worker thread that runs steps in the order of submit, or
/// enqueues them on a device.
#ifndef SLUICE_RUNTIME_ENGINE_H_
#define SLUICE_RUNTIME_ENGINE_H_

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "device/buffer.h"
#include "runtime/fault_points.h"
#include "runtime/plan.h"
#include "runtime/rank_team.h"
#include "runtime/weight_session.h"

namespace sluice {

/// Implements sluice_engine and the sluice_weights_* calls; their contracts, thread rules included,
/// are those of sluice.h. Statuses are thrown as Error.
class Engine {
 public:
  /// Takes all memory and starts the worker thread.
  /// @throws Error OUT_OF_HOST_MEMORY or OUT_OF_DEVICE_MEMORY, naming what needs how much and which option to change
  explicit Engine(EnginePlan plan);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const sluice_step_layout& layout() const { return plan_.layout; }
  /// As things stand: kernels are those launched until now. For any thread.
  std::vector<uint8_t> info() const;
  const std::vector<uint8_t>& weight_slots() const { return weight_slots_; }

  /// values[i] by sluice_stat.
  std::array<int64_t, SLUICE_STAT_COUNT> stats() const;

  void abort();

  void begin_weights(int32_t mode);
  void enqueue_weights(std::span<const uint8_t> list);
  /// @return whether the queue is empty
  bool poll_weights(int64_t timeout_us, sluice_weights_progress* progress);
  void finish_weights();
  void abort_weights();

  struct Areas {
    void* input = nullptr;
    void* output = nullptr;
  };
  Areas step_buffers(int32_t slot) const;

  void submit(int32_t slot);
  /// @return false when the time ran out
  bool wait(int32_t slot, int64_t timeout_us);

  /// Runs the step of a slot and writes its trace.
  /// @return bytes of the trace; when they exceed `capacity` nothing was run
  int64_t trace(int32_t slot, std::span<const uint8_t> request, uint8_t* buffer, int64_t capacity);

  /// What steps in flight end with after abort().
  static Error aborted_error();

  /// For tests: the KV cache of a rank. No step may be in flight.
  KvCache& kv_cache(int rank = 0) { return team_->rank(rank).kv_cache(); }

 private:
  enum class SlotState {
    kIdle,
    kInFlight,  // submitted
    kDone,      // its result waits for wait()
    kTracing,   // the same of a trace, which no wait() may end
    kTraced,
  };
  struct StepSlot {
    Buffer input;    // the caller's
    Buffer checked;  // copy that was checked and is run: the caller cannot change it
    Buffer output;
    SlotState state = SlotState::kIdle;
    bool launched = false;  // on a device, in part at least
    const RankObservers* observers = nullptr;  // of a trace
    std::optional<Error> error;
  };
  enum class WeightState {
    kEmpty,    // no complete load yet
    kLoading,  // a session is open
    kReady,
    kStale,  // an update ended early: stale_parts_ hold anything
  };

  void check_memory() const;
  void log_plan() const;
  void make_slots();

  // All of these want mutex_ held.
  void check_alive() const;
  void check_not_failed() const;
  void check_submitted(int32_t slot) const;
  void check_slot(int32_t slot) const;
  bool any_in_flight() const;
  StepInput copy_message(int32_t slot);
  std::shared_ptr<WeightSession> open_session() const;

  void start(int32_t slot, const RankObservers* observers);
  void work();
  void run_step(int32_t index);
  void complete();
  void wait_for_device(int32_t index);
  void finish_step(StepSlot* slot);
  Error failed_error(const Error& fault) const;
  void record(const StepInput& step, const StepOutput& output, const StepReport& report,
              int64_t micros);

  EnginePlan plan_;
  std::vector<KernelUse> kernels_;  // as chosen beforehand
  std::vector<uint8_t> weight_slots_;
  FaultPoints faults_;
  AllocationCounter allocations_;
  std::unique_ptr<RankTeam> team_;
  DeviceRunner* device_ = nullptr;  // of the one rank; nullptr on the CPU
  std::vector<std::unique_ptr<StepObserver>> rank_observers_;  // of steps without a trace
  RankObservers observers_;                                    // the same
  std::vector<StepSlot> slots_;

  mutable std::mutex mutex_;
  std::condition_variable work_ready_;
  std::condition_variable step_done_;
  std::unique_ptr<StepChecker> checker_;
  std::vector<int32_t> queue_;  // slots to run, oldest first
  std::condition_variable launched_ready_;
  std::vector<int32_t> launched_;  // slots that a device works on, oldest first
  bool launching_over_ = false;
  bool stopping_ = false;
  std::atomic<bool> aborted_ = false;
  std::optional<Error> failure_;  // the first fault, of the oldest step
  std::optional<Error> launch_failure_;  // of a step that may have older ones before it on a device
  WeightState weight_state_ = WeightState::kEmpty;
  int32_t weight_mode_ = SLUICE_WEIGHTS_LOAD;
  std::set<PartKey> stale_parts_;
  std::shared_ptr<WeightSession> session_;
  std::array<int64_t, SLUICE_STAT_COUNT> stats_ = {};

  std::thread completer_;  // waits for a device; none on the CPU
  std::thread worker_;     // of the steps, and of rank 0; last: it uses everything above
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_ENGINE_H_
