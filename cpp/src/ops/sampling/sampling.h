/// @file
/// Chooses tokens from logits and tells log-probabilities and ranks, by the rules of
/// sluice_output_row in sluice.h.
///
/// top_k keeps the k largest (equal ones by the lower id), top_p then keeps the shortest prefix of
/// what is left whose renormalised probability reaches top_p, min_p then drops what is below min_p
/// times the largest probability. Rows are independent of each other and of the threads.
#ifndef SLUICE_OPS_SAMPLING_SAMPLING_H_
#define SLUICE_OPS_SAMPLING_SAMPLING_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/sampling/philox.h"
#include "ops/sampling/sampling_sections.h"
#include "ops/sampling/token_counts.h"
#include "sluice/sluice.h"

namespace sluice {

/// The sections are those of the step; row r of this struct writes output row row_index[r].
struct SamplingParams : SamplingSections {
  int32_t num_rows = 0;  ///< rows of kind SAMPLE or LOGPROB
  int32_t vocab_size = 0;
  float* logits = nullptr;    ///< [tokens of the rows, vocab_size], a row's drafts behind it;
                              ///< overwritten by penalties, bias and mask
  int64_t logits_stride = 0;  ///< elements
  const sluice_output_row* const* rows = nullptr;  ///< [num_rows]
  const int32_t* first_logits = nullptr;  ///< [num_rows] row of `logits` of each; null: r
  const int32_t* token_ids = nullptr;  ///< [tokens of the step] draft i of a row is
                                       ///< token_ids[token_index + i]; null: no row has drafts
  const int32_t* seq_slots = nullptr;  ///< [num_rows] key into counts; null when counts is null
  TokenCounts* counts = nullptr;  ///< null: penalties must be off in every row. Accepted tokens of
                                  ///< rows with SLUICE_OUTPUT_FLAG_COUNT are added
  const sluice_logit_bias* logit_bias = nullptr;  ///< section LOGIT_BIAS; rows tell their range
  const int32_t* targets = nullptr;               ///< section TARGET
  const uint32_t* masks = nullptr;  ///< section MASK, ceil(vocab_size / 32) words each

  const int32_t* row_index = nullptr;  ///< [num_rows]; null: r
  int32_t max_draft_len = 0;           ///< D of the sections
  int32_t max_top_n = 0;               ///< N of the sections; 0: no row has top_n
};

/// Bytes of workspace for any number of rows.
int64_t sampling_workspace_bytes(const Exec& exec, int32_t vocab_size);

/// A row with a logit that is NaN or infinite gets finite = 0, accepted_count 0, token 0,
/// log-probabilities NaN and ranks 0; other rows are unharmed. When bias and mask forbid every
/// token, finite is 2, accepted_count 0 and the token 0. With drafts, logits of all of them must be
/// finite; where no token is allowed behind an accepted draft, the row ends with that draft.
/// At most one SAMPLE row for each seq_slot. Throws INVALID_ARGUMENT for values outside the ranges
/// of sluice_output_row.
void sampling(const Exec& exec, const SamplingParams& params, void* workspace,
              int64_t workspace_bytes);

}  // namespace sluice

#endif  // SLUICE_OPS_SAMPLING_SAMPLING_H_
