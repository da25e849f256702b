#include "runtime/trace_tensors.h"

#include <algorithm>
#include <variant>

#include "base/checked.h"
#include "base/error.h"
#include "ops/adaptive_attention/adaptive_attention.h"

namespace sluice {
namespace {

const char* prefix(TraceKind kind) {
  switch (kind) {
    case TraceKind::kEmbedding:
      return "embedding";
    case TraceKind::kHidden:
      return "hidden_";
    case TraceKind::kRouterIdx:
      return "router_idx_";
    case TraceKind::kRouterWeight:
      return "router_weight_";
    case TraceKind::kRouterKept:
      return "router_kept_";
    case TraceKind::kAttentionKeep:
      return "attention_keep_";
    case TraceKind::kFinalNorm:
      return "final_norm";
    case TraceKind::kLogits:
      return "logits";
    case TraceKind::kHeadLogits:
      return "head_logits_";
  }
  return "?";
}

class EntryList {
 public:
  void add(TraceKind kind, int index, Format format, std::vector<int64_t> row_shape) {
    entries_.push_back({kind, index, index < 0 ? prefix(kind) : concat(prefix(kind), index), format,
                        std::move(row_shape)});
  }
  std::vector<TraceEntry> take() { return std::move(entries_); }

 private:
  std::vector<TraceEntry> entries_;
};

// What the layers of each kind show; the others show nothing of their own.

void list(const GqaSpec& /*spec*/, int /*layer*/, int64_t /*context_len*/, EntryList* /*out*/) {}
void list(const MlaSpec& /*spec*/, int /*layer*/, int64_t /*context_len*/, EntryList* /*out*/) {}

void list(const AdaptiveSpec& spec, int layer, int64_t context_len, EntryList* out) {
  out->add(TraceKind::kAttentionKeep, layer, Format::kU8,
           {adaptive_keep_planes(spec.kind, spec.num_q_heads), context_len});
}

void list(const DenseSpec& /*spec*/, int /*layer*/, int64_t /*context_len*/, EntryList* /*out*/) {}

void list(const MoeSpec& spec, int layer, int64_t /*context_len*/, EntryList* out) {
  const int64_t k = spec.num_experts_per_token;
  out->add(TraceKind::kRouterIdx, layer, Format::kI32, {k});
  out->add(TraceKind::kRouterWeight, layer, Format::kF32, {k});
  if (spec.has_capacity()) out->add(TraceKind::kRouterKept, layer, Format::kU8, {k});
}

int64_t num_values(const HeadSpec& head, const ModelSpec& spec) {
  switch (head.kind) {
    case HeadKind::kClassification:
      return head.num_labels;
    case HeadKind::kValue:
      return 1;
    default:
      return spec.vocab_size;
  }
}

// "1-3, 5" for 1, 2, 3, 5.
std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += concat(numbers[i]);
    if (last > i) text += concat("-", numbers[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace

int64_t TraceEntry::cols() const {
  int64_t product = 1;
  for (int64_t size : row_shape) product = checked_mul(product, size);
  return product;
}

int64_t largest_context_len(const StepInput& step, int64_t max_context_len) {
  int64_t largest = 0;
  for (int32_t length : step.context_len) largest = std::max<int64_t>(largest, length);
  return std::min(largest, max_context_len);
}

std::vector<TraceEntry> list_trace_entries(const ModelSpec& spec, const StepInput& step,
                                           int64_t max_context_len) {
  const int64_t context_len = largest_context_len(step, max_context_len);
  const int64_t hidden = spec.hidden_size;
  EntryList out;
  out.add(TraceKind::kEmbedding, -1, Format::kF32, {hidden});
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const int layer = static_cast<int>(l);
    std::visit([&](const auto& attention) { list(attention, layer, context_len, &out); },
               spec.layers[l].attention);
    std::visit([&](const auto& feed_forward) { list(feed_forward, layer, context_len, &out); },
               spec.layers[l].feed_forward);
    out.add(TraceKind::kHidden, layer, Format::kF32, {hidden});
  }
  out.add(TraceKind::kFinalNorm, -1, Format::kF32, {hidden});
  bool generates = false;
  for (size_t h = 0; h < spec.heads.size(); ++h) {
    const HeadSpec& head = spec.heads[h];
    if (head.kind == HeadKind::kGeneration && !generates) {
      out.add(TraceKind::kLogits, -1, Format::kF32, {spec.vocab_size});
      generates = true;
    }
    out.add(TraceKind::kHeadLogits, static_cast<int>(h), Format::kF32, {num_values(head, spec)});
  }
  return out.take();
}

std::string describe_entries(const std::vector<TraceEntry>& entries) {
  std::string text;
  for (int kind = 0; kind <= static_cast<int>(TraceKind::kHeadLogits); ++kind) {
    std::vector<int> numbers;
    bool met = false;
    for (const TraceEntry& entry : entries) {
      if (static_cast<int>(entry.kind) != kind) continue;
      met = true;
      if (entry.index >= 0) numbers.push_back(entry.index);
    }
    if (!met) continue;
    if (!text.empty()) text += ", ";
    text += prefix(static_cast<TraceKind>(kind));
    if (!numbers.empty()) text += concat("[", ranges(numbers), "]");
  }
  return text;
}

bool can_replay(TraceKind kind) {
  return kind == TraceKind::kRouterIdx || kind == TraceKind::kRouterWeight ||
         kind == TraceKind::kAttentionKeep;
}

}  // namespace sluice
