/// @file
/// Everything about an engine that follows from its spec and options, before memory is taken.
#ifndef SLUICE_RUNTIME_PLAN_H_
#define SLUICE_RUNTIME_PLAN_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/cuda.h"
#include "model/decoder.h"
#include "model/options.h"
#include "model/shard.h"
#include "model/spec.h"
#include "model/weight_store.h"
#include "ops/gemm/gemm.h"
#include "runtime/kv_cache.h"
#include "runtime/step_check.h"
#include "runtime/step_view.h"

namespace sluice {

/// Where the ranks of a process stand among all ranks; see sluice_engine_create.
struct Placement {
  std::span<const int32_t> devices;
  int32_t first_rank = 0;
  int32_t world_size = 1;
  bool has_comm_id = false;
  int32_t layer_begin = 0;
  int32_t layer_end = 0;
};

/// What one rank holds and runs with.
struct RankPlan {
  ModelShard shard;
  std::vector<WeightSlot> slots;
  std::unique_ptr<Gemm> gemm;
};

struct EnginePlan {
  ModelSpec spec;  ///< of the whole model
  EngineOptions options;
  Exec exec;  ///< of each rank; with the backend CUDA `exec.cuda` is `cuda`, without a stream
  std::unique_ptr<CudaExec> cuda;
  StepRules rules;
  sluice_step_layout layout = {};
  std::vector<RankPlan> ranks;         ///< of this process, in their order; at least one
  WeightPacking packing = kCpuPacking;  ///< of the weights, by the backend
  std::vector<KvGroupPlan> kv_groups;  ///< of each rank
  int64_t num_parameters = 0;          ///< of the whole model
  // Of all ranks of this process together:
  int64_t weight_bytes = 0;
  int64_t kv_bytes = 0;
  int64_t step_slot_bytes = 0;  ///< areas of all slots, their checked copies, outputs of ranks
  int64_t state_bytes = 0;      ///< block tables, marks, penalty counts, rope frequencies
  int64_t device_state_bytes = 0;  ///< those on a device, copies of message and output there
  int64_t arena_bytes = 0;      ///< of one rank: activations and logits of a step
  int64_t message_bytes = 0;    ///< of a message's checked copy: its layout's, and what follows it

  int64_t num_ranks() const { return static_cast<int64_t>(ranks.size()); }
  /// Where the weights lie.
  int64_t workspace_bytes() const {
    return num_ranks() * arena_bytes + device_state_bytes +
           (on_device() ? 0 : step_slot_bytes + state_bytes);
  }
  /// Of the host beside a device; 0 on the CPU.
  int64_t host_bytes() const { return on_device() ? step_slot_bytes + state_bytes : 0; }
  int64_t total_bytes() const {
    return weight_bytes + kv_bytes + workspace_bytes() + host_bytes();
  }
  /// Of total_bytes() what lies on a device.
  int64_t device_bytes() const { return on_device() ? total_bytes() - host_bytes() : 0; }

  bool on_device() const { return cuda != nullptr; }
  /// Where weights, KV blocks and workspace lie.
  MemorySpace space() const {
    return on_device() ? MemorySpace{MemoryKind::kDevice, cuda->device} : MemorySpace{};
  }
  /// Where the host and the device meet.
  MemorySpace host_space() const {
    return on_device() ? MemorySpace{MemoryKind::kPinned, cuda->device} : MemorySpace{};
  }
};

/// Decodes, checks and sizes. Takes no memory that grows with the model and opens no file but
/// oneDNN's library. With `blocks_optional` num_blocks may be left open.
/// @throws Error INVALID_ARGUMENT, UNSUPPORTED, LIBRARY_MISSING
EnginePlan make_plan(std::span<const uint8_t> spec, std::span<const uint8_t> options,
                     const Placement& placement, bool blocks_optional);

struct KernelUse;

/// Serialised EngineInfo.
/// @param kernels  kernel_uses(), or what became of them
std::vector<uint8_t> make_engine_info(const EnginePlan& plan, const std::vector<KernelUse>& kernels,
                                      bool graphs_refused = false);

/// Serialised WeightSlotList.
std::vector<uint8_t> make_weight_slots(const EnginePlan& plan);

/// One kernel family of this engine, and why it was chosen.
struct KernelUse {
  std::string op;
  std::string variant;
  std::string reason;
};

/// What steps of this engine run; of a device what they would choose.
std::vector<KernelUse> kernel_uses(const EnginePlan& plan);

/// What was chosen beforehand, with the ops that a device has launched since told from its log.
std::vector<KernelUse> with_launched(const std::vector<KernelUse>& chosen,
                                     const std::vector<KernelLog::Entry>& log);

/// What a device launched between two looks at its log; the reason tells how often.
std::vector<KernelUse> kernels_launched(const std::vector<KernelLog::Entry>& before,
                                        const std::vector<KernelLog::Entry>& after);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_PLAN_H_
