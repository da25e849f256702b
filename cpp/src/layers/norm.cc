#include "layers/norm.h"

namespace sluice {
namespace {

NormParams common_params(const NormSpec& spec, const NormWeights& weights) {
  NormParams params;
  params.kind = spec.kind;
  params.eps = spec.eps;
  params.weight = weights.weight;
  params.bias = weights.bias;
  // Without a stored weight there is nothing to offset: the factor is one.
  params.weight_offset = weights.weight == nullptr ? 0.0f : spec.weight_offset;
  params.x_format = Format::kF32;
  return params;
}

}  // namespace

void norm_rows(LayerContext& context, const NormSpec& spec, const NormWeights& weights,
               int64_t num_rows, int64_t cols, const float* x, void* y, Format y_format) {
  NormParams params = common_params(spec, weights);
  params.num_rows = num_rows;
  params.cols = cols;
  params.x = x;
  params.x_stride = cols;
  params.y = y;
  params.y_format = y_format;
  params.y_stride = cols;
  norm(context.exec, params);
}

NormParams norm_of_heads(const NormSpec& spec, const NormWeights& weights, int32_t num_heads,
                         int32_t head_dim) {
  NormParams params = common_params(spec, weights);
  if (spec.scope == NormScope::kWholeRow) {
    params.cols = int64_t{num_heads} * head_dim;
  } else {
    params.num_heads = num_heads;
    params.cols = head_dim;
    if (spec.scope == NormScope::kPerHeadOwnWeights) params.weight_head_stride = head_dim;
  }
  return params;
}

}  // namespace sluice
