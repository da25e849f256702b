/// @file
/// Products whose results decide something (a gate, a density, an expert): float32 in every compute
/// format, and the same bits however many tokens are computed together.
#ifndef SLUICE_LAYERS_DECISION_H_
#define SLUICE_LAYERS_DECISION_H_

#include <cstdint>

#include "layers/context.h"
#include "ops/gemm/weight.h"

namespace sluice {

/// Arena bytes that widen_rows() takes.
int64_t widen_bytes(const LayerContext& context, int64_t num_rows, int64_t cols);

/// Dense rows in the compute format as float32: themselves, or a copy in the context's arena.
const float* widen_rows(LayerContext& context, int64_t num_rows, int64_t cols, const void* x);

/// y = x W^T + bias, all float32 and dense.
/// @param x     [num_rows, w.cols]
/// @param bias  [w.rows], or nullptr
/// @param y     [num_rows, w.rows]
void decision_product(LayerContext& context, int64_t num_rows, const float* x, const WeightView& w,
                      const float* bias, float* y);

}  // namespace sluice
#endif  // SLUICE_LAYERS_DECISION_H_
