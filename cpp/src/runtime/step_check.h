/// @file
/// Full check of a step message before anything of it runs.
#ifndef SLUICE_RUNTIME_STEP_CHECK_H_
#define SLUICE_RUNTIME_STEP_CHECK_H_

#include <cstdint>
#include <vector>

#include "layers/spec.h"
#include "runtime/block_tables.h"
#include "runtime/step_view.h"

namespace sluice {

/// What a step message is checked against, besides StepLimits.
struct StepRules {
  StepLimits limits;
  std::vector<int64_t> num_blocks;             ///< [kv_groups]
  std::vector<int64_t> reaches;                ///< [kv_groups]; ModelSpec::reach()
  std::vector<int32_t> rope_variants;          ///< [ropes], static ones
  std::vector<int32_t> rope_dynamic_variants;  ///< [ropes]
  std::vector<int32_t> rope_frequencies;       ///< [ropes], rotary_dim / 2
  std::vector<HeadKind> heads;                 ///< ModelSpec.heads
  bool penalties = true;                       ///< penalty counts are kept
};

/// Marks that vanish when the next step begins: an element is marked when it holds the step's
/// serial number.
class StepMarks {
 public:
  explicit StepMarks(int64_t size = 0) : serials_(size) {}

  /// Marks an element; false when it was marked already.
  bool mark(int64_t index, uint32_t serial) {
    if (serials_[index] == serial) return false;
    serials_[index] = serial;
    return true;
  }
  bool marked(int64_t index, uint32_t serial) const { return serials_[index] == serial; }

 private:
  std::vector<uint32_t> serials_;
};

/// Checks step messages in the order of submit. Steps overlap: when one is submitted, those before
/// it may not have run. So the checker keeps its own copy of the resident state that a message
/// refers to, as it is after every step accepted so far, and leaves it as it was when it refuses a
/// step. Allocates nothing after construction. Not thread-safe.
class StepChecker {
 public:
  StepChecker(StepRules rules, const sluice_step_layout& layout);

  /// Checks header and counts, after which view_input of the same bytes is safe.
  /// @throws Error INVALID_ARGUMENT or UNSUPPORTED naming section, element and value
  void check_header(const sluice_step_header& header) const;

  /// Checks everything else and notes the step as accepted.
  /// @throws Error as check_header; nothing is noted then
  void accept(const StepInput& step);

  /// Takes back what rows of an accepted step that now has run reserved in penalty counts and did
  /// not use: drafts that were rejected.
  void settle(const StepInput& step, const StepOutput& output);

  /// Bytes that a checker with these rules keeps. @throws Error INVALID_ARGUMENT on overflow
  static int64_t bytes(const StepRules& rules);

 private:
  void check_state_ops(const StepInput& step);
  void check_block_updates(const StepInput& step);
  void check_count_updates(const StepInput& step) const;
  void check_additions(const StepInput& step);
  void check_rope_updates(const StepInput& step);
  void check_lists(const StepInput& step) const;
  void check_row(const StepInput& step, int64_t r) const;
  void check_head(const sluice_output_row& row, int64_t r) const;
  void check_sampling(const sluice_output_row& row, int64_t r) const;

  // These see the resident state after the step's own updates.
  void check_sequences(const StepInput& step);
  void check_sequence(const StepInput& step, int64_t s);
  void check_tokens(const StepInput& step, int64_t s) const;
  void check_blocks(const StepInput& step, int64_t s, int group);
  void check_rows(const StepInput& step);

  void apply(const StepInput& step);
  void save(int32_t sequence);
  void restore();
  bool add_tokens(int32_t sequence, int32_t count);
  void note_rows(const StepInput& step);

  StepRules rules_;
  sluice_step_layout layout_;

  BlockTables tables_;              // after every accepted step
  std::vector<uint8_t> has_last_;   // [max_sequences] a token was chosen since the last reset
  std::vector<int64_t> additions_;  // [max_sequences] to penalty counts since the last reset
  std::vector<uint64_t> reset_;     // [max_sequences] step of the last reset or copy into the slot
  int64_t max_additions_ = 0;       // as many always fit the table of counts
  BlockTables saved_tables_;        // all as they were before the step being checked
  std::vector<uint8_t> saved_has_last_;
  std::vector<int64_t> saved_additions_;
  std::vector<int32_t> saved_slots_;  // for these sequences

  uint32_t serial_ = 0;   // of the step being checked; marks refer to it
  StepMarks saved_;       // [max_sequences]
  StepMarks seen_;        // [max_sequences] slots of the step's sequences
  StepMarks seq_target_;  // [max_sequences] of state operations
  StepMarks seq_source_;
  std::vector<StepMarks> block_target_;  // [kv_groups][blocks]
  std::vector<StepMarks> block_source_;
  std::vector<StepMarks> written_;  // [kv_groups][kv slots]
  StepMarks updated_;               // [kv_groups, max_sequences, blocks of a sequence]
  StepMarks rope_updated_;          // [ropes, dynamic variants], see rope_index_
  StepMarks sampled_;               // [max step sequences]

  std::vector<int32_t> rope_index_;      // [ropes] first dynamic variant in the arrays of variants
  std::vector<uint8_t> rope_written_;    // [dynamic variants]
  std::vector<int32_t> token_sequence_;  // [max_step_tokens] sequence of each token of the step
  std::vector<uint8_t> last_row_sampled_;  // [R] of the step accepted last
  uint64_t last_step_id_ = 0;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_STEP_CHECK_H_
