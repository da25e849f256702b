/// @file
/// Where a model's weights lie: one arena, filled by the loader, read by the layers.
#ifndef SLUICE_MODEL_WEIGHT_STORE_H_
#define SLUICE_MODEL_WEIGHT_STORE_H_

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "device/buffer.h"
#include "model/slots.h"

namespace sluice {

/// The matrices of an expert slot, one after another. A value.
struct ExpertWeights {
  WeightView first;
  int64_t expert_bytes = 0;  ///< from one to the next
  int32_t num_experts = 0;

  /// @param expert  in [0, num_experts)
  WeightView at(int64_t expert) const {
    WeightView view = first;
    if (view.data != nullptr)
      view.data = static_cast<std::byte*>(view.data) + expert * expert_bytes;
    return view;
  }
};

/// Owns the memory of all slots, of the host or of a device. Addresses never change. The store does not synchronise: the loader
/// writes while no step runs.
class WeightStore {
 public:
  /// A store without memory yet: its views have sizes and no data.
  /// @param loader_bytes  memory behind the weights that is the loader's, see loader_memory()
  explicit WeightStore(std::vector<WeightSlot> slots, int64_t loader_bytes = 0);

  /// Takes the memory, zeroed. Views made before this have no data. In device memory every data
  /// pointer that the store gives is the device's: the host must not follow it.
  /// @throws Error OUT_OF_HOST_MEMORY, OUT_OF_DEVICE_MEMORY
  void allocate(AllocationCounter* counter, MemorySpace space = {});

  /// Where the memory lies.
  MemorySpace space() const { return space_; }
  bool on_device() const { return space_.kind == MemoryKind::kDevice; }

  /// Bytes that allocate() takes, the loader's included. @throws Error INVALID_ARGUMENT on overflow
  int64_t bytes() const;

  const std::vector<WeightSlot>& slots() const { return slots_; }
  int64_t num_parameters() const;

  /// Index of a slot in slots(), or -1.
  int find(Slot slot, int layer, int head = 0) const;

  /// The matrix of a declared slot. @throws Error INTERNAL when there is none
  WeightView matrix(Slot slot, int layer, int head = 0) const;
  /// Matrix `expert` of a slot of slots(); 0 for a slot without experts.
  WeightView matrix_at(int index, int64_t expert) const;

  /// The matrices of a declared expert slot. @throws Error INTERNAL when there is none
  ExpertWeights experts(Slot slot, int layer) const;

  /// The vector of a slot, or nullptr when the model has none, or this rank no element. Of an expert slot: [num_experts,
  /// rows].
  const float* vector(Slot slot, int layer, int head = 0) const;
  /// Vector `expert` of a slot of slots().
  float* vector_at(int index, int64_t expert) const;

  /// What lies behind the weights and is not one of them, 256-byte aligned; nullptr for none. A
  /// load takes no device memory beyond the store: its table of random numbers lies here.
  std::byte* loader_memory() const { return loader_memory_; }
  int64_t loader_bytes() const { return loader_bytes_; }

 private:
  std::vector<WeightSlot> slots_;
  std::map<std::tuple<int, int, int>, int> index_;  // (slot, layer, head)
  Arena arena_;
  MemorySpace space_;
  std::vector<void*> data_;  // [slots]
  int64_t loader_bytes_ = 0;
  std::byte* loader_memory_ = nullptr;
};

}  // namespace sluice
#endif  // SLUICE_MODEL_WEIGHT_STORE_H_
