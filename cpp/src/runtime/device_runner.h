/// @file
/// Runs steps on a device: launched by one thread, waited for by another.
#ifndef SLUICE_RUNTIME_DEVICE_RUNNER_H_
#define SLUICE_RUNTIME_DEVICE_RUNNER_H_

#include <cstdint>
#include <memory>

#include "runtime/fault_points.h"
#include "runtime/kv_cache.h"
#include "runtime/plan.h"
#include "runtime/step_runner.h"
#include "runtime/step_view.h"

namespace sluice {

class CudaDevice;

/// What a rank on a device has in the place of StepRunner. launch() and wait() may overlap; each is
/// for one thread at a time. Takes no memory of the device after construction.
class DeviceRunner {
 public:
  virtual ~DeviceRunner() = default;

  /// Called by each thread before the others are.
  virtual void attach_thread() const = 0;

  /// Enqueues a checked step behind those launched before and returns. A step that is traced has run
  /// when it returns.
  /// @param slot     its number: what it has in memory is free again after wait()
  /// @param message  the checked copy of the step's message in pinned memory, EnginePlan::message_bytes
  ///                 long; the runner writes behind the used part of its sections
  /// @param output   in pinned memory
  /// @throws Error what an op or the observer throws; the engine's state is undefined then
  virtual void launch(int slot, uint8_t* message, const StepOutput& output,
                      StepObserver& observer) = 0;

  /// Waits until the step launched from a slot has run and its output is there.
  /// @param micros  receives its time on the device
  /// @throws Error DEVICE_LOST
  virtual StepReport wait(int slot, const StepInput& step, const StepOutput& output,
                          int64_t* micros) = 0;

  /// Waits for everything that was enqueued, whether it fails or not. No launch() may be going on.
  virtual void drain() noexcept = 0;

  /// Graphs of steps: made, and given up for want of memory (none is made after the first of those).
  /// For any thread.
  struct Graphs {
    int64_t made = 0;
    int64_t refused = 0;
  };
  virtual Graphs graphs() const = 0;
};

/// Sizes of what a device runner takes beside the decoder's memory. In a build without CUDA zeros.
struct DeviceRunnerBytes {
  int64_t arena = 0;    ///< step workspace
  int64_t state = 0;    ///< resident state and copies of message and output, on the device
  int64_t message = 0;  ///< EnginePlan::message_bytes
};
DeviceRunnerBytes device_runner_bytes(const EnginePlan& plan, const Decoder& decoder,
                                      const LayerContext& context);

/// kernel_uses() of an engine on a device; in builds with CUDA only.
std::vector<KernelUse> device_kernel_uses(const EnginePlan& plan);

/// The runner of a rank whose context runs on `device`. Refers to everything given but the plan.
/// @throws Error UNSUPPORTED in a build without CUDA, OUT_OF_DEVICE_MEMORY
std::unique_ptr<DeviceRunner> make_device_runner(const EnginePlan& plan, const CudaDevice& device,
                                                 const Decoder& decoder,
                                                 const LayerContext& context, const KvCache& kv,
                                                 const FaultPoints& faults,
                                                 AllocationCounter* counter);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_DEVICE_RUNNER_H_
