/// @file
/// Traces of a model that several ranks share.
#ifndef SLUICE_RUNTIME_RANK_TRACE_H_
#define SLUICE_RUNTIME_RANK_TRACE_H_

#include <string>

#include "model/decoder.h"

namespace sluice {

/// Looks on on a rank that writes no trace. It wants what the first rank's trace wants, since the
/// tensors of a trace are made by all ranks together, and keeps nothing.
class RankTraceObserver : public StepObserver {
 public:
  /// `base` decides whether layers may run; `trace` is the first rank's, of which only wants() is
  /// called. Both outlive the observer.
  RankTraceObserver(StepObserver& base, const StepObserver& trace) : base_(base), trace_(trace) {}

  void before_layer(int layer) override { base_.before_layer(layer); }
  void before_outputs() override { base_.before_outputs(); }
  bool tracing() const override { return true; }
  bool wants(const std::string& name) const override { return trace_.wants(name); }

 private:
  StepObserver& base_;
  const StepObserver& trace_;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_RANK_TRACE_H_
