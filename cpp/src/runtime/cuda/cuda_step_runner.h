/// @file
/// Runs checked steps on a CUDA device.
#ifndef SLUICE_RUNTIME_CUDA_CUDA_STEP_RUNNER_H_
#define SLUICE_RUNTIME_CUDA_CUDA_STEP_RUNNER_H_

#include <atomic>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "device/cuda.h"
#include "ops/attention/cudnn_attention.h"
#include "runtime/cuda/device_state.h"
#include "runtime/cuda/row_plan.h"
#include "runtime/device_runner.h"

namespace sluice {

/// Every step goes the same way: one kernel fetches the used parts of the message, a few change
/// resident state, then decoder, heads and sampling, and one kernel writes the used parts of the
/// output back. The host waits for nothing.
///
/// A decode step (RowPlan::decode_head) is padded to the next of a few batch sizes, and nothing of it
/// then depends on the host but that size: what is between message and output is captured as one
/// graph when a size comes for the first time, and launched as that from then on. The longest context
/// is taken to be max_context_len; of models with adaptive layers, whose kernels look at every place
/// where a key could be, the next of 1024, 4096, 16384, ..., with a graph for each that comes. Where the device has no memory for a graph, no more of them are
/// made: one warning, DeviceRunner::graphs(), and the same results at the cost of each launch. With
/// SLUICE_SYNC_LAUNCH=1 in the environment no graph is made and
/// every layer is waited for, so that a fault is met where it happened; the results are the same.
class CudaStepRunner : public DeviceRunner {
 public:
  CudaStepRunner(const EnginePlan& plan, const CudaDevice& device, const Decoder& decoder,
                 const LayerContext& context, const KvCache& kv, const FaultPoints& faults,
                 AllocationCounter* counter);
  ~CudaStepRunner() override;

  static int64_t workspace_bytes(const EnginePlan& plan, const Decoder& decoder,
                                 const LayerContext& context);

  void attach_thread() const override { device_.make_current(); }
  void launch(int slot, uint8_t* message, const StepOutput& output,
              StepObserver& observer) override;
  StepReport wait(int slot, const StepInput& step, const StepOutput& output,
                  int64_t* micros) override;
  void drain() noexcept override;
  Graphs graphs() const override { return {graphs_made_, graphs_refused_}; }

 private:
  // A step as the device sees it.
  struct Work {
    StepInput host;
    StepInput device;      // sections of the device's copy
    int64_t num_tokens;    // padding included
    int64_t num_sequences;
    int head = -1;                // of a decode step
    int64_t longest_context = 0;  // of a decode step: no context is longer
  };
  struct Timer {
    CudaEvent start{true};
    CudaEvent end{true};
  };

  // What a graph is made for.
  struct GraphKey {
    int64_t num_sequences;
    int64_t longest_context;
    int head;
    auto operator<=>(const GraphKey&) const = default;
  };

  int64_t bucket_of(const StepInput& step, const StepObserver& observer, int* head) const;
  int64_t context_bound(const StepInput& step) const;
  void pad_message(uint8_t* message, const StepInput& step, int64_t bucket) const;
  void upload(const Work& work, const uint8_t* message);
  void download(const Work& work, const StepOutput& output);

  void compute(const Work& work, StepObserver& observer);
  void run_decode(const Work& work, StepObserver& observer);
  void make_graph(const Work& work, StepObserver& observer, CudaGraph* graph);

  void run_outputs(const Work& work, const int32_t* ids, const float* residual);
  void run_chunk(const Work& work, const HeadChunk& chunk, const int32_t* ids,
                 const float* residual);
  void choose(const Work& work, const HeadChunk& chunk, const int32_t* ids, const float* values);
  void run_hidden_rows(const Work& work, const float* residual);
  void gather(const Work& work, const float* residual, const int32_t* index, int64_t count,
              float* rows);
  void show_outputs(int64_t num_tokens, const float* residual, StepObserver& observer);

  const int32_t* list(int64_t offset) const {
    return reinterpret_cast<const int32_t*>(state_.message() + offset);
  }
  cuda::RowOutputs row_outputs() const;

  const StepLimits limits_;
  const sluice_step_layout layout_;
  const std::vector<HeadKind> heads_;
  const CudaDevice& device_;
  const Decoder& decoder_;
  LayerContext context_;
  const KvCache& kv_;
  const FaultPoints& faults_;
  DeviceState state_;
  RowLists lists_;
  RowPlan rows_;
  bool sync_launch_ = false;
  bool makes_graphs_ = true;
  std::atomic<int64_t> graphs_made_ = 0;
  std::atomic<int64_t> graphs_refused_ = 0;
  bool bounds_contexts_ = false;  // graphs by the longest context too
  std::vector<Timer> timers_;     // [step slots]
  std::map<GraphKey, CudaGraph> graph_;
  std::unique_ptr<CudnnAttention> cudnn_;  // null where it is not used
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_CUDA_CUDA_STEP_RUNNER_H_
