/// @file
/// Decisions that a trace takes over instead of making them.
#ifndef SLUICE_RUNTIME_TRACE_REPLAY_H_
#define SLUICE_RUNTIME_TRACE_REPLAY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "layers/observer.h"
#include "model/proto_message.h"
#include "runtime/trace_tensors.h"

namespace sluice {

/// The decisions of one TraceRequest. Owns the numbers.
class TraceReplays {
 public:
  /// Checks every decision against the model and the step, which may be unchecked itself.
  /// @param entries  of the model and the step
  /// @throws Error INVALID_ARGUMENT naming the tensor, the place and the expectation
  TraceReplays(const Sluice__Proto__TraceRequest& request, const ModelSpec& spec,
               const std::vector<TraceEntry>& entries, const StepInput& step);
  TraceReplays(const TraceReplays&) = delete;
  TraceReplays& operator=(const TraceReplays&) = delete;

  /// The decisions of a name, or nullptr.
  const TensorRows* find(const std::string& name) const;

 private:
  struct Replay {
    std::vector<uint32_t> memory;  // words, for the alignment of numbers
    TensorRows rows;
  };

  void add(const Sluice__Proto__TraceReplay& from, const std::vector<TraceEntry>& entries,
           const ModelSpec& spec, const StepInput& step);

  std::map<std::string, Replay> replays_;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_TRACE_REPLAY_H_
