#include "layers/gqa.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/attention/attention.h"
#include "ops/attention/cudnn_attention.h"
#include "ops/elementwise/elementwise.h"
#include "ops/qkv/qkv.h"

namespace sluice {

int64_t GqaLayer::workspace_bytes(const LayerContext& context, const BatchLimits& limits) const {
  const int64_t qkv = checked_mul(limits.max_tokens, spec_.qkv_size() * 4);
  const int64_t out = checked_mul(limits.max_tokens, spec_.q_size() * context.element_bytes());
  int64_t products = std::max(
      context.gemm.workspace_bytes(limits.max_tokens, weights_.qkv.rows, weights_.qkv.cols),
      context.gemm.workspace_bytes(limits.max_tokens, weights_.o.rows, weights_.o.cols));
  if (spec_.output_gate) {
    products = std::max(products,
                        context.gemm.workspace_bytes(limits.max_tokens, weights_.output_gate.rows,
                                                     weights_.output_gate.cols));
  }
  const int64_t attention = attention_workspace_bytes(
      context.exec, limits.max_tokens, limits.max_sequences, limits.max_context_len,
      spec_.num_q_heads, spec_.head_dim, spec_.head_dim);
  const int64_t gate =
      spec_.output_gate ? arena_bytes(checked_mul(limits.max_tokens, spec_.q_size() * 4)) : 0;
  return arena_bytes(qkv) + arena_bytes(out) +
         std::max(gate + arena_bytes(products), arena_bytes(attention));
}

void GqaLayer::prepare(const LayerContext& context, const BatchLimits& /*limits*/,
                       const KvCacheView& kv) const {
  if (context.cudnn == nullptr || window_ != 0 || spec_.logit_soft_cap != 0 || spec_.sinks) return;
  if constexpr (kCudaBuilt) context.cudnn->want({spec_.num_q_heads, spec_.softmax_scale, kv});
}

void GqaLayer::run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                   const SideChannelView& /*channel*/, const void* x,
                   const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  // Queries, keys and values stay in float32 until the cache rounds them: norms and rotation cost
  // no precision, and the rows are short.
  float* qkv = context.workspace.allocate_array<float>(batch.num_tokens * spec_.qkv_size());
  void* out =
      context.workspace.allocate(batch.num_tokens * spec_.q_size() * context.element_bytes());
  project(context, batch, x, qkv);
  rotate_and_store(context, batch, kv, qkv);
  attend(context, batch, kv, qkv, out);
  if (spec_.output_gate) gate(context, batch.num_tokens, x, out);

  matrix_product(context,
                 product(context, batch.num_tokens, out, weights_.o, weights_.o_bias, target));
}

void GqaLayer::project(LayerContext& context, const StepBatch& batch, const void* x,
                       float* qkv) const {
  matrix_product(context,
                 product(context, batch.num_tokens, x, weights_.qkv, weights_.qkv_bias, qkv));
  if (spec_.qkv_clamp == 0) return;
  map_values(context.exec, MapKind::kClamp, spec_.qkv_clamp, batch.num_tokens * spec_.qkv_size(),
             qkv);
}

void GqaLayer::gate(LayerContext& context, int64_t num_tokens, const void* x, void* out) const {
  const ArenaScope scope(context.workspace);
  const int64_t values = num_tokens * spec_.q_size();
  float* gates = context.workspace.allocate_array<float>(values);
  matrix_product(context, product(context, num_tokens, x, weights_.output_gate, nullptr, gates));
  gate_values(context.exec, values, gates, out, context.compute_format);
}

void GqaLayer::rotate_and_store(LayerContext& context, const StepBatch& batch,
                                const KvCacheView& kv, float* qkv) const {
  const LayerTimer timer(context, &LayerTimes::attention);
  QkvParams params;
  params.num_tokens = batch.num_tokens;
  params.num_q_heads = spec_.num_q_heads;
  params.head_dim = spec_.head_dim;
  params.qkv = qkv;
  params.stride = spec_.qkv_size();
  NormParams q_norm, k_norm;
  if (spec_.q_norm) {
    q_norm = norm_of_heads(*spec_.q_norm, weights_.q_norm, spec_.num_q_heads, spec_.head_dim);
    params.q_norm = &q_norm;
  }
  if (spec_.k_norm) {
    k_norm = norm_of_heads(*spec_.k_norm, weights_.k_norm, spec_.num_kv_heads, spec_.head_dim);
    params.k_norm = &k_norm;
  }
  params.norm_after_rope = spec_.norm_after_rope;
  if (spec_.rope >= 0) {
    const RopeAngles& angles = batch.ropes[spec_.rope];
    params.rotary_dim = angles.rotary_dim;
    params.interleaved = angles.interleaved;
    params.cos = angles.cos;
    params.sin = angles.sin;
  }
  params.cache = kv;
  params.slots = batch.kv_slots + kv_group_;
  params.slot_stride = batch.num_kv_groups;
  qkv_rows(context.exec, params);
}

void GqaLayer::attend(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                      const float* qkv, void* out) const {
  const LayerTimer timer(context, &LayerTimes::attention);
  const ArenaScope scope(context.workspace);
  AttentionParams params;
  params.num_tokens = batch.num_tokens;
  params.num_q_heads = spec_.num_q_heads;
  params.q = qkv;
  params.q_format = Format::kF32;
  params.q_stride = spec_.qkv_size();
  params.positions = batch.positions;
  params.num_sequences = batch.num_sequences;
  params.query_start = batch.query_start;
  params.context_len = batch.context_len;
  params.block_tables = batch.block_tables[kv_group_];
  params.block_table_stride = batch.block_table_stride;
  params.table_rows = batch.seq_slots;
  params.longest_context = batch.longest_context;
  params.longest_query = batch.longest_query;
  params.queries_last = true;
  params.cudnn = context.cudnn;
  params.kv = kv;
  params.softmax_scale = spec_.softmax_scale;
  params.soft_cap = spec_.logit_soft_cap;
  params.window = window_;
  params.numerics = context.numerics;
  params.sinks = weights_.sinks;
  params.out = out;
  params.out_format = context.compute_format;
  params.out_stride = spec_.q_size();
  const int64_t bytes = attention_workspace_bytes(
      context.exec, batch.num_tokens, batch.num_sequences, batch.longest_context,
      spec_.num_q_heads, spec_.head_dim, spec_.head_dim);
  attention(context.exec, params, context.workspace.allocate(bytes), bytes);
}

}  // namespace sluice
