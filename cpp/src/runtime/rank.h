/// @file
/// One rank of an engine.
#ifndef SLUICE_RUNTIME_RANK_H_
#define SLUICE_RUNTIME_RANK_H_

#include <memory>

#include "comm/communicator.h"
#include "device/buffer.h"
#include "device/thread_pool.h"
#include "device/cuda.h"
#include "runtime/device_runner.h"
#include "runtime/fault_points.h"
#include "runtime/plan.h"
#include "runtime/rope_state.h"
#include "runtime/sequence_state.h"
#include "runtime/step_runner.h"

namespace sluice {

/// Everything that belongs to one rank: its part of the weights, its KV blocks, its workspace and
/// resident state, and what runs its steps. Used by one thread at a time; the ranks of an engine
/// share nothing but the plan and their communicator.
class Rank {
 public:
  /// Takes all memory of the rank, passing the alloc fault points.
  /// @param comm  of this rank; nullptr when it is the only one
  /// @throws Error OUT_OF_HOST_MEMORY, OUT_OF_DEVICE_MEMORY
  Rank(const EnginePlan& plan, int index, Communicator* comm, const FaultPoints& faults,
       AllocationCounter* counter);
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  /// Runs a checked step on the CPU; see StepRunner::run. Collective.
  StepReport run(const StepInput& step, const StepOutput& output, StepObserver& observer) {
    return runner_->run(step, output, observer);
  }

  /// What runs the steps of a rank on a device; nullptr on the CPU.
  DeviceRunner* device_runner() { return device_runner_.get(); }
  /// nullptr on the CPU.
  const CudaDevice* device() const { return device_.get(); }

  WeightStore& weights() { return weights_; }
  KvCache& kv_cache() { return *kv_; }
  const LayerTimes& times() const { return times_; }

  /// With the rank's threads, or its device.
  const Exec& exec() const { return exec_; }

 private:
  std::unique_ptr<CudaDevice> device_;  // first: its memory is freed before
  ThreadPool pool_;
  Exec exec_;
  WeightStore weights_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<SequenceState> sequences_;
  RopeState ropes_;
  Arena arena_;
  LayerTimes times_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<DeviceRunner> device_runner_;  // one of the two
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_RANK_H_
