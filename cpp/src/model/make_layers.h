/// @file
/// Layers from their descriptions: binds the weights of each kind.
#ifndef SLUICE_MODEL_MAKE_LAYERS_H_
#define SLUICE_MODEL_MAKE_LAYERS_H_

#include <memory>
#include <vector>

#include "layers/compression.h"
#include "layers/heads.h"
#include "layers/layer.h"
#include "layers/norm.h"
#include "model/shard.h"
#include "model/spec.h"
#include "model/weight_store.h"

namespace sluice {

/// Weight and bias of the norm whose weights are in `slot`.
NormWeights norm_weights(const WeightStore& weights, Slot slot, int layer);

/// Attention and feed-forward of layer `layer`. Views refer to `weights`.
/// @throws Error UNSUPPORTED, naming the kind, when this build has no code for it
std::unique_ptr<AttentionLayer> make_attention(const ModelSpec& model, int layer,
                                               const WeightStore& weights);
std::unique_ptr<FeedForwardLayer> make_feed_forward(const ModelSpec& model, int layer,
                                                    const WeightStore& weights);

/// What ends the model; views refer to `weights`.
Compression make_compression(const CompressionSpec& spec, const WeightStore& weights);
std::vector<OutputHead> make_heads(const ModelShard& shard, const WeightStore& weights);

}  // namespace sluice
#endif  // SLUICE_MODEL_MAKE_LAYERS_H_
