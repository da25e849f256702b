/// @file
/// Looks at tensors inside a step, for traces, and gives decisions to take over.
#ifndef SLUICE_LAYERS_OBSERVER_H_
#define SLUICE_LAYERS_OBSERVER_H_

#include <cstdint>
#include <string>

#include "base/format.h"

namespace sluice {

/// Rows of numbers that a step passes by.
struct TensorRows {
  const void* data = nullptr;  ///< [num_rows, cols], dense
  Format format = Format::kF32;
  int64_t num_rows = 0;
  int64_t cols = 0;
};

/// Names are those of TraceRequest in sluice.proto. Used by the thread that runs the step.
class TensorObserver {
 public:
  virtual ~TensorObserver() = default;

  /// Whether keep() wants a tensor of this name.
  virtual bool wants(const std::string& name) const = 0;

  /// A tensor that wants() asked for; its memory is reused afterwards. Rows may come in pieces, in
  /// order.
  virtual void keep(const std::string& name, const TensorRows& rows) = 0;

  /// Decisions of all of the step's tokens to take over instead of making them, or nullptr:
  /// "router_idx_<layer>" (I32 [tokens, k]) always comes with "router_weight_<layer>" (F32
  /// [tokens, k]), "attention_keep_<layer>" is U8 [tokens, heads * largest context_len of the step]
  /// (one head where all share a mask). Checked: experts in range and different for a token, finite
  /// weights, 0 or 1 in masks, each query keeps a key and none of later positions. What follows
  /// from a decision (capacity, counts, the trace itself) follows from the replayed one.
  virtual const TensorRows* replay(const std::string& /*name*/) const { return nullptr; }
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_OBSERVER_H_
