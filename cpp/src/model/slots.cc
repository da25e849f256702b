#include "model/slots.h"

#include "base/checked.h"

namespace sluice {
namespace {

class SlotList {
 public:
  explicit SlotList(Format compute_format) : compute_format_(compute_format) {}

  void matrix(Slot slot, int layer, std::vector<WeightPart> parts, int64_t cols,
              WeightLayout layout = WeightLayout::kPanel64) {
    WeightSlot declared;
    declared.slot = slot;
    declared.layer = layer;
    declared.rows = stack(&parts);
    declared.parts = std::move(parts);
    declared.cols = cols;
    declared.format = compute_format_;
    declared.layout = layout;
    declared.stored_bytes = packed_bytes(compute_format_, layout, declared.rows, cols);
    slots_.push_back(std::move(declared));
  }

  void vector(Slot slot, int layer, std::vector<WeightPart> parts, int64_t size) {
    WeightSlot declared;
    declared.slot = slot;
    declared.layer = layer;
    declared.is_vector = true;
    declared.parts = std::move(parts);
    declared.rows = size;
    declared.stored_bytes = checked_mul(size, sizeof(float));
    slots_.push_back(std::move(declared));
  }

  void vector(Slot slot, int layer, int64_t size) {
    vector(slot, layer, {{SLUICE__PROTO__PART__WHOLE, size, 0}}, size);
  }

  // The bias slot of each norm follows its weight slot in the schema.
  void norm(Slot slot, int layer, const NormSpec& norm, int64_t size) {
    if (norm.has_weight) vector(slot, layer, size);
    if (norm.has_bias) vector(static_cast<Slot>(slot + 1), layer, size);
  }

  void norm(Slot slot, int layer, const std::optional<NormSpec>& spec, int64_t size) {
    if (spec) norm(slot, layer, *spec, size);
  }

  std::vector<WeightSlot> take() { return std::move(slots_); }

 private:
  static int64_t stack(std::vector<WeightPart>* parts) {
    int64_t rows = 0;
    for (WeightPart& part : *parts) {
      part.row_begin = rows;
      rows = checked_add(rows, part.rows);
    }
    return rows;
  }

  Format compute_format_;
  std::vector<WeightSlot> slots_;
};

static_assert(SLUICE__PROTO__SLOT__Q_NORM_BIAS == SLUICE__PROTO__SLOT__Q_NORM + 1);
static_assert(SLUICE__PROTO__SLOT__FINAL_NORM_BIAS == SLUICE__PROTO__SLOT__FINAL_NORM + 1);

int64_t head_norm_size(const NormSpec& norm, int64_t heads, int64_t head_dim) {
  return norm.scope == NormScope::kPerHead ? head_dim : heads * head_dim;
}

void declare(const GqaSpec& gqa, int layer, int64_t hidden, SlotList* slots) {
  slots->matrix(SLUICE__PROTO__SLOT__QKV, layer,
                {{SLUICE__PROTO__PART__PART_Q, gqa.q_size()},
                 {SLUICE__PROTO__PART__PART_K, gqa.kv_size()},
                 {SLUICE__PROTO__PART__PART_V, gqa.kv_size()}},
                hidden);
  if (gqa.qkv_bias()) {
    std::vector<WeightPart> parts;
    const int64_t q = gqa.q_size();
    const int64_t kv = gqa.kv_size();
    if (gqa.q_bias) parts.push_back({SLUICE__PROTO__PART__PART_Q, q, 0});
    if (gqa.k_bias) parts.push_back({SLUICE__PROTO__PART__PART_K, kv, q});
    if (gqa.v_bias) parts.push_back({SLUICE__PROTO__PART__PART_V, kv, q + kv});
    slots->vector(SLUICE__PROTO__SLOT__QKV_BIAS, layer, std::move(parts), gqa.qkv_size());
  }
  if (gqa.q_norm) {
    slots->norm(SLUICE__PROTO__SLOT__Q_NORM, layer, *gqa.q_norm,
                head_norm_size(*gqa.q_norm, gqa.num_q_heads, gqa.head_dim));
  }
  if (gqa.k_norm) {
    slots->norm(SLUICE__PROTO__SLOT__K_NORM, layer, *gqa.k_norm,
                head_norm_size(*gqa.k_norm, gqa.num_kv_heads, gqa.head_dim));
  }
  slots->matrix(SLUICE__PROTO__SLOT__O, layer, {{SLUICE__PROTO__PART__WHOLE, hidden}},
                gqa.q_size());
  if (gqa.o_bias) slots->vector(SLUICE__PROTO__SLOT__O_BIAS, layer, hidden);
}

void declare(const DenseSpec& dense, int layer, int64_t hidden, SlotList* slots) {
  std::vector<WeightPart> parts;
  if (dense.gated) parts.push_back({SLUICE__PROTO__PART__PART_GATE, dense.intermediate_size});
  parts.push_back({SLUICE__PROTO__PART__PART_UP, dense.intermediate_size});
  slots->matrix(SLUICE__PROTO__SLOT__GATE_UP, layer, parts, hidden);
  if (dense.gate_up_bias) {
    if (dense.gated) parts[1].row_begin = dense.intermediate_size;
    const int64_t size = int64_t{dense.intermediate_size} * static_cast<int64_t>(parts.size());
    slots->vector(SLUICE__PROTO__SLOT__GATE_UP_BIAS, layer, std::move(parts), size);
  }
  slots->matrix(SLUICE__PROTO__SLOT__DOWN, layer, {{SLUICE__PROTO__PART__WHOLE, hidden}},
                dense.intermediate_size);
  if (dense.down_bias) slots->vector(SLUICE__PROTO__SLOT__DOWN_BIAS, layer, hidden);
}

}  // namespace

std::string WeightSlot::name() const {
  const char* spelled = proto_enum_name(sluice__proto__slot__descriptor, slot);
  return layer < 0 ? std::string(spelled) : concat("layers[", layer, "].", spelled);
}

std::string WeightSlot::name(const WeightPart& part) const {
  if (part.part == SLUICE__PROTO__PART__WHOLE) return name();
  return concat(name(), ".", proto_enum_name(sluice__proto__part__descriptor, part.part));
}

std::vector<WeightSlot> declare_slots(const ModelSpec& model, Format compute_format) {
  SlotList slots(compute_format);
  const int64_t hidden = model.hidden_size;
  // A tied head multiplies by the embedding matrix, so there the one copy is packed; rows are
  // gathered from it. Without a tied head, rows lie as they are read.
  slots.matrix(SLUICE__PROTO__SLOT__EMBED_TOKENS, -1,
               {{SLUICE__PROTO__PART__WHOLE, model.vocab_size}}, hidden,
               model.head.tied ? WeightLayout::kPanel64 : WeightLayout::kRowMajor);
  slots.norm(SLUICE__PROTO__SLOT__EMBED_NORM, -1, model.embedding_norm, hidden);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const LayerSpec& layer = model.layers[l];
    const int index = static_cast<int>(l);
    slots.norm(SLUICE__PROTO__SLOT__ATTENTION_NORM, index, layer.attention_norm, hidden);
    std::visit([&](const auto& spec) { declare(spec, index, hidden, &slots); }, layer.attention);
    slots.norm(SLUICE__PROTO__SLOT__POST_ATTENTION_NORM, index, layer.post_attention_norm, hidden);
    slots.norm(SLUICE__PROTO__SLOT__FEED_FORWARD_NORM, index, layer.feed_forward_norm, hidden);
    std::visit([&](const auto& spec) { declare(spec, index, hidden, &slots); }, layer.feed_forward);
    slots.norm(SLUICE__PROTO__SLOT__POST_FEED_FORWARD_NORM, index, layer.post_feed_forward_norm,
               hidden);
  }
  slots.norm(SLUICE__PROTO__SLOT__FINAL_NORM, -1, model.final_norm, hidden);
  if (!model.head.tied) {
    slots.matrix(SLUICE__PROTO__SLOT__HEAD, -1, {{SLUICE__PROTO__PART__WHOLE, model.vocab_size}},
                 hidden);
  }
  if (model.head.bias) slots.vector(SLUICE__PROTO__SLOT__HEAD_BIAS, -1, model.vocab_size);
  return slots.take();
}

}  // namespace sluice
