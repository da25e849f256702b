#include "layers/moe.h"

#include <algorithm>
#include <string>

#include "base/checked.h"
#include "layers/decision.h"
#include "layers/observer.h"
#include "ops/elementwise/elementwise.h"
#include "ops/expert_capacity/expert_capacity.h"
#include "ops/grouped_gemm/grouped_gemm.h"
#include "ops/permute/permute.h"
#include "ops/router/route.h"

namespace sluice {
MoeLayer::MoeLayer(const MoeSpec& spec, int32_t kv_group, const MoeWeights& weights)
    : spec_(spec), kv_group_(kv_group), weights_(weights) {
  if (spec.shared) shared_.emplace(*spec.shared, weights.shared);
}

std::optional<SideChannelShape> MoeLayer::side_channel() const {
  if (!spec_.has_capacity()) return std::nullopt;
  return SideChannelShape{"experts", Format::kU16, spec_.num_experts_per_token};
}

int64_t MoeLayer::workspace_bytes(const LayerContext& context, const BatchLimits& limits) const {
  const int64_t tokens = limits.max_tokens;
  const int64_t choices = checked_mul(tokens, spec_.num_experts_per_token);
  // Rows of experts are numbered in 32 bits.
  SLUICE_CHECK_ARG(choices <= INT32_MAX, "max_step_tokens: ", tokens, " with ",
                   spec_.num_experts_per_token, " experts a token (expected: at most ",
                   INT32_MAX / spec_.num_experts_per_token, ")");
  const int64_t hidden = weights_.down.first.rows;
  const auto array = [](int64_t count, int64_t cols, int64_t bytes) {
    return arena_bytes(checked_mul(checked_mul(count, cols), bytes));
  };
  const int64_t routing = 5 * array(choices, 1, 4) + array(choices, 1, 1) +
                          array(spec_.num_experts + 1, 1, 4);
  const int64_t wide = widen_bytes(context, tokens, hidden);
  const int64_t deciding =
      array(tokens, spec_.num_experts, 4) + array(tokens, spec_.router_hidden_size, 4);
  const int64_t limiting =
      spec_.has_capacity()
          ? arena_bytes(expert_capacity_workspace_bytes(context.exec, spec_.num_experts))
          : 0;
  const int64_t experts = array(choices, 1, 4) +
                          array(choices, weights_.gate_up.first.rows, context.element_bytes()) +
                          array(choices, hidden, 4);
  const int64_t shared = shared_ ? shared_->workspace_bytes(context, limits) : 0;
  const int64_t others = std::max({deciding, limiting, experts});
  if (!spec_.shared_gate) return checked_add(routing + wide, checked_add(others, shared));
  const int64_t gated = shared + array(tokens, 1, 4) + array(tokens, hidden, 4);
  return checked_add(routing + wide, std::max(others, gated));
}

void MoeLayer::run(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
                   const void* x, const ResidualTarget& target) const {
  if (batch.num_tokens == 0) return;
  const ArenaScope scope(context.workspace);
  const int64_t choices = num_choices(batch.num_tokens);
  Arena& arena = context.workspace;
  Routing routing{};
  routing.experts = arena.allocate_array<int32_t>(choices);
  routing.weights = arena.allocate_array<float>(choices);
  Rows rows{};
  rows.expert_offsets = arena.allocate_array<int32_t>(spec_.num_experts + 1);
  rows.tokens = arena.allocate_array<int32_t>(choices);
  rows.choices = arena.allocate_array<int32_t>(choices);
  rows.of_choice = arena.allocate_array<int32_t>(choices);
  // Shared experts without a gate run between the steps of the others, beside them. What they write
  // must not be memory of the steps' own.
  const bool between = shared_ && !spec_.shared_gate;
  std::byte* inner = nullptr;
  if (between) {
    inner = static_cast<std::byte*>(
        arena.allocate(shared_->inner_bytes(context, batch.num_tokens)));
  }
  // Router matrices are float32 in every compute format.
  const float* x32 = nullptr;
  const bool replayed = replay(context, batch.num_tokens, routing);
  if (replayed || !route_at_once(context, batch, x, routing, rows)) {
    x32 = widen_rows(context, batch.num_tokens, weights_.router.cols, x);
    if (!replayed) route(context, batch, x32, routing);
    if (spec_.has_capacity()) {
      routing.kept = arena.allocate_array<uint8_t>(choices);
      limit(context, batch, channel, routing);
    }
    permute(context.exec, sorting(batch, routing, rows));
    if (context.expert_counts != nullptr) {
      add_lengths(context.exec, spec_.num_experts, rows.expert_offsets, context.expert_counts);
    }
  }
  if (context.observer != nullptr) show(context, batch.num_tokens, routing);
  if (between) shared_->expand(context, batch.num_tokens, x, inner, true);
  run_experts(context, batch.num_tokens, routing, rows, x, inner, target);
  if (!shared_ || between) return;
  if (x32 == nullptr) {
    x32 = widen_rows(context, batch.num_tokens, weights_.router.cols, x);
  }
  run_shared(context, batch, x, x32, target);
}

PermuteParams MoeLayer::sorting(const StepBatch& batch, const Routing& routing,
                                const Rows& rows) const {
  PermuteParams sorted;
  sorted.num_tokens = batch.num_tokens;
  sorted.num_experts = spec_.num_experts;
  sorted.num_experts_per_token = spec_.num_experts_per_token;
  sorted.experts = routing.experts;
  sorted.kept = routing.kept;
  if (batch.host == nullptr) {
    // What fills a captured step up must neither be counted nor have its experts' weights read.
    sorted.token_slots = batch.kv_slots + kv_group_;
    sorted.token_slot_stride = batch.num_kv_groups;
  }
  sorted.expert_offsets = rows.expert_offsets;
  sorted.row_tokens = rows.tokens;
  sorted.row_choices = rows.choices;
  sorted.choice_rows = rows.of_choice;
  return sorted;
}

// Decisions that a trace gives instead; false: none.
bool MoeLayer::replay(LayerContext& context, int64_t num_tokens, const Routing& out) const {
  if (context.observer == nullptr) return false;
  const TensorRows* experts = context.observer->replay(concat("router_idx_", context.layer));
  if (experts == nullptr) return false;
  const TensorRows* weights = context.observer->replay(concat("router_weight_", context.layer));
  SLUICE_CHECK_INTERNAL(weights != nullptr, "replay: router_idx_", context.layer,
                        " without its weights");
  for (const TensorRows* each : {experts, weights}) {
    SLUICE_CHECK_INTERNAL(each->num_rows == num_tokens && each->cols == spec_.num_experts_per_token,
                          "replay: router of layer ", context.layer, ": [", each->num_rows, ", ",
                          each->cols, "] (expected: [", num_tokens, ", ",
                          spec_.num_experts_per_token, "])");
  }
  const int64_t bytes = num_choices(num_tokens) * 4;
  copy_bytes(context.exec, out.experts, experts->data, bytes);
  copy_bytes(context.exec, out.weights, weights->data, bytes);
  return true;
}

void MoeLayer::route(LayerContext& context, const StepBatch& batch, const float* x,
                     const Routing& out) const {
  const ArenaScope scope(context.workspace);
  float* logits = context.workspace.allocate_array<float>(batch.num_tokens * spec_.num_experts);
  if (spec_.router == RouterScore::kNoisyNetwork) {
    const int64_t size = spec_.router_hidden_size;
    float* inner = context.workspace.allocate_array<float>(batch.num_tokens * size);
    decision_product(context, batch.num_tokens, x, weights_.router, weights_.router_bias, inner);
    ActivationParams act;
    act.kind = ActivationKind::kGelu;
    act.num_rows = batch.num_tokens;
    act.cols = size;
    act.x = inner;
    act.x_format = Format::kF32;
    act.x_stride = size;
    act.y = inner;
    act.y_format = Format::kF32;
    act.y_stride = size;
    activation(context.exec, act);
    decision_product(context, batch.num_tokens, inner, weights_.router_out,
                     weights_.router_out_bias, logits);
  } else {
    decision_product(context, batch.num_tokens, x, weights_.router, weights_.router_bias, logits);
  }
  router(context.exec, routing_params(batch.num_tokens, logits, out));
}

RouterParams MoeLayer::routing_params(int64_t num_tokens, float* logits, const Routing& out) const {
  RouterParams params;
  params.score = spec_.router;
  params.num_tokens = num_tokens;
  params.num_experts = spec_.num_experts;
  params.num_experts_per_token = spec_.num_experts_per_token;
  params.logits = logits;
  params.noise = weights_.router_noise;
  params.correction_bias = weights_.correction_bias;
  params.normalize = spec_.normalize_top_k;
  params.normalize_epsilon = spec_.normalize_epsilon;
  params.scaling_factor = spec_.routed_scaling_factor;
  params.num_groups = spec_.num_groups;
  params.num_groups_per_token = spec_.num_groups_per_token;
  params.group_score = spec_.group_score;
  params.experts = out.experts;
  params.weights = out.weights;
  return params;
}

// All decisions of a few tokens in one launch, where there is one; false: it is to be done in steps.
bool MoeLayer::route_at_once(LayerContext& context, const StepBatch& batch, const void* x,
                             const Routing& routing, const Rows& rows) const {
  if (spec_.has_capacity() || spec_.router == RouterScore::kNoisyNetwork) return false;
  const ArenaScope scope(context.workspace);
  RouteParams params;
  params.x = x;
  params.x_format = context.compute_format;
  params.x_stride = weights_.router.cols;
  params.w = weights_.router;
  params.bias = weights_.router_bias;
  params.router.num_tokens = batch.num_tokens;
  params.router.num_experts = spec_.num_experts;
  if (!route_fits(context.exec, params)) return false;
  float* logits = context.workspace.allocate_array<float>(batch.num_tokens * spec_.num_experts);
  params.router = routing_params(batch.num_tokens, logits, routing);
  params.sorted = sorting(batch, routing, rows);
  params.expert_counts = context.expert_counts;
  sluice::route(context.exec, params);
  return true;
}

void MoeLayer::limit(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
                     const Routing& routing) const {
  const ArenaScope scope(context.workspace);
  ExpertCapacityParams params;
  params.num_tokens = batch.num_tokens;
  params.num_experts = spec_.num_experts;
  params.num_experts_per_token = spec_.num_experts_per_token;
  params.capacity = spec_.expert_capacity;
  params.window = spec_.capacity_window;
  params.experts = routing.experts;
  params.num_sequences = batch.num_sequences;
  params.query_start = batch.query_start;
  params.positions = batch.positions;
  params.kv_slots = batch.kv_slots + kv_group_;
  params.kv_slot_stride = batch.num_kv_groups;
  params.block_tables = batch.block_tables[kv_group_];
  params.block_table_stride = batch.block_table_stride;
  params.table_rows = batch.seq_slots;
  params.block_size = channel.block_size;
  params.num_blocks = channel.num_blocks;
  params.channel = reinterpret_cast<uint16_t*>(channel.data);
  params.kept = routing.kept;
  const int64_t bytes = expert_capacity_workspace_bytes(context.exec, spec_.num_experts);
  expert_capacity(context.exec, params, context.workspace.allocate(bytes), bytes);
}

void MoeLayer::show(LayerContext& context, int64_t num_tokens, const Routing& routing) const {
  const auto keep = [&](const char* what, const void* data, Format format) {
    const std::string name = concat(what, context.layer);
    if (!context.observer->wants(name)) return;
    context.observer->keep(name, {data, format, num_tokens, spec_.num_experts_per_token});
  };
  keep("router_idx_", routing.experts, Format::kI32);
  keep("router_weight_", routing.weights, Format::kF32);
  if (routing.kept != nullptr) keep("router_kept_", routing.kept, Format::kU8);
}

void MoeLayer::run_experts(LayerContext& context, int64_t num_tokens, const Routing& routing,
                           const Rows& rows, const void* x, const std::byte* shared_inner,
                           const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  const int64_t choices = num_choices(num_tokens);
  const int64_t inner_cols = weights_.gate_up.first.rows;
  const int64_t hidden = weights_.down.first.rows;
  Arena& arena = context.workspace;
  float* scale = nullptr;
  if (spec_.scale_input) {
    scale = arena.allocate_array<float>(choices);
    GatherValuesParams gather;
    gather.max_count = choices;
    gather.count = rows.expert_offsets + spec_.num_experts;
    gather.index = rows.choices;
    gather.x = routing.weights;
    gather.y = scale;
    gather_values(context.exec, gather);
  }
  // CUDA's product does the activation on its results; elsewhere it follows in place, over the gate's
  // columns.
  const bool fused = context.exec.cuda != nullptr;
  const int64_t size = weights_.down.first.cols;
  const int64_t inner_stride = fused ? size : inner_cols;
  void* inner = arena.allocate(choices * inner_stride * context.element_bytes());
  float* results = arena.allocate_array<float>(choices * hidden);

  GroupedGemmParams up;
  up.num_experts = spec_.num_experts;
  up.expert_offsets = rows.expert_offsets;
  up.max_rows = choices;
  up.x = x;
  up.x_format = context.compute_format;
  up.x_stride = weights_.gate_up.first.cols;
  up.row_index = rows.tokens;
  // The product is linear: scaling it is scaling its input, without a copy of the rows.
  up.row_scale = scale;
  up.w = weights_.gate_up.first;
  up.expert_bytes = weights_.gate_up.expert_bytes;
  up.bias = weights_.gate_up.bias;
  up.y = inner;
  up.y_format = context.compute_format;
  up.y_stride = inner_stride;
  if (fused) {
    const ActivationSpec& act = spec_.activation;
    up.activation = GroupedActivation{act.kind, act.alpha, act.beta, act.limit, spec_.gated};
  }
  up.numerics = context.numerics;
  {
    const LayerTimer timer(context, &LayerTimes::dense);
    grouped_gemm(context.exec, up);
    if (!fused) activate_rows(context, rows.expert_offsets[spec_.num_experts], inner);
  }
  if (shared_inner != nullptr) shared_->contract(context, num_tokens, shared_inner, target, true);

  const LayerTimer timer(context, &LayerTimes::dense);
  GroupedGemmParams down;
  down.num_experts = spec_.num_experts;
  down.expert_offsets = rows.expert_offsets;
  down.max_rows = choices;
  down.x = inner;
  down.x_format = context.compute_format;
  down.x_stride = inner_stride;
  down.w = weights_.down.first;
  down.expert_bytes = weights_.down.expert_bytes;
  down.bias = weights_.down.bias;
  down.y = results;
  down.y_stride = hidden;
  down.numerics = context.numerics;
  grouped_gemm(context.exec, down);

  UnpermuteParams sum;
  sum.num_tokens = num_tokens;
  sum.num_experts_per_token = spec_.num_experts_per_token;
  sum.choice_rows = rows.of_choice;
  sum.weights = spec_.scale_input ? nullptr : routing.weights;
  sum.rows = results;
  sum.row_stride = hidden;
  sum.cols = hidden;
  sum.multiplier = target.multiplier;
  sum.y = target.residual;
  sum.y_stride = hidden;
  unpermute(context.exec, sum);
}

void MoeLayer::activate_rows(LayerContext& context, int64_t num_rows, void* inner) const {
  const int64_t size = weights_.down.first.cols;
  ActivationParams act = activation_of(spec_.activation);
  act.num_rows = num_rows;
  act.cols = size;
  act.x = inner;
  act.up = spec_.gated ? static_cast<std::byte*>(inner) + size * context.element_bytes() : nullptr;
  act.x_format = context.compute_format;
  act.x_stride = weights_.gate_up.first.rows;
  act.y = inner;
  act.y_format = context.compute_format;
  act.y_stride = act.x_stride;
  activation(context.exec, act);
}

void MoeLayer::run_shared(LayerContext& context, const StepBatch& batch, const void* x,
                          const float* x32, const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  const int64_t hidden = weights_.down.first.rows;
  float* gate = context.workspace.allocate_array<float>(batch.num_tokens);
  float* result = context.workspace.allocate_array<float>(batch.num_tokens * hidden);
  decision_product(context, batch.num_tokens, x32, weights_.shared_gate, nullptr, gate);
  zero_bytes(context.exec, result, batch.num_tokens * hidden * 4);
  shared_->run(context, batch, {}, x, {result, 1});
  GatedAddParams add;
  add.num_rows = batch.num_tokens;
  add.cols = hidden;
  add.gate = gate;
  add.multiplier = target.multiplier;
  add.x = result;
  add.y = target.residual;
  gated_add(context.exec, add);
}

}  // namespace sluice
