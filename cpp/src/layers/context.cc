#include "layers/context.h"

#include "base/checked.h"
#include "ops/elementwise/elementwise.h"

namespace sluice {

int64_t arena_bytes(int64_t bytes) {
  return round_up(checked_add(bytes, kBufferAlignment), kBufferAlignment);
}

void convert_columns(const LayerContext& context, int64_t num_rows, int64_t cols, const float* x,
                     int64_t x_stride, void* y, Format y_format, int64_t y_stride) {
  ConvertRowsParams params;
  params.num_rows = num_rows;
  params.cols = cols;
  params.x = x;
  params.x_format = Format::kF32;
  params.x_stride = x_stride;
  params.y = y;
  params.y_format = y_format;
  params.y_stride = y_stride;
  convert_rows(context.exec, params);
}

void round_rows(const LayerContext& context, int64_t num_rows, int64_t cols, const float* x,
                void* y) {
  convert_columns(context, num_rows, cols, x, cols, y, context.compute_format, cols);
}

void cut_query_start(const LayerContext& context, const StepBatch& batch, int64_t begin, int64_t end,
                     int32_t* y) {
  ShiftParams cut;
  cut.count = int64_t{batch.num_sequences} + 1;
  cut.x = batch.query_start;
  cut.low = static_cast<int32_t>(begin);
  cut.high = static_cast<int32_t>(end);
  cut.offset = cut.low;
  cut.y = y;
  shift_values(context.exec, cut);
}

ActivationParams activation_of(const ActivationSpec& spec) {
  ActivationParams params;
  params.kind = spec.kind;
  params.alpha = spec.alpha;
  params.beta = spec.beta;
  params.limit = spec.limit;
  return params;
}

void activate(LayerContext& context, const ActivationSpec& spec, int64_t num_rows, int64_t cols,
              void* y, Format format) {
  ActivationParams params = activation_of(spec);
  params.num_rows = num_rows;
  params.cols = cols;
  params.x = y;
  params.x_format = format;
  params.x_stride = cols;
  params.y = y;
  params.y_format = format;
  params.y_stride = cols;
  activation(context.exec, params);
}

GemmParams product(const LayerContext& context, int64_t num_rows, const void* x,
                   const WeightView& w, const float* bias, float* y) {
  GemmParams params;
  params.num_rows = num_rows;
  params.x = x;
  params.x_format = context.compute_format;
  params.x_stride = w.cols;
  params.w = w;
  params.bias = bias;
  params.y = y;
  params.y_stride = w.rows;
  return params;
}

GemmParams product(const LayerContext& context, int64_t num_rows, const void* x,
                   const WeightView& w, const float* bias, const ResidualTarget& target) {
  GemmParams params = product(context, num_rows, x, w, bias, target.residual);
  params.alpha = target.multiplier;
  params.accumulate = true;
  return params;
}

void matrix_product(LayerContext& context, const GemmParams& params) {
  const LayerTimer timer(context, &LayerTimes::dense);
  const ArenaScope scope(context.workspace);
  const int64_t bytes = context.gemm.workspace_bytes(params.num_rows, params.w.rows, params.w.cols);
  void* workspace = context.workspace.allocate(bytes);
  context.gemm.run(context.exec, params, workspace, bytes);
}

}  // namespace sluice
