/// @file
/// Looks on while a step runs on a device.
#ifndef SLUICE_RUNTIME_CUDA_DEVICE_OBSERVER_H_
#define SLUICE_RUNTIME_CUDA_DEVICE_OBSERVER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "device/buffer.h"
#include "device/cuda.h"
#include "model/decoder.h"

namespace sluice {

/// Stands between a step on a device and an observer on the host: tensors to keep are fetched
/// (bfloat16 as float32), decisions to replay are put where the device reads them. The step lasts as
/// long as the observer.
class DeviceObserver : public StepObserver {
 public:
  /// @param sync  wait for the device before each layer, so that a fault is met where it happened
  DeviceObserver(StepObserver& base, const CudaDevice& device, bool sync)
      : base_(base), device_(device), sync_(sync) {}
  /// Waits for the device, which may still read what is replayed.
  ~DeviceObserver() override;

  void before_layer(int layer) override;
  void before_outputs() override;
  bool tracing() const override { return base_.tracing(); }
  bool wants(const std::string& name) const override { return base_.wants(name); }
  void keep(const std::string& name, const TensorRows& rows) override;
  const TensorRows* replay(const std::string& name) const override;

 private:
  struct Replay {
    Buffer memory;  // pinned: the device reads it as it is
    TensorRows rows;
  };

  StepObserver& base_;
  const CudaDevice& device_;
  bool sync_;
  std::vector<std::byte> fetched_;
  std::vector<float> wide_;
  mutable std::map<std::string, Replay> replays_;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_CUDA_DEVICE_OBSERVER_H_
