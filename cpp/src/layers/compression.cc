#include "layers/compression.h"

#include <algorithm>

#include "base/checked.h"

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
  round_values(context, num_rows * hidden, x, input);

  GemmParams encoder;
  encoder.num_rows = num_rows;
  encoder.x = input;
  encoder.x_format = context.compute_format;
  encoder.x_stride = hidden;
  encoder.w = weights_.encoder;
  encoder.bias = weights_.encoder_bias;
  encoder.y = context.workspace.allocate(num_rows * inner * context.element_bytes());
  encoder.y_format = context.compute_format;
  encoder.y_stride = inner;
  matrix_product(context, encoder);
  activate(context, spec_.activation, num_rows, inner, encoder.y, context.compute_format);

  auto* sum = context.workspace.allocate_array<float>(num_rows * hidden);
  std::copy_n(x, num_rows * hidden, sum);
  GemmParams decoder;
  decoder.num_rows = num_rows;
  decoder.x = encoder.y;
  decoder.x_format = context.compute_format;
  decoder.x_stride = inner;
  decoder.w = weights_.decoder;
  decoder.bias = weights_.decoder_bias;
  decoder.accumulate = true;
  decoder.y = sum;
  decoder.y_stride = hidden;
  matrix_product(context, decoder);
  norm_rows(context, spec_.norm, weights_.norm, num_rows, hidden, sum, h, context.compute_format);
}

}  // namespace sluice
