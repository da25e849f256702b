#include "runtime/plan.h"

#include <algorithm>

#include "base/checked.h"
#include "runtime/device_runner.h"
#include "runtime/fault_points.h"
#include "runtime/rope_state.h"
#include "runtime/sequence_state.h"
#include "runtime/step_runner.h"
#include "runtime/weight_upload.h"

namespace sluice {
namespace {

void check_placement(const Placement& placement, const ModelSpec& spec,
                     const EngineOptions& options) {
  SLUICE_CHECK_ARG(!placement.devices.empty(), "num_devices: 0 (expected: 1 or more)");
  for (size_t i = 0; i < placement.devices.size(); ++i) {
    SLUICE_CHECK_ARG(options.backend != Backend::kCpu || placement.devices[i] == 0, "devices[", i,
                     "]: ", placement.devices[i], " (expected: 0, the CPU)");
  }
  const auto local = static_cast<int32_t>(placement.devices.size());
  SLUICE_CHECK_ARG(
      placement.world_size == options.tensor_parallel_size, "world_size: ", placement.world_size,
      " (expected: the product of the parallel sizes, ", options.tensor_parallel_size, ")");
  SLUICE_CHECK(local == placement.world_size, SLUICE_STATUS_UNSUPPORTED, "num_devices: ", local,
               " of world_size ", placement.world_size,
               ", ranks in several processes not built (built: all ranks in one)");
  SLUICE_CHECK_ARG(placement.first_rank == 0, "first_rank: ", placement.first_rank,
                   " (expected: 0, every rank is in this process)");
  SLUICE_CHECK_ARG(!placement.has_comm_id,
                   "comm_id: set (expected: NULL, every rank is in this process)");
  const auto layers = static_cast<int32_t>(spec.layers.size());
  const bool all = (placement.layer_begin == 0 && placement.layer_end == 0) ||
                   (placement.layer_begin == 0 && placement.layer_end == layers);
  SLUICE_CHECK_ARG(placement.layer_begin >= 0 && placement.layer_begin <= placement.layer_end &&
                       placement.layer_end <= layers,
                   "layer_begin, layer_end: ", placement.layer_begin, ", ", placement.layer_end,
                   " (expected: a range of ", layers, " layers)");
  SLUICE_CHECK(all, SLUICE_STATUS_UNSUPPORTED, "layer_begin, layer_end: ", placement.layer_begin,
               ", ", placement.layer_end, " not built (built: all layers)");
}

StepRules make_rules(const ModelSpec& spec, const EngineOptions& options) {
  StepRules rules;
  StepLimits& limits = rules.limits;
  limits.vocab_size = spec.vocab_size;
  limits.hidden_size = spec.hidden_size;
  limits.num_kv_groups = static_cast<int64_t>(spec.kv_groups.size());
  limits.num_ropes = static_cast<int64_t>(spec.ropes.size());
  limits.block_size = options.block_size;
  limits.max_sequences = options.max_sequences;
  limits.max_blocks_per_sequence = options.max_blocks_per_sequence();
  limits.max_context_len = options.max_context_len;
  limits.max_step_tokens = options.max_step_tokens;
  limits.max_step_outputs = options.max_step_outputs;
  limits.max_draft_len = options.max_draft_len;
  limits.max_top_n = options.max_top_n;
  limits.max_step_targets = options.max_step_targets;
  limits.max_step_logit_biases = options.max_step_logit_biases;
  limits.max_step_masks = options.max_step_masks;
  limits.max_step_hidden_rows = options.max_step_hidden_rows;
  limits.max_step_state_ops = options.max_step_state_ops;
  limits.max_step_block_updates = options.max_step_block_updates;
  limits.max_step_count_updates = options.penalties ? options.max_step_count_updates : 0;
  limits.step_slots = options.step_slots;
  for (const HeadSpec& head : spec.heads) {
    rules.heads.push_back(head.kind);
    const bool value = head.kind == HeadKind::kValue;
    limits.head_values = std::max<int64_t>(limits.head_values, value ? 1 : head.num_labels);
  }
  limits.num_layers = static_cast<int64_t>(spec.layers.size());
  limits.expert_count_stride = options.report_expert_counts ? spec.max_num_experts() : 0;
  for (const RopeSpec& rope : spec.ropes) {
    limits.num_rope_variants += rope.num_dynamic_variants;
    limits.num_rope_frequencies += int64_t{rope.num_dynamic_variants} * (rope.rotary_dim / 2);
    rules.rope_variants.push_back(static_cast<int32_t>(rope.variants.size()));
    rules.rope_dynamic_variants.push_back(rope.num_dynamic_variants);
    rules.rope_frequencies.push_back(rope.rotary_dim / 2);
  }
  rules.num_blocks = options.num_blocks;
  for (size_t g = 0; g < spec.kv_groups.size(); ++g) {
    rules.reaches.push_back(spec.reach(static_cast<int32_t>(g)));
  }
  rules.penalties = options.penalties;
  return rules;
}

RankPlan plan_rank(const EnginePlan& plan, int rank) {
  RankPlan own;
  own.shard = shard_model(plan.spec, rank, plan.options.tensor_parallel_size);
  own.slots =
      declare_slots(plan.spec, own.shard, plan.options.compute_format, plan.packing);
  GemmOptions gemm;
  gemm.onednn_path = plan.options.onednn_path;
  gemm.cublaslt_path = plan.options.cublaslt_path;
  if (plan.on_device()) gemm.cuda_device = plan.cuda->device;
  gemm.numerics = plan.options.numerics;
  gemm.num_threads = plan.exec.num_threads;
  own.gemm = std::make_unique<Gemm>(gemm);
  return own;
}

}  // namespace

EnginePlan make_plan(std::span<const uint8_t> spec, std::span<const uint8_t> options,
                     const Placement& placement, bool blocks_optional) {
  EnginePlan plan;
  plan.spec = decode_model_spec(spec);
  plan.options = decode_engine_options(options, plan.spec, blocks_optional);
  check_placement(placement, plan.spec, plan.options);
  const FaultPoints names_checked(plan.options.faults);
  plan.exec.isa = select_isa(plan.options.isa);
  if (plan.options.backend == Backend::kCuda) {
    plan.cuda = std::make_unique<CudaExec>(cuda_describe(placement.devices[0]));
    plan.exec.cuda = plan.cuda.get();
    plan.packing = kCudaPacking;
  }
  // Every rank has as many threads as the others, so that all of them do the same arithmetic.
  plan.exec.num_threads = std::max(1, plan.options.num_threads / plan.options.tensor_parallel_size);
  plan.rules = make_rules(plan.spec, plan.options);
  plan.layout = make_step_layout(plan.rules.limits);
  for (int rank = 0; rank < plan.options.tensor_parallel_size; ++rank) {
    plan.ranks.push_back(plan_rank(plan, rank));
    const WeightStore store(plan.ranks.back().slots, loader_bytes(plan.packing));
    plan.weight_bytes = checked_add(plan.weight_bytes, store.bytes());
  }
  plan.num_parameters =
      WeightStore(declare_slots(plan.spec, plan.options.compute_format)).num_parameters();

  // A decoder over weights without memory tells the sizes of everything else. They are the same on
  // every rank.
  const RankPlan& first = plan.ranks[0];
  const WeightStore store(first.slots);
  const Decoder decoder(first.shard, store);
  plan.kv_groups = plan_kv_groups(plan.spec, plan.options, decoder);
  for (const KvGroupPlan& group : plan.kv_groups) {
    plan.kv_bytes = checked_add(
        plan.kv_bytes,
        checked_mul(plan.num_ranks(), checked_mul(group.bytes_per_block, group.num_blocks)));
  }
  Arena no_memory;
  LayerTimes times;
  const LayerContext context{
      plan.exec, *first.gemm, no_memory, times, plan.options.compute_format, plan.options.numerics};
  plan.message_bytes = plan.layout.input_bytes;
  plan.state_bytes = StepChecker::bytes(plan.rules);
  if (plan.on_device()) {
    const DeviceRunnerBytes sizes = device_runner_bytes(plan, decoder, context);
    plan.arena_bytes = sizes.arena;
    plan.device_state_bytes = sizes.state;
    plan.message_bytes = sizes.message;
  } else {
    plan.arena_bytes =
        StepRunner::workspace_bytes(plan.rules.limits, decoder, context, plan.spec.ropes);
    const int64_t rank_state =
        checked_add(SequenceState::bytes(plan.rules.limits, plan.options.penalties),
                    RopeState::bytes(plan.spec.ropes));
    plan.state_bytes = checked_add(plan.state_bytes, checked_mul(plan.num_ranks(), rank_state));
  }
  plan.step_slot_bytes =
      checked_add(checked_mul(plan.options.step_slots,
                              checked_add(checked_add(plan.layout.input_bytes, plan.message_bytes),
                                          plan.layout.output_bytes)),
                  checked_mul(plan.num_ranks() - 1, plan.layout.output_bytes));
  checked_add(checked_add(plan.weight_bytes, plan.kv_bytes),
              checked_add(checked_mul(plan.num_ranks(), plan.arena_bytes),
                          checked_add(checked_add(plan.step_slot_bytes, plan.device_state_bytes),
                                      plan.state_bytes)));
  return plan;
}

}  // namespace sluice
