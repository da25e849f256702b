#include "layers/heads.h"

#include <cmath>

#include "ops/simd/parallel.h"

namespace sluice {

int64_t GenerationHead::workspace_bytes(const LayerContext& context, int64_t max_rows) const {
  return arena_bytes(
      context.gemm.workspace_bytes(max_rows, weights_.matrix.rows, weights_.matrix.cols));
}

void GenerationHead::logits(LayerContext& context, int64_t num_rows, const void* x,
                            float* logits) const {
  GemmParams params;
  params.num_rows = num_rows;
  params.x = x;
  params.x_format = context.compute_format;
  params.x_stride = weights_.matrix.cols;
  params.w = weights_.matrix;
  params.bias = weights_.bias;
  params.alpha = spec_.logit_multiplier;
  params.y = logits;
  params.y_stride = vocab_size();
  matrix_product(context, params);
  if (spec_.logit_soft_cap == 0) return;
  const float cap = spec_.logit_soft_cap;
  const int64_t values = num_rows * vocab_size();
  parallel_ranges(context.exec, values, grain_for_bytes(64), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) logits[i] = cap * std::tanh(logits[i] / cap);
  });
}

}  // namespace sluice
