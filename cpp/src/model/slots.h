/// @file
/// The weights that a model needs: one declaration for the loader, for the arena and for Java.
#ifndef SLUICE_MODEL_SLOTS_H_
#define SLUICE_MODEL_SLOTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/format.h"
#include "model/proto_message.h"
#include "model/spec.h"
#include "ops/gemm/weight.h"

namespace sluice {

using Slot = Sluice__Proto__Slot;
using Part = Sluice__Proto__Part;

/// How tensor parallelism splits a part; numbers equal those of `ShardAxis` in sluice.proto.
enum class ShardAxis : int32_t {
  kReplicated = 1,
  kRows = 2,     ///< outputs are split over ranks
  kColumns = 3,  ///< inputs are split; partial sums are added over ranks
};

/// A part of a slot that a checkpoint may keep as a tensor of its own. Sizes are this rank's.
struct WeightPart {
  Part part = SLUICE__PROTO__PART__WHOLE;
  int64_t rows = 0;       ///< of the part; elements of a vector
  int64_t row_begin = 0;  ///< first row inside the slot
  ShardAxis axis = ShardAxis::kReplicated;
  int64_t global_rows = 0;  ///< of the whole model; this rank holds `rows` of them
  int64_t first_row = 0;    ///< first of them that this rank holds
};

/// One weight of the model: a matrix [rows, cols] in its format, or a float32 vector [rows]
/// (cols 1). An expert slot holds one of them per expert, one after another.
struct WeightSlot {
  Slot slot = SLUICE__PROTO__SLOT__SLOT_UNKNOWN;
  int32_t layer = -1;
  int32_t head = 0;         ///< HEAD slots: index into ModelSpec.heads
  int32_t num_experts = 0;  ///< 0: not an expert slot; else sizes are per expert
  bool is_vector = false;
  std::vector<WeightPart> parts;  ///< in storage order
  int64_t rows = 0;  ///< of all parts, and of parts that have no weights: those stay zero
  int64_t cols = 1;
  int64_t global_cols = 1;  ///< of the whole model; this rank holds [first_col, first_col + cols)
  int64_t first_col = 0;
  Format format = Format::kF32;
  WeightLayout layout = WeightLayout::kRowMajor;
  int64_t alignment = 64;    ///< of the slot, and of each expert's matrix
  int64_t expert_bytes = 0;  ///< from one expert to the next
  int64_t stored_bytes = 0;  ///< of the whole slot and of what is derived from it, which lies behind
  std::vector<std::string> derived;  ///< copies in other shapes, made when a load finishes

  /// Matrices or vectors in the slot.
  int64_t count() const { return num_experts == 0 ? 1 : num_experts; }

  /// "layers[3].QKV", "EMBED_TOKENS", or "heads[1].HEAD".
  std::string name() const;
  /// The same with the part, "layers[3].QKV.PART_K".
  std::string name(const WeightPart& part) const;
};

/// Every slot of the model, in the order of the arithmetic.
/// @param packing  of the matrices; vectors are dense
/// @throws Error INVALID_ARGUMENT when a size overflows
std::vector<WeightSlot> declare_slots(const ModelSpec& model, Format compute_format,
                                      const WeightPacking& packing = kCpuPacking);

}  // namespace sluice
#endif  // SLUICE_MODEL_SLOTS_H_
