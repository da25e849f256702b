#include "model/shard.h"

#include <string>

#include "base/error.h"
#include "model/spec_fields.h"

namespace sluice {
namespace {

class Sharding {
 public:
  Sharding(int rank, int size) : rank_(rank), size_(size) {}

  bool divides(int32_t count) const { return count % size_ == 0; }

  // The ranks' share of heads, which must divide.
  int32_t heads(const FieldReader& fields, int32_t num_heads) const {
    SLUICE_CHECK(divides(num_heads), SLUICE_STATUS_UNSUPPORTED, fields.name("num_q_heads"), ": ",
                 num_heads, " (expected: a multiple of tensor_parallel_size ", size_, ")");
    return num_heads / size_;
  }

  bool shard(const FieldReader& fields, GqaSpec* gqa) const {
    const int32_t kv_heads = gqa->num_kv_heads;
    gqa->num_q_heads = heads(fields.child("gqa"), gqa->num_q_heads);
    SLUICE_CHECK(divides(kv_heads) || size_ % kv_heads == 0, SLUICE_STATUS_UNSUPPORTED,
                 fields.name("gqa.num_kv_heads"), ": ", kv_heads,
                 " (expected: a multiple or a divisor of tensor_parallel_size ", size_, ")");
    gqa->num_kv_heads = divides(kv_heads) ? kv_heads / size_ : 1;
    check_norm(fields.name("gqa.q_norm"), gqa->q_norm, true);
    check_norm(fields.name("gqa.k_norm"), gqa->k_norm, gqa->num_kv_heads != kv_heads);
    return true;
  }

  bool shard(const FieldReader& fields, MlaSpec* mla) const {
    mla->num_q_heads = heads(fields.child("mla"), mla->num_q_heads);
    return true;
  }

  bool shard(const FieldReader& fields, AdaptiveSpec* adaptive) const {
    adaptive->num_q_heads = heads(fields.child("adaptive"), adaptive->num_q_heads);
    return true;
  }

  bool shard(const FieldReader& /*fields*/, DenseSpec* dense) const {
    if (!divides(dense->intermediate_size)) return false;
    dense->intermediate_size /= size_;
    return true;
  }

  // Routed and shared experts end up in one sum, so both are split or none is.
  bool shard(const FieldReader& /*fields*/, MoeSpec* moe) const {
    if (!divides(moe->expert_intermediate_size)) return false;
    if (moe->shared && !divides(moe->shared->intermediate_size)) return false;
    moe->expert_intermediate_size /= size_;
    if (moe->shared) moe->shared->intermediate_size /= size_;
    return true;
  }

  // The rank's rows of a part. What fewer ranks than all share in equal pieces goes to neighbours.
  void place(const WeightPart& global, WeightPart* part) const {
    part->global_rows = global.rows;
    part->first_row = 0;
    if (part->rows == global.rows || part->rows == 0) return;
    SLUICE_CHECK_INTERNAL(part->axis == ShardAxis::kRows && global.rows % part->rows == 0,
                          "slot part ", static_cast<int>(part->part), ": ", part->rows, " of ",
                          global.rows, " rows");
    const int64_t pieces = global.rows / part->rows;
    part->first_row = rank_ * pieces / size_ * part->rows;
  }

  void place(const WeightSlot& global, WeightSlot* slot) const {
    SLUICE_CHECK_INTERNAL(slot->slot == global.slot && slot->layer == global.layer &&
                              slot->parts.size() == global.parts.size(),
                          "slot ", global.name(), ": not the same on every rank");
    for (size_t p = 0; p < slot->parts.size(); ++p) place(global.parts[p], &slot->parts[p]);
    slot->global_cols = global.cols;
    slot->first_col = slot->cols == global.cols ? 0 : rank_ * slot->cols;
  }

 private:
  void check_norm(const std::string& field, const std::optional<NormSpec>& norm, bool split) const {
    SLUICE_CHECK(!norm || !split || norm->scope != NormScope::kWholeRow, SLUICE_STATUS_UNSUPPORTED,
                 field, ".scope: WHOLE_ROW not built with tensor_parallel_size ", size_,
                 " (built: PER_HEAD, PER_HEAD_OWN_WEIGHTS)");
  }

  int rank_;
  int size_;
};

// Biases of the products whose results are added over ranks.
bool is_summed_bias(const WeightSlot& slot, const LayerShard& layer) {
  switch (slot.slot) {
    case SLUICE__PROTO__SLOT__O_BIAS:
      return layer.attention;
    case SLUICE__PROTO__SLOT__DOWN_BIAS:
    case SLUICE__PROTO__SLOT__EXPERT_DOWN_BIAS:
    case SLUICE__PROTO__SLOT__SHARED_DOWN_BIAS:
      return layer.feed_forward;
    default:
      return false;
  }
}

void drop_values(WeightSlot* slot) {
  for (WeightPart& part : slot->parts) part.rows = 0;
  slot->rows = 0;
  slot->expert_bytes = 0;
  slot->stored_bytes = 0;
}

}  // namespace

ModelShard shard_model(const ModelSpec& model, int rank, int size) {
  SLUICE_CHECK_INTERNAL(size >= 1 && rank >= 0 && rank < size, "rank ", rank, " of ", size);
  ModelShard shard;
  shard.rank = rank;
  shard.size = size;
  shard.spec = model;
  shard.layers.resize(model.layers.size());
  shard.global_vocab_size = model.vocab_size;
  if (size == 1) return shard;
  const Sharding sharding(rank, size);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    LayerSpec& layer = shard.spec.layers[l];
    const FieldReader fields(indexed("layers", l));
    shard.layers[l].attention =
        std::visit([&](auto& spec) { return sharding.shard(fields, &spec); }, layer.attention);
    shard.layers[l].feed_forward =
        std::visit([&](auto& spec) { return sharding.shard(fields, &spec); }, layer.feed_forward);
  }
  if (sharding.divides(model.vocab_size)) {
    shard.vocabulary = true;
    shard.spec.vocab_size = model.vocab_size / size;
    shard.first_token = int64_t{rank} * shard.spec.vocab_size;
  }
  return shard;
}

std::vector<WeightSlot> declare_slots(const ModelSpec& model, const ModelShard& shard,
                                      Format compute_format, const WeightPacking& packing) {
  const std::vector<WeightSlot> global = declare_slots(model, compute_format, packing);
  std::vector<WeightSlot> slots = declare_slots(shard.spec, compute_format, packing);
  SLUICE_CHECK_INTERNAL(slots.size() == global.size(), "slots: ", slots.size(), " of ",
                        global.size());
  const Sharding sharding(shard.rank, shard.size);
  for (size_t s = 0; s < slots.size(); ++s) {
    const int32_t layer = slots[s].layer;
    if (shard.rank > 0 && layer >= 0 &&
        is_summed_bias(slots[s], shard.layers[static_cast<size_t>(layer)])) {
      drop_values(&slots[s]);
    }
    sharding.place(global[s], &slots[s]);
  }
  return slots;
}

}  // namespace sluice
