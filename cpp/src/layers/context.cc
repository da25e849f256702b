#include "layers/context.h"

#include "base/checked.h"

namespace sluice {

int64_t arena_bytes(int64_t bytes) {
  return round_up(checked_add(bytes, kBufferAlignment), kBufferAlignment);
}

void matrix_product(LayerContext& context, const GemmParams& params) {
  const LayerTimer timer(context.times.dense);
  const ArenaScope scope(context.workspace);
  const int64_t bytes = context.gemm.workspace_bytes(params.num_rows, params.w.rows, params.w.cols);
  void* workspace = context.workspace.allocate(bytes);
  context.gemm.run(context.exec, params, workspace, bytes);
}

}  // namespace sluice
