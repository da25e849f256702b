#include "layers/decision.h"

#include "base/checked.h"
#include "ops/grouped_gemm/grouped_gemm.h"
#include "ops/simd/parallel.h"

namespace sluice {

int64_t widen_bytes(const LayerContext& context, int64_t num_rows, int64_t cols) {
  if (context.compute_format == Format::kF32) return 0;
  return arena_bytes(checked_mul(checked_mul(num_rows, cols), sizeof(float)));
}

const float* widen_rows(LayerContext& context, int64_t num_rows, int64_t cols, const void* x) {
  if (context.compute_format == Format::kF32) return static_cast<const float*>(x);
  const int64_t values = num_rows * cols;
  float* wide = context.workspace.allocate_array<float>(values);
  const auto* narrow = static_cast<const Bf16*>(x);
  parallel_ranges(context.exec, values, grain_for_bytes(6), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) wide[i] = to_float(narrow[i]);
  });
  return wide;
}

void decision_product(LayerContext& context, int64_t num_rows, const float* x, const WeightView& w,
                      const float* bias, float* y) {
  const LayerTimer timer(context.times.dense);
  // The experts' kernel, with one expert: its rows do not depend on each other in either numerics.
  const int32_t offsets[] = {0, static_cast<int32_t>(num_rows)};
  GroupedGemmParams params;
  params.num_experts = 1;
  params.expert_offsets = offsets;
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
