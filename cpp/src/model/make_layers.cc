#include "model/make_layers.h"

#include <variant>

#include "base/error.h"
#include "layers/adaptive.h"
#include "layers/dense.h"
#include "layers/gqa.h"
#include "layers/mla.h"
#include "layers/moe.h"

namespace sluice {
namespace {

// Where a layer stands in its model.
struct Place {
  const ModelSpec& model;
  int layer;
  const WeightStore& weights;

  int32_t kv_group() const { return model.layers[layer].kv_group; }
  WeightView matrix(Slot slot) const { return weights.matrix(slot, layer); }
  const float* vector(Slot slot) const { return weights.vector(slot, layer); }
};

// A new layer kind is one more of these.

std::unique_ptr<AttentionLayer> make_layer(const GqaSpec& spec, const Place& place) {
  GqaWeights bound;
  bound.qkv = place.matrix(SLUICE__PROTO__SLOT__QKV);
  bound.qkv_bias = place.vector(SLUICE__PROTO__SLOT__QKV_BIAS);
  bound.q_norm = norm_weights(place.weights, SLUICE__PROTO__SLOT__Q_NORM, place.layer);
  bound.k_norm = norm_weights(place.weights, SLUICE__PROTO__SLOT__K_NORM, place.layer);
  bound.sinks = place.vector(SLUICE__PROTO__SLOT__SINKS);
  if (spec.output_gate) bound.output_gate = place.matrix(SLUICE__PROTO__SLOT__OUTPUT_GATE);
  bound.o = place.matrix(SLUICE__PROTO__SLOT__O);
  bound.o_bias = place.vector(SLUICE__PROTO__SLOT__O_BIAS);
  const int32_t group = place.kv_group();
  return std::make_unique<GqaLayer>(spec, group, place.model.kv_groups[group].window, bound);
}

std::unique_ptr<AttentionLayer> make_layer(const MlaSpec& spec, const Place& place) {
  MlaWeights bound;
  if (spec.q_lora_rank > 0) bound.q_a = place.matrix(SLUICE__PROTO__SLOT__Q_A);
  bound.q_a_bias = place.vector(SLUICE__PROTO__SLOT__Q_A_BIAS);
  bound.q_a_norm = {place.vector(SLUICE__PROTO__SLOT__Q_A_NORM), nullptr};
  bound.q_b = place.matrix(SLUICE__PROTO__SLOT__Q_B);
  bound.kv_a = place.matrix(SLUICE__PROTO__SLOT__KV_A);
  bound.kv_a_bias = place.vector(SLUICE__PROTO__SLOT__KV_A_BIAS);
  bound.kv_a_norm = {place.vector(SLUICE__PROTO__SLOT__KV_A_NORM), nullptr};
  bound.kv_b = place.matrix(SLUICE__PROTO__SLOT__KV_B);
  bound.absorbed = absorbed_weights(spec, bound.kv_b);
  bound.o = place.matrix(SLUICE__PROTO__SLOT__O);
  bound.o_bias = place.vector(SLUICE__PROTO__SLOT__O_BIAS);
  const int32_t group = place.kv_group();
  return std::make_unique<MlaLayer>(spec, group, place.model.kv_groups[group].window, bound);
}

std::unique_ptr<AttentionLayer> make_layer(const AdaptiveSpec& spec, const Place& place) {
  AdaptiveWeights bound;
  bound.qkv = place.matrix(SLUICE__PROTO__SLOT__QKV);
  bound.qkv_bias = place.vector(SLUICE__PROTO__SLOT__QKV_BIAS);
  bound.relative_position =
      static_cast<const float*>(place.matrix(SLUICE__PROTO__SLOT__RELATIVE_POSITION).data);
  if (spec.sparse_gate) bound.gate = place.matrix(SLUICE__PROTO__SLOT__SPARSE_GATE);
  bound.gate_bias = place.vector(SLUICE__PROTO__SLOT__SPARSE_GATE_BIAS);
  if (spec.kind == AdaptiveKind::kDensity) {
    bound.density = place.matrix(SLUICE__PROTO__SLOT__DENSITY);
  }
  bound.density_bias = place.vector(SLUICE__PROTO__SLOT__DENSITY_BIAS);
  bound.o = place.matrix(SLUICE__PROTO__SLOT__O);
  bound.o_bias = place.vector(SLUICE__PROTO__SLOT__O_BIAS);
  return std::make_unique<AdaptiveLayer>(spec, place.kv_group(), place.layer, bound);
}

std::unique_ptr<FeedForwardLayer> make_layer(const DenseSpec& spec, const Place& place) {
  DenseWeights bound;
  bound.gate_up = place.matrix(SLUICE__PROTO__SLOT__GATE_UP);
  bound.gate_up_bias = place.vector(SLUICE__PROTO__SLOT__GATE_UP_BIAS);
  bound.down = place.matrix(SLUICE__PROTO__SLOT__DOWN);
  bound.down_bias = place.vector(SLUICE__PROTO__SLOT__DOWN_BIAS);
  return std::make_unique<DenseLayer>(spec, bound);
}

ExpertMatrices experts(const Place& place, Slot matrices, Slot bias) {
  const ExpertWeights weights = place.weights.experts(matrices, place.layer);
  return {weights.first, weights.expert_bytes, place.vector(bias)};
}

std::unique_ptr<FeedForwardLayer> make_layer(const MoeSpec& spec, const Place& place) {
  MoeWeights bound;
  bound.router = place.matrix(SLUICE__PROTO__SLOT__ROUTER);
  bound.router_bias = place.vector(SLUICE__PROTO__SLOT__ROUTER_BIAS);
  if (spec.router == RouterScore::kNoisyNetwork) {
    bound.router_out = place.matrix(SLUICE__PROTO__SLOT__ROUTER_OUT);
    bound.router_out_bias = place.vector(SLUICE__PROTO__SLOT__ROUTER_OUT_BIAS);
    bound.router_noise = place.vector(SLUICE__PROTO__SLOT__ROUTER_NOISE);
  }
  bound.correction_bias = place.vector(SLUICE__PROTO__SLOT__ROUTER_CORRECTION_BIAS);
  bound.gate_up =
      experts(place, SLUICE__PROTO__SLOT__EXPERT_GATE_UP, SLUICE__PROTO__SLOT__EXPERT_GATE_UP_BIAS);
  bound.down =
      experts(place, SLUICE__PROTO__SLOT__EXPERT_DOWN, SLUICE__PROTO__SLOT__EXPERT_DOWN_BIAS);
  if (spec.shared) {
    bound.shared.gate_up = place.matrix(SLUICE__PROTO__SLOT__SHARED_GATE_UP);
    bound.shared.gate_up_bias = place.vector(SLUICE__PROTO__SLOT__SHARED_GATE_UP_BIAS);
    bound.shared.down = place.matrix(SLUICE__PROTO__SLOT__SHARED_DOWN);
    bound.shared.down_bias = place.vector(SLUICE__PROTO__SLOT__SHARED_DOWN_BIAS);
  }
  if (spec.shared_gate) bound.shared_gate = place.matrix(SLUICE__PROTO__SLOT__SHARED_GATE);
  return std::make_unique<MoeLayer>(spec, place.kv_group(), bound);
}

}  // namespace

NormWeights norm_weights(const WeightStore& weights, Slot slot, int layer) {
  return {weights.vector(slot, layer), weights.vector(static_cast<Slot>(slot + 1), layer)};
}

std::unique_ptr<AttentionLayer> make_attention(const ModelSpec& model, int layer,
                                               const WeightStore& weights) {
  const Place place{model, layer, weights};
  return std::visit([&](const auto& spec) { return make_layer(spec, place); },
                    model.layers[layer].attention);
}

std::unique_ptr<FeedForwardLayer> make_feed_forward(const ModelSpec& model, int layer,
                                                    const WeightStore& weights) {
  const Place place{model, layer, weights};
  return std::visit([&](const auto& spec) { return make_layer(spec, place); },
                    model.layers[layer].feed_forward);
}

Compression make_compression(const CompressionSpec& spec, const WeightStore& weights) {
  CompressionWeights bound;
  bound.encoder = weights.matrix(SLUICE__PROTO__SLOT__COMPRESSION_ENCODER, -1);
  bound.encoder_bias = weights.vector(SLUICE__PROTO__SLOT__COMPRESSION_ENCODER_BIAS, -1);
  bound.decoder = weights.matrix(SLUICE__PROTO__SLOT__COMPRESSION_DECODER, -1);
  bound.decoder_bias = weights.vector(SLUICE__PROTO__SLOT__COMPRESSION_DECODER_BIAS, -1);
  bound.norm = norm_weights(weights, SLUICE__PROTO__SLOT__COMPRESSION_NORM, -1);
  return Compression(spec, bound);
}

std::vector<OutputHead> make_heads(const ModelShard& shard, const WeightStore& weights) {
  const ModelSpec& model = shard.spec;
  std::vector<OutputHead> heads;
  WeightView generation;  // of the first generation head, which stands before any reasoning head
  for (size_t h = 0; h < model.heads.size(); ++h) {
    const HeadSpec& spec = model.heads[h];
    const int index = static_cast<int>(h);
    HeadWeights bound;
    if (spec.kind == HeadKind::kReasoning) {
      bound.matrix = generation;
      bound.transform = weights.matrix(SLUICE__PROTO__SLOT__HEAD_TRANSFORM, -1, index);
      bound.transform_bias = weights.vector(SLUICE__PROTO__SLOT__HEAD_TRANSFORM_BIAS, -1, index);
    } else {
      bound.matrix = spec.tied ? weights.matrix(SLUICE__PROTO__SLOT__EMBED_TOKENS, -1)
                               : weights.matrix(SLUICE__PROTO__SLOT__HEAD, -1, index);
      bound.bias = weights.vector(SLUICE__PROTO__SLOT__HEAD_BIAS, -1, index);
    }
    const bool tokens = spec.kind == HeadKind::kGeneration || spec.kind == HeadKind::kReasoning;
    if (tokens && shard.vocabulary) bound.num_ranks = shard.size;
    if (spec.kind == HeadKind::kGeneration && generation.rows == 0) generation = bound.matrix;
    heads.emplace_back(spec, bound);
  }
  return heads;
}

}  // namespace sluice
