/// @file
/// Output heads.
#ifndef SLUICE_LAYERS_HEADS_H_
#define SLUICE_LAYERS_HEADS_H_

#include <cstdint>

#include "layers/context.h"
#include "layers/spec.h"
#include "ops/gemm/weight.h"

namespace sluice {

struct HeadWeights {
  WeightView matrix;            ///< [vocab_size, hidden_size]; the embedding's when tied
  const float* bias = nullptr;  ///< [vocab_size]; nullptr: none
};

/// The generation head: logits = cap(multiplier * (x W^T + b)), cap(z) = soft_cap * tanh(z /
/// soft_cap). Immutable.
class GenerationHead {
 public:
  GenerationHead(const HeadSpec& spec, const HeadWeights& weights)
      : spec_(spec), weights_(weights) {}

  int64_t vocab_size() const { return weights_.matrix.rows; }

  /// Arena bytes that logits() takes for up to `max_rows` rows.
  int64_t workspace_bytes(const LayerContext& context, int64_t max_rows) const;

  /// @param x       [num_rows, hidden_size] in the compute format, dense
  /// @param logits  [num_rows, vocab_size] float32, dense
  void logits(LayerContext& context, int64_t num_rows, const void* x, float* logits) const;

 private:
  HeadSpec spec_;
  HeadWeights weights_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_HEADS_H_
