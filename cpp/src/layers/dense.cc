#include "layers/dense.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/activation/activation.h"

namespace sluice {

int64_t DenseLayer::workspace_bytes(const LayerContext& context, const BatchLimits& limits) const {
  const int64_t inner =
      checked_mul(limits.max_tokens, weights_.gate_up.rows * context.element_bytes());
  const int64_t products = std::max(
      context.gemm.workspace_bytes(limits.max_tokens, weights_.gate_up.rows, weights_.gate_up.cols),
      context.gemm.workspace_bytes(limits.max_tokens, weights_.down.rows, weights_.down.cols));
  return arena_bytes(inner) + arena_bytes(products);
}

void DenseLayer::run(LayerContext& context, const StepBatch& batch,
                     const SideChannelView& /*channel*/, const void* x,
                     const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  const int64_t inner_cols = weights_.gate_up.rows;
  auto* inner = static_cast<std::byte*>(
      context.workspace.allocate(batch.num_tokens * inner_cols * context.element_bytes()));

  GemmParams up =
      product(context, batch.num_tokens, x, weights_.gate_up, weights_.gate_up_bias, nullptr);
  up.y = inner;
  up.y_format = context.compute_format;
  matrix_product(context, up);

  // In place, over the gate's columns: the second product then reads every other half row.
  ActivationParams act = activation_of(spec_.activation);
  act.num_rows = batch.num_tokens;
  act.cols = spec_.intermediate_size;
  act.x = inner;
  act.up = spec_.gated ? inner + spec_.intermediate_size * context.element_bytes() : nullptr;
  act.x_format = context.compute_format;
  act.x_stride = inner_cols;
  act.y = inner;
  act.y_format = context.compute_format;
  act.y_stride = inner_cols;
  activation(context.exec, act);

  GemmParams down =
      product(context, batch.num_tokens, inner, weights_.down, weights_.down_bias, target);
  down.x_stride = inner_cols;
  matrix_product(context, down);
}

}  // namespace sluice
