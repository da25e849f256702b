#include "model/spec.h"

#include <algorithm>

#include "model/spec_decode.h"

namespace sluice {
namespace {

static_assert(static_cast<int>(HeadKind::kValue) == SLUICE__PROTO__HEAD_KIND__VALUE);

LayerSpec decode_layer(const Sluice__Proto__LayerSpec& layer, const FieldReader& fields,
                       const ModelSpec& model) {
  LayerSpec spec;
  spec.attention_norm = decode_row_norm(layer.attention_norm, "attention_norm", fields);
  spec.post_attention_norm =
      decode_row_norm(layer.post_attention_norm, "post_attention_norm", fields);
  spec.feed_forward_norm = decode_row_norm(layer.feed_forward_norm, "feed_forward_norm", fields);
  spec.post_feed_forward_norm =
      decode_row_norm(layer.post_feed_forward_norm, "post_feed_forward_norm", fields);
  spec.parallel_residual = layer.parallel_residual;
  spec.residual_multiplier = fields.finite("residual_multiplier", layer.residual_multiplier);
  spec.kv_group = static_cast<int32_t>(fields.integer(
      "kv_group", layer.kv_group, 0, static_cast<int64_t>(model.kv_groups.size()) - 1));
  switch (layer.attention_case) {
    case SLUICE__PROTO__LAYER_SPEC__ATTENTION_GQA:
      spec.attention = decode_gqa(*layer.gqa, fields.child("gqa"), model);
      break;
    case SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA:
      spec.attention = decode_mla(*layer.mla, fields.child("mla"), model);
      break;
    case SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE:
      spec.attention = decode_adaptive(*layer.adaptive, fields.child("adaptive"));
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
      spec.feed_forward = decode_moe(*layer.moe, fields.child("moe"));
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
      fields.required("rotary_dim", rope.has_rotary_dim, rope.rotary_dim, 2, kMaxRotaryDim));
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
  return spec;
}

HeadSpec decode_head(const Sluice__Proto__HeadSpec& head, const FieldReader& fields) {
  fields.require("kind", head.has_kind);
  HeadSpec spec;
  spec.kind = static_cast<HeadKind>(head.kind);
  spec.tied = head.tied;
  spec.bias = head.bias;
  const bool classifies = spec.kind == HeadKind::kClassification;
  const bool reasons = spec.kind == HeadKind::kReasoning;
  const bool logits = reasons || spec.kind == HeadKind::kGeneration;
  SLUICE_CHECK_ARG(!spec.tied || spec.kind == HeadKind::kGeneration, fields.name("tied"),
                   ": true (expected: false, only a GENERATION head can be tied)");
  SLUICE_CHECK_ARG(classifies || !head.has_num_labels, fields.name("num_labels"), ": ",
                   head.num_labels, " (expected: absent, only a CLASSIFICATION head has labels)");
  if (classifies) {
    spec.num_labels = static_cast<int32_t>(
        fields.required("num_labels", head.has_num_labels, head.num_labels, 1, kMaxVocab));
  }
  SLUICE_CHECK_ARG(reasons || head.activation == nullptr, fields.name("activation"),
                   ": set (expected: absent, only a REASONING head has one)");
  if (reasons) {
    spec.activation = decode_activation(head.activation, fields);
    SLUICE_CHECK_ARG(spec.activation.kind != ActivationKind::kClampedSwiglu,
                     fields.name("activation"),
                     ".kind: CLAMPED_SWIGLU (expected: an activation without a gate)");
  }
  spec.logit_soft_cap =
      static_cast<float>(fields.not_negative("logit_soft_cap", head.logit_soft_cap));
  spec.logit_multiplier =
      static_cast<float>(fields.finite("logit_multiplier", head.logit_multiplier));
  SLUICE_CHECK_ARG(logits || (spec.logit_soft_cap == 0 && spec.logit_multiplier == 1),
                   fields.name("logit_multiplier"),
                   ", logit_soft_cap: set (expected: absent, the head gives no logits)");
  return spec;
}

void decode_heads(const Sluice__Proto__ModelSpec& message, const FieldReader& fields,
                  ModelSpec* spec) {
  SLUICE_CHECK_ARG(message.n_heads > 0, "heads: none (expected: at least the generation head)");
  fields.integer("heads", message.n_heads, 1, kMaxGroups);
  bool generates = false;
  for (size_t h = 0; h < message.n_heads; ++h) {
    const FieldReader inner = fields.child(indexed("heads", h));
    spec->heads.push_back(decode_head(*message.heads[h], inner));
    const HeadKind kind = spec->heads.back().kind;
    // Its logits go through the matrix of the first generation head.
    SLUICE_CHECK_ARG(kind != HeadKind::kReasoning || generates, inner.name("kind"),
                     ": REASONING (expected: a GENERATION head before it)");
    generates = generates || kind == HeadKind::kGeneration;
  }
}

CompressionSpec decode_compression(const Sluice__Proto__CompressionSpec& compression,
                                   const FieldReader& fields) {
  CompressionSpec spec;
  spec.compressed_size =
      static_cast<int32_t>(fields.required("compressed_size", compression.has_compressed_size,
                                           compression.compressed_size, 1, kMaxWidth));
  spec.activation = decode_activation(compression.activation, fields);
  SLUICE_CHECK_ARG(spec.activation.kind != ActivationKind::kClampedSwiglu,
                   fields.name("activation"),
                   ".kind: CLAMPED_SWIGLU (expected: an activation without a gate)");
  fields.require("norm", compression.norm != nullptr);
  spec.norm = *decode_row_norm(compression.norm, "norm", fields);
  spec.bias = compression.bias;
  return spec;
}

// How far back a layer sees or counts; 0: to the start of the sequence.
int64_t reach_of(const LayerSpec& layer, const KvGroupSpec& group) {
  int64_t reach = group.window;
  if (const auto* adaptive = std::get_if<AdaptiveSpec>(&layer.attention)) {
    reach = adaptive->kind == AdaptiveKind::kSlidingWindow ? adaptive->window : 0;
  }
  const auto* moe = std::get_if<MoeSpec>(&layer.feed_forward);
  if (moe != nullptr && moe->has_capacity()) {
    reach = moe->capacity_window == 0 || reach == 0
                ? 0
                : std::max<int64_t>(reach, moe->capacity_window);
  }
  return reach;
}

void check_groups(const ModelSpec& spec) {
  std::vector<bool> used(spec.kv_groups.size());
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const LayerSpec& layer = spec.layers[l];
    const KvGroupSpec& group = spec.kv_groups[layer.kv_group];
    used[layer.kv_group] = true;
    SLUICE_CHECK_ARG(!std::holds_alternative<AdaptiveSpec>(layer.attention) || group.window == 0,
                     indexed("kv_groups", layer.kv_group), ".window: ", group.window,
                     " (expected: 0, the mask of layers[", l, "] comes from its adaptive kind)");
    const int64_t reach = reach_of(layer, group);
    SLUICE_CHECK_ARG(group.retention == 0 || (reach > 0 && group.retention >= reach),
                     indexed("kv_groups", layer.kv_group), ".retention: ", group.retention,
                     " (expected: 0",
                     reach == 0 ? concat(", layers[", l, "] sees or counts the whole sequence")
                                : concat(", or at least what layers[", l, "] reaches, ", reach),
                     ")");
  }
  for (size_t g = 0; g < used.size(); ++g) {
    SLUICE_CHECK_ARG(used[g], indexed("kv_groups", g),
                     ": no layer refers to it (expected: every group in use)");
  }
}

}  // namespace

int32_t ModelSpec::max_num_experts() const {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) {
    if (const auto* moe = std::get_if<MoeSpec>(&layer.feed_forward)) {
      most = std::max(most, moe->num_experts);
    }
  }
  return most;
}

int64_t ModelSpec::reach(int32_t kv_group) const {
  int64_t farthest = 0;
  for (const LayerSpec& layer : layers) {
    if (layer.kv_group != kv_group) continue;
    const int64_t reach = reach_of(layer, kv_groups[kv_group]);
    if (reach == 0) return 0;
    farthest = std::max(farthest, reach);
  }
  return farthest;
}

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
  if (message->compression != nullptr) {
    spec.compression = decode_compression(*message->compression, fields.child("compression"));
  }
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
  for (size_t i = 0; i < message->n_layers; ++i) {
    spec.layers.push_back(
        decode_layer(*message->layers[i], fields.child(indexed("layers", i)), spec));
  }
  check_groups(spec);
  spec.final_norm = decode_row_norm(message->final_norm, "final_norm", fields);
  SLUICE_CHECK_ARG(spec.final_norm.has_value() != spec.compression.has_value(), "final_norm: ",
                   spec.final_norm ? "set (expected: absent, compression ends the model)"
                                   : "absent (expected: a value)");
  decode_heads(*message, fields, &spec);
  return spec;
}

}  // namespace sluice
