/// @file
/// What a step finds on a device and leaves there for the next.
#ifndef SLUICE_RUNTIME_CUDA_DEVICE_STATE_H_
#define SLUICE_RUNTIME_CUDA_DEVICE_STATE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "device/cuda.h"
#include "layers/context.h"
#include "ops/sampling/token_counts_cuda.h"
#include "ops/step_state/step_state_cuda.h"
#include "runtime/kv_cache.h"
#include "runtime/plan.h"

namespace sluice {

/// Resident state of sequence slots and RoPE variants, and the device's copies of a step's message
/// and output. One of each is enough: steps run one after the other. Everything is enqueued.
class DeviceState {
 public:
  /// Takes its memory and waits until it is as a new engine's.
  /// @throws Error OUT_OF_DEVICE_MEMORY
  DeviceState(const EnginePlan& plan, const CudaDevice& device, const KvCache& kv,
              AllocationCounter* counter);

  /// Device memory of a state. @param message_bytes  EnginePlan::message_bytes
  static int64_t bytes(const EnginePlan& plan, int64_t message_bytes);

  /// Memory for the copies; sections lie as in the layout.
  uint8_t* message() const { return message_; }
  const StepOutput& output() const { return output_; }

  /// The sections of the copy: spans of device memory, as long as those of `step` on the host.
  StepInput view(const StepInput& step) const;

  /// Runs the state operations, block, count and RoPE updates of a step whose message has arrived.
  /// @param step  its view()
  void apply(const StepInput& step);

  /// Angles of a step's tokens, in arrays of the workspace.
  std::span<const RopeAngles> make_angles(const Exec& exec, const StepBatch& batch,
                                          const int32_t* rope_variant, Arena& workspace);

  const cuda::SequenceTables& tables() const { return tables_; }
  /// [kv groups] tables of the groups.
  std::span<const int32_t* const> block_tables() const { return block_tables_; }
  const cuda::TokenCountsView& counts() const { return counts_.view(); }
  /// [max_step_outputs] last accepted token of each row of the step before.
  int32_t* previous_tokens() const { return previous_tokens_; }

 private:
  struct Rope {
    int32_t rotary_dim = 0;
    bool interleaved = false;
    int32_t num_variants = 0;
    double* inv_freq = nullptr;          // [variants, rotary_dim / 2]
    RopeVariantView* variants = nullptr;  // [variants]
  };
  void make_ropes(const std::vector<RopeSpec>& ropes);
  void list_regions(const KvCache& kv);
  template <class T>
  T* upload(const std::vector<T>& values);

  sluice_step_layout layout_;
  CudaExec exec_;
  Arena arena_;
  uint8_t* message_ = nullptr;
  uint8_t* output_area_ = nullptr;
  StepOutput output_;
  cuda::SequenceTables tables_;
  std::vector<const int32_t*> block_tables_;
  int32_t* previous_tokens_ = nullptr;
  cuda::DeviceTokenCounts counts_;
  std::vector<Rope> ropes_;
  std::vector<RopeAngles> angles_;
  cuda::RopeUpdateParams::Target* rope_targets_ = nullptr;
  cuda::BlockOpsParams block_ops_;
  std::vector<std::vector<std::byte>> uploads_;  // until the constructor has waited for them
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_CUDA_DEVICE_STATE_H_
