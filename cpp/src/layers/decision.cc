#include "layers/decision.h"

#include "base/checked.h"
#include "ops/elementwise/elementwise.h"
#include "ops/grouped_gemm/grouped_gemm.h"

namespace sluice {

int64_t widen_bytes(const LayerContext& context, int64_t num_rows, int64_t cols) {
  if (context.compute_format == Format::kF32) return 0;
  return arena_bytes(checked_mul(checked_mul(num_rows, cols), sizeof(float)));
}

const float* widen_rows(LayerContext& context, int64_t num_rows, int64_t cols, const void* x) {
  if (context.compute_format == Format::kF32) return static_cast<const float*>(x);
  float* wide = context.workspace.allocate_array<float>(num_rows * cols);
  ConvertRowsParams params;
  params.num_rows = num_rows;
  params.cols = cols;
  params.x = x;
  params.x_format = context.compute_format;
  params.x_stride = cols;
  params.y = wide;
  params.y_format = Format::kF32;
  params.y_stride = cols;
  convert_rows(context.exec, params);
  return wide;
}

void decision_product(LayerContext& context, int64_t num_rows, const float* x, const WeightView& w,
                      const float* bias, float* y) {
  const LayerTimer timer(context, &LayerTimes::dense);
  // The experts' kernel, with one expert: its rows do not depend on each other in either numerics.
  GroupedGemmParams params;
  params.num_experts = 1;
  params.max_rows = num_rows;
  params.x = x;
  params.x_format = Format::kF32;
  params.x_stride = w.cols;
  params.w = w;
  params.bias = bias;
  params.y = y;
  params.y_stride = w.rows;
  grouped_gemm(context.exec, params);
}

}  // namespace sluice
