/// @file
/// EngineOptions of sluice.proto as a plain, checked struct.
#ifndef SLUICE_MODEL_OPTIONS_H_
#define SLUICE_MODEL_OPTIONS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/format.h"
#include "model/spec.h"
#include "ops/gemm/gemm.h"

namespace sluice {

/// A fault that a test asks for: the `count`-th pass of the point `name` fails with `status`.
struct FaultRequest {
  std::string name;
  uint64_t count = 1;
  int32_t status = 0;
};

/// Most of EngineOptions.max_draft_len: a row and its drafts go through the head together.
inline constexpr int32_t kMaxDraftLen = 63;

/// Where an engine computes; numbers equal those of `Backend` in sluice.proto.
enum class Backend : int32_t {
  kCpu = 1,
  kCuda = 2,
};

struct EngineOptions {
  Backend backend = Backend::kCpu;
  Format compute_format = Format::kF32;
  Format kv_format = Format::kF32;
  Numerics numerics = Numerics::kBatchInvariant;
  int32_t num_threads = 1;  ///< of all ranks together
  int32_t tensor_parallel_size = 1;
  int32_t block_size = 16;
  std::vector<int64_t> num_blocks;  ///< [kv_groups]; zeros where a plan leaves it open
  int32_t max_sequences = 0;
  int32_t max_context_len = 0;
  int32_t max_step_tokens = 0;
  int32_t max_step_outputs = 0;
  int32_t step_slots = 2;
  int32_t max_draft_len = 0;
  int32_t max_top_n = 20;
  int32_t max_step_targets = 4096;
  int32_t max_step_logit_biases = 4096;
  int32_t max_step_masks = 0;
  int32_t max_step_hidden_rows = 0;
  int32_t max_step_state_ops = 1024;
  int32_t max_step_block_updates = 8192;
  int32_t max_step_count_updates = 8192;
  bool report_expert_counts = false;
  bool penalties = true;
  std::string onednn_path;
  std::string cublaslt_path;
  std::string isa;
  std::vector<FaultRequest> faults;

  int32_t max_blocks_per_sequence() const {
    return (max_context_len + block_size - 1) / block_size;
  }
};

/// Decodes and checks serialised EngineOptions for a model. With `blocks_optional` (a plan)
/// num_blocks may be empty.
///
/// @throws Error INVALID_ARGUMENT for a missing required field or a value out of range;
///         UNSUPPORTED, naming the field, for what this build has no code for
EngineOptions decode_engine_options(std::span<const uint8_t> bytes, const ModelSpec& model,
                                    bool blocks_optional);

}  // namespace sluice
#endif  // SLUICE_MODEL_OPTIONS_H_
