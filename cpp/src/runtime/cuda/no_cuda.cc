// The runner of devices in a build without CUDA, where no plan asks for it: options refuse the backend.
#include "base/error.h"
#include "runtime/device_runner.h"

namespace sluice {

DeviceRunnerBytes device_runner_bytes(const EnginePlan& /*plan*/, const Decoder& /*decoder*/,
                                      const LayerContext& /*context*/) {
  return {};
}

std::unique_ptr<DeviceRunner> make_device_runner(const EnginePlan& /*plan*/,
                                                 const CudaDevice& /*device*/,
                                                 const Decoder& /*decoder*/,
                                                 const LayerContext& /*context*/,
                                                 const KvCache& /*kv*/,
                                                 const FaultPoints& /*faults*/,
                                                 AllocationCounter* /*counter*/) {
  SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, "backend: CUDA not built (built: CPU)");
}

}  // namespace sluice
