// Header, updates of resident state, and the bookkeeping. Tokens and sequences are checked in
// step_check_tokens.cc, output rows in step_check_rows.cc.
#include "runtime/step_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/checked.h"
#include "ops/sampling/token_counts.h"
#include "runtime/step_refuse.h"

namespace sluice {
namespace {

[[noreturn]] void refuse_header(const char* field, int64_t value, const std::string& expected) {
  SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, "step header.", field, ": ", value,
              " (expected: ", expected, ")");
}

void check_count(const sluice_step_header& header, int section, int64_t expected) {
  SLUICE_CHECK_ARG(header.counts[section] == expected, "counts[", section_name(section),
                   "]: ", header.counts[section], " (expected: ", expected, ")");
}

int64_t total_variants(const StepRules& rules) {
  int64_t total = 0;
  for (int32_t variants : rules.rope_dynamic_variants) total += variants;
  return total;
}

int64_t table_entries(const StepRules& rules) {
  return checked_mul(rules.limits.num_kv_groups,
                     checked_mul(rules.limits.max_sequences, rules.limits.max_blocks_per_sequence));
}

}  // namespace

StepChecker::StepChecker(StepRules rules, const sluice_step_layout& layout)
    : rules_(std::move(rules)),
      layout_(layout),
      tables_(static_cast<int>(rules_.limits.num_kv_groups),
              static_cast<int>(rules_.limits.max_sequences),
              static_cast<int>(rules_.limits.max_blocks_per_sequence)),
      has_last_(rules_.limits.max_sequences),
      additions_(rules_.limits.max_sequences),
      reset_(rules_.limits.max_sequences),
      saved_tables_(tables_),
      saved_has_last_(rules_.limits.max_sequences),
      saved_additions_(rules_.limits.max_sequences),
      saved_(rules_.limits.max_sequences),
      seen_(rules_.limits.max_sequences),
      seq_target_(rules_.limits.max_sequences),
      seq_source_(rules_.limits.max_sequences),
      updated_(table_entries(rules_)),
      rope_updated_(total_variants(rules_)),
      sampled_(layout.capacity[SLUICE_SECTION_SEQ_SLOT]),
      rope_written_(total_variants(rules_)),
      token_sequence_(rules_.limits.max_step_tokens) {
  // Which token a row will choose is not known yet, so additions are bounded, not distinct tokens.
  // A table for the whole vocabulary takes any number of them.
  const StepLimits& limits = rules_.limits;
  max_additions_ = TokenCounts::max_tokens(limits.vocab_size, limits.max_context_len);
  if (max_additions_ == limits.vocab_size) {
    max_additions_ = std::numeric_limits<int64_t>::max();
  }
  saved_slots_.reserve(rules_.limits.max_sequences);
  last_row_sampled_.reserve(rules_.limits.max_step_outputs);
  for (int64_t blocks : rules_.num_blocks) {
    block_target_.emplace_back(blocks);
    block_source_.emplace_back(blocks);
    written_.emplace_back(blocks * rules_.limits.block_size);
  }
  int32_t first = 0;
  for (int32_t variants : rules_.rope_dynamic_variants) {
    rope_index_.push_back(first);
    first += variants;
  }
}

int64_t StepChecker::bytes(const StepRules& rules) {
  // Two tables and one mark per entry; three marks per block and its positions.
  int64_t total = checked_mul(table_entries(rules), 3 * sizeof(int32_t));
  for (int64_t blocks : rules.num_blocks) {
    total = checked_add(total, checked_mul(blocks, (2 + rules.limits.block_size) * 4));
  }
  return checked_add(total, checked_mul(rules.limits.max_sequences, 56));
}

void StepChecker::check_header(const sluice_step_header& header) const {
  if (header.magic != SLUICE_STEP_MAGIC) {
    refuse_header("magic", header.magic, concat(SLUICE_STEP_MAGIC));
  }
  if (header.abi_version != SLUICE_ABI_VERSION) {
    refuse_header("abi_version", header.abi_version, concat(SLUICE_ABI_VERSION));
  }
  SLUICE_CHECK(header.flags == SLUICE_STEP_FLAG_NONE, SLUICE_STATUS_UNSUPPORTED,
               "step header.flags: ", header.flags, " not built (built: 0)");
  SLUICE_CHECK_ARG(header.step_id == last_step_id_ + 1, "step header.step_id: ", header.step_id,
                   " (expected: ", last_step_id_ + 1, ", one more than that of the step before)");
  if (header.reserved0 != 0) refuse_header("reserved0", header.reserved0, "0");
  for (int32_t value : header.reserved) {
    if (value != 0) refuse_header("reserved", value, "0");
  }
  int64_t end = sizeof(sluice_step_header);
  for (int section = 0; section < SLUICE_SECTION_INPUT_COUNT; ++section) {
    const int64_t count = header.counts[section];
    SLUICE_CHECK_ARG(count >= 0 && count <= layout_.capacity[section], "counts[",
                     section_name(section), "]: ", count, " (expected: 0 to ",
                     layout_.capacity[section], ", the section's capacity)");
    if (count > 0) {
      end = std::max(end, layout_.offset[section] + count * section_element_bytes(section));
    }
  }
  SLUICE_CHECK_ARG(header.used_bytes >= static_cast<uint64_t>(end) &&
                       header.used_bytes <= static_cast<uint64_t>(layout_.input_bytes),
                   "step header.used_bytes: ", header.used_bytes, " (expected: ", end, " to ",
                   layout_.input_bytes, ")");
  const StepLimits& limits = rules_.limits;
  const int64_t tokens = header.counts[SLUICE_SECTION_TOKEN_ID];
  const int64_t sequences = header.counts[SLUICE_SECTION_SEQ_SLOT];
  check_count(header, SLUICE_SECTION_TOKEN_POSITION, tokens * limits.position_dims);
  check_count(header, SLUICE_SECTION_TOKEN_KV_SLOT, tokens * limits.num_kv_groups);
  check_count(header, SLUICE_SECTION_QUERY_START, sequences + 1);
  check_count(header, SLUICE_SECTION_CONTEXT_LEN, sequences);
  check_count(header, SLUICE_SECTION_ADAPTER, sequences);
  check_count(header, SLUICE_SECTION_ROPE_VARIANT, sequences * limits.num_ropes);
  SLUICE_CHECK_ARG(header.counts[SLUICE_SECTION_MASK] % limits.mask_words() == 0,
                   "counts[MASK]: ", header.counts[SLUICE_SECTION_MASK],
                   " (expected: a multiple of ", limits.mask_words(), ", the words of one mask)");
}

void StepChecker::accept(const StepInput& step) {
  if (++serial_ == 0) serial_ = 1;  // after 2^32 steps old marks may be met: none is that old
  check_state_ops(step);
  check_block_updates(step);
  check_count_updates(step);
  check_rope_updates(step);
  check_lists(step);
  for (int64_t r = 0; r < step.num_rows(); ++r) check_row(step, r);
  saved_slots_.clear();
  struct Undo {
    StepChecker& checker;
    bool keep = false;
    ~Undo() {
      if (!keep) checker.restore();
    }
  } undo{*this};
  apply(step);
  check_additions(step);
  check_sequences(step);
  check_rows(step);
  undo.keep = true;
  note_rows(step);
  last_step_id_ = step.header->step_id;
}

void StepChecker::check_state_ops(const StepInput& step) {
  constexpr int kSection = SLUICE_SECTION_STATE_OP;
  for (size_t i = 0; i < step.state_op.size(); ++i) {
    const sluice_state_op& op = step.state_op[i];
    check_index(kSection, i, ".kind", op.kind, SLUICE_STATE_OP_COPY_SEQ + 1);
    const bool of_block =
        op.kind == SLUICE_STATE_OP_COPY_BLOCK || op.kind == SLUICE_STATE_OP_ZERO_BLOCK;
    const bool copies =
        op.kind == SLUICE_STATE_OP_COPY_BLOCK || op.kind == SLUICE_STATE_OP_COPY_SEQ;
    int64_t count = rules_.limits.max_sequences;
    StepMarks* targets = &seq_target_;
    StepMarks* sources = &seq_source_;
    if (of_block) {
      check_index(kSection, i, ".kv_group", op.kv_group, rules_.limits.num_kv_groups);
      count = rules_.num_blocks[op.kv_group];
      targets = &block_target_[op.kv_group];
      sources = &block_source_[op.kv_group];
    }
    check_index(kSection, i, ".target", op.target, count);
    if (!targets->mark(op.target, serial_)) {
      refuse(kSection, i, ".target", op.target, "a target at most once in a step");
    }
    if (!copies) continue;
    check_index(kSection, i, ".source", op.source, count);
    sources->mark(op.source, serial_);
  }
  for (size_t i = 0; i < step.state_op.size(); ++i) {
    const sluice_state_op& op = step.state_op[i];
    const bool of_block = op.kind == SLUICE_STATE_OP_COPY_BLOCK;
    if (!of_block && op.kind != SLUICE_STATE_OP_COPY_SEQ) continue;
    const StepMarks& targets = of_block ? block_target_[op.kv_group] : seq_target_;
    if (targets.marked(op.source, serial_)) {
      refuse(kSection, i, ".source", op.source, "no target of the step's state operations");
    }
  }
}

void StepChecker::check_block_updates(const StepInput& step) {
  constexpr int kSection = SLUICE_SECTION_BLOCK_UPDATE;
  const StepLimits& limits = rules_.limits;
  for (size_t i = 0; i < step.block_update.size(); ++i) {
    const sluice_block_update& update = step.block_update[i];
    check_index(kSection, i, ".seq_slot", update.seq_slot, limits.max_sequences);
    check_index(kSection, i, ".kv_group", update.kv_group, limits.num_kv_groups);
    check_index(kSection, i, ".index", update.index, limits.max_blocks_per_sequence);
    const int64_t blocks = rules_.num_blocks[update.kv_group];
    if (update.block < -1 || update.block >= blocks) {
      refuse(kSection, i, ".block", update.block, concat("-1 to ", blocks - 1));
    }
    const int64_t entry = (update.kv_group * limits.max_sequences + update.seq_slot) *
                              limits.max_blocks_per_sequence +
                          update.index;
    if (!updated_.mark(entry, serial_)) {
      refuse(kSection, i, ".index", update.index, "an entry at most once in a step");
    }
  }
}

void StepChecker::check_count_updates(const StepInput& step) const {
  constexpr int kSection = SLUICE_SECTION_COUNT_UPDATE;
  SLUICE_CHECK_ARG(step.count_update.empty() || rules_.penalties,
                   "counts[COUNT_UPDATE]: ", step.count_update.size(),
                   " (expected: 0, EngineOptions.penalties is false)");
  const int32_t most = static_cast<int32_t>(rules_.limits.max_context_len);
  for (size_t i = 0; i < step.count_update.size(); ++i) {
    const sluice_count_update& update = step.count_update[i];
    check_index(kSection, i, ".seq_slot", update.seq_slot, rules_.limits.max_sequences);
    check_index(kSection, i, ".token", update.token, rules_.limits.vocab_size);
    if (update.prompt_delta < -most || update.prompt_delta > most) {
      refuse(kSection, i, ".prompt_delta", update.prompt_delta,
             concat("within max_context_len, ", most));
    }
    if (update.output_delta < -most || update.output_delta > most) {
      refuse(kSection, i, ".output_delta", update.output_delta,
             concat("within max_context_len, ", most));
    }
  }
}

void StepChecker::check_additions(const StepInput& step) {
  for (size_t i = 0; i < step.count_update.size(); ++i) {
    const sluice_count_update& update = step.count_update[i];
    if (update.prompt_delta <= 0 && update.output_delta <= 0) continue;
    if (!add_tokens(update.seq_slot, 1)) {
      refuse(SLUICE_SECTION_COUNT_UPDATE, i, ".token", update.token,
             concat("at most ", max_additions_, " additions to the counts of slot ",
                    update.seq_slot, " since its last reset, max_context_len + 1"));
    }
  }
}

// False when the sequence's counts would not be sure to have places for so many more tokens.
bool StepChecker::add_tokens(int32_t sequence, int32_t count) {
  save(sequence);
  additions_[sequence] += count;
  return additions_[sequence] <= max_additions_;
}

void StepChecker::check_rope_updates(const StepInput& step) {
  constexpr int kSection = SLUICE_SECTION_ROPE_UPDATE;
  const auto frequencies = static_cast<int64_t>(step.rope_inv_freq.size());
  for (size_t i = 0; i < step.rope_update.size(); ++i) {
    const sluice_rope_update& update = step.rope_update[i];
    check_index(kSection, i, ".rope", update.rope, rules_.limits.num_ropes);
    const int64_t first = rules_.rope_variants[update.rope];
    const int64_t dynamic = rules_.rope_dynamic_variants[update.rope];
    if (update.variant < first || update.variant - first >= dynamic) {
      refuse(kSection, i, ".variant", update.variant,
             dynamic == 0 ? "nothing, the rope has no dynamic variants"
                          : concat(first, " to ", first + dynamic - 1));
    }
    if (!rope_updated_.mark(rope_index_[update.rope] + update.variant - first, serial_)) {
      refuse(kSection, i, ".variant", update.variant, "a variant at most once in a step");
    }
    const int64_t wanted = rules_.rope_frequencies[update.rope];
    if (update.inv_freq_begin < 0 || update.inv_freq_begin > frequencies - wanted) {
      refuse(kSection, i, ".inv_freq_begin", update.inv_freq_begin,
             concat(wanted, " entries of ROPE_INV_FREQ from it on, of ", frequencies));
    }
    if (update.reserved != 0) refuse(kSection, i, ".reserved", update.reserved, "0");
    if (!std::isfinite(update.attention_scale)) {
      refuse(kSection, i, ".attention_scale", update.attention_scale, "a finite number");
    }
  }
  for (int64_t i = 0; i < frequencies; ++i) {
    if (!std::isfinite(step.rope_inv_freq[i])) {
      refuse(SLUICE_SECTION_ROPE_INV_FREQ, i, "", step.rope_inv_freq[i], "a finite number");
    }
  }
}

void StepChecker::apply(const StepInput& step) {
  for (const sluice_state_op& op : step.state_op) {
    if (op.kind == SLUICE_STATE_OP_RESET_SEQ) {
      save(op.target);
      tables_.reset(op.target);
      has_last_[op.target] = 0;
      additions_[op.target] = 0;
    } else if (op.kind == SLUICE_STATE_OP_COPY_SEQ) {
      save(op.target);
      tables_.copy_sequence(op.source, op.target);
      has_last_[op.target] = has_last_[op.source];
      additions_[op.target] = additions_[op.source];
    }
  }
  for (const sluice_block_update& update : step.block_update) {
    save(update.seq_slot);
    tables_.set(update.kv_group, update.seq_slot, update.index, update.block);
  }
}

void StepChecker::save(int32_t sequence) {
  if (!saved_.mark(sequence, serial_)) return;
  saved_slots_.push_back(sequence);
  saved_tables_.copy_from(tables_, sequence);
  saved_has_last_[sequence] = has_last_[sequence];
  saved_additions_[sequence] = additions_[sequence];
}

void StepChecker::restore() {
  for (int32_t sequence : saved_slots_) {
    tables_.copy_from(saved_tables_, sequence);
    has_last_[sequence] = saved_has_last_[sequence];
    additions_[sequence] = saved_additions_[sequence];
  }
}

void StepChecker::note_rows(const StepInput& step) {
  last_row_sampled_.clear();
  for (const sluice_output_row& row : step.output_row) {
    const bool samples = row.kind == SLUICE_OUTPUT_SAMPLE;
    last_row_sampled_.push_back(samples);
    if (samples) has_last_[step.seq_slot[token_sequence_[row.token_index]]] = 1;
  }
  for (const sluice_state_op& op : step.state_op) {
    const bool of_sequence =
        op.kind == SLUICE_STATE_OP_RESET_SEQ || op.kind == SLUICE_STATE_OP_COPY_SEQ;
    if (of_sequence) reset_[op.target] = step.header->step_id;
  }
  for (const sluice_rope_update& update : step.rope_update) {
    const int32_t dynamic = update.variant - rules_.rope_variants[update.rope];
    rope_written_[rope_index_[update.rope] + dynamic] = 1;
  }
}

void StepChecker::settle(const StepInput& step, const StepOutput& output) {
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    const sluice_output_row& row = step.output_row[r];
    if (row.draft_len == 0 || (row.flags & SLUICE_OUTPUT_FLAG_COUNT) == 0) continue;
    const auto after =
        std::upper_bound(step.query_start.begin(), step.query_start.end(), row.token_index);
    const int32_t slot = step.seq_slot[after - step.query_start.begin() - 1];
    // Steps submitted since may have reset the slot, and with it what the row had reserved.
    if (reset_[slot] > step.header->step_id) continue;
    additions_[slot] -= 1 + row.draft_len - output.accepted_count[r];
  }
}

}  // namespace sluice
