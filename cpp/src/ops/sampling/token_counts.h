/// @file
/// How often each token stands in a sequence's prompt and output, for the penalties.
#ifndef SLUICE_OPS_SAMPLING_TOKEN_COUNTS_H_
#define SLUICE_OPS_SAMPLING_TOKEN_COUNTS_H_

#include <cstdint>

#include "device/buffer.h"

namespace sluice {

struct TokenCount {
  int32_t token;  ///< -1: empty place
  int32_t prompt;
  int32_t output;
};

/// One small hash table per seq_slot, sized at creation and never grown: a sequence can hold no
/// more distinct tokens than positions, and the one that was chosen after the last position. Not
/// thread-safe for one seq_slot.
class TokenCounts {
 public:
  TokenCounts() = default;

  /// Throws OUT_OF_HOST_MEMORY.
  TokenCounts(int32_t max_sequences, int32_t vocab_size, int64_t max_context_len,
              AllocationCounter* counter = nullptr);

  /// Distinct tokens that a sequence can count.
  static int64_t max_tokens(int64_t vocab_size, int64_t max_context_len);

  /// Places of the table of one sequence, a power of two.
  static int64_t capacity_for(int64_t vocab_size, int64_t max_context_len);

  static int64_t bytes(int32_t max_sequences, int32_t vocab_size, int64_t max_context_len);

  /// Adds to the counts of a token; a count never falls below zero. Throws INVALID_ARGUMENT when
  /// max_tokens() other tokens were added since the last reset; submit refuses such a step.
  void add(int32_t seq_slot, int32_t token, int32_t prompt_delta, int32_t output_delta);

  void reset(int32_t seq_slot);
  void copy(int32_t source, int32_t target);

  /// Counts of one token; zeros when it was never seen.
  TokenCount find(int32_t seq_slot, int32_t token) const;

  /// All `capacity()` places of a sequence's table; empty ones have token -1.
  const TokenCount* places(int32_t seq_slot) const;
  int64_t capacity() const { return capacity_; }

 private:
  TokenCount* table(int32_t seq_slot) const;
  TokenCount* locate(TokenCount* table, int32_t token) const;

  Buffer buffer_;
  int64_t capacity_ = 0;    // places per sequence, a power of two
  int64_t max_tokens_ = 0;  // distinct tokens per sequence
  int32_t max_sequences_ = 0;
  int32_t* used_ = nullptr;  // [max_sequences] places in use
};

}  // namespace sluice

#endif  // SLUICE_OPS_SAMPLING_TOKEN_COUNTS_H_
