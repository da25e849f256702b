/// @file
/// Traces of a model that several ranks share.
#ifndef SLUICE_RUNTIME_RANK_TRACE_H_
#define SLUICE_RUNTIME_RANK_TRACE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "runtime/trace.h"

namespace sluice {

/// Looks on on one of several ranks. All of them want the same tensors, since many are made by all
/// together; the first rank keeps them. Masks of a rank's heads are put together before, and those
/// to replay are taken apart.
class RankTraceObserver : public StepObserver {
 public:
  /// @param base     of this rank; decides whether layers may run
  /// @param trace    the trace itself; keep() is called on rank 0's thread, the rest on all
  /// @param longest  largest context_len of the step
  /// All but the last outlive the observer.
  RankTraceObserver(StepObserver& base, TraceObserver& trace, Communicator& comm, int64_t longest)
      : base_(base), trace_(trace), comm_(comm), longest_(longest) {}

  void before_layer(int layer) override { base_.before_layer(layer); }
  void before_outputs() override { base_.before_outputs(); }
  bool tracing() const override { return true; }
  bool wants(const std::string& name) const override { return trace_.wants(name); }

  /// Collective for the masks of heads.
  void keep(const std::string& name, const TensorRows& rows) override;
  const TensorRows* replay(const std::string& name) const override;

 private:
  struct Part {
    std::vector<uint8_t> values;
    TensorRows rows;
  };

  StepObserver& base_;
  TraceObserver& trace_;
  Communicator& comm_;
  int64_t longest_;
  std::vector<uint8_t> gathered_;
  mutable std::map<std::string, Part> replays_;  // what was taken apart, by name
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_RANK_TRACE_H_
