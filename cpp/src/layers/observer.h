/// @file
/// Looks at tensors inside a step, for traces.
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
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_OBSERVER_H_
