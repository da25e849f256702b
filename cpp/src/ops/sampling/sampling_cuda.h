/// @file
/// sampling.h on CUDA: chooses tokens from logits and tells log-probabilities and ranks, by the
/// rules of sluice_output_row in sluice.h, out of device copies of a step message's sections and
/// into device copies of its output sections.
///
/// A row of logits is cut into pieces of 2,048 over the SMs. Three launches, whatever the rows ask
/// for; nothing depends on the host, so a graph may hold them. Rows are independent of each other:
/// a row's results, to the bit, do not depend on the batch, on the GPU or on drafts.
///
/// Against the CPU's op, on equal logits and counts:
/// - greedy choices, ranks, top tokens, `finite` and accepted counts are equal;
/// - log-probabilities differ by rounding (sums of exponentials in another order);
/// - a token drawn is the CPU's, unless u * total or top_p * total lies within about
///   2^-20 of the total of the border between two tokens. Here weights exp((x - max) / temperature)
///   are rounded to float32 as there, then to multiples of 2^-40, and summed exactly as integers.
#ifndef SLUICE_OPS_SAMPLING_SAMPLING_CUDA_H_
#define SLUICE_OPS_SAMPLING_SAMPLING_CUDA_H_

#include <cstdint>

#include "device/cuda.h"
#include "ops/sampling/sampling_sections.h"
#include "ops/sampling/token_counts_cuda.h"
#include "sluice/sluice.h"

namespace sluice::cuda {

/// All pointers are device memory. What a step does not have may be null as said at each. The
/// sections are those of the step, written at row_index[i] and only there, as on the CPU.
struct SamplingParams : SamplingSections {
  int32_t num_rows = 0;  ///< rows of this call; in captured steps padding included
  int32_t vocab_size = 0;
  /// 1 + the most drafts that a row of this call can have, at most 1 + max_draft_len. Work for so
  /// many is launched; a row with more drafts than this is cut.
  int32_t max_row_tokens = 1;

  /// [tokens of the rows, vocab_size], a row's drafts behind it; kept as they are, unlike on the CPU.
  const float* logits = nullptr;
  int64_t logits_stride = 0;      ///< elements
  const int32_t* first_logits = nullptr;  ///< [num_rows] row of `logits` of each; null: i

  const sluice_output_row* rows = nullptr;  ///< section OUTPUT_ROW of the step
  /// [num_rows] which row of the section (and of the output sections) each is; null: i. A negative
  /// one is padding: skipped. So are rows of other kinds than SAMPLE and LOGPROB.
  const int32_t* row_index = nullptr;
  /// [num_rows] seq_slot of each; null only when `counts` and `seq_last_token` are not set. Not
  /// read for skipped rows.
  const int32_t* seq_slots = nullptr;
  /// [tokens of the step], resolved: draft i of a row is token_ids[token_index + i]; null: no row
  /// has drafts.
  const int32_t* token_ids = nullptr;
  /// places null: no counts are kept, penalties are off in every row. Accepted tokens of rows with
  /// SLUICE_OUTPUT_FLAG_COUNT are added.
  TokenCountsView counts{};
  const sluice_logit_bias* logit_bias = nullptr;  ///< section LOGIT_BIAS
  const int32_t* targets = nullptr;               ///< section TARGET
  const uint32_t* masks = nullptr;  ///< section MASK, ceil(vocab_size / 32) words each

  int32_t max_draft_len = 0;  ///< D of the sections
  int32_t max_top_n = 0;      ///< N of the sections

  // What the next step's token ids refer to; both may be null. Of SAMPLE rows: the last accepted
  // token, 0 when nothing was accepted.
  int32_t* row_last_token = nullptr;  ///< [R]
  int32_t* seq_last_token = nullptr;  ///< [max_sequences] by seq_slot
};

/// Bytes of workspace for any call with at most so many rows (num_rows * max_row_tokens, all of
/// them together in `row_tokens`), tokens in the vocabulary and top tokens. Most of it is a copy of
/// the logits, for rows that penalties, bias or a mask change.
int64_t sampling_workspace_bytes(int64_t row_tokens, int32_t vocab_size, int32_t max_top_n);

/// What sampling() of sampling.h does, enqueued. The sections are those of a message that submit
/// has checked. `workspace` is 16-byte aligned; its content does not matter.
/// @throws Error INVALID_ARGUMENT for sizes that do not fit each other
void sampling(const CudaExec& exec, const SamplingParams& params, void* workspace,
              int64_t workspace_bytes);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_SAMPLING_SAMPLING_CUDA_H_
