#include "layers/dense.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/activation/activation.h"
#include "ops/grouped_gemm/grouped_gemm.h"

namespace sluice {
namespace {

// Of a decode step: the product is bound by reading the weights, whoever multiplies.
constexpr int64_t kFewTokens = 64;

// Of which the second product is ours, and may run beside another.
constexpr int64_t kBesideTokens = 8;

}  // namespace

int64_t DenseLayer::workspace_bytes(const LayerContext& context, const BatchLimits& limits) const {
  const int64_t inner =
      checked_mul(limits.max_tokens, weights_.gate_up.rows * context.element_bytes());
  const int64_t products = std::max(
      context.gemm.workspace_bytes(limits.max_tokens, weights_.gate_up.rows, weights_.gate_up.cols),
      context.gemm.workspace_bytes(limits.max_tokens, weights_.down.rows, weights_.down.cols));
  return arena_bytes(inner) + arena_bytes(products);
}

// On CUDA the activation is done on the product's results, but where cuBLASLt's kernels for many rows
// are worth a pass more. Of BATCH_INVARIANT all rows take one way.
bool DenseLayer::fuses(const LayerContext& context, int64_t num_tokens) const {
  return context.exec.cuda != nullptr &&
         (context.numerics != Numerics::kFast || num_tokens <= kFewTokens);
}

void DenseLayer::project_fused(LayerContext& context, int64_t num_tokens, const void* x,
                               void* inner, bool beside) const {
  const LayerTimer timer(context, &LayerTimes::dense);
  GroupedGemmParams up;
  up.num_experts = 1;
  up.max_rows = num_tokens;
  up.x = x;
  up.x_format = context.compute_format;
  up.x_stride = weights_.gate_up.cols;
  up.w = weights_.gate_up;
  up.bias = weights_.gate_up_bias;
  const ActivationSpec& act = spec_.activation;
  up.activation = GroupedActivation{act.kind, act.alpha, act.beta, act.limit, spec_.gated};
  up.y = inner;
  up.y_format = context.compute_format;
  up.y_stride = spec_.intermediate_size;
  up.numerics = context.numerics;
  up.beside = beside;
  grouped_gemm(context.exec, up);
}

void DenseLayer::project(LayerContext& context, int64_t num_tokens, const void* x,
                         std::byte* inner) const {
  GemmParams up = product(context, num_tokens, x, weights_.gate_up, weights_.gate_up_bias, nullptr);
  up.y = inner;
  up.y_format = context.compute_format;
  matrix_product(context, up);

  // In place, over the gate's columns: the second product then reads every other half row.
  ActivationParams act = activation_of(spec_.activation);
  act.num_rows = num_tokens;
  act.cols = spec_.intermediate_size;
  act.x = inner;
  act.up = spec_.gated ? inner + spec_.intermediate_size * context.element_bytes() : nullptr;
  act.x_format = context.compute_format;
  act.x_stride = weights_.gate_up.rows;
  act.y = inner;
  act.y_format = context.compute_format;
  act.y_stride = weights_.gate_up.rows;
  activation(context.exec, act);
}

int64_t DenseLayer::inner_cols(const LayerContext& context, int64_t num_tokens) const {
  return fuses(context, num_tokens) ? spec_.intermediate_size : weights_.gate_up.rows;
}

int64_t DenseLayer::inner_bytes(const LayerContext& context, int64_t num_tokens) const {
  return num_tokens * inner_cols(context, num_tokens) * context.element_bytes();
}

void DenseLayer::expand(LayerContext& context, int64_t num_tokens, const void* x, std::byte* inner,
                        bool beside) const {
  if (fuses(context, num_tokens)) {
    project_fused(context, num_tokens, x, inner, beside);
  } else {
    project(context, num_tokens, x, inner);
  }
}

void DenseLayer::contract(LayerContext& context, int64_t num_tokens, const std::byte* inner,
                          const ResidualTarget& target, bool beside) const {
  if (beside && context.exec.cuda != nullptr && num_tokens <= kBesideTokens) {
    const LayerTimer timer(context, &LayerTimes::dense);
    GroupedGemmParams down;
    down.num_experts = 1;
    down.max_rows = num_tokens;
    down.x = inner;
    down.x_format = context.compute_format;
    down.x_stride = weights_.down.cols;
    down.w = weights_.down;
    down.bias = weights_.down_bias;
    down.alpha = target.multiplier;
    down.accumulate = true;
    down.beside = true;
    down.y = target.residual;
    down.y_stride = weights_.down.rows;
    down.numerics = context.numerics;
    grouped_gemm(context.exec, down);
    return;
  }
  GemmParams down = product(context, num_tokens, inner, weights_.down, weights_.down_bias, target);
  down.x_stride = inner_cols(context, num_tokens);
  matrix_product(context, down);
}

void DenseLayer::run(LayerContext& context, const StepBatch& batch,
                     const SideChannelView& /*channel*/, const void* x,
                     const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  auto* inner =
      static_cast<std::byte*>(context.workspace.allocate(inner_bytes(context, batch.num_tokens)));
  expand(context, batch.num_tokens, x, inner, false);
  contract(context, batch.num_tokens, inner, target, false);
}

}  // namespace sluice
