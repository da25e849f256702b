/// @file
/// Where a model's weights lie: one arena, filled by the loader, read by the layers.
#ifndef SLUICE_MODEL_WEIGHT_STORE_H_
#define SLUICE_MODEL_WEIGHT_STORE_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "device/buffer.h"
#include "model/slots.h"

namespace sluice {

/// Owns the memory of all slots. Addresses never change. The store does not synchronise: the loader
/// writes while no step runs.
class WeightStore {
 public:
  /// A store without memory yet: its views have sizes and no data.
  explicit WeightStore(std::vector<WeightSlot> slots);

  /// Takes the memory, zeroed. Views made before this have no data.
  /// @throws Error OUT_OF_HOST_MEMORY
  void allocate(AllocationCounter* counter);

  /// Bytes that allocate() takes. @throws Error INVALID_ARGUMENT on overflow
  int64_t bytes() const;

  const std::vector<WeightSlot>& slots() const { return slots_; }
  int64_t num_parameters() const;

  /// Index of a slot in slots(), or -1.
  int find(Slot slot, int layer) const;

  /// The matrix of a declared slot. @throws Error INTERNAL when there is none
  WeightView matrix(Slot slot, int layer) const;
  WeightView matrix(int index) const;

  /// The vector of a slot, or nullptr when the model has none.
  const float* vector(Slot slot, int layer) const;
  float* vector(int index) const { return static_cast<float*>(data_[index]); }

 private:
  std::vector<WeightSlot> slots_;
  std::map<std::pair<int, int>, int> index_;  // (slot, layer)
  Arena arena_;
  std::vector<void*> data_;  // [slots]
};

}  // namespace sluice
#endif  // SLUICE_MODEL_WEIGHT_STORE_H_
