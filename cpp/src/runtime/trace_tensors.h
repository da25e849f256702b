/// @file
/// Which tensors of a step can be traced, with their shapes, and which can be replayed.
#ifndef SLUICE_RUNTIME_TRACE_TENSORS_H_
#define SLUICE_RUNTIME_TRACE_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/format.h"
#include "model/spec.h"
#include "runtime/step_view.h"

namespace sluice {

/// What a traced tensor holds; its number is the layer's, or the head's for kHeadLogits.
enum class TraceKind {
  kEmbedding,
  kHidden,
  kRouterIdx,
  kRouterWeight,
  kRouterKept,
  kAttentionKeep,
  kFinalNorm,
  kLogits,
  kHeadLogits,
};

/// One tensor of a step: dense rows, one for each token.
struct TraceEntry {
  TraceKind kind = TraceKind::kEmbedding;
  int index = -1;  ///< of the layer or head; -1: there is one of the kind
  std::string name;
  Format format = Format::kF32;
  std::vector<int64_t> row_shape;  ///< without the tokens

  int64_t cols() const;
  int64_t row_bytes() const { return cols() * (format == Format::kU8 ? 1 : 4); }
};

/// Every tensor that a step of the model passes by. The step may be unchecked: its largest
/// context_len counts within [0, max_context_len].
std::vector<TraceEntry> list_trace_entries(const ModelSpec& spec, const StepInput& step,
                                           int64_t max_context_len);

/// Names of the entries for a message: "embedding, hidden_[0-3], router_idx_[1-3], logits".
std::string describe_entries(const std::vector<TraceEntry>& entries);

/// Largest context_len of a step, within [0, max_context_len].
int64_t largest_context_len(const StepInput& step, int64_t max_context_len);

/// Whether a request may replay the kind: decisions, not what follows from them.
bool can_replay(TraceKind kind);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_TRACE_TENSORS_H_
