/// @file
/// Collects the slots of a model in the order of the arithmetic.
#ifndef SLUICE_MODEL_SLOT_LIST_H_
#define SLUICE_MODEL_SLOT_LIST_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "model/slots.h"

namespace sluice {

/// One part with its rows and how ranks share them.
inline WeightPart slot_part(Part part, int64_t rows, ShardAxis axis) {
  WeightPart made;
  made.part = part;
  made.rows = rows;
  made.axis = axis;
  return made;
}

class SlotList {
 public:
  SlotList(Format compute_format, const WeightPacking& packing)
      : compute_format_(compute_format), packing_(packing) {}

  /// Where the next slots belong.
  void at_layer(int layer) { layer_ = layer; }
  void at_head(int head) { head_ = head; }

  Format compute_format() const { return compute_format_; }
  const WeightPacking& packing() const { return packing_; }

  /// Parts one below the other.
  void matrix(Slot slot, std::vector<WeightPart> parts, int64_t cols, int num_experts = 0) {
    add_matrix(slot, std::move(parts), cols, num_experts, compute_format_, packing_.layout);
  }
  void matrix(Slot slot, ShardAxis axis, int64_t rows, int64_t cols, int num_experts = 0) {
    matrix(slot, {slot_part(SLUICE__PROTO__PART__WHOLE, rows, axis)}, cols, num_experts);
  }

  /// A matrix whose results decide something: float32 whatever the compute format.
  void decision_matrix(Slot slot, ShardAxis axis, int64_t rows, int64_t cols) {
    add_matrix(slot, {slot_part(SLUICE__PROTO__PART__WHOLE, rows, axis)}, cols, 0, Format::kF32,
               packing_.layout);
  }

  /// A float32 table that kernels read row by row.
  void table(Slot slot, ShardAxis axis, int64_t rows, int64_t cols) {
    add_matrix(slot, {slot_part(SLUICE__PROTO__PART__WHOLE, rows, axis)}, cols, 0, Format::kF32,
               WeightLayout::kRowMajor);
  }

  void matrix_in(WeightLayout layout, Slot slot, ShardAxis axis, int64_t rows, int64_t cols) {
    add_matrix(slot, {slot_part(SLUICE__PROTO__PART__WHOLE, rows, axis)}, cols, 0, compute_format_,
               layout);
  }

  /// A vector of `size` elements; parts have their row_begin already, and what lies between them
  /// stays zero.
  void vector(Slot slot, std::vector<WeightPart> parts, int64_t size, int num_experts = 0) {
    WeightSlot declared = start(slot, std::move(parts), num_experts);
    declared.is_vector = true;
    declared.rows = size;
    declared.expert_bytes = checked_mul(size, sizeof(float));
    finish(std::move(declared));
  }
  void vector(Slot slot, ShardAxis axis, int64_t size, int num_experts = 0) {
    vector(slot, {slot_part(SLUICE__PROTO__PART__WHOLE, size, axis)}, size, num_experts);
  }

  /// The bias slot of each norm follows its weight slot in the schema.
  void norm(Slot slot, const NormSpec& norm, int64_t size,
            ShardAxis axis = ShardAxis::kReplicated) {
    if (norm.has_weight) vector(slot, axis, size);
    if (norm.has_bias) vector(static_cast<Slot>(slot + 1), axis, size);
  }
  void norm(Slot slot, const std::optional<NormSpec>& spec, int64_t size,
            ShardAxis axis = ShardAxis::kReplicated) {
    if (spec) norm(slot, *spec, size, axis);
  }

  /// Copies in other shapes behind the slot that was added last.
  void derive(std::vector<std::string> names, int64_t bytes) {
    WeightSlot& last = slots_.back();
    last.derived = std::move(names);
    last.stored_bytes = checked_add(round_up(last.stored_bytes, last.alignment), bytes);
  }

  std::vector<WeightSlot> take() { return std::move(slots_); }

 private:
  WeightSlot start(Slot slot, std::vector<WeightPart> parts, int num_experts) const {
    WeightSlot declared;
    declared.slot = slot;
    declared.layer = layer_;
    declared.head = head_;
    declared.num_experts = num_experts;
    declared.alignment = packing_.alignment;
    declared.parts = std::move(parts);
    for (WeightPart& part : declared.parts) part.global_rows = part.rows;
    return declared;
  }

  void add_matrix(Slot slot, std::vector<WeightPart> parts, int64_t cols, int num_experts,
                  Format format, WeightLayout layout) {
    int64_t rows = 0;
    for (WeightPart& part : parts) {
      part.row_begin = rows;
      rows = checked_add(rows, part.rows);
    }
    WeightSlot declared = start(slot, std::move(parts), num_experts);
    declared.rows = rows;
    declared.cols = cols;
    declared.global_cols = cols;
    declared.format = format;
    declared.layout = layout;
    declared.expert_bytes = packed_bytes(format, layout, rows, cols);
    if (num_experts > 0) {
      declared.expert_bytes = round_up(declared.expert_bytes, packing_.alignment);
    }
    finish(std::move(declared));
  }

  void finish(WeightSlot declared) {
    declared.stored_bytes = checked_mul(declared.expert_bytes, declared.count());
    slots_.push_back(std::move(declared));
  }

  Format compute_format_;
  WeightPacking packing_;
  int layer_ = -1;
  int head_ = 0;
  std::vector<WeightSlot> slots_;
};

/// Slots of each layer kind, at the list's layer.
void declare_slots(const GqaSpec& gqa, int64_t hidden_size, SlotList* slots);
void declare_slots(const MlaSpec& mla, int64_t hidden_size, SlotList* slots);
void declare_slots(const AdaptiveSpec& adaptive, int64_t hidden_size, SlotList* slots);
void declare_slots(const DenseSpec& dense, int64_t hidden_size, SlotList* slots);
void declare_slots(const MoeSpec& moe, int64_t hidden_size, SlotList* slots);

}  // namespace sluice
#endif  // SLUICE_MODEL_SLOT_LIST_H_
