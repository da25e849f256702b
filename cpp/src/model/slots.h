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

/// A part of a slot that a checkpoint may keep as a tensor of its own.
struct WeightPart {
  Part part = SLUICE__PROTO__PART__WHOLE;
  int64_t rows = 0;       ///< of the part; elements of a vector
  int64_t row_begin = 0;  ///< first row inside the slot
};

/// One weight of the model: a matrix [rows, cols] in the compute format, or a float32 vector [rows]
/// (cols 1).
struct WeightSlot {
  Slot slot = SLUICE__PROTO__SLOT__SLOT_UNKNOWN;
  int32_t layer = -1;
  bool is_vector = false;
  std::vector<WeightPart> parts;  ///< in storage order
  int64_t rows = 0;  ///< of all parts, and of parts that have no weights: those stay zero
  int64_t cols = 1;
  Format format = Format::kF32;
  WeightLayout layout = WeightLayout::kRowMajor;
  int64_t stored_bytes = 0;

  /// "layers[3].QKV", or "EMBED_TOKENS".
  std::string name() const;
  /// The same with the part, "layers[3].QKV.PART_K".
  std::string name(const WeightPart& part) const;
};

/// Every slot of the model, in the order of the arithmetic.
/// @throws Error INVALID_ARGUMENT when a size overflows
std::vector<WeightSlot> declare_slots(const ModelSpec& model, Format compute_format);

}  // namespace sluice
#endif  // SLUICE_MODEL_SLOTS_H_
