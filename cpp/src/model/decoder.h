/// @file
/// A decoder built from a ModelSpec: embedding, layers, final norm or compression, heads.
#ifndef SLUICE_MODEL_DECODER_H_
#define SLUICE_MODEL_DECODER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "layers/compression.h"
#include "layers/heads.h"
#include "layers/layer.h"
#include "layers/norm.h"
#include "model/shard.h"
#include "model/weight_store.h"

namespace sluice {

/// Looks on while a step runs. Off the step path only keep() costs anything.
class StepObserver : public TensorObserver {
 public:
  /// Before layer `layer` runs; may throw to end the step.
  virtual void before_layer(int layer) = 0;

  /// Before the outputs of the step are computed; may throw to end the step.
  virtual void before_outputs() {}

  bool wants(const std::string& /*name*/) const override { return false; }
  void keep(const std::string& /*name*/, const TensorRows& /*rows*/) override {}

  /// Whether wants() can be true at all; spares building names on the step path.
  virtual bool tracing() const { return false; }
};

/// What positions leave behind for one layer.
struct LayerState {
  KvCacheView kv;
  SideChannelView attention_channel;     ///< of the attention's side_channel()
  SideChannelView feed_forward_channel;  ///< of the feed-forward's
};

/// Counts of accepted tokens by layer and expert.
struct ExpertCounts {
  int32_t* data = nullptr;  ///< [num_layers, stride], added to; nullptr: nobody asks
  int64_t stride = 0;
};

/// Immutable once built; calls keep nothing. Refers to the weight store, which outlives it.
///
/// Of a model that several ranks share, every rank has its own. Their calls are collective then:
/// all make the same ones, each with its communicator in the context. The residual stream and all
/// results have the same bits on every rank.
class Decoder {
 public:
  /// @param weights  of the slots that `shard` declares
  Decoder(const ModelShard& shard, const WeightStore& weights);

  int num_layers() const { return static_cast<int>(layers_.size()); }
  int64_t hidden_size() const { return hidden_size_; }
  int num_heads() const { return static_cast<int>(heads_.size()); }
  const OutputHead& head(int index) const { return heads_[index]; }
  KvShape kv_shape(int layer) const { return layers_[layer].attention->kv_shape(); }
  std::optional<SideChannelShape> attention_channel(int layer) const {
    return layers_[layer].attention->side_channel();
  }
  std::optional<SideChannelShape> feed_forward_channel(int layer) const {
    return layers_[layer].feed_forward->side_channel();
  }

  /// Once before the first forward(), with the context and the memory that it is going to get.
  void prepare(const LayerContext& context, const BatchLimits& limits,
               std::span<const LayerState> kv) const;

  /// Arena bytes of forward() beyond the residual stream.
  int64_t forward_bytes(const LayerContext& context, const BatchLimits& limits) const;

  /// Arena bytes of head_input() or of any head's run(), beyond their results.
  int64_t output_bytes(const LayerContext& context, int64_t max_rows) const;

  /// Runs embedding and layers.
  /// @param token_ids  [num_tokens]; a negative id gives a row of zeros
  /// @param kv         [num_layers]
  /// @param residual   [num_tokens, hidden_size] result: the residual stream after the last layer
  /// @param experts    where layers count the tokens of their experts
  void forward(LayerContext& context, const StepBatch& batch, const int32_t* token_ids,
               std::span<const LayerState> kv, float* residual, const ExpertCounts& experts,
               StepObserver& observer) const;

  /// Final norm or compression of `num_rows` rows of the residual stream.
  /// @param x  [num_rows, hidden_size] result in the compute format: the input of the heads
  void head_input(LayerContext& context, int64_t num_rows, const float* residual, void* x) const;

 private:
  struct RowNorm {
    NormSpec spec;
    NormWeights weights;
  };
  struct Layer {
    std::optional<RowNorm> attention_norm;
    std::unique_ptr<AttentionLayer> attention;
    std::optional<RowNorm> post_attention_norm;
    std::optional<RowNorm> feed_forward_norm;
    std::unique_ptr<FeedForwardLayer> feed_forward;
    std::optional<RowNorm> post_feed_forward_norm;
    bool parallel_residual = false;  // both sublayers read what the layer began with
    float residual_multiplier = 1;
    LayerShard shard;
  };

  // What follows the sum of an attention or a feed-forward.
  struct Sublayer {
    const std::optional<RowNorm>& post_norm;
    float multiplier;
    bool split;  // every rank has a partial sum
  };

  static std::optional<RowNorm> row_norm(const std::optional<NormSpec>& spec,
                                         const WeightStore& weights, Slot slot, int layer);
  void embed(LayerContext& context, const StepBatch& batch, const int32_t* token_ids,
             float* residual) const;
  void normalize(LayerContext& context, const std::optional<RowNorm>& norm, int64_t num_rows,
                 const float* residual, void* x) const;
  template <class Run>
  void add_sublayer(LayerContext& context, const Sublayer& sublayer, const StepBatch& batch,
                    float* residual, const Run& run) const;

  int64_t hidden_size_;
  WeightView embedding_;  // the rows of this rank
  bool vocabulary_split_;
  int64_t first_token_;
  float embedding_multiplier_;
  std::optional<RowNorm> embedding_norm_;
  std::vector<Layer> layers_;
  std::optional<RowNorm> final_norm_;
  std::optional<Compression> compression_;
  std::vector<OutputHead> heads_;
};

}  // namespace sluice
#endif  // SLUICE_MODEL_DECODER_H_
