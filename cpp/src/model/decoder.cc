#include "model/decoder.h"

#include <algorithm>

#include "base/checked.h"
#include "comm/communicator.h"
#include "model/make_layers.h"
#include "ops/elementwise/elementwise.h"
#include "ops/embedding/embedding.h"
#include "ops/norm/norm.h"

namespace sluice {
std::optional<Decoder::RowNorm> Decoder::row_norm(const std::optional<NormSpec>& spec,
                                                  const WeightStore& weights, Slot slot,
                                                  int layer) {
  if (!spec) return std::nullopt;
  return RowNorm{*spec, norm_weights(weights, slot, layer)};
}

Decoder::Decoder(const ModelShard& shard, const WeightStore& weights)
    : hidden_size_(shard.spec.hidden_size),
      embedding_(weights.matrix(SLUICE__PROTO__SLOT__EMBED_TOKENS, -1)),
      vocabulary_split_(shard.vocabulary),
      first_token_(shard.first_token),
      embedding_multiplier_(static_cast<float>(shard.spec.embedding_multiplier)),
      embedding_norm_(
          row_norm(shard.spec.embedding_norm, weights, SLUICE__PROTO__SLOT__EMBED_NORM, -1)),
      final_norm_(row_norm(shard.spec.final_norm, weights, SLUICE__PROTO__SLOT__FINAL_NORM, -1)) {
  const ModelSpec& spec = shard.spec;
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const LayerSpec& from = spec.layers[l];
    const int index = static_cast<int>(l);
    Layer layer;
    layer.attention_norm =
        row_norm(from.attention_norm, weights, SLUICE__PROTO__SLOT__ATTENTION_NORM, index);
    layer.attention = make_attention(spec, index, weights);
    layer.post_attention_norm = row_norm(from.post_attention_norm, weights,
                                         SLUICE__PROTO__SLOT__POST_ATTENTION_NORM, index);
    layer.feed_forward_norm =
        row_norm(from.feed_forward_norm, weights, SLUICE__PROTO__SLOT__FEED_FORWARD_NORM, index);
    layer.feed_forward = make_feed_forward(spec, index, weights);
    layer.post_feed_forward_norm = row_norm(from.post_feed_forward_norm, weights,
                                            SLUICE__PROTO__SLOT__POST_FEED_FORWARD_NORM, index);
    layer.parallel_residual = from.parallel_residual;
    layer.residual_multiplier = static_cast<float>(from.residual_multiplier);
    layer.shard = shard.layers[l];
    layers_.push_back(std::move(layer));
  }
  if (spec.compression) compression_.emplace(make_compression(*spec.compression, weights));
  heads_ = make_heads(shard, weights);
}

int64_t Decoder::forward_bytes(const LayerContext& context, const BatchLimits& limits) const {
  int64_t sublayer = 0;
  bool temporary = false;  // of a sublayer's result
  bool parallel = false;
  for (const Layer& layer : layers_) {
    sublayer = std::max({sublayer, layer.attention->workspace_bytes(context, limits),
                         layer.feed_forward->workspace_bytes(context, limits)});
    temporary = temporary || layer.post_attention_norm || layer.post_feed_forward_norm ||
                layer.shard.attention || layer.shard.feed_forward;
    parallel = parallel || layer.parallel_residual;
  }
  const int64_t values = checked_mul(limits.max_tokens, hidden_size_);
  const int64_t input = arena_bytes(checked_mul(values, context.element_bytes()));
  const int64_t result = temporary ? arena_bytes(checked_mul(values, 4)) : 0;
  const int64_t ids = vocabulary_split_ ? arena_bytes(checked_mul(limits.max_tokens, 4)) : 0;
  return checked_add(std::max(checked_add(sublayer, result), ids), parallel ? 2 * input : input);
}

void Decoder::prepare(const LayerContext& context, const BatchLimits& limits,
                      std::span<const LayerState> kv) const {
  for (size_t l = 0; l < layers_.size(); ++l) layers_[l].attention->prepare(context, limits, kv[l].kv);
}

int64_t Decoder::output_bytes(const LayerContext& context, int64_t max_rows) const {
  int64_t bytes = compression_ ? compression_->workspace_bytes(context, max_rows) : 0;
  for (const OutputHead& head : heads_) {
    bytes = std::max(bytes, head.workspace_bytes(context, max_rows));
  }
  return bytes;
}

// Of a split vocabulary every rank fills the rows of its own tokens and adds zeros for the others.
void Decoder::embed(LayerContext& context, const StepBatch& batch, const int32_t* token_ids,
                    float* residual) const {
  const ArenaScope scope(context.workspace);
  if (vocabulary_split_) {
    auto* own = context.workspace.allocate_array<int32_t>(batch.num_tokens);
    local_ids(context.exec, batch.num_tokens, token_ids, first_token_, embedding_.rows, own);
    token_ids = own;
  }
  EmbeddingParams params;
  params.num_tokens = batch.num_tokens;
  params.ids = token_ids;
  params.table = embedding_;
  params.multiplier = embedding_multiplier_;
  params.y = residual;
  params.y_format = Format::kF32;
  params.y_stride = hidden_size_;
  embedding(context.exec, params);
  if (vocabulary_split_) context.comm->all_reduce(residual, batch.num_tokens * hidden_size_);
  if (embedding_norm_) {
    norm_rows(context, embedding_norm_->spec, embedding_norm_->weights, batch.num_tokens,
              hidden_size_, residual, residual, Format::kF32);
  }
}

// Without a norm the residual stream itself is the input, in the compute format.
void Decoder::normalize(LayerContext& context, const std::optional<RowNorm>& norm, int64_t num_rows,
                        const float* residual, void* x) const {
  if (norm) {
    norm_rows(context, norm->spec, norm->weights, num_rows, hidden_size_, residual, x,
              context.compute_format);
    return;
  }
  round_rows(context, num_rows, hidden_size_, residual, x);
}

// A sublayer adds to the residual stream as it writes its result, unless a sum over ranks or a norm
// comes first.
template <class Run>
void Decoder::add_sublayer(LayerContext& context, const Sublayer& sublayer, const StepBatch& batch,
                           float* residual, const Run& run) const {
  if (!sublayer.post_norm && !sublayer.split) {
    run(ResidualTarget{residual, sublayer.multiplier});
    return;
  }
  const ArenaScope scope(context.workspace);
  const int64_t values = batch.num_tokens * hidden_size_;
  float* result = context.workspace.allocate_array<float>(values);
  zero_bytes(context.exec, result, values * 4);
  run(ResidualTarget{result, 1});
  if (sublayer.split) context.comm->all_reduce(result, values);
  if (sublayer.post_norm) {
    norm_rows(context, sublayer.post_norm->spec, sublayer.post_norm->weights, batch.num_tokens,
              hidden_size_, result, result, Format::kF32);
  }
  ResidualAddParams sum;
  sum.num_rows = batch.num_tokens;
  sum.cols = hidden_size_;
  sum.x = result;
  sum.x_format = Format::kF32;
  sum.x_stride = hidden_size_;
  sum.residual = residual;
  sum.residual_stride = hidden_size_;
  sum.multiplier = sublayer.multiplier;
  residual_add(context.exec, sum);
}

void Decoder::forward(LayerContext& context, const StepBatch& batch, const int32_t* token_ids,
                      std::span<const LayerState> kv, float* residual, const ExpertCounts& experts,
                      StepObserver& observer) const {
  const ArenaScope scope(context.workspace);
  void* x = context.workspace.allocate(batch.num_tokens * hidden_size_ * context.element_bytes());
  const auto show = [&](const std::string& name) {
    if (observer.wants(name)) {
      observer.keep(name, {residual, Format::kF32, batch.num_tokens, hidden_size_});
    }
  };
  embed(context, batch, token_ids, residual);
  if (observer.tracing()) show("embedding");
  for (int l = 0; l < num_layers(); ++l) {
    observer.before_layer(l);
    context.layer = l;
    context.expert_counts = experts.data == nullptr ? nullptr : experts.data + l * experts.stride;
    context.observer = observer.tracing() ? &observer : nullptr;
    const Layer& layer = layers_[l];
    const ArenaScope layer_scope(context.workspace);
    normalize(context, layer.attention_norm, batch.num_tokens, residual, x);
    void* y = x;
    if (layer.parallel_residual) {
      y = context.workspace.allocate(batch.num_tokens * hidden_size_ * context.element_bytes());
      normalize(context, layer.feed_forward_norm, batch.num_tokens, residual, y);
    }
    add_sublayer(
        context, {layer.post_attention_norm, layer.residual_multiplier, layer.shard.attention},
        batch, residual, [&](const ResidualTarget& target) {
          layer.attention->run(context, batch, kv[l].kv, kv[l].attention_channel, x, target);
        });
    if (!layer.parallel_residual) {
      normalize(context, layer.feed_forward_norm, batch.num_tokens, residual, y);
    }
    add_sublayer(
        context,
        {layer.post_feed_forward_norm, layer.residual_multiplier, layer.shard.feed_forward}, batch,
        residual, [&](const ResidualTarget& target) {
          layer.feed_forward->run(context, batch, kv[l].feed_forward_channel, y, target);
        });
    if (observer.tracing()) show(concat("hidden_", l));
  }
}

void Decoder::head_input(LayerContext& context, int64_t num_rows, const float* residual,
                         void* x) const {
  if (compression_) {
    compression_->run(context, num_rows, residual, x);
    return;
  }
  norm_rows(context, final_norm_->spec, final_norm_->weights, num_rows, hidden_size_, residual, x,
            context.compute_format);
}

}  // namespace sluice
