#include "runtime/cuda/device_state.h"

#include <cstring>

#include "base/checked.h"
#include "runtime/rope_state.h"

namespace sluice {
namespace {

// k, v, and the side channels of attention and feed-forward.
constexpr int64_t kRegionsPerLayer = 4;

int64_t num_variants(const RopeSpec& rope) {
  return static_cast<int64_t>(rope.variants.size()) + rope.num_dynamic_variants;
}

// A section of the device's copy, as long as the host's.
template <class T>
void place(const sluice_step_layout& layout, const uint8_t* message, int section,
           std::span<const T>* span) {
  if (layout.offset[section] < 0) return;
  *span = {reinterpret_cast<const T*>(message + layout.offset[section]), span->size()};
}

}  // namespace

DeviceState::DeviceState(const EnginePlan& plan, const CudaDevice& device, const KvCache& kv,
                         AllocationCounter* counter)
    : layout_(plan.layout),
      exec_(device.exec()),
      arena_(bytes(plan, plan.message_bytes),
             "resident state (remedy: a lower max_sequences, max_context_len or max_step_tokens)",
             counter, plan.space()),
      angles_(plan.spec.ropes.size()) {
  const StepLimits& limits = plan.rules.limits;
  message_ = arena_.allocate_array<uint8_t>(plan.message_bytes);
  output_area_ = arena_.allocate_array<uint8_t>(layout_.output_bytes);
  output_ = view_output(layout_, output_area_);
  tables_.num_groups = limits.num_kv_groups;
  tables_.max_sequences = limits.max_sequences;
  tables_.max_blocks = limits.max_blocks_per_sequence;
  const int64_t entries = tables_.max_sequences * tables_.max_blocks;
  tables_.blocks = arena_.allocate_array<int32_t>(tables_.num_groups * entries);
  cuda_fill(exec_, tables_.blocks, 0xff, tables_.num_groups * entries * 4);  // -1
  for (int64_t group = 0; group < tables_.num_groups; ++group) {
    block_tables_.push_back(tables_.blocks + group * entries);
  }
  tables_.last_token = arena_.allocate_array<int32_t>(limits.max_sequences);
  previous_tokens_ = arena_.allocate_array<int32_t>(limits.max_step_outputs);
  if (plan.options.penalties) {
    counts_ = cuda::DeviceTokenCounts(exec_, static_cast<int32_t>(limits.max_sequences),
                                      static_cast<int32_t>(limits.vocab_size),
                                      limits.max_context_len, counter);
  }
  make_ropes(plan.spec.ropes);
  list_regions(kv);
  device.synchronize();
  uploads_.clear();
}

int64_t DeviceState::bytes(const EnginePlan& plan, int64_t message_bytes) {
  const StepLimits& limits = plan.rules.limits;
  int64_t bytes = checked_add(arena_bytes(message_bytes), arena_bytes(plan.layout.output_bytes));
  const auto add = [&bytes](int64_t count, int64_t size) {
    bytes = checked_add(bytes, arena_bytes(checked_mul(count, size)));
  };
  add(checked_mul(limits.num_kv_groups, limits.max_sequences), limits.max_blocks_per_sequence * 4);
  add(limits.max_sequences, 4);
  add(limits.max_step_outputs, 4);
  for (const RopeSpec& rope : plan.spec.ropes) {
    add(num_variants(rope) * (rope.rotary_dim / 2), sizeof(double));
    add(num_variants(rope), sizeof(RopeVariantView));
  }
  add(static_cast<int64_t>(plan.spec.ropes.size()), sizeof(cuda::RopeUpdateParams::Target));
  add(static_cast<int64_t>(plan.spec.layers.size()) * kRegionsPerLayer, sizeof(cuda::BlockRegion));
  add(limits.num_kv_groups + 1, 4);
  return bytes;
}

template <class T>
T* DeviceState::upload(const std::vector<T>& values) {
  const auto count = static_cast<int64_t>(values.size());
  T* to = arena_.allocate_array<T>(count);
  uploads_.emplace_back(values.size() * sizeof(T));
  if (count > 0) std::memcpy(uploads_.back().data(), values.data(), values.size() * sizeof(T));
  cuda_copy(exec_, to, uploads_.back().data(), count * static_cast<int64_t>(sizeof(T)));
  return to;
}

void DeviceState::make_ropes(const std::vector<RopeSpec>& ropes) {
  std::vector<cuda::RopeUpdateParams::Target> targets;
  for (const RopeSpec& spec : ropes) {
    const int32_t pairs = spec.rotary_dim / 2;
    Rope rope;
    rope.rotary_dim = spec.rotary_dim;
    rope.interleaved = spec.interleaved;
    rope.num_variants = static_cast<int32_t>(num_variants(spec));
    std::vector<double> inv_freq(static_cast<size_t>(rope.num_variants) * pairs);
    for (size_t v = 0; v < spec.variants.size(); ++v) {
      std::copy(spec.variants[v].inv_freq.begin(), spec.variants[v].inv_freq.end(),
                inv_freq.begin() + static_cast<int64_t>(v) * pairs);
    }
    rope.inv_freq = upload(inv_freq);
    std::vector<RopeVariantView> variants(static_cast<size_t>(rope.num_variants));
    for (size_t v = 0; v < variants.size(); ++v) {
      variants[v].inv_freq = rope.inv_freq + static_cast<int64_t>(v) * pairs;
      if (v < spec.variants.size()) {
        variants[v].attention_scale = spec.variants[v].attention_scale;
      }
    }
    rope.variants = upload(variants);
    targets.push_back({rope.inv_freq, rope.variants, pairs});
    ropes_.push_back(rope);
  }
  rope_targets_ = upload(targets);
}

void DeviceState::list_regions(const KvCache& kv) {
  std::vector<cuda::BlockRegion> regions;
  std::vector<int32_t> begin = {0};
  for (int group = 0; group < kv.num_groups(); ++group) {
    for (const int layer : kv.layers_of(group)) {
      const LayerState& state = kv.layers()[static_cast<size_t>(layer)];
      const auto add = [&](void* data, int64_t block_bytes) {
        if (block_bytes > 0) regions.push_back({static_cast<std::byte*>(data), block_bytes});
      };
      add(state.kv.k, state.kv.k_block_stride);
      add(state.kv.v, state.kv.v_block_stride);
      for (const SideChannelView* channel :
           {&state.attention_channel, &state.feed_forward_channel}) {
        add(channel->data, channel->bytes_per_token * channel->block_size);
      }
    }
    begin.push_back(static_cast<int32_t>(regions.size()));
    block_ops_.max_regions =
        std::max<int64_t>(block_ops_.max_regions, begin.back() - begin[begin.size() - 2]);
  }
  block_ops_.regions = upload(regions);
  block_ops_.region_begin = upload(begin);
}

StepInput DeviceState::view(const StepInput& step) const {
  StepInput view = step;
  view.header = reinterpret_cast<const sluice_step_header*>(message_);
  place(layout_, message_, SLUICE_SECTION_TOKEN_ID, &view.token_id);
  place(layout_, message_, SLUICE_SECTION_TOKEN_POSITION, &view.position);
  place(layout_, message_, SLUICE_SECTION_TOKEN_KV_SLOT, &view.kv_slot);
  place(layout_, message_, SLUICE_SECTION_SEQ_SLOT, &view.seq_slot);
  place(layout_, message_, SLUICE_SECTION_QUERY_START, &view.query_start);
  place(layout_, message_, SLUICE_SECTION_CONTEXT_LEN, &view.context_len);
  place(layout_, message_, SLUICE_SECTION_ADAPTER, &view.adapter);
  place(layout_, message_, SLUICE_SECTION_ROPE_VARIANT, &view.rope_variant);
  place(layout_, message_, SLUICE_SECTION_STATE_OP, &view.state_op);
  place(layout_, message_, SLUICE_SECTION_BLOCK_UPDATE, &view.block_update);
  place(layout_, message_, SLUICE_SECTION_COUNT_UPDATE, &view.count_update);
  place(layout_, message_, SLUICE_SECTION_OUTPUT_ROW, &view.output_row);
  place(layout_, message_, SLUICE_SECTION_LOGIT_BIAS, &view.logit_bias);
  place(layout_, message_, SLUICE_SECTION_TARGET, &view.target);
  place(layout_, message_, SLUICE_SECTION_MASK, &view.mask);
  place(layout_, message_, SLUICE_SECTION_ROPE_UPDATE, &view.rope_update);
  place(layout_, message_, SLUICE_SECTION_ROPE_INV_FREQ, &view.rope_inv_freq);
  return view;
}

void DeviceState::apply(const StepInput& step) {
  if (!step.state_op.empty()) {
    const auto count = static_cast<int64_t>(step.state_op.size());
    cuda::BlockOpsParams blocks = block_ops_;
    blocks.ops = step.state_op.data();
    blocks.num_ops = count;
    cuda::block_ops(exec_, blocks);
    cuda::sequence_ops(exec_, tables_, step.state_op.data(), count);
    if (counts().places != nullptr) {
      counts_.apply(exec_, step.state_op.data(), static_cast<int32_t>(count));
    }
  }
  cuda::block_updates(exec_, tables_, step.block_update.data(),
                      static_cast<int64_t>(step.block_update.size()));
  if (!step.count_update.empty()) {
    counts_.add(exec_, step.count_update.data(), static_cast<int32_t>(step.count_update.size()));
  }
  cuda::RopeUpdateParams ropes;
  ropes.updates = step.rope_update.data();
  ropes.num_updates = static_cast<int64_t>(step.rope_update.size());
  ropes.inv_freq = step.rope_inv_freq.data();
  ropes.ropes = rope_targets_;
  cuda::rope_updates(exec_, ropes);
}

std::span<const RopeAngles> DeviceState::make_angles(const Exec& exec, const StepBatch& batch,
                                                     const int32_t* rope_variant,
                                                     Arena& workspace) {
  for (size_t r = 0; r < ropes_.size(); ++r) {
    const Rope& rope = ropes_[r];
    const RopeTable table{rope.rotary_dim, rope.interleaved, rope.variants, rope.num_variants};
    angles_[r] = sluice::make_angles(exec, batch, table, rope_variant + r,
                                     static_cast<int64_t>(ropes_.size()), workspace);
  }
  return angles_;
}

}  // namespace sluice
