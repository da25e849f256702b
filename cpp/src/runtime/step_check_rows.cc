// Output rows of a step message and the lists they refer to; see step_check.cc.
#include <cmath>
#include <limits>

#include "runtime/step_check.h"
#include "runtime/step_refuse.h"

namespace sluice {
namespace {

constexpr int kRow = SLUICE_SECTION_OUTPUT_ROW;

void check_between(int64_t r, const char* field, int64_t value, int64_t lowest, int64_t highest) {
  if (value < lowest || value > highest) {
    refuse(kRow, r, field, value, concat(lowest, " to ", highest));
  }
}

void check_part(int64_t r, const char* begin_field, int64_t begin, const char* count_field,
                int64_t count, size_t size) {
  const auto entries = static_cast<int64_t>(size);
  if (count < 0 || count > entries) {
    refuse(kRow, r, count_field, count, concat("0 to ", entries));
  }
  if (begin < 0 || begin > entries - count) {
    refuse(kRow, r, begin_field, begin, concat("0 to ", entries - count));
  }
}

}  // namespace

void StepChecker::check_lists(const StepInput& step) const {
  const int64_t vocab = rules_.limits.vocab_size;
  for (size_t i = 0; i < step.logit_bias.size(); ++i) {
    const sluice_logit_bias& entry = step.logit_bias[i];
    check_index(SLUICE_SECTION_LOGIT_BIAS, i, ".token", entry.token, vocab);
    if (std::isnan(entry.bias) || entry.bias == std::numeric_limits<float>::infinity()) {
      refuse(SLUICE_SECTION_LOGIT_BIAS, i, ".bias", entry.bias, "a number below infinity");
    }
  }
  for (size_t i = 0; i < step.target.size(); ++i) {
    check_index(SLUICE_SECTION_TARGET, i, "", step.target[i], vocab);
  }
}

void StepChecker::check_row(const StepInput& step, int64_t r) const {
  const sluice_output_row& row = step.output_row[r];
  check_index(kRow, r, ".token_index", row.token_index, step.num_tokens());
  check_between(r, ".kind", row.kind, SLUICE_OUTPUT_SAMPLE, SLUICE_OUTPUT_HIDDEN);
  check_head(row, r);
  if ((row.flags & ~(SLUICE_OUTPUT_FLAG_COUNT | SLUICE_OUTPUT_FLAG_LOGPROB)) != 0) {
    refuse(kRow, r, ".flags", row.flags, "a sum of the flags 1 and 2");
  }
  if (row.kind == SLUICE_OUTPUT_SAMPLE) check_sampling(row, r);
  if (row.kind == SLUICE_OUTPUT_SAMPLE) {
    check_between(r, ".draft_len", row.draft_len, 0, rules_.limits.max_draft_len);
  } else if (row.draft_len != 0) {
    refuse(kRow, r, ".draft_len", row.draft_len, "0, only rows of kind SAMPLE have drafts");
  }
  check_part(r, ".logit_bias_begin", row.logit_bias_begin, ".logit_bias_count",
             row.logit_bias_count, step.logit_bias.size());
  check_part(r, ".target_begin", row.target_begin, ".target_count", row.target_count,
             step.target.size());
  check_between(r, ".top_n", row.top_n, 0, rules_.limits.max_top_n);
  if (row.kind == SLUICE_OUTPUT_HIDDEN || row.kind == SLUICE_OUTPUT_HEAD) {
    const char* expected = "0, rows of kind HEAD and HIDDEN have no logits";
    if (row.target_count != 0) refuse(kRow, r, ".target_count", row.target_count, expected);
    if (row.top_n != 0) refuse(kRow, r, ".top_n", row.top_n, expected);
  }
  const int64_t masks = static_cast<int64_t>(step.mask.size()) / rules_.limits.mask_words();
  check_between(r, ".mask_index", row.mask_index, -1, masks - 1);
  if (row.mask_index >= 0 && row.mask_index + int64_t{row.draft_len} >= masks) {
    refuse(kRow, r, ".mask_index", row.mask_index,
           concat("-1 to ", masks - 1 - row.draft_len, ", masks for the row and its ",
                  row.draft_len, " drafts"));
  }
  for (int32_t value : row.reserved) {
    if (value != 0) refuse(kRow, r, ".reserved", value, "0");
  }
}

void StepChecker::check_head(const sluice_output_row& row, int64_t r) const {
  check_index(kRow, r, ".head", row.head, static_cast<int64_t>(rules_.heads.size()));
  if (row.kind == SLUICE_OUTPUT_HIDDEN) return;
  const HeadKind head = rules_.heads[row.head];
  const bool logits = head == HeadKind::kGeneration || head == HeadKind::kReasoning;
  if (logits == (row.kind != SLUICE_OUTPUT_HEAD)) return;
  refuse(kRow, r, ".head", row.head,
         logits
             ? concat("a CLASSIFICATION or VALUE head for a row of kind HEAD, heads[", row.head,
                      "] gives logits")
             : concat("a GENERATION or REASONING head for a row of kind SAMPLE or LOGPROB, heads[",
                      row.head, "] gives no logits"));
}

void StepChecker::check_sampling(const sluice_output_row& row, int64_t r) const {
  if (row.draw_position < 0) refuse(kRow, r, ".draw_position", row.draw_position, "0 or more");
  if (!std::isfinite(row.temperature) || row.temperature < 0) {
    refuse(kRow, r, ".temperature", row.temperature, "a finite number, 0 or more");
  }
  if (!(row.top_p > 0 && row.top_p <= 1)) {
    refuse(kRow, r, ".top_p", row.top_p, "more than 0, at most 1");
  }
  if (!(row.min_p >= 0 && row.min_p < 1)) {
    refuse(kRow, r, ".min_p", row.min_p, "0 or more, less than 1");
  }
  if (row.top_k < 0) refuse(kRow, r, ".top_k", row.top_k, "0 or more");
  if (!std::isfinite(row.repetition_penalty) || row.repetition_penalty <= 0) {
    refuse(kRow, r, ".repetition_penalty", row.repetition_penalty, "a finite number above 0");
  }
  if (!std::isfinite(row.presence_penalty)) {
    refuse(kRow, r, ".presence_penalty", row.presence_penalty, "a finite number");
  }
  if (!std::isfinite(row.frequency_penalty)) {
    refuse(kRow, r, ".frequency_penalty", row.frequency_penalty, "a finite number");
  }
  if (rules_.penalties) return;
  const char* expected = "off, EngineOptions.penalties is false";
  if (row.repetition_penalty != 1) {
    refuse(kRow, r, ".repetition_penalty", row.repetition_penalty, expected);
  }
  if (row.presence_penalty != 0) {
    refuse(kRow, r, ".presence_penalty", row.presence_penalty, expected);
  }
  if (row.frequency_penalty != 0) {
    refuse(kRow, r, ".frequency_penalty", row.frequency_penalty, expected);
  }
  if ((row.flags & SLUICE_OUTPUT_FLAG_COUNT) != 0) {
    refuse(kRow, r, ".flags", row.flags, "without COUNT, EngineOptions.penalties is false");
  }
}

void StepChecker::check_rows(const StepInput& step) {
  int64_t hidden_rows = 0;
  int64_t target_end = 0;
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    const sluice_output_row& row = step.output_row[r];
    const int32_t sequence = token_sequence_[row.token_index];
    if (row.kind == SLUICE_OUTPUT_SAMPLE) {
      const int64_t last = int64_t{step.query_start[sequence + 1]} - 1;
      if (row.token_index + int64_t{row.draft_len} != last) {
        refuse(kRow, r, ".token_index", row.token_index,
               concat(last - row.draft_len,
                      ": a SAMPLE row with its drafts ends at its sequence's last token"));
      }
      if (!sampled_.mark(sequence, serial_)) {
        refuse(kRow, r, ".token_index", row.token_index,
               "at most one SAMPLE row for each sequence");
      }
      const int32_t slot = step.seq_slot[sequence];
      if ((row.flags & SLUICE_OUTPUT_FLAG_COUNT) != 0 && !add_tokens(slot, 1 + row.draft_len)) {
        refuse(kRow, r, ".flags", row.flags,
               concat("without COUNT: the counts of slot ", slot, " took ", max_additions_,
                      " additions since its last reset, max_context_len + 1"));
      }
    }
    hidden_rows += row.kind == SLUICE_OUTPUT_HIDDEN;
    if (row.target_count > 0) {
      // Each target has one place in the output.
      if (row.target_begin < target_end) {
        refuse(kRow, r, ".target_begin", row.target_begin,
               concat(target_end, " or more: ranges of targets are disjoint, in row order"));
      }
      target_end = int64_t{row.target_begin} + row.target_count;
    }
  }
  SLUICE_CHECK_ARG(hidden_rows <= rules_.limits.max_step_hidden_rows, "OUTPUT_ROW: ", hidden_rows,
                   " rows of kind HIDDEN (expected: at most max_step_hidden_rows, ",
                   rules_.limits.max_step_hidden_rows, ")");
}

}  // namespace sluice
