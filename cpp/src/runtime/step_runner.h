/// @file
/// Runs checked steps: state changes, the decoder, the outputs.
#ifndef SLUICE_RUNTIME_STEP_RUNNER_H_
#define SLUICE_RUNTIME_STEP_RUNNER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "device/buffer.h"
#include "layers/context.h"
#include "model/decoder.h"
#include "runtime/kv_cache.h"
#include "runtime/rope_state.h"
#include "runtime/sequence_state.h"
#include "runtime/step_view.h"

namespace sluice {

/// Rows of logits, each a token of an output row or of its drafts, that go through the head
/// together: bounds the logits in memory.
inline constexpr int64_t kMaxHeadRows = 64;

/// Heads whose values a trace asks for, each with the tensor's name; "logits" are those of the first
/// generation head.
std::vector<std::pair<int, std::string>> wanted_head_values(const Decoder& decoder,
                                                            const StepObserver& observer);

/// What a step did, for the statistics.
struct StepReport {
  int64_t non_finite_rows = 0;
  int64_t block_copies = 0;
};

/// Runs one step after the other on one thread. Allocates nothing after construction.
class StepRunner {
 public:
  /// Refers to everything given; all of it outlives the runner.
  StepRunner(const StepLimits& limits, const Decoder& decoder, LayerContext context, KvCache& kv,
             SequenceState& sequences, RopeState& ropes);

  /// Arena bytes that run() takes at most.
  static int64_t workspace_bytes(const StepLimits& limits, const Decoder& decoder,
                                 const LayerContext& context, const std::vector<RopeSpec>& ropes);

  /// Runs a checked step. @throws Error what an op or the observer throws; the engine's state is
  /// undefined then
  StepReport run(const StepInput& step, const StepOutput& output, StepObserver& observer);

 private:
  void resolve_tokens(const StepInput& step, int32_t* ids);
  void show_outputs(int64_t num_tokens, const float* residual, StepObserver& observer);
  void run_outputs(const StepInput& step, const StepOutput& output, const int32_t* ids,
                   const float* residual);
  void run_hidden_row(const StepInput& step, const StepOutput& output, const float* residual,
                      int64_t row, int64_t hidden_row);

  // Rows of one head that go through it together.
  struct HeadRows {
    int head = 0;
    int64_t count = 0;
    int64_t num_tokens = 0;                    // of the rows and their drafts
    const int32_t* row_index = nullptr;        // [count] among the step's rows
    const int32_t* ids = nullptr;              // of the step's tokens
    const sluice_output_row** rows = nullptr;  // [count]
    int32_t* seq_slots = nullptr;              // [count]
    int32_t* first_value = nullptr;            // [count] row of `values` of the row's own token
    float* values = nullptr;                   // [num_tokens, num_values of the head]
  };
  HeadRows next_rows(const StepInput& step, int head, int64_t first) const;
  void run_head(const StepInput& step, const StepOutput& output, const float* residual,
                HeadRows rows);
  void choose(const StepInput& step, const StepOutput& output, const HeadRows& rows);
  void write_values(const StepOutput& output, const HeadRows& rows);
  void note_outputs(const StepInput& step, const StepOutput& output, StepReport* report);

  StepLimits limits_;
  const Decoder& decoder_;
  LayerContext context_;
  KvCache& kv_;
  SequenceState& sequences_;
  RopeState& ropes_;
  std::vector<const int32_t*> tables_;    // [kv groups]
  std::vector<int32_t> token_sequence_;   // [max_step_tokens] seq_slot of each token
  std::vector<int32_t> previous_tokens_;  // [max_step_outputs] last accepted of each row
  std::vector<int32_t> head_rows_;        // rows of one head
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_STEP_RUNNER_H_
