#include "model/weight_store.h"

#include "base/checked.h"

namespace sluice {

WeightStore::WeightStore(std::vector<WeightSlot> slots)
    : slots_(std::move(slots)), data_(slots_.size(), nullptr) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    index_[{slots_[i].slot, slots_[i].layer}] = static_cast<int>(i);
  }
}

void WeightStore::allocate(AllocationCounter* counter) {
  arena_ = Arena(bytes(), "weights", counter);
  for (size_t i = 0; i < slots_.size(); ++i) {
    data_[i] = arena_.allocate(slots_[i].stored_bytes);
  }
}

int64_t WeightStore::bytes() const {
  int64_t total = 0;
  for (const WeightSlot& slot : slots_) {
    total = checked_add(total, round_up(slot.stored_bytes, kBufferAlignment));
  }
  return total;
}

int64_t WeightStore::num_parameters() const {
  int64_t total = 0;
  for (const WeightSlot& slot : slots_) {
    for (const WeightPart& part : slot.parts) total += part.rows * slot.cols;
  }
  return total;
}

int WeightStore::find(Slot slot, int layer) const {
  const auto found = index_.find({slot, layer});
  return found == index_.end() ? -1 : found->second;
}

WeightView WeightStore::matrix(Slot slot, int layer) const {
  const int index = find(slot, layer);
  SLUICE_CHECK_INTERNAL(index >= 0, "weight slot ", static_cast<int>(slot), " of layer ", layer,
                        ": not declared");
  return matrix(index);
}

WeightView WeightStore::matrix(int index) const {
  const WeightSlot& slot = slots_[index];
  WeightView view;
  view.format = slot.format;
  view.layout = slot.layout;
  view.data = data_[index];
  view.rows = slot.rows;
  view.cols = slot.cols;
  return view;
}

const float* WeightStore::vector(Slot slot, int layer) const {
  const int index = find(slot, layer);
  return index < 0 ? nullptr : vector(index);
}

}  // namespace sluice
