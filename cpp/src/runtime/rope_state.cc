#include "runtime/rope_state.h"

#include <algorithm>

namespace sluice {

RopeState::RopeState(const std::vector<RopeSpec>& ropes) : angles_(ropes.size()) {
  for (const RopeSpec& spec : ropes) {
    Rope rope;
    rope.rotary_dim = spec.rotary_dim;
    rope.interleaved = spec.interleaved;
    const size_t pairs = static_cast<size_t>(spec.rotary_dim) / 2;
    const size_t variants = spec.variants.size() + spec.num_dynamic_variants;
    rope.inv_freq.resize(variants * pairs);
    rope.variants.resize(variants);
    for (size_t v = 0; v < variants; ++v) {
      double* inv_freq = rope.inv_freq.data() + v * pairs;
      rope.variants[v].inv_freq = inv_freq;
      if (v >= spec.variants.size()) continue;
      std::copy(spec.variants[v].inv_freq.begin(), spec.variants[v].inv_freq.end(), inv_freq);
      rope.variants[v].attention_scale = spec.variants[v].attention_scale;
    }
    ropes_.push_back(std::move(rope));
  }
}

void RopeState::apply(const StepInput& step) {
  for (const sluice_rope_update& update : step.rope_update) {
    Rope& rope = ropes_[update.rope];
    const int64_t pairs = rope.rotary_dim / 2;
    std::copy_n(step.rope_inv_freq.begin() + update.inv_freq_begin, pairs,
                rope.inv_freq.begin() + update.variant * pairs);
    rope.variants[update.variant].attention_scale = update.attention_scale;
  }
}

int64_t RopeState::bytes(const std::vector<RopeSpec>& ropes) {
  int64_t bytes = 0;
  for (const RopeSpec& rope : ropes) {
    const int64_t variants = static_cast<int64_t>(rope.variants.size()) + rope.num_dynamic_variants;
    bytes += variants * (rope.rotary_dim / 2 * static_cast<int64_t>(sizeof(double)) +
                         static_cast<int64_t>(sizeof(RopeVariantView)));
  }
  return bytes;
}

int64_t RopeState::workspace_bytes(const std::vector<RopeSpec>& ropes, int64_t max_tokens) {
  int64_t bytes = 0;
  for (const RopeSpec& rope : ropes) {
    bytes += 2 * arena_bytes(max_tokens * (rope.rotary_dim / 2) * 4);
  }
  return bytes;
}

RopeAngles make_angles(const Exec& exec, const StepBatch& batch, const RopeTable& rope,
                       const int32_t* variant, int64_t variant_stride, Arena& workspace) {
  const int64_t values = batch.num_tokens * (rope.rotary_dim / 2);
  RopeTableParams params;
  params.num_tokens = batch.num_tokens;
  params.rotary_dim = rope.rotary_dim;
  params.positions = batch.positions;
  params.num_sequences = batch.num_sequences;
  params.query_start = batch.query_start;
  params.variant = variant;
  params.variant_stride = variant_stride;
  params.variants = rope.variants;
  params.num_variants = rope.num_variants;
  params.cos = workspace.allocate_array<float>(values);
  params.sin = workspace.allocate_array<float>(values);
  rope_table(exec, params);
  return {rope.rotary_dim, rope.interleaved, params.cos, params.sin};
}

std::span<const RopeAngles> RopeState::make_angles(const Exec& exec, const StepBatch& batch,
                                                   const int32_t* rope_variant, Arena& workspace) {
  for (size_t r = 0; r < ropes_.size(); ++r) {
    const Rope& rope = ropes_[r];
    const RopeTable table{rope.rotary_dim, rope.interleaved, rope.variants.data(),
                          static_cast<int32_t>(rope.variants.size())};
    angles_[r] = sluice::make_angles(exec, batch, table, rope_variant + r,
                                     static_cast<int64_t>(ropes_.size()), workspace);
  }
  return angles_;
}

}  // namespace sluice
