/// @file
/// Per-instruction-set kernel of adaptive_attention.h; arguments are checked by the caller.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_KERNEL_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_KERNEL_H_

#include "ops/adaptive_attention/adaptive_attention.h"
#include "ops/simd/dispatch.h"

namespace sluice {

inline constexpr int64_t kAdaptiveKeys = 64;  ///< keys of one softmax update
inline constexpr int64_t kAdaptiveRows = 48;  ///< rows (tokens of one head) of one tile, at most

/// Tokens [token_begin, token_end) of the batch, of one sequence; under kBlockSparse of one query
/// block.
struct AdaptiveTile {
  int32_t sequence;
  int32_t token_begin;
  int32_t token_end;
};

/// Where the parts of one thread's scratch memory begin, in 4-byte words from a 64-byte boundary.
struct AdaptiveScratch {
  int64_t q, scores, probs, m, l, acc, correction, k_copy, v_copy, bias;
  int64_t row_scores;  // kTopK, kBlockTopK: the scores of all keys of some rows
  int64_t row_keys;    // and the keys of those that are kept
  int64_t candidates;  // kBlockTopK: importance, then block numbers
  int64_t spans;       // kBlockSparse
  int64_t draws;
  int64_t words;  // of all; a multiple of 16
};

/// The largest number of scores, beside the keys kept of them, that rows of `context_len` keys take
/// together before there are fewer rows in a tile.
inline constexpr int64_t kSelectWords = int64_t{1536} << 10;

// Internal linkage: also included by per-instruction-set sources.

/// Words for the numbers of the keys kept of one row; while topk selects, up to 64 more than twice
/// top_k are candidates.
static constexpr int64_t adaptive_kept_words(const AdaptivePattern& p, int64_t context_len64) {
  const int64_t candidates = (2 * int64_t{p.top_k} + 64 + 15) / 16 * 16;
  return p.kind == AdaptiveKind::kTopK && candidates < context_len64 ? candidates : context_len64;
}

/// Whether every key is scored before the kept ones are known.
static constexpr bool adaptive_selects(AdaptiveKind kind) {
  return kind == AdaptiveKind::kTopK || kind == AdaptiveKind::kBlockTopK;
}

/// Rows of a tile of a sequence with this many keys.
static constexpr int64_t adaptive_tile_rows(const AdaptivePattern& p, int64_t context_len) {
  if (!adaptive_selects(p.kind)) return kAdaptiveRows;
  const int64_t keys = (context_len + 63) / 64 * 64;
  const int64_t words = keys + adaptive_kept_words(p, keys);
  const int64_t rows = words == 0 ? kAdaptiveRows : kSelectWords / words;
  return rows < 1 ? 1 : rows < kAdaptiveRows ? rows : kAdaptiveRows;
}

#define SLUICE_DECLARE(ns)                                                                        \
  namespace ns {                                                                                  \
  /* All rows of the tile for one head; `memory` is laid out as `scratch` says. */                \
  void adaptive_tile(const AdaptiveAttentionParams& params, const AdaptiveTile& tile,             \
                     int32_t head, const AdaptiveScratch& scratch, void* memory);                 \
  /* Moves the `count` candidates with the largest scores to the front, in their old order; of    \
     equal ones the earlier are kept, and a NaN counts as larger than all numbers. `scores` and   \
     `ids` are [n], n rounded up to 16 of them may be written; `count` is 1 to n. Returns a score \
     that every later candidate must exceed to be among the largest. */                           \
  float keep_largest(float* scores, int32_t* ids, int64_t n, int64_t count);                      \
  }
SLUICE_FOR_EACH_ISA(SLUICE_DECLARE)
#undef SLUICE_DECLARE

}  // namespace sluice

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_KERNEL_H_
