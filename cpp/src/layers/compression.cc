#include "layers/compression.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/elementwise/elementwise.h"

namespace sluice {

int64_t Compression::workspace_bytes(const LayerContext& context, int64_t max_rows) const {
  const int64_t hidden = weights_.encoder.cols, inner = weights_.encoder.rows;
  const int64_t products = std::max(context.gemm.workspace_bytes(max_rows, inner, hidden),
                                    context.gemm.workspace_bytes(max_rows, hidden, inner));
  int64_t bytes = arena_bytes(checked_mul(max_rows, hidden * context.element_bytes()));
  bytes = checked_add(bytes, arena_bytes(checked_mul(max_rows, inner * context.element_bytes())));
  bytes = checked_add(bytes, arena_bytes(checked_mul(max_rows, hidden * 4)));
  return checked_add(bytes, arena_bytes(products));
}

void Compression::run(LayerContext& context, int64_t num_rows, const float* x, void* h) const {
  const ArenaScope scope(context.workspace);
  const int64_t hidden = weights_.encoder.cols, inner = weights_.encoder.rows;
  void* input = context.workspace.allocate(num_rows * hidden * context.element_bytes());
  round_rows(context, num_rows, hidden, x, input);

  GemmParams encoder =
      product(context, num_rows, input, weights_.encoder, weights_.encoder_bias, nullptr);
  encoder.y = context.workspace.allocate(num_rows * inner * context.element_bytes());
  encoder.y_format = context.compute_format;
  matrix_product(context, encoder);
  activate(context, spec_.activation, num_rows, inner, encoder.y, context.compute_format);

  auto* sum = context.workspace.allocate_array<float>(num_rows * hidden);
  copy_bytes(context.exec, sum, x, num_rows * hidden * 4);
  matrix_product(context, product(context, num_rows, encoder.y, weights_.decoder,
                                  weights_.decoder_bias, ResidualTarget{sum, 1}));
  norm_rows(context, spec_.norm, weights_.norm, num_rows, hidden, sum, h, context.compute_format);
}

}  // namespace sluice
