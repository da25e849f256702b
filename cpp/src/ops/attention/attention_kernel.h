/// @file
/// Per-instruction-set kernels of attention.h; arguments are checked by the caller.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_KERNEL_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_KERNEL_H_

#include "ops/attention/attention.h"
#include "ops/simd/dispatch.h"

namespace sluice {

inline constexpr int64_t kKeyTile = 64;    ///< keys of one softmax update, from a multiple of 64
inline constexpr int64_t kKeySpan = 512;   ///< keys of one partial state, from a multiple of 512
inline constexpr int64_t kQueryRows = 48;  ///< rows (token, head of the group) of one tile, at most

/// Rows of one sequence that share their keys: row r is token query_start + r / group, head r %
/// group of the kv head's group. [key_begin, key_end) are the keys that some row sees, without
/// gaps.
struct AttentionTile {
  int32_t sequence;
  int32_t row_begin;
  int32_t row_end;
  int32_t key_begin;
  int32_t key_end;
};

/// Running softmax of the rows of a tile: m[kQueryRows] maximum of the scores times log2(e),
/// l[kQueryRows][16] sums of exponents by lane, acc[kQueryRows][v_dim16] weighted values.
constexpr int64_t attention_state_floats(int64_t v_dim16) {
  return kQueryRows * (1 + 16 + v_dim16);
}

/// Bytes that one thread needs, a multiple of 64.
constexpr int64_t attention_scratch_bytes(int64_t k_dim16, int64_t v_dim16) {
  return kQueryRows * k_dim16 * 4                   // queries
         + kQueryRows * kKeyTile * 4                // scores
         + kQueryRows * kKeyTile * 4                // probabilities
         + 2 * attention_state_floats(v_dim16) * 4  // whole and span
         + kKeyTile * k_dim16 * 4                   // copied keys
         + 2 * v_dim16 * 4                          // copied values
         + kQueryRows * 4;                          // corrections
}

#define SLUICE_DECLARE(ns)                                                                       \
  namespace ns {                                                                                 \
  /* All keys of the tile, and the result. */                                                    \
  void attention_tile(const AttentionParams& params, const AttentionTile& tile, int32_t kv_head, \
                      void* scratch);                                                            \
  /* The keys of one span into `state`. */                                                       \
  void attention_span(const AttentionParams& params, const AttentionTile& tile, int32_t kv_head, \
                      int64_t span, float* state, void* scratch);                                \
  /* The result from the states of all spans in order; the first one is overwritten. */          \
  void attention_combine(const AttentionParams& params, const AttentionTile& tile,               \
                         int32_t kv_head, float* states, int64_t num_states);                    \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_KERNEL_H_
