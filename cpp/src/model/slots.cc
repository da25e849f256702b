#include "model/slots.h"

#include <algorithm>

#include "model/slot_list.h"

namespace sluice {
namespace {

constexpr ShardAxis kReplicated = ShardAxis::kReplicated;
constexpr ShardAxis kRows = ShardAxis::kRows;

void declare_layer(const LayerSpec& layer, int64_t hidden, SlotList* slots) {
  slots->norm(SLUICE__PROTO__SLOT__ATTENTION_NORM, layer.attention_norm, hidden);
  std::visit([&](const auto& spec) { declare_slots(spec, hidden, slots); }, layer.attention);
  slots->norm(SLUICE__PROTO__SLOT__POST_ATTENTION_NORM, layer.post_attention_norm, hidden);
  slots->norm(SLUICE__PROTO__SLOT__FEED_FORWARD_NORM, layer.feed_forward_norm, hidden);
  std::visit([&](const auto& spec) { declare_slots(spec, hidden, slots); }, layer.feed_forward);
  slots->norm(SLUICE__PROTO__SLOT__POST_FEED_FORWARD_NORM, layer.post_feed_forward_norm, hidden);
}

void declare_compression(const CompressionSpec& compression, int64_t hidden, SlotList* slots) {
  const int64_t size = compression.compressed_size;
  slots->matrix(SLUICE__PROTO__SLOT__COMPRESSION_ENCODER, kReplicated, size, hidden);
  if (compression.bias) {
    slots->vector(SLUICE__PROTO__SLOT__COMPRESSION_ENCODER_BIAS, kReplicated, size);
  }
  slots->matrix(SLUICE__PROTO__SLOT__COMPRESSION_DECODER, kReplicated, hidden, size);
  if (compression.bias) {
    slots->vector(SLUICE__PROTO__SLOT__COMPRESSION_DECODER_BIAS, kReplicated, hidden);
  }
  slots->norm(SLUICE__PROTO__SLOT__COMPRESSION_NORM, compression.norm, hidden);
}

void declare_head(const HeadSpec& head, const ModelSpec& model, SlotList* slots) {
  const int64_t hidden = model.hidden_size;
  switch (head.kind) {
    case HeadKind::kGeneration:
      if (!head.tied) slots->matrix(SLUICE__PROTO__SLOT__HEAD, kRows, model.vocab_size, hidden);
      if (head.bias) slots->vector(SLUICE__PROTO__SLOT__HEAD_BIAS, kRows, model.vocab_size);
      break;
    case HeadKind::kClassification:
    case HeadKind::kValue: {
      const int64_t values = head.kind == HeadKind::kValue ? 1 : head.num_labels;
      slots->matrix(SLUICE__PROTO__SLOT__HEAD, kReplicated, values, hidden);
      if (head.bias) slots->vector(SLUICE__PROTO__SLOT__HEAD_BIAS, kReplicated, values);
      break;
    }
    case HeadKind::kReasoning:
      slots->matrix(SLUICE__PROTO__SLOT__HEAD_TRANSFORM, kReplicated, hidden, hidden);
      if (head.bias) slots->vector(SLUICE__PROTO__SLOT__HEAD_TRANSFORM_BIAS, kReplicated, hidden);
      break;
  }
}

}  // namespace

std::string WeightSlot::name() const {
  const char* spelled = proto_enum_name(sluice__proto__slot__descriptor, slot);
  if (layer >= 0) return concat("layers[", layer, "].", spelled);
  return head == 0 ? std::string(spelled) : concat("heads[", head, "].", spelled);
}

std::string WeightSlot::name(const WeightPart& part) const {
  if (part.part == SLUICE__PROTO__PART__WHOLE) return name();
  return concat(name(), ".", proto_enum_name(sluice__proto__part__descriptor, part.part));
}

std::vector<WeightSlot> declare_slots(const ModelSpec& model, Format compute_format,
                                      const WeightPacking& packing) {
  SlotList slots(compute_format, packing);
  const int64_t hidden = model.hidden_size;
  // A tied head multiplies by the embedding matrix, so there the one copy is packed; rows are
  // gathered from it. Without a tied head, rows lie as they are read.
  const bool tied = std::any_of(model.heads.begin(), model.heads.end(),
                                [](const HeadSpec& head) { return head.tied; });
  slots.matrix_in(tied ? packing.layout : WeightLayout::kRowMajor,
                  SLUICE__PROTO__SLOT__EMBED_TOKENS, kRows, model.vocab_size, hidden);
  slots.norm(SLUICE__PROTO__SLOT__EMBED_NORM, model.embedding_norm, hidden);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    slots.at_layer(static_cast<int>(l));
    declare_layer(model.layers[l], hidden, &slots);
  }
  slots.at_layer(-1);
  slots.norm(SLUICE__PROTO__SLOT__FINAL_NORM, model.final_norm, hidden);
  if (model.compression) declare_compression(*model.compression, hidden, &slots);
  for (size_t h = 0; h < model.heads.size(); ++h) {
    slots.at_head(static_cast<int>(h));
    declare_head(model.heads[h], model, &slots);
  }
  return slots.take();
}

}  // namespace sluice
