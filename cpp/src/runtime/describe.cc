// What a plan tells the outside: EngineInfo, WeightSlotList, kernels.
#include <algorithm>
#include <variant>

#include "base/error.h"
#include "model/proto_message.h"
#include "runtime/device_runner.h"
#include "runtime/plan.h"
#include "runtime/weight_source.h"

namespace sluice {
namespace {

Sluice__Proto__WeightPart* describe_part(const WeightSlot& slot, const WeightPart& part,
                                         int num_ranks, ProtoArena* arena) {
  auto* message = arena->make(sluice__proto__weight_part__init);
  message->has_part = 1;
  message->part = part.part;
  std::vector<uint64_t> shape = {static_cast<uint64_t>(part.global_rows)};
  if (!slot.is_vector) shape.push_back(static_cast<uint64_t>(slot.global_cols));
  message->n_shape = shape.size();
  message->shape = arena->array(shape);
  message->has_shard_axis = 1;
  // What cannot be shared is whole on every rank.
  const bool whole =
      num_ranks > 1 && part.rows == part.global_rows && slot.cols == slot.global_cols;
  message->shard_axis =
      static_cast<Sluice__Proto__ShardAxis>(whole ? ShardAxis::kReplicated : part.axis);
  if (!whole && part.axis == ShardAxis::kRows && part.rows > 0) {
    const int64_t pieces = part.global_rows / part.rows;
    message->has_replication = 1;
    message->replication = static_cast<uint32_t>(std::max<int64_t>(1, num_ranks / pieces));
  }
  return message;
}

Sluice__Proto__WeightSlot* describe_slot(const WeightSlot& slot, int num_ranks, ProtoArena* arena) {
  auto* message = arena->make(sluice__proto__weight_slot__init);
  message->has_slot = 1;
  message->slot = slot.slot;
  message->has_layer = 1;
  message->layer = slot.layer;
  message->has_head = 1;
  message->head = static_cast<uint32_t>(slot.head);
  message->has_num_experts = 1;
  message->num_experts = static_cast<uint32_t>(slot.num_experts);
  std::vector<Sluice__Proto__WeightPart*> parts;
  for (const WeightPart& part : slot.parts) {
    parts.push_back(describe_part(slot, part, num_ranks, arena));
  }
  message->n_parts = parts.size();
  message->parts = arena->array(parts);
  std::vector<Sluice__Proto__Format> formats;
  for (const Format format : weight_formats()) {
    if (slot.is_vector && format == Format::kMxfp4Split) continue;  // vectors have no scales
    formats.push_back(static_cast<Sluice__Proto__Format>(format));
  }
  message->n_accepted_formats = formats.size();
  message->accepted_formats = arena->array(formats);
  message->has_stored_format = 1;
  message->stored_format = static_cast<Sluice__Proto__Format>(slot.format);
  message->has_stored_bytes = 1;
  message->stored_bytes = static_cast<uint64_t>(slot.stored_bytes);
  std::vector<char*> derived;
  for (const std::string& name : slot.derived) derived.push_back(arena->text(name));
  message->n_derived = derived.size();
  message->derived = arena->array(derived);
  return message;
}

Sluice__Proto__KvGroupInfo* describe_group(const EnginePlan& plan, size_t g, ProtoArena* arena) {
  auto* message = arena->make(sluice__proto__kv_group_info__init);
  message->has_num_layers = 1;
  message->num_layers = static_cast<uint32_t>(plan.kv_groups[g].num_layers);
  message->has_block_size = 1;
  message->block_size = static_cast<uint32_t>(plan.options.block_size);
  message->has_bytes_per_block = 1;
  message->bytes_per_block = static_cast<uint64_t>(plan.kv_groups[g].bytes_per_block);
  message->has_num_blocks = 1;
  message->num_blocks = static_cast<uint64_t>(plan.kv_groups[g].num_blocks);
  message->has_window = 1;
  message->window = static_cast<uint32_t>(plan.spec.kv_groups[g].window);
  message->has_retention = 1;
  message->retention = static_cast<uint32_t>(plan.spec.kv_groups[g].retention);
  std::vector<Sluice__Proto__SideChannel*> channels;
  for (const KvGroupPlan::Channel& channel : plan.kv_groups[g].channels) {
    auto* described = arena->make(sluice__proto__side_channel__init);
    described->name = arena->text(channel.shape.name);
    described->has_format = 1;
    described->format = static_cast<Sluice__Proto__Format>(channel.shape.format);
    described->has_values_per_token = 1;
    described->values_per_token = static_cast<uint32_t>(channel.shape.values_per_token);
    described->has_num_layers = 1;
    described->num_layers = static_cast<uint32_t>(channel.num_layers);
    channels.push_back(described);
  }
  message->n_side_channels = channels.size();
  message->side_channels = arena->array(channels);
  return message;
}

}  // namespace

std::vector<KernelUse> kernel_uses(const EnginePlan& plan) {
  if constexpr (kCudaBuilt) {
    if (plan.on_device()) return device_kernel_uses(plan);
  }
  const std::string isa(isa_name(plan.exec.isa));
  const std::string reason =
      plan.options.isa.empty() ? "best that the processor has" : "asked for by the option isa";
  std::vector<KernelUse> uses = {{"attention", isa, reason},
                                 {"norm", isa, reason},
                                 {"rope", isa, reason},
                                 {"activation", isa, reason},
                                 {"sampling", isa, reason}};
  const RankPlan& rank = plan.ranks[0];
  const WeightStore store(rank.slots);
  GemmParams params;
  params.w = store.matrix(SLUICE__PROTO__SLOT__O, 0);  // every attention kind has one
  params.x_format = plan.options.compute_format;
  params.x_stride = params.w.cols;
  params.y_stride = params.w.rows;
  const std::string numerics =
      plan.options.numerics == Numerics::kFast ? "FAST" : "BATCH_INVARIANT";
  for (int64_t rows : {1, 16, 512}) {
    params.num_rows = rows;
    uses.push_back({concat("gemm, ", rows, rows == 1 ? " row" : " rows"),
                    rank.gemm->variant(plan.exec, params), "numerics " + numerics});
  }
  const bool experts = std::any_of(
      plan.spec.layers.begin(), plan.spec.layers.end(),
      [](const LayerSpec& layer) { return std::holds_alternative<MoeSpec>(layer.feed_forward); });
  if (experts) uses.push_back({"grouped_gemm", "panel_" + isa, "the kernel of any number of rows"});
  return uses;
}

std::vector<KernelUse> kernels_launched(const std::vector<KernelLog::Entry>& before,
                                        const std::vector<KernelLog::Entry>& after) {
  std::vector<KernelUse> uses;
  for (const KernelLog::Entry& entry : KernelLog::since(before, after)) {
    uses.push_back({entry.op, entry.variant,
                    concat(entry.launches, entry.launches == 1 ? " launch" : " launches")});
  }
  return uses;
}

std::vector<KernelUse> with_launched(const std::vector<KernelUse>& chosen,
                                     const std::vector<KernelLog::Entry>& log) {
  std::vector<KernelUse> uses = kernels_launched({}, log);
  // "gemm, 16 rows" is of the op "gemm".
  const auto launched = [&](const KernelUse& use) {
    return std::any_of(log.begin(), log.end(), [&](const KernelLog::Entry& entry) {
      return use.op.substr(0, use.op.find(',')) == entry.op;
    });
  };
  for (const KernelUse& use : chosen) {
    if (!launched(use)) uses.push_back(use);
  }
  return uses;
}

std::vector<uint8_t> make_engine_info(const EnginePlan& plan, const std::vector<KernelUse>& uses,
                                      bool graphs_refused) {
  ProtoArena arena;
  auto* info = arena.make(sluice__proto__engine_info__init);
  std::vector<Sluice__Proto__KvGroupInfo*> groups;
  for (size_t g = 0; g < plan.kv_groups.size(); ++g) {
    groups.push_back(describe_group(plan, g, &arena));
  }
  info->n_kv_groups = groups.size();
  info->kv_groups = arena.array(groups);
  info->has_weight_bytes = 1;
  info->weight_bytes = static_cast<uint64_t>(plan.weight_bytes);
  info->has_kv_cache_bytes = 1;
  info->kv_cache_bytes = static_cast<uint64_t>(plan.kv_bytes);
  info->has_workspace_bytes = 1;
  info->workspace_bytes = static_cast<uint64_t>(plan.workspace_bytes());
  info->has_host_bytes = 1;
  info->host_bytes = static_cast<uint64_t>(plan.host_bytes());
  info->has_adapter_bytes = 1;
  std::vector<Sluice__Proto__KernelChoice*> kernels;
  for (const KernelUse& use : uses) {
    auto* kernel = arena.make(sluice__proto__kernel_choice__init);
    kernel->op = arena.text(use.op);
    kernel->variant = arena.text(use.variant);
    kernel->reason = arena.text(use.reason);
    kernels.push_back(kernel);
  }
  info->n_kernels = kernels.size();
  info->kernels = arena.array(kernels);
  info->has_graphs_refused = 1;
  info->graphs_refused = graphs_refused;
  info->has_num_parameters = 1;
  info->num_parameters = static_cast<uint64_t>(plan.num_parameters);
  return pack_message(info->base);
}

std::vector<uint8_t> make_weight_slots(const EnginePlan& plan) {
  ProtoArena arena;
  auto* list = arena.make(sluice__proto__weight_slot_list__init);
  std::vector<Sluice__Proto__WeightSlot*> slots;
  const RankPlan& rank = plan.ranks[0];
  for (const WeightSlot& slot : rank.slots) {
    slots.push_back(describe_slot(slot, rank.shard.size, &arena));
  }
  list->n_slots = slots.size();
  list->slots = arena.array(slots);
  return pack_message(list->base);
}

}  // namespace sluice
