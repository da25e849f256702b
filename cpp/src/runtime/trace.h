/// @file
/// Named tensors of a step, for sluice_engine_trace.
#ifndef SLUICE_RUNTIME_TRACE_H_
#define SLUICE_RUNTIME_TRACE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "runtime/plan.h"
#include "runtime/trace_replay.h"
#include "runtime/trace_tensors.h"

namespace sluice {

/// The layout of a trace: u64 length of a TraceResult, the message, padding to a multiple of 64,
/// the tensors, each at a multiple of 64 behind that. The message has room for the kernels, which
/// are known when the step has run.
class Trace {
 public:
  /// @param request  serialised TraceRequest
  /// @param step     the step to trace; only its header has been checked
  /// @throws Error INVALID_ARGUMENT for a name that the model has not or that comes twice, and for
  ///         decisions that do not fit
  Trace(const EnginePlan& plan, std::span<const uint8_t> request, const StepInput& step);

  /// Rows of every tensor.
  int64_t num_tokens() const { return num_tokens_; }

  /// Bytes of the whole output.
  int64_t bytes() const { return bytes_; }

  /// Writes everything in front of the tensors.
  /// @param kernels  what ran in the step
  void write_directory(uint8_t* buffer, const std::vector<KernelUse>& kernels) const;

  struct Tensor {
    TraceEntry entry;
    int64_t offset = 0;  ///< from the end of the directory
  };
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const TraceReplays& replays() const { return *replays_; }

  /// Bytes in front of the first tensor.
  int64_t directory_bytes() const { return directory_bytes_; }

 private:
  void add(const std::vector<TraceEntry>& entries, const std::string& name);
  void place_tensors();
  std::vector<uint8_t> directory(const std::vector<KernelUse>& kernels, int64_t bytes) const;

  int64_t num_tokens_;
  std::vector<Tensor> tensors_;
  std::unique_ptr<TraceReplays> replays_;
  int64_t message_bytes_ = 0;
  int64_t directory_bytes_ = 0;
  int64_t bytes_ = 0;
};

/// Copies the tensors of a trace into the caller's buffer while the step runs.
class TraceObserver : public StepObserver {
 public:
  /// `base` decides whether layers may run. All arguments outlive the observer.
  TraceObserver(StepObserver& base, const Trace& trace, uint8_t* buffer);

  void before_layer(int layer) override { base_.before_layer(layer); }
  void before_outputs() override { base_.before_outputs(); }
  bool tracing() const override { return true; }
  bool wants(const std::string& name) const override { return find(name) >= 0; }
  void keep(const std::string& name, const TensorRows& rows) override;
  const TensorRows* replay(const std::string& name) const override {
    return trace_.replays().find(name);
  }

  /// Columns of a tensor that wants() asked for.
  int64_t cols(const std::string& name) const { return trace_.tensors()[find(name)].entry.cols(); }

  /// After the step. @throws Error INTERNAL naming a tensor of which rows are missing
  void check_complete() const;

 private:
  int find(const std::string& name) const;

  StepObserver& base_;
  const Trace& trace_;
  uint8_t* tensors_;
  std::vector<int64_t> rows_kept_;  // of each tensor: outputs come in chunks of rows
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_TRACE_H_
