/// @file
/// What the decoder knows of a layer kind.
#ifndef SLUICE_LAYERS_LAYER_H_
#define SLUICE_LAYERS_LAYER_H_

#include <cstdint>
#include <optional>

#include "layers/context.h"

namespace sluice {

/// What one position leaves in the KV cache for one layer.
struct KvShape {
  int32_t num_kv_heads = 0;
  int32_t k_dim = 0;
  int32_t v_dim = 0;
};

/// What one position leaves for one layer beside keys and values.
struct SideChannelShape {
  const char* name = "";  ///< constant text: "experts", "density"
  Format format = Format::kUnknown;
  int32_t values_per_token = 0;
};

/// One kind of attention with its weights. Immutable; run() keeps nothing between calls.
class AttentionLayer {
 public:
  virtual ~AttentionLayer() = default;

  virtual KvShape kv_shape() const = 0;
  virtual std::optional<SideChannelShape> side_channel() const { return std::nullopt; }

  /// Arena bytes that run() takes at most.
  virtual int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const = 0;

  /// Once before the first run(), with what run() is going to get: asks for what is made beforehand,
  /// which is plans of context.cudnn.
  virtual void prepare(const LayerContext& /*context*/, const BatchLimits& /*limits*/,
                       const KvCacheView& /*kv*/) const {}

  /// target.residual += target.multiplier * attention(x), writing the tokens' keys and values to
  /// `kv` first.
  /// @param channel  memory of side_channel(), if there is one
  /// @param x        [num_tokens, hidden_size] in the compute format, dense
  virtual void run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                   const SideChannelView& channel, const void* x,
                   const ResidualTarget& target) const = 0;
};

/// One kind of feed-forward with its weights. Immutable; run() keeps nothing between calls.
class FeedForwardLayer {
 public:
  virtual ~FeedForwardLayer() = default;

  virtual std::optional<SideChannelShape> side_channel() const { return std::nullopt; }

  /// Arena bytes that run() takes at most.
  virtual int64_t workspace_bytes(const LayerContext& context, const BatchLimits& limits) const = 0;

  /// target.residual += target.multiplier * feed_forward(x).
  /// @param channel  memory of side_channel(), if there is one
  /// @param x        [num_tokens, hidden_size] in the compute format, dense
  virtual void run(LayerContext& context, const StepBatch& batch, const SideChannelView& channel,
                   const void* x, const ResidualTarget& target) const = 0;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_LAYER_H_
