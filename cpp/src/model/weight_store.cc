#include "model/weight_store.h"

#include "base/checked.h"

namespace sluice {

namespace {

constexpr int64_t kLoaderAlignment = 256;

}  // namespace

WeightStore::WeightStore(std::vector<WeightSlot> slots, int64_t loader_bytes)
    : slots_(std::move(slots)), data_(slots_.size(), nullptr), loader_bytes_(loader_bytes) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    index_[{slots_[i].slot, slots_[i].layer, slots_[i].head}] = static_cast<int>(i);
  }
}

void WeightStore::allocate(AllocationCounter* counter, MemorySpace space) {
  arena_ = Arena(bytes(), "weights", counter, space);
  space_ = space;
  for (size_t i = 0; i < slots_.size(); ++i) {
    data_[i] = arena_.allocate(slots_[i].stored_bytes, slots_[i].alignment);
  }
  if (loader_bytes_ > 0) {
    loader_memory_ =
        static_cast<std::byte*>(arena_.allocate(loader_bytes_, kLoaderAlignment));
  }
}

int64_t WeightStore::bytes() const {
  int64_t total = 0;
  for (const WeightSlot& slot : slots_) {
    total = checked_add(total, round_up(slot.stored_bytes, slot.alignment));
  }
  if (loader_bytes_ > 0) total = checked_add(round_up(total, kLoaderAlignment), loader_bytes_);
  return total;
}

int64_t WeightStore::num_parameters() const {
  int64_t total = 0;
  for (const WeightSlot& slot : slots_) {
    for (const WeightPart& part : slot.parts) total += part.rows * slot.cols * slot.count();
  }
  return total;
}

int WeightStore::find(Slot slot, int layer, int head) const {
  const auto found = index_.find({slot, layer, head});
  return found == index_.end() ? -1 : found->second;
}

WeightView WeightStore::matrix(Slot slot, int layer, int head) const {
  const int index = find(slot, layer, head);
  SLUICE_CHECK_INTERNAL(index >= 0, "weight slot ", static_cast<int>(slot), " of layer ", layer,
                        ", head ", head, ": not declared");
  return matrix_at(index, 0);
}

WeightView WeightStore::matrix_at(int index, int64_t expert) const {
  const WeightSlot& slot = slots_[index];
  WeightView view;
  view.format = slot.format;
  view.layout = slot.layout;
  view.data = data_[index];
  if (view.data != nullptr) {
    view.data = static_cast<std::byte*>(view.data) + expert * slot.expert_bytes;
  }
  view.rows = slot.rows;
  view.cols = slot.cols;
  return view;
}

ExpertWeights WeightStore::experts(Slot slot, int layer) const {
  ExpertWeights experts;
  experts.first = matrix(slot, layer);
  const WeightSlot& declared = slots_[find(slot, layer)];
  experts.expert_bytes = declared.expert_bytes;
  experts.num_experts = declared.num_experts;
  return experts;
}

const float* WeightStore::vector(Slot slot, int layer, int head) const {
  const int index = find(slot, layer, head);
  return index < 0 || slots_[index].rows == 0 ? nullptr : vector_at(index, 0);
}

float* WeightStore::vector_at(int index, int64_t expert) const {
  auto* first = static_cast<float*>(data_[index]);
  return first == nullptr ? nullptr : first + expert * slots_[index].rows;
}

}  // namespace sluice
