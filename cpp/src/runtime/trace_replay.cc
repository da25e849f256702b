#include "runtime/trace_replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <variant>

#include "base/error.h"

namespace sluice {
namespace {

std::string shape_text(int64_t num_tokens, const std::vector<int64_t>& row_shape) {
  std::string text = concat("[", num_tokens);
  for (int64_t size : row_shape) text += concat(", ", size);
  return text + "]";
}

// The sizes that a request gives, tokens first, equal those of the entry.
bool same_shape(const Sluice__Proto__TraceReplay& from, int64_t num_tokens,
                const std::vector<int64_t>& row_shape) {
  if (from.n_shape != row_shape.size() + 1) return false;
  if (from.shape[0] != static_cast<uint64_t>(num_tokens)) return false;
  for (size_t i = 0; i < row_shape.size(); ++i) {
    if (from.shape[i + 1] != static_cast<uint64_t>(row_shape[i])) return false;
  }
  return true;
}

void check_experts(const TraceEntry& entry, const TensorRows& rows, int64_t num_experts) {
  const auto* experts = static_cast<const int32_t*>(rows.data);
  for (int64_t t = 0; t < rows.num_rows; ++t) {
    const int32_t* row = experts + t * rows.cols;
    for (int64_t i = 0; i < rows.cols; ++i) {
      SLUICE_CHECK_ARG(row[i] >= 0 && row[i] < num_experts, "replay: ", entry.name, "[", t, "][", i,
                       "]: ", row[i], " (expected: 0 to ", num_experts - 1, ")");
      SLUICE_CHECK_ARG(std::find(row, row + i, row[i]) == row + i, "replay: ", entry.name, "[", t,
                       "][", i, "]: ", row[i], " (expected: different experts for a token)");
    }
  }
}

void check_weights(const TraceEntry& entry, const TensorRows& rows) {
  const auto* weights = static_cast<const float*>(rows.data);
  for (int64_t i = 0; i < rows.num_rows * rows.cols; ++i) {
    SLUICE_CHECK_ARG(std::isfinite(weights[i]), "replay: ", entry.name, "[", i / rows.cols, "][",
                     i % rows.cols, "]: ", weights[i], " (expected: a finite number)");
  }
}

// A query sees no later position, and at least one key: not always its own, which the TOPK kind may
// drop for larger scores. A position out of range is refused with the step.
void check_mask(const TraceEntry& entry, const TensorRows& rows, const StepInput& step) {
  const int64_t planes = entry.row_shape[0], context_len = entry.row_shape[1];
  const auto* keep = static_cast<const uint8_t*>(rows.data);
  const auto dims =
      static_cast<int64_t>(step.position.size()) / std::max<int64_t>(rows.num_rows, 1);
  for (int64_t t = 0; t < rows.num_rows; ++t) {
    const int64_t own = step.position[t * dims];
    for (int64_t plane = 0; plane < planes; ++plane) {
      const uint8_t* row = keep + (t * planes + plane) * context_len;
      int64_t kept = 0;
      for (int64_t key = 0; key < context_len; ++key) {
        kept += row[key];
        SLUICE_CHECK_ARG(row[key] <= (key <= own ? 1 : 0), "replay: ", entry.name, "[", t, "][",
                         plane, "][", key, "]: ", static_cast<int>(row[key]), " (expected: ",
                         key <= own ? "0 or 1" : "0", " at position ", own, ")");
      }
      SLUICE_CHECK_ARG(kept > 0, "replay: ", entry.name, "[", t, "][", plane,
                       "]: no key (expected: at least one up to position ", own, ")");
    }
  }
}

}  // namespace

TraceReplays::TraceReplays(const Sluice__Proto__TraceRequest& request, const ModelSpec& spec,
                           const std::vector<TraceEntry>& entries, const StepInput& step) {
  for (size_t i = 0; i < request.n_replay; ++i) add(*request.replay[i], entries, spec, step);
  for (const TraceEntry& entry : entries) {
    if (entry.kind != TraceKind::kRouterIdx) continue;
    const std::string weight = concat("router_weight_", entry.index);
    const bool complete = (find(entry.name) == nullptr) == (find(weight) == nullptr);
    SLUICE_CHECK_ARG(complete, "replay: ", find(weight) == nullptr ? entry.name : weight,
                     " alone (expected: both of ", entry.name, " and ", weight, ")");
  }
}

void TraceReplays::add(const Sluice__Proto__TraceReplay& from,
                       const std::vector<TraceEntry>& entries, const ModelSpec& spec,
                       const StepInput& step) {
  const std::string name = from.name == nullptr ? "" : from.name;
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const TraceEntry& entry) {
    return entry.name == name && can_replay(entry.kind);
  });
  if (found == entries.end()) {
    std::vector<TraceEntry> possible;
    std::copy_if(entries.begin(), entries.end(), std::back_inserter(possible),
                 [](const TraceEntry& entry) { return can_replay(entry.kind); });
    SLUICE_FAIL(
        SLUICE_STATUS_INVALID_ARGUMENT, "replay: ", name, " (expected: ",
        possible.empty() ? "nothing, the model decides nothing" : describe_entries(possible), ")");
  }
  const TraceEntry& entry = *found;
  const int64_t num_tokens = step.num_tokens();
  SLUICE_CHECK_ARG(
      from.has_format && static_cast<Format>(from.format) == entry.format, "replay: ", name,
      ".format: ", from.has_format ? format_name(static_cast<Format>(from.format)) : "absent",
      " (expected: ", format_name(entry.format), ")");
  SLUICE_CHECK_ARG(same_shape(from, num_tokens, entry.row_shape), "replay: ", name, ".shape: ",
                   shape_text(from.n_shape == 0 ? 0 : static_cast<int64_t>(from.shape[0]),
                              std::vector<int64_t>(from.shape + std::min<size_t>(from.n_shape, 1),
                                                   from.shape + from.n_shape)),
                   " (expected: ", shape_text(num_tokens, entry.row_shape), ")");
  const int64_t bytes = num_tokens * entry.row_bytes();
  SLUICE_CHECK_ARG(from.has_data && static_cast<int64_t>(from.data.len) == bytes, "replay: ", name,
                   ".data: ", from.has_data ? from.data.len : 0, " bytes (expected: ", bytes, ")");
  const auto [place, added] = replays_.try_emplace(name);
  SLUICE_CHECK_ARG(added, "replay: ", name, " (expected: each name once)");
  Replay& replay = place->second;
  replay.memory.resize(static_cast<size_t>(bytes + 3) / 4);
  if (bytes > 0) std::memcpy(replay.memory.data(), from.data.data, static_cast<size_t>(bytes));
  replay.rows = {replay.memory.data(), entry.format, num_tokens, entry.cols()};
  if (entry.kind == TraceKind::kRouterIdx) {
    check_experts(entry, replay.rows,
                  std::get<MoeSpec>(spec.layers[entry.index].feed_forward).num_experts);
  } else if (entry.kind == TraceKind::kRouterWeight) {
    check_weights(entry, replay.rows);
  } else {
    check_mask(entry, replay.rows, step);
  }
}

const TensorRows* TraceReplays::find(const std::string& name) const {
  const auto found = replays_.find(name);
  return found == replays_.end() ? nullptr : &found->second.rows;
}

}  // namespace sluice
