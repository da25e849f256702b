// Attention kinds, norms and activations of a ModelSpec.
#include "model/spec_decode.h"

namespace sluice {

// The ops number their kinds as the schema does.
static_assert(static_cast<int>(NormKind::kLayerNorm) == SLUICE__PROTO__NORM_KIND__LAYER_NORM);
static_assert(static_cast<int>(ActivationKind::kSigmoid) == SLUICE__PROTO__ACTIVATION__SIGMOID);
static_assert(static_cast<int>(AdaptiveKind::kBlockTopK) ==
              SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK);

NormSpec decode_norm(const Sluice__Proto__NormSpec& norm, const FieldReader& fields) {
  fields.require("kind", norm.has_kind);
  fields.require("eps", norm.has_eps);
  NormSpec spec;
  spec.kind = static_cast<NormKind>(norm.kind);
  spec.eps = fields.not_negative("eps", norm.eps);
  switch (norm.scope) {
    case SLUICE__PROTO__NORM_SCOPE__PER_HEAD:
      spec.scope = NormScope::kPerHead;
      break;
    case SLUICE__PROTO__NORM_SCOPE__PER_HEAD_OWN_WEIGHTS:
      spec.scope = NormScope::kPerHeadOwnWeights;
      break;
    default:
      spec.scope = NormScope::kWholeRow;
  }
  spec.weight_offset = static_cast<float>(fields.finite("weight_offset", norm.weight_offset));
  spec.has_weight = norm.has_weight;
  spec.has_bias = norm.has_bias;
  return spec;
}

// A norm over rows of the hidden state.
std::optional<NormSpec> decode_row_norm(const Sluice__Proto__NormSpec* norm, const char* name,
                                        const FieldReader& fields) {
  if (norm == nullptr) return std::nullopt;
  const NormSpec spec = decode_norm(*norm, fields.child(name));
  SLUICE_CHECK_ARG(spec.scope == NormScope::kWholeRow, fields.name(name),
                   ".scope: per head (expected: WHOLE_ROW, the hidden state has no heads)");
  return spec;
}

std::optional<NormSpec> decode_head_norm(const Sluice__Proto__NormSpec* norm, const char* name,
                                         const FieldReader& fields) {
  if (norm == nullptr) return std::nullopt;
  return decode_norm(*norm, fields.child(name));
}

ActivationSpec decode_activation(const Sluice__Proto__ActivationSpec* activation,
                                 const FieldReader& parent) {
  parent.require("activation", activation != nullptr);
  const FieldReader fields = parent.child("activation");
  fields.require("kind", activation->has_kind);
  ActivationSpec spec;
  spec.kind = static_cast<ActivationKind>(activation->kind);
  if (spec.kind == ActivationKind::kClampedSwiglu) {
    fields.require("limit", activation->has_limit);
    spec.alpha = static_cast<float>(fields.finite("alpha", activation->alpha));
    spec.beta = static_cast<float>(fields.finite("beta", activation->beta));
    spec.limit = static_cast<float>(fields.positive("limit", activation->limit));
  } else {
    SLUICE_CHECK_ARG(activation->alpha == 1 && activation->beta == 0 && !activation->has_limit,
                     fields.name("alpha"),
                     ", beta, limit: set (expected: absent, only CLAMPED_SWIGLU has them)");
  }
  return spec;
}

GqaSpec decode_gqa(const Sluice__Proto__GqaSpec& gqa, const FieldReader& fields,
                   const ModelSpec& model) {
  GqaSpec spec;
  spec.num_q_heads = static_cast<int32_t>(
      fields.required("num_q_heads", gqa.has_num_q_heads, gqa.num_q_heads, 1, kMaxHeads));
  spec.num_kv_heads = static_cast<int32_t>(
      fields.required("num_kv_heads", gqa.has_num_kv_heads, gqa.num_kv_heads, 1, kMaxHeads));
  SLUICE_CHECK_ARG(spec.num_q_heads % spec.num_kv_heads == 0, fields.name("num_kv_heads"), ": ",
                   spec.num_kv_heads, " (expected: a divisor of num_q_heads, ", spec.num_q_heads,
                   ")");
  spec.head_dim = static_cast<int32_t>(
      fields.required("head_dim", gqa.has_head_dim, gqa.head_dim, 1, kMaxHeadDim));
  fields.unsupported_if(spec.head_dim > kBuiltHeadDim, "head_dim", "1 to 256");
  fields.unsupported_if(gqa.has_v_head_dim && gqa.v_head_dim != gqa.head_dim, "v_head_dim",
                        "equal to head_dim");
  spec.rope = static_cast<int32_t>(
      fields.integer("rope", gqa.rope, -1, static_cast<int64_t>(model.ropes.size()) - 1));
  if (spec.rope >= 0) {
    SLUICE_CHECK_ARG(model.ropes[spec.rope].rotary_dim <= spec.head_dim, fields.name("rope"), ": ",
                     spec.rope, ", whose rotary_dim is ", model.ropes[spec.rope].rotary_dim,
                     " (expected: at most head_dim, ", spec.head_dim, ")");
  }
  fields.require("softmax_scale", gqa.has_softmax_scale);
  spec.softmax_scale = static_cast<float>(fields.positive("softmax_scale", gqa.softmax_scale));
  spec.logit_soft_cap =
      static_cast<float>(fields.not_negative("logit_soft_cap", gqa.logit_soft_cap));
  spec.q_bias = gqa.q_bias;
  spec.k_bias = gqa.k_bias;
  spec.v_bias = gqa.v_bias;
  spec.o_bias = gqa.o_bias;
  spec.q_norm = decode_head_norm(gqa.q_norm, "q_norm", fields);
  spec.k_norm = decode_head_norm(gqa.k_norm, "k_norm", fields);
  spec.norm_after_rope = gqa.norm_after_rope;
  spec.sinks = gqa.sinks;
  spec.qkv_clamp = static_cast<float>(fields.not_negative("qkv_clamp", gqa.qkv_clamp));
  spec.output_gate = gqa.output_gate;
  fields.unsupported_if(gqa.temperature_floor != 0 || gqa.temperature_scale != 0,
                        "temperature_scale", "0, no temperature by position");
  fields.unsupported_if(!gqa.causal, "causal", "true");
  return spec;
}

MlaSpec decode_mla(const Sluice__Proto__MlaSpec& mla, const FieldReader& fields,
                   const ModelSpec& model) {
  const auto dim = [&](const char* field, bool present, uint32_t value) {
    return static_cast<int32_t>(fields.required(field, present, value, 1, kMaxHeadDim));
  };
  MlaSpec spec;
  spec.num_q_heads = static_cast<int32_t>(
      fields.required("num_q_heads", mla.has_num_q_heads, mla.num_q_heads, 1, kMaxHeads));
  spec.q_lora_rank =
      static_cast<int32_t>(fields.integer("q_lora_rank", mla.q_lora_rank, 0, kMaxHeadDim));
  spec.kv_lora_rank = dim("kv_lora_rank", mla.has_kv_lora_rank, mla.kv_lora_rank);
  spec.qk_nope_head_dim = dim("qk_nope_head_dim", mla.has_qk_nope_head_dim, mla.qk_nope_head_dim);
  spec.qk_rope_head_dim = dim("qk_rope_head_dim", mla.has_qk_rope_head_dim, mla.qk_rope_head_dim);
  spec.v_head_dim = dim("v_head_dim", mla.has_v_head_dim, mla.v_head_dim);
  spec.rope = static_cast<int32_t>(
      fields.integer("rope", mla.rope, 0, static_cast<int64_t>(model.ropes.size()) - 1));
  SLUICE_CHECK_ARG(model.ropes[spec.rope].rotary_dim == spec.qk_rope_head_dim, fields.name("rope"),
                   ": ", spec.rope, ", whose rotary_dim is ", model.ropes[spec.rope].rotary_dim,
                   " (expected: qk_rope_head_dim, ", spec.qk_rope_head_dim, ")");
  fields.require("softmax_scale", mla.has_softmax_scale);
  spec.softmax_scale = static_cast<float>(fields.positive("softmax_scale", mla.softmax_scale));
  spec.q_a_norm = decode_row_norm(mla.q_a_norm, "q_a_norm", fields);
  SLUICE_CHECK_ARG(spec.q_lora_rank > 0 || !spec.q_a_norm, fields.name("q_a_norm"),
                   ": set (expected: absent, q_lora_rank is 0)");
  spec.kv_a_norm = decode_row_norm(mla.kv_a_norm, "kv_a_norm", fields);
  // The schema has no slots for such biases.
  fields.unsupported_if(spec.q_a_norm && spec.q_a_norm->has_bias, "q_a_norm.has_bias", "false");
  fields.unsupported_if(spec.kv_a_norm && spec.kv_a_norm->has_bias, "kv_a_norm.has_bias", "false");
  SLUICE_CHECK(spec.latent_size() <= kBuiltLatentSize, SLUICE_STATUS_UNSUPPORTED,
               fields.name("kv_lora_rank"), ": ", spec.kv_lora_rank, " and qk_rope_head_dim ",
               spec.qk_rope_head_dim, " (built: together at most ", kBuiltLatentSize, ")");
  spec.bias = mla.bias;
  fields.unsupported_if(mla.indexer != nullptr, "indexer", "none, every key is attended");
  return spec;
}

AdaptiveSpec decode_adaptive(const Sluice__Proto__AdaptiveAttentionSpec& adaptive,
                             const FieldReader& fields) {
  fields.require("kind", adaptive.has_kind);
  AdaptiveSpec spec;
  spec.kind = static_cast<AdaptiveKind>(adaptive.kind);
  spec.num_q_heads = static_cast<int32_t>(
      fields.required("num_q_heads", adaptive.has_num_q_heads, adaptive.num_q_heads, 1, kMaxHeads));
  spec.head_dim = static_cast<int32_t>(
      fields.required("head_dim", adaptive.has_head_dim, adaptive.head_dim, 1, kMaxHeadDim));
  fields.unsupported_if(spec.head_dim > kBuiltHeadDim, "head_dim", "1 to 256");
  fields.require("softmax_scale", adaptive.has_softmax_scale);
  spec.softmax_scale = static_cast<float>(fields.positive("softmax_scale", adaptive.softmax_scale));
  spec.relative_positions =
      static_cast<int32_t>(fields.required("relative_positions", adaptive.has_relative_positions,
                                           adaptive.relative_positions, 1, kMaxContext));
  spec.qkv_bias = adaptive.qkv_bias;
  spec.o_bias = adaptive.o_bias;
  spec.sparse_gate = adaptive.sparse_gate;
  spec.sparse_gate_threshold =
      static_cast<float>(fields.finite("sparse_gate_threshold", adaptive.sparse_gate_threshold));

  // What a kind needs is required; what it does not use is refused, since it would be ignored.
  const auto size = [&](const char* field, bool present, uint32_t value, bool used, int64_t lowest,
                        int64_t highest) {
    SLUICE_CHECK_ARG(used || !present, fields.name(field), ": ", value,
                     " (expected: absent, the layer's kind does not use it)");
    return used ? static_cast<int32_t>(fields.required(field, present, value, lowest, highest)) : 0;
  };
  const AdaptiveKind kind = spec.kind;
  const bool blocks = kind == AdaptiveKind::kBlockSparse || kind == AdaptiveKind::kBlockTopK;
  const bool sparse = kind == AdaptiveKind::kBlockSparse;
  const bool density = kind == AdaptiveKind::kDensity;
  spec.window = size("window", adaptive.has_window, adaptive.window,
                     density || kind == AdaptiveKind::kSlidingWindow, 1, kMaxContext);
  spec.top_k = size("top_k", adaptive.has_top_k, adaptive.top_k, kind == AdaptiveKind::kTopK, 1,
                    kMaxContext);
  SLUICE_CHECK_ARG(density || !adaptive.has_density_threshold, fields.name("density_threshold"),
                   ": ", adaptive.density_threshold,
                   " (expected: absent, the layer's kind does not use it)");
  if (density) {
    fields.require("density_threshold", adaptive.has_density_threshold);
    spec.density_threshold =
        static_cast<float>(fields.finite("density_threshold", adaptive.density_threshold));
  }
  spec.sparse_block_size = size("sparse_block_size", adaptive.has_sparse_block_size,
                                adaptive.sparse_block_size, blocks, 1, kMaxContext);
  spec.num_global_blocks = size("num_global_blocks", adaptive.has_num_global_blocks,
                                adaptive.num_global_blocks, sparse, 0, kMaxContext);
  spec.num_local_blocks = size("num_local_blocks", adaptive.has_num_local_blocks,
                               adaptive.num_local_blocks, sparse, 1, kMaxContext);
  spec.num_random_blocks = size("num_random_blocks", adaptive.has_num_random_blocks,
                                adaptive.num_random_blocks, sparse, 0, kMaxContext);
  SLUICE_CHECK_ARG(sparse || !adaptive.has_random_block_seed, fields.name("random_block_seed"),
                   ": ", adaptive.random_block_seed,
                   " (expected: absent, the layer's kind does not use it)");
  spec.random_block_seed = adaptive.random_block_seed;
  spec.block_keep_percent =
      size("block_keep_percent", adaptive.has_block_keep_percent, adaptive.block_keep_percent,
           kind == AdaptiveKind::kBlockTopK, 0, 100);
  return spec;
}

}  // namespace sluice
