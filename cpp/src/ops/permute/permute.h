/// @file
/// Sorts the choices of tokens by expert, as indices, and adds the experts' results up again.
///
/// Nothing is copied: the products of experts read their inputs through row_tokens. Rows of one
/// expert lie together, in the order of tokens, then of choices. A dropped choice has no row.
#ifndef SLUICE_OPS_PERMUTE_PERMUTE_H_
#define SLUICE_OPS_PERMUTE_PERMUTE_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"

namespace sluice {

struct PermuteParams {
  int64_t num_tokens = 0;  ///< 0: every expert_offset is 0
  int32_t num_experts = 0;
  int32_t num_experts_per_token = 0;  ///< k
  const int32_t* experts = nullptr;   ///< [num_tokens, k]
  const uint8_t* kept = nullptr;      ///< [num_tokens, k] 0: dropped; null: all kept
  /// [num_tokens] all choices of a token with a negative slot are dropped: it fills a captured step
  /// up; null: none is.
  const int32_t* token_slots = nullptr;
  int64_t token_slot_stride = 1;  ///< elements between tokens' slots

  int32_t* expert_offsets = nullptr;  ///< [num_experts + 1] result: first row of each expert
  int32_t* row_tokens = nullptr;      ///< [num_tokens * k] result: token of each row
  int32_t* row_choices = nullptr;     ///< [num_tokens * k] result: token * k + choice of each row
  int32_t* choice_rows = nullptr;     ///< [num_tokens, k] result: row, or -1 when dropped
};

/// Histogram, scan, scatter. Throws INVALID_ARGUMENT, naming the field, also for an expert outside
/// [0, num_experts); CUDA cannot and drops such a choice. CUDA throws UNSUPPORTED for more than 4096
/// experts.
void permute(const Exec& exec, const PermuteParams& params);

struct UnpermuteParams {
  int64_t num_tokens = 0;
  int32_t num_experts_per_token = 0;     ///< k
  const int32_t* choice_rows = nullptr;  ///< [num_tokens, k] of permute()
  const float* weights = nullptr;        ///< [num_tokens, k]; null: all one
  const float* rows = nullptr;           ///< [rows, cols] float32 results of the experts
  int64_t row_stride = 0;                ///< elements between rows
  int64_t cols = 0;
  float multiplier = 1;  ///< of the sum
  float* y = nullptr;    ///< [num_tokens, cols]; y += multiplier * sum
  int64_t y_stride = 0;  ///< elements between rows of y
};

/// y[t] += multiplier * sum over the choices i = 0, 1, ... of weights[t, i] * rows[row of (t, i)].
/// The order of the sum is that of the choices, so a token's bits depend on nothing but its own
/// rows. A token without rows keeps its y. Throws INVALID_ARGUMENT, naming the field.
void unpermute(const Exec& exec, const UnpermuteParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_PERMUTE_PERMUTE_H_
