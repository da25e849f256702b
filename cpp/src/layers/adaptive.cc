#include "layers/adaptive.h"

#include <algorithm>
#include <string>

#include "base/checked.h"
#include "layers/decision.h"
#include "ops/elementwise/elementwise.h"
#include "ops/kv_write/kv_write.h"

namespace sluice {
namespace {

// Masks of a trace are computed for as many tokens at a time as fit here, and at least one.
constexpr int64_t kKeepBytes = int64_t{1} << 20;

AdaptivePattern pattern_of(const AdaptiveSpec& spec, int32_t layer) {
  AdaptivePattern pattern;
  pattern.kind = spec.kind;
  pattern.window = spec.window;
  pattern.top_k = spec.top_k;
  pattern.sparse_block_size = spec.sparse_block_size;
  pattern.num_global_blocks = spec.num_global_blocks;
  pattern.num_local_blocks = spec.num_local_blocks;
  pattern.num_random_blocks = spec.num_random_blocks;
  pattern.random_block_seed = spec.random_block_seed;
  pattern.layer = layer;
  pattern.block_keep_percent = spec.block_keep_percent;
  return pattern;
}

}  // namespace

AdaptiveLayer::AdaptiveLayer(const AdaptiveSpec& spec, int32_t kv_group, int32_t layer,
                             const AdaptiveWeights& weights)
    : spec_(spec), kv_group_(kv_group), weights_(weights), pattern_(pattern_of(spec, layer)) {}

std::optional<SideChannelShape> AdaptiveLayer::side_channel() const {
  if (!has_density()) return std::nullopt;
  return SideChannelShape{"density", Format::kU8, 1};
}

int64_t AdaptiveLayer::attention_bytes(const LayerContext& context, int64_t num_tokens,
                                       int32_t num_sequences, int64_t longest) const {
  return adaptive_attention_workspace_bytes(context.exec, pattern_, num_tokens, num_sequences,
                                            longest, spec_.num_q_heads, spec_.relative_positions,
                                            spec_.head_dim, spec_.head_dim);
}

int64_t AdaptiveLayer::workspace_bytes(const LayerContext& context,
                                       const BatchLimits& limits) const {
  const int64_t tokens = limits.max_tokens;
  int64_t bytes = arena_bytes(checked_mul(tokens, 3 * spec_.q_size() * 4)) +
                  arena_bytes(checked_mul(tokens, spec_.q_size() * context.element_bytes()));
  if (spec_.sparse_gate || has_density()) {
    bytes += widen_bytes(context, tokens, hidden_size());
  }
  if (spec_.sparse_gate) bytes += arena_bytes(checked_mul(tokens, int64_t{spec_.num_q_heads} * 4));
  const int64_t planes = adaptive_keep_planes(spec_.kind, spec_.num_q_heads);
  const int64_t shown = arena_bytes(std::max(kKeepBytes, planes * limits.max_context_len)) +
                        arena_bytes((int64_t{limits.max_sequences} + 1) * 4);
  const int64_t attention =
      arena_bytes(attention_bytes(context, tokens, limits.max_sequences, limits.max_context_len)) + shown;
  const auto gemm = [&](const WeightView& w) {
    return arena_bytes(context.gemm.workspace_bytes(tokens, w.rows, w.cols));
  };
  return checked_add(
      bytes, std::max({gemm(weights_.qkv), gemm(weights_.o), attention, arena_bytes(tokens * 4)}));
}

void AdaptiveLayer::run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                        const SideChannelView& channel, const void* x,
                        const ResidualTarget& target) const {
  if (batch.num_tokens == 0) return;
  const ArenaScope scope(context.workspace);
  const int64_t tokens = batch.num_tokens, size = spec_.q_size();
  float* qkv = context.workspace.allocate_array<float>(tokens * 3 * size);
  void* out = context.workspace.allocate(tokens * size * context.element_bytes());
  matrix_product(context, product(context, tokens, x, weights_.qkv, weights_.qkv_bias, qkv));

  AdaptiveAttentionParams params;
  if (spec_.sparse_gate || has_density()) {
    const float* x32 = widen_rows(context, tokens, hidden_size(), x);
    if (spec_.sparse_gate) {
      float* gates = context.workspace.allocate_array<float>(tokens * spec_.num_q_heads);
      open_gates(context, tokens, x32, gates);
      params.gate = gates;
    }
    if (has_density()) {
      mark_dense(context, batch, channel, x32);
      params.dense = reinterpret_cast<const uint8_t*>(channel.data);
    }
  }
  store(context, batch, kv, qkv);

  params.num_tokens = tokens;
  params.q = qkv;
  params.q_format = Format::kF32;
  params.q_stride = 3 * size;
  params.positions = batch.positions;
  params.num_sequences = batch.num_sequences;
  params.query_start = batch.query_start;
  params.context_len = batch.context_len;
  params.block_tables = batch.block_tables[kv_group_];
  params.block_table_stride = batch.block_table_stride;
  params.table_rows = batch.seq_slots;
  params.longest_context = batch.longest_context;
  params.longest_query = batch.longest_query;
  params.numerics = context.numerics;
  params.kv = kv;
  params.pattern = pattern_;
  params.softmax_scale = spec_.softmax_scale;
  params.relative_position = weights_.relative_position;
  params.relative_positions = spec_.relative_positions;
  params.out = out;
  params.out_format = context.compute_format;
  params.out_stride = size;
  attend(context, batch, params);

  matrix_product(context, product(context, tokens, out, weights_.o, weights_.o_bias, target));
}

void AdaptiveLayer::open_gates(LayerContext& context, int64_t num_tokens, const float* x,
                               float* gates) const {
  decision_product(context, num_tokens, x, weights_.gate, weights_.gate_bias, gates);
  map_values(context.exec, MapKind::kGate, spec_.sparse_gate_threshold,
             num_tokens * spec_.num_q_heads, gates);
}

void AdaptiveLayer::mark_dense(LayerContext& context, const StepBatch& batch,
                               const SideChannelView& channel, const float* x) const {
  SLUICE_CHECK(channel.data != nullptr && channel.bytes_per_token == 1, SLUICE_STATUS_INTERNAL,
               "density channel: ", channel.bytes_per_token, " bytes a token (expected: 1)");
  const ArenaScope scope(context.workspace);
  float* logits = context.workspace.allocate_array<float>(batch.num_tokens);
  decision_product(context, batch.num_tokens, x, weights_.density, weights_.density_bias, logits);
  MarkSlotsParams marks;
  marks.num_tokens = batch.num_tokens;
  marks.logits = logits;
  marks.threshold = spec_.density_threshold;
  marks.slots = batch.kv_slots + kv_group_;
  marks.slot_stride = batch.num_kv_groups;
  marks.marks = reinterpret_cast<uint8_t*>(channel.data);
  mark_slots(context.exec, marks);
}

void AdaptiveLayer::store(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                          const float* qkv) const {
  const LayerTimer timer(context, &LayerTimes::attention);
  KvWriteParams params;
  params.num_tokens = batch.num_tokens;
  params.k = qkv + spec_.q_size();
  params.v = qkv + 2 * spec_.q_size();
  params.format = Format::kF32;
  params.k_stride = 3 * spec_.q_size();
  params.v_stride = 3 * spec_.q_size();
  params.slots = batch.kv_slots + kv_group_;
  params.slot_stride = batch.num_kv_groups;
  params.cache = kv;
  kv_write(context.exec, params);
}

void AdaptiveLayer::attend(LayerContext& context, const StepBatch& batch,
                           AdaptiveAttentionParams& params) const {
  const LayerTimer timer(context, &LayerTimes::attention);
  const int64_t longest = batch.longest_context;
  if (context.observer != nullptr) {
    const std::string name = "attention_keep_" + std::to_string(context.layer);
    if (const TensorRows* masks = context.observer->replay(name); masks != nullptr) {
      params.replay = static_cast<const uint8_t*>(masks->data);
      params.replay_planes = static_cast<int32_t>(masks->cols / longest);
      params.replay_stride = longest;
    }
    if (context.observer->wants(name)) return attend_shown(context, batch, params, longest, name);
  }
  const ArenaScope scope(context.workspace);
  const int64_t bytes = attention_bytes(context, params.num_tokens, batch.num_sequences, longest);
  adaptive_attention(context.exec, params, context.workspace.allocate(bytes), bytes);
}

// Some tokens at a time, since a mask is tokens * heads * context bytes; the results are the same.
void AdaptiveLayer::attend_shown(LayerContext& context, const StepBatch& batch,
                                 const AdaptiveAttentionParams& params, int64_t longest,
                                 const std::string& name) const {
  const ArenaScope scope(context.workspace);
  const int64_t heads = spec_.num_q_heads;
  const int64_t cols = adaptive_keep_planes(spec_.kind, spec_.num_q_heads) * longest;
  const int64_t most = std::max<int64_t>(1, kKeepBytes / cols);
  const int64_t bytes = attention_bytes(context, std::min(most, params.num_tokens),
                                        batch.num_sequences, longest);
  void* workspace = context.workspace.allocate(bytes);
  auto* keep =
      static_cast<uint8_t*>(context.workspace.allocate(std::min(most, params.num_tokens) * cols));
  auto* query_start = context.workspace.allocate_array<int32_t>(batch.num_sequences + 1);
  for (int64_t begin = 0; begin < params.num_tokens; begin += most) {
    const int64_t end = std::min(begin + most, params.num_tokens);
    AdaptiveAttentionParams piece = params;
    piece.num_tokens = end - begin;
    cut_query_start(context, batch, begin, end, query_start);
    piece.query_start = query_start;
    piece.q = static_cast<const float*>(params.q) + begin * params.q_stride;
    piece.positions = params.positions + begin;
    if (params.gate != nullptr) piece.gate = params.gate + begin * heads;
    piece.out =
        static_cast<std::byte*>(params.out) + begin * params.out_stride * context.element_bytes();
    if (params.replay != nullptr) piece.replay = params.replay + begin * cols;
    piece.keep = keep;
    piece.keep_stride = longest;
    adaptive_attention(context.exec, piece, workspace, bytes);
    context.observer->keep(name, {keep, Format::kU8, end - begin, cols});
  }
}

}  // namespace sluice
