/// @file
/// Norms of whole rows and of heads.
#ifndef SLUICE_LAYERS_NORM_H_
#define SLUICE_LAYERS_NORM_H_

#include <cstdint>

#include "layers/context.h"
#include "layers/spec.h"
#include "ops/norm/norm.h"

namespace sluice {

/// Weights of a norm; nullptr where the model has none.
struct NormWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

/// y[r] = norm(x[r]) for dense rows of `cols` float32 values. `y` may be `x` when `y_format` is
/// F32.
void norm_rows(LayerContext& context, const NormSpec& spec, const NormWeights& weights,
               int64_t num_rows, int64_t cols, const float* x, void* y, Format y_format);

/// The norm of rows of heads [num_heads, head_dim] as the spec's scope says; rows and memory are to
/// be filled in.
NormParams norm_of_heads(const NormSpec& spec, const NormWeights& weights, int32_t num_heads,
                         int32_t head_dim);

}  // namespace sluice
#endif  // SLUICE_LAYERS_NORM_H_
