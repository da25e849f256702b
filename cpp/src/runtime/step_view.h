/// @file
/// A step message as typed arrays, and the place of its sections in a slot.
#ifndef SLUICE_RUNTIME_STEP_VIEW_H_
#define SLUICE_RUNTIME_STEP_VIEW_H_

#include <cstdint>
#include <span>
#include <vector>

#include "ops/sampling/sampling_sections.h"
#include "sluice/sluice.h"

namespace sluice {

/// What the size of a step message depends on.
struct StepLimits {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t position_dims = 1;
  int64_t num_kv_groups = 1;
  int64_t num_ropes = 0;
  int64_t num_rope_variants = 0;     ///< dynamic ones, of all ropes
  int64_t num_rope_frequencies = 0;  ///< of all dynamic variants
  int64_t block_size = 0;
  int64_t max_sequences = 0;
  int64_t max_blocks_per_sequence = 0;
  int64_t max_context_len = 0;
  int64_t max_step_tokens = 0;
  int64_t max_step_outputs = 0;
  int64_t max_draft_len = 0;
  int64_t max_top_n = 0;
  int64_t max_step_targets = 0;
  int64_t max_step_logit_biases = 0;
  int64_t max_step_masks = 0;
  int64_t max_step_hidden_rows = 0;
  int64_t max_step_state_ops = 0;
  int64_t max_step_block_updates = 0;
  int64_t max_step_count_updates = 0;
  int64_t step_slots = 0;
  int64_t head_values = 0;          ///< most that a CLASSIFICATION or VALUE head gives; 0: none
  int64_t num_layers = 0;           ///< of EXPERT_COUNT
  int64_t expert_count_stride = 0;  ///< of EXPERT_COUNT, experts of a layer; 0: not reported

  /// Tokens that a row can accept.
  int64_t row_tokens() const { return 1 + max_draft_len; }
  /// u32 words of one token mask.
  int64_t mask_words() const { return (vocab_size + 31) / 32; }
};

/// Bytes of one element of a section.
int64_t section_element_bytes(int section);

/// Name of a section without its prefix, e.g. "TOKEN_ID".
const char* section_name(int section);

/// Lays out the input and output area of a slot.
/// @throws Error INVALID_ARGUMENT when an area would not fit 2 GiB (a Java buffer's limit)
sluice_step_layout make_step_layout(const StepLimits& limits);

/// The input of a step. Pointers into a message whose counts have been checked.
struct StepInput {
  const sluice_step_header* header = nullptr;
  std::span<const int32_t> token_id;      // [T]
  std::span<const int32_t> position;      // [T]
  std::span<const int32_t> kv_slot;       // [T, kv_groups]
  std::span<const int32_t> seq_slot;      // [S]
  std::span<const int32_t> query_start;   // [S + 1]
  std::span<const int32_t> context_len;   // [S]
  std::span<const int32_t> adapter;       // [S]
  std::span<const int32_t> rope_variant;  // [S, ropes]
  std::span<const sluice_state_op> state_op;
  std::span<const sluice_block_update> block_update;
  std::span<const sluice_count_update> count_update;
  std::span<const sluice_output_row> output_row;  // [R]
  std::span<const sluice_logit_bias> logit_bias;
  std::span<const int32_t> target;
  std::span<const uint32_t> mask;  // [masks, MaskWords]
  std::span<const sluice_rope_update> rope_update;
  std::span<const double> rope_inv_freq;

  int64_t num_tokens() const { return static_cast<int64_t>(token_id.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(seq_slot.size()); }
  int64_t num_rows() const { return static_cast<int64_t>(output_row.size()); }
};

/// The output of a step: pointers into the output area; nullptr for a section that is not used.
struct StepOutput : SamplingSections {
  sluice_step_result* result = nullptr;
  float* head_value = nullptr;      // [R, head_values]
  float* hidden = nullptr;          // [hidden rows, hidden_size]
  int32_t* expert_count = nullptr;  // [num_layers, expert_count_stride]
};

/// Views of a slot's areas. `input` and `output` start at a multiple of 64 bytes.
StepInput view_input(const sluice_step_layout& layout, const uint8_t* input);
StepOutput view_output(const sluice_step_layout& layout, uint8_t* output);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_STEP_VIEW_H_
