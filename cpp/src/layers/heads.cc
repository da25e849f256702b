#include "layers/heads.h"

#include <algorithm>

#include "base/checked.h"
#include "comm/communicator.h"
#include "ops/elementwise/elementwise.h"
#include "ops/norm/norm.h"

namespace sluice {

int64_t OutputHead::workspace_bytes(const LayerContext& context, int64_t max_rows) const {
  const int64_t hidden = weights_.matrix.cols;
  const int64_t own_rows = weights_.matrix.rows;
  const int64_t own = weights_.num_ranks > 1 ? arena_bytes(checked_mul(max_rows, own_rows * 4)) : 0;
  int64_t bytes = context.gemm.workspace_bytes(max_rows, own_rows, hidden);
  if (spec_.kind != HeadKind::kReasoning) return checked_add(own, arena_bytes(bytes));
  bytes = std::max(bytes, context.gemm.workspace_bytes(max_rows, hidden, hidden));
  const int64_t rows = checked_mul(max_rows, hidden);
  return checked_add(checked_add(own, arena_bytes(bytes)),
                     checked_add(arena_bytes(checked_mul(rows, 4)),
                                 arena_bytes(checked_mul(rows, context.element_bytes()))));
}

// h = x + act(transform(x)), summed in float32.
void OutputHead::transform(LayerContext& context, int64_t num_rows, const void* x, void* h) const {
  const ArenaScope scope(context.workspace);
  const int64_t hidden = weights_.transform.cols;
  auto* sum = context.workspace.allocate_array<float>(num_rows * hidden);
  matrix_product(context,
                 product(context, num_rows, x, weights_.transform, weights_.transform_bias, sum));
  activate(context, spec_.activation, num_rows, hidden, sum, Format::kF32);
  ResidualAddParams add;
  add.num_rows = num_rows;
  add.cols = hidden;
  add.x = x;
  add.x_format = context.compute_format;
  add.x_stride = hidden;
  add.residual = sum;
  add.residual_stride = hidden;
  residual_add(context.exec, add);
  round_rows(context, num_rows, hidden, sum, h);
}

void OutputHead::run(LayerContext& context, int64_t num_rows, const void* x, float* values) const {
  const ArenaScope scope(context.workspace);
  const bool split = weights_.num_ranks > 1;
  float* own = values;
  if (split) own = context.workspace.allocate_array<float>(num_rows * weights_.matrix.rows);
  GemmParams params = product(context, num_rows, x, weights_.matrix, weights_.bias, own);
  if (spec_.kind == HeadKind::kReasoning) {
    void* h = context.workspace.allocate(num_rows * params.x_stride * context.element_bytes());
    transform(context, num_rows, x, h);
    params.x = h;
  }
  params.alpha = spec_.logit_multiplier;
  matrix_product(context, params);
  if (split) {
    context.comm->all_gather(own, num_rows, weights_.matrix.rows * int64_t{sizeof(float)}, values);
  }
  if (spec_.logit_soft_cap == 0) return;
  map_values(context.exec, MapKind::kSoftCap, spec_.logit_soft_cap, num_rows * num_values(), values);
}

}  // namespace sluice
