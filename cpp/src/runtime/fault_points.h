/// @file
/// Points where a test can make the engine fail on purpose (EngineOptions.faults).
#ifndef SLUICE_RUNTIME_FAULT_POINTS_H_
#define SLUICE_RUNTIME_FAULT_POINTS_H_

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "model/options.h"

namespace sluice {

/// Where a fault can be asked for. The name of each is in kFaultPointNames.
enum class FaultPoint {
  kAllocWeights,    ///< "alloc.weights": before the weight arena is allocated
  kAllocKv,         ///< "alloc.kv": before the KV blocks are allocated
  kAllocWorkspace,  ///< "alloc.workspace": before the step workspace is allocated
  kWeightsRead,     ///< "weights.read": before each read of weight bytes from a file
  kWeightsFinish,   ///< "weights.finish": when a load is about to be declared complete
  kStepRun,         ///< "step.run": before each step on the worker thread
  kStepLayer,       ///< "step.layer": before each layer of each step on the first rank
  kStepRank,        ///< "step.rank": the same on every rank but the first
  kStepSample,      ///< "step.sample": before the outputs of each step
  kStepGraph,       ///< "step.graph": when a decode step's graph is about to be made, on a device
};

inline constexpr std::array<std::string_view, 10> kFaultPointNames = {
    "alloc.weights", "alloc.kv",   "alloc.workspace", "weights.read", "weights.finish",
    "step.run",      "step.layer", "step.rank",       "step.sample",  "step.graph"};

/// Counts passes and fails the chosen ones. Passing is thread-safe and costs one branch when no
/// fault was asked for.
class FaultPoints {
 public:
  FaultPoints() = default;
  /// @throws Error INVALID_ARGUMENT for an unknown name, a count of 0, a status that is no failure,
  ///         or ABORTED at a point of creation, which nothing can abort
  explicit FaultPoints(const std::vector<FaultRequest>& requests);

  /// With the status ABORTED the pass first waits for release(): a test can hold a step or a loader
  /// there until it is aborted.
  /// @throws Error with the status that was asked for, when this pass is the one to fail
  void pass(FaultPoint point) const {
    if (!armed_.empty()) pass_armed(point);
  }

  /// Something was aborted: no pass waits any longer.
  void release() const;

 private:
  struct Armed {
    FaultPoint point;
    uint64_t count;
    int32_t status;
    std::unique_ptr<std::atomic<uint64_t>> passes;
  };
  void pass_armed(FaultPoint point) const;

  std::vector<Armed> armed_;
  mutable std::mutex mutex_;
  mutable std::condition_variable released_changed_;
  mutable bool released_ = false;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_FAULT_POINTS_H_
