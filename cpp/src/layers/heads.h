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
  /// [rows, hidden_size]. Tied: the embedding's; of a REASONING head: the generation head's.
  WeightView matrix;
  const float* bias = nullptr;            ///< [rows]; nullptr: none
  WeightView transform;                   ///< [hidden_size, hidden_size], REASONING only
  const float* transform_bias = nullptr;  ///< [hidden_size]; nullptr: none
  int num_ranks = 1;                      ///< that have as many rows each
};

/// One output head with its weights: values = cap(multiplier * (h W^T + b)), where
/// cap(z) = soft_cap * tanh(z / soft_cap), and h = x, or x + act(x T^T + t) of a REASONING head.
/// Immutable; a row's result does not depend on the rows computed with it.
class OutputHead {
 public:
  OutputHead(const HeadSpec& spec, const HeadWeights& weights) : spec_(spec), weights_(weights) {}

  HeadKind kind() const { return spec_.kind; }

  /// Logits, labels, or one value.
  int64_t num_values() const { return weights_.matrix.rows * weights_.num_ranks; }

  /// Arena bytes that run() takes for up to `max_rows` rows.
  int64_t workspace_bytes(const LayerContext& context, int64_t max_rows) const;

  /// Collective when ranks share the rows; every rank gets all values.
  /// @param x       [num_rows, hidden_size] in the compute format, dense
  /// @param values  [num_rows, num_values] float32, dense
  void run(LayerContext& context, int64_t num_rows, const void* x, float* values) const;

 private:
  void transform(LayerContext& context, int64_t num_rows, const void* x, void* h) const;

  HeadSpec spec_;
  HeadWeights weights_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_HEADS_H_
