#include "model/spec.h"

#include <numeric>

#include "model/proto_message.h"
#include "model/spec_fields.h"

namespace sluice {
namespace {

// The ops number their kinds as the schema does.
static_assert(static_cast<int>(NormKind::kLayerNorm) == SLUICE__PROTO__NORM_KIND__LAYER_NORM);
static_assert(static_cast<int>(ActivationKind::kSigmoid) == SLUICE__PROTO__ACTIVATION__SIGMOID);

// Far above every known model, low enough that no product of a few of them overflows int64.
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 1 << 16;
constexpr int64_t kBuiltHeadDim = 256;  // what the KV cache's layout holds
constexpr int64_t kMaxContext = 1 << 27;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxGroups = 64;
constexpr int64_t kMaxVariants = 1024;

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
  fields.unsupported_if(gqa.qkv_clamp != 0, "qkv_clamp", "0, no clamp");
  fields.unsupported_if(gqa.sinks, "sinks", "false");
  fields.unsupported_if(gqa.output_gate, "output_gate", "false");
  fields.unsupported_if(gqa.temperature_floor != 0 || gqa.temperature_scale != 0,
                        "temperature_scale", "0, no temperature by position");
  fields.unsupported_if(!gqa.causal, "causal", "true");
  return spec;
}

DenseSpec decode_dense(const Sluice__Proto__DenseSpec& dense, const FieldReader& fields) {
  DenseSpec spec;
  spec.intermediate_size = static_cast<int32_t>(fields.required(
      "intermediate_size", dense.has_intermediate_size, dense.intermediate_size, 1, kMaxWidth));
  spec.activation = decode_activation(dense.activation, fields);
  spec.gated = dense.gated;
  SLUICE_CHECK_ARG(spec.gated || spec.activation.kind != ActivationKind::kClampedSwiglu,
                   fields.name("gated"), ": false (expected: true, CLAMPED_SWIGLU has a gate)");
  spec.gate_up_bias = dense.gate_up_bias;
  spec.down_bias = dense.down_bias;
  return spec;
}

LayerSpec decode_layer(const Sluice__Proto__LayerSpec& layer, const FieldReader& fields,
                       const ModelSpec& model) {
  LayerSpec spec;
  spec.attention_norm = decode_row_norm(layer.attention_norm, "attention_norm", fields);
  spec.post_attention_norm =
      decode_row_norm(layer.post_attention_norm, "post_attention_norm", fields);
  spec.feed_forward_norm = decode_row_norm(layer.feed_forward_norm, "feed_forward_norm", fields);
  spec.post_feed_forward_norm =
      decode_row_norm(layer.post_feed_forward_norm, "post_feed_forward_norm", fields);
  fields.unsupported_if(layer.parallel_residual, "parallel_residual", "false");
  spec.residual_multiplier = fields.finite("residual_multiplier", layer.residual_multiplier);
  spec.kv_group = static_cast<int32_t>(fields.integer(
      "kv_group", layer.kv_group, 0, static_cast<int64_t>(model.kv_groups.size()) - 1));
  switch (layer.attention_case) {
    case SLUICE__PROTO__LAYER_SPEC__ATTENTION_GQA:
      spec.attention = decode_gqa(*layer.gqa, fields.child("gqa"), model);
      break;
    case SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA:
      fields.unsupported_if(true, "mla", "gqa");
      break;
    case SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE:
      fields.unsupported_if(true, "adaptive", "gqa");
      break;
    default:
      SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, fields.name("attention"),
                  ": absent (expected: gqa, mla or adaptive)");
  }
  switch (layer.feed_forward_case) {
    case SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_DENSE:
      spec.feed_forward = decode_dense(*layer.dense, fields.child("dense"));
      break;
    case SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE:
      fields.unsupported_if(true, "moe", "dense");
      break;
    default:
      SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, fields.name("feed_forward"),
                  ": absent (expected: dense or moe)");
  }
  return spec;
}

RopeSpec decode_rope(const Sluice__Proto__RopeSpec& rope, const FieldReader& fields) {
  RopeSpec spec;
  spec.rotary_dim = static_cast<int32_t>(
      fields.required("rotary_dim", rope.has_rotary_dim, rope.rotary_dim, 2, kMaxHeadDim));
  SLUICE_CHECK_ARG(spec.rotary_dim % 2 == 0, fields.name("rotary_dim"), ": ", spec.rotary_dim,
                   " (expected: an even number)");
  spec.interleaved = rope.interleaved;
  fields.unsupported_if(rope.n_pair_dims > 0, "pair_dims", "one position dimension");
  fields.integer("variants", rope.n_variants, 0, kMaxVariants);
  for (size_t v = 0; v < rope.n_variants; ++v) {
    const Sluice__Proto__RopeVariant& variant = *rope.variants[v];
    const FieldReader inner = fields.child(indexed("variants", v));
    SLUICE_CHECK_ARG(variant.n_inv_freq == static_cast<size_t>(spec.rotary_dim) / 2,
                     inner.name("inv_freq"), ": ", variant.n_inv_freq,
                     " values (expected: ", spec.rotary_dim / 2, ", half of rotary_dim)");
    RopeVariant decoded;
    for (size_t i = 0; i < variant.n_inv_freq; ++i) {
      decoded.inv_freq.push_back(inner.finite(indexed("inv_freq", i).c_str(), variant.inv_freq[i]));
    }
    decoded.attention_scale = inner.finite("attention_scale", variant.attention_scale);
    spec.variants.push_back(std::move(decoded));
  }
  spec.num_dynamic_variants = static_cast<int32_t>(
      fields.integer("num_dynamic_variants", rope.num_dynamic_variants, 0, kMaxVariants));
  SLUICE_CHECK_ARG(spec.num_dynamic_variants > 0 || !spec.variants.empty(), fields.name("variants"),
                   ": none (expected: at least one)");
  return spec;
}

KvGroupSpec decode_kv_group(const Sluice__Proto__KvGroupSpec& group, const FieldReader& fields) {
  fields.unsupported_if(group.chunk != 0, "chunk", "0, no chunked attention");
  KvGroupSpec spec;
  spec.window = static_cast<int32_t>(fields.integer("window", group.window, 0, kMaxContext));
  spec.retention =
      static_cast<int32_t>(fields.integer("retention", group.retention, 0, kMaxContext));
  SLUICE_CHECK_ARG(spec.retention == 0 || (spec.window > 0 && spec.retention >= spec.window),
                   fields.name("retention"), ": ", spec.retention, " (expected: 0",
                   spec.window == 0 ? ", its layers see the whole sequence"
                                    : concat(", or at least the window, ", spec.window),
                   ")");
  return spec;
}

void decode_heads(const Sluice__Proto__ModelSpec& message, const FieldReader& fields,
                  ModelSpec* spec) {
  SLUICE_CHECK_ARG(message.n_heads > 0, "heads: none (expected: at least the generation head)");
  for (size_t h = 0; h < message.n_heads; ++h) {
    const Sluice__Proto__HeadSpec& head = *message.heads[h];
    const FieldReader inner = fields.child(indexed("heads", h));
    inner.require("kind", head.has_kind);
    inner.unsupported_if(head.kind != SLUICE__PROTO__HEAD_KIND__GENERATION, "kind", "GENERATION");
    SLUICE_CHECK(h == 0, SLUICE_STATUS_UNSUPPORTED, inner.name("kind"),
                 ": a second generation head is not built (built: one)");
    inner.unsupported_if(head.activation != nullptr, "activation", "none");
    inner.unsupported_if(head.has_num_labels, "num_labels", "absent");
  }
  const Sluice__Proto__HeadSpec& head = *message.heads[0];
  const FieldReader inner = fields.child("heads[0]");
  spec->head.tied = head.tied;
  spec->head.bias = head.bias;
  spec->head.logit_soft_cap =
      static_cast<float>(inner.not_negative("logit_soft_cap", head.logit_soft_cap));
  spec->head.logit_multiplier =
      static_cast<float>(inner.finite("logit_multiplier", head.logit_multiplier));
}

}  // namespace

ModelSpec decode_model_spec(std::span<const uint8_t> bytes) {
  const auto message =
      unpack<Sluice__Proto__ModelSpec>(sluice__proto__model_spec__descriptor, bytes);
  const FieldReader fields;
  fields.require("spec_version", message->has_spec_version);
  SLUICE_CHECK(message->spec_version == 1, SLUICE_STATUS_UNSUPPORTED,
               "spec_version: ", message->spec_version, " (expected: 1)");
  ModelSpec spec;
  if (message->architecture != nullptr) spec.architecture = message->architecture;
  spec.vocab_size = static_cast<int32_t>(
      fields.required("vocab_size", message->has_vocab_size, message->vocab_size, 1, kMaxVocab));
  spec.hidden_size = static_cast<int32_t>(
      fields.required("hidden_size", message->has_hidden_size, message->hidden_size, 1, kMaxWidth));
  spec.max_context_len = static_cast<int32_t>(fields.required(
      "max_context_len", message->has_max_context_len, message->max_context_len, 1, kMaxContext));
  fields.unsupported_if(message->position_dims != 1, "position_dims", "1");
  spec.embedding_multiplier = fields.finite("embedding_multiplier", message->embedding_multiplier);
  spec.embedding_norm = decode_row_norm(message->embedding_norm, "embedding_norm", fields);
  fields.unsupported_if(message->compression != nullptr, "compression", "none");
  fields.unsupported_if(message->n_slot_formats > 0, "slot_formats",
                        "compute_format for every slot");

  fields.integer("ropes", message->n_ropes, 0, kMaxGroups);
  for (size_t i = 0; i < message->n_ropes; ++i) {
    spec.ropes.push_back(decode_rope(*message->ropes[i], fields.child(indexed("ropes", i))));
  }
  fields.integer("kv_groups", message->n_kv_groups, 1, kMaxGroups);
  for (size_t i = 0; i < message->n_kv_groups; ++i) {
    spec.kv_groups.push_back(
        decode_kv_group(*message->kv_groups[i], fields.child(indexed("kv_groups", i))));
  }
  fields.integer("layers", message->n_layers, 1, kMaxLayers);
  std::vector<bool> group_used(spec.kv_groups.size());
  for (size_t i = 0; i < message->n_layers; ++i) {
    spec.layers.push_back(
        decode_layer(*message->layers[i], fields.child(indexed("layers", i)), spec));
    group_used[spec.layers.back().kv_group] = true;
  }
  for (size_t g = 0; g < group_used.size(); ++g) {
    SLUICE_CHECK_ARG(group_used[g], indexed("kv_groups", g),
                     ": no layer refers to it (expected: every group in use)");
  }
  SLUICE_CHECK_ARG(message->final_norm != nullptr, "final_norm: absent (expected: a value)");
  spec.final_norm = *decode_row_norm(message->final_norm, "final_norm", fields);
  decode_heads(*message, fields, &spec);
  return spec;
}

}  // namespace sluice
