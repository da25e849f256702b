/// @file
/// The ranks of one process, running steps together.
#ifndef SLUICE_RUNTIME_RANK_TEAM_H_
#define SLUICE_RUNTIME_RANK_TEAM_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "comm/local_group.h"
#include "runtime/rank.h"

namespace sluice {

/// What looks on on each rank, called by that rank's thread.
using RankObservers = std::vector<StepObserver*>;

/// Owns the ranks and a thread for each but the first, whose steps run on the thread that calls
/// run(). All ranks read the same step and choose the same tokens, since they see the same logits;
/// only the first writes to the caller's output.
class RankTeam {
 public:
  /// Takes the memory of all ranks and starts the threads.
  /// @throws Error OUT_OF_HOST_MEMORY
  RankTeam(const EnginePlan& plan, const FaultPoints& faults, AllocationCounter* counter);
  /// Ends a step in progress, and the threads.
  ~RankTeam();
  RankTeam(const RankTeam&) = delete;
  RankTeam& operator=(const RankTeam&) = delete;

  int size() const { return static_cast<int>(ranks_.size()); }
  Rank& rank(int index) { return *ranks_[static_cast<size_t>(index)]; }

  /// The weights of every rank, in their order.
  std::vector<const WeightStore*> weights();

  /// The communicator of a rank; nullptr when there is only one.
  Communicator* comm(int index) { return size() == 1 ? nullptr : &group_.rank(index); }

  /// Runs a checked step on all ranks.
  /// @param output     of rank 0
  /// @param observers  [size()]
  /// @return rank 0's report
  /// @throws Error the first fault of any rank; the engine's state is undefined then
  StepReport run(const StepInput& step, const StepOutput& output, const RankObservers& observers);

  /// Ends the step in progress, wherever its ranks wait for each other, and refuses later ones.
  /// Safe from any thread, any number of times.
  void abort(const Error& error) { group_.fail(error); }

 private:
  void stop();
  void work(int index);
  StepReport run_rank(int index, const StepInput& step, const StepOutput& output);

  sluice_step_layout layout_;
  LocalGroup group_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<Buffer> outputs_;  // [ranks - 1] what the others sample into

  std::mutex mutex_;
  std::condition_variable step_ready_;
  std::condition_variable step_done_;
  const StepInput* step_ = nullptr;           // of the step in progress
  const RankObservers* observers_ = nullptr;  // the same
  uint64_t step_number_ = 0;
  int running_ = 0;  // threads that have not finished the step
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // last: they use everything above
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_RANK_TEAM_H_
