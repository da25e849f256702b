// Tokens and sequences of a step message; see step_check.cc.
#include <algorithm>

#include "runtime/step_check.h"
#include "runtime/step_refuse.h"

namespace sluice {

void StepChecker::check_sequences(const StepInput& step) {
  constexpr int kStart = SLUICE_SECTION_QUERY_START;
  const int64_t tokens = step.num_tokens();
  const int64_t sequences = step.num_sequences();
  if (step.query_start[0] != 0) refuse(kStart, 0, "", step.query_start[0], "0");
  if (step.query_start[sequences] != tokens) {
    refuse(kStart, sequences, "", step.query_start[sequences],
           concat(tokens, ", the number of tokens"));
  }
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t begin = step.query_start[s];
    const int64_t end = step.query_start[s + 1];
    if (end <= begin || end > tokens) {
      refuse(kStart, s + 1, "", end, concat(begin + 1, " to ", tokens));
    }
    check_sequence(step, s);
  }
}

void StepChecker::check_sequence(const StepInput& step, int64_t s) {
  const StepLimits& limits = rules_.limits;
  const int32_t slot = step.seq_slot[s];
  check_index(SLUICE_SECTION_SEQ_SLOT, s, "", slot, limits.max_sequences);
  if (!seen_.mark(slot, serial_)) {
    refuse(SLUICE_SECTION_SEQ_SLOT, s, "", slot, "a slot at most once in a step");
  }
  const int64_t begin = step.query_start[s];
  const int64_t end = step.query_start[s + 1];
  const int64_t context = step.context_len[s];
  if (context < end - begin || context > limits.max_context_len) {
    refuse(SLUICE_SECTION_CONTEXT_LEN, s, "", context,
           concat(end - begin, ", the sequence's tokens, to ", limits.max_context_len,
                  ", max_context_len"));
  }
  for (int64_t t = begin; t < end; ++t) {
    token_sequence_[t] = static_cast<int32_t>(s);
    const int64_t position = context - end + t;
    if (step.position[t] != position) {
      refuse(SLUICE_SECTION_TOKEN_POSITION, t, "", step.position[t],
             concat(position,
                    ": a sequence's positions are consecutive and end at its "
                    "context_len - 1"));
    }
  }
  check_tokens(step, s);
  SLUICE_CHECK(step.adapter[s] == 0, SLUICE_STATUS_UNSUPPORTED, "ADAPTER[", s,
               "]: ", step.adapter[s], " not built (built: 0, the model itself)");
  for (int rope = 0; rope < limits.num_ropes; ++rope) {
    const int64_t index = s * limits.num_ropes + rope;
    const int32_t variant = step.rope_variant[index];
    const int32_t first = rules_.rope_variants[rope];
    check_index(SLUICE_SECTION_ROPE_VARIANT, index, "", variant,
                first + rules_.rope_dynamic_variants[rope]);
    if (variant < first) continue;
    const int64_t dynamic = rope_index_[rope] + variant - first;
    if (rope_written_[dynamic] == 0 && !rope_updated_.marked(dynamic, serial_)) {
      refuse(SLUICE_SECTION_ROPE_VARIANT, index, "", variant,
             "a dynamic variant that a ROPE_UPDATE has written");
    }
  }
  for (int group = 0; group < limits.num_kv_groups; ++group) check_blocks(step, s, group);
}

void StepChecker::check_tokens(const StepInput& step, int64_t s) const {
  constexpr int kSection = SLUICE_SECTION_TOKEN_ID;
  for (int64_t t = step.query_start[s]; t < step.query_start[s + 1]; ++t) {
    const int32_t id = step.token_id[t];
    if (id >= 0) {
      check_index(kSection, t, "", id, rules_.limits.vocab_size);
    } else if (id == SLUICE_TOKEN_LAST) {
      if (has_last_[step.seq_slot[s]] == 0) {
        refuse(kSection, t, "", id,
               concat("a token id: no token was chosen for slot ", step.seq_slot[s],
                      " since its last reset"));
      }
    } else if (id <= SLUICE_TOKEN_EMBEDDING) {
      SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, "TOKEN_ID[", t, "]: ", id,
                  " names an input embedding: not built (built: token ids)");
    } else {
      const int64_t row = -1 - static_cast<int64_t>(id);
      const auto rows = static_cast<int64_t>(last_row_sampled_.size());
      if (row >= rows || last_row_sampled_[row] == 0) {
        refuse(kSection, t, "", id,
               concat("-1 - r for a SAMPLE row r of the step before, which has ", rows, " rows"));
      }
    }
  }
}

void StepChecker::check_blocks(const StepInput& step, int64_t s, int group) {
  constexpr int kSection = SLUICE_SECTION_TOKEN_KV_SLOT;
  const StepLimits& limits = rules_.limits;
  const int32_t* table = tables_.row(group, step.seq_slot[s]);
  const int64_t begin = step.query_start[s];
  const int64_t reach = rules_.reaches[group];
  const int64_t oldest = reach == 0 ? 0 : std::max<int64_t>(0, step.position[begin] - reach + 1);
  const int64_t newest = int64_t{step.context_len[s]} - 1;
  for (int64_t b = oldest / limits.block_size; b <= newest / limits.block_size; ++b) {
    SLUICE_CHECK_ARG(table[b] >= 0, "SEQ_SLOT[", s, "]: slot ", step.seq_slot[s], " has no block ",
                     b, " in kv group ", group,
                     " (expected: a BLOCK_UPDATE that sets it, its tokens need positions ", oldest,
                     " to ", newest, ")");
  }
  for (int64_t t = begin; t < step.query_start[s + 1]; ++t) {
    const int64_t index = t * limits.num_kv_groups + group;
    const int64_t position = step.position[t];
    const int64_t expected =
        table[position / limits.block_size] * limits.block_size + position % limits.block_size;
    if (step.kv_slot[index] != expected) {
      refuse(kSection, index, "", step.kv_slot[index],
             concat(expected, ", where the block table puts position ", position));
    }
    if (!written_[group].mark(expected, serial_)) {
      refuse(kSection, index, "", step.kv_slot[index], "a slot that no other token writes");
    }
  }
}

}  // namespace sluice
