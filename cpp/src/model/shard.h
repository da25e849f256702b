/// @file
/// Tensor parallelism: what of a model one rank holds.
#ifndef SLUICE_MODEL_SHARD_H_
#define SLUICE_MODEL_SHARD_H_

#include <cstdint>
#include <vector>

#include "base/format.h"
#include "model/slots.h"
#include "model/spec.h"

namespace sluice {

/// Which sublayers of a layer are split: their results are partial sums, to be added over ranks.
/// What is not split is computed by every rank, with the same bits.
struct LayerShard {
  bool attention = false;
  bool feed_forward = false;
};

/// The view of one rank.
///
/// Attention is split by heads. KV heads are split too, or shared by neighbouring ranks when there
/// are fewer than ranks. A feed-forward is split by its intermediate sizes, every expert alike,
/// where all of them divide. The vocabulary is split where it divides: rows of the embedding and
/// of the generation head. Norms, routers, latent projections and caches, compression and other
/// heads are whole on every rank.
struct ModelShard {
  int rank = 0;
  int size = 1;  ///< ranks
  /// The model with this rank's sizes: heads, intermediate sizes, and vocab_size, the rows of the
  /// embedding that this rank holds.
  ModelSpec spec;
  std::vector<LayerShard> layers;
  bool vocabulary = false;  ///< whether the vocabulary is split
  int64_t global_vocab_size = 0;
  int64_t first_token = 0;  ///< token of the first row that this rank holds
};

/// @param rank  0 to size - 1
/// @throws Error UNSUPPORTED, naming the layer and the field, for a number of heads that `size`
///         ranks cannot share, or a norm over the heads of all ranks
ModelShard shard_model(const ModelSpec& model, int rank, int size);

/// The slots of one rank: those of declare_slots(model), with the sizes and the place of what the
/// rank holds. A bias that is added to a sum over ranks has its values on rank 0 and no rows on
/// the others.
/// @param shard    of `model`
/// @param packing  of the backend
std::vector<WeightSlot> declare_slots(const ModelSpec& model, const ModelShard& shard,
                                      Format compute_format,
                                      const WeightPacking& packing = kCpuPacking);

}  // namespace sluice
#endif  // SLUICE_MODEL_SHARD_H_
