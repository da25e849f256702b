/// @file
/// Which keys a query of an adaptive attention layer keeps, as far as positions alone decide it.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_PATTERN_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_PATTERN_H_

#include <cstdint>

namespace sluice {

/// Numbers equal those of `AdaptiveAttentionKind` in sluice.proto. The query is at position i; only
/// keys j <= i are ever kept, and j = i always is, unless kTopK scores it below others.
enum class AdaptiveKind : int32_t {
  kFull = 1,           ///< all
  kSlidingWindow = 2,  ///< i - j < window
  kTopK = 3,           ///< per head, the top_k largest scores
  kDensity = 4,        ///< i - j < window, or key j is dense
  kBlockSparse = 5,    ///< j lies in a global, local or random block of i's block
  kBlockTopK = 6,      ///< per head, j lies in i's block or in one of the best-scoring earlier ones
};

/// A kind with its settings; those that the kind does not use are ignored. Blocks are
/// sparse_block_size positions and have nothing to do with the blocks of the KV cache.
struct AdaptivePattern {
  AdaptiveKind kind = AdaptiveKind::kFull;
  int32_t window = 0;              ///< at least 1
  int32_t top_k = 0;               ///< at least 1
  int32_t sparse_block_size = 0;   ///< at least 1
  int32_t num_global_blocks = 0;   ///< blocks 0, 1, ...
  int32_t num_local_blocks = 0;    ///< the query's own block and those before it; at least 1
  int32_t num_random_blocks = 0;   ///< drawn from the blocks between the global and the local ones
  uint64_t random_block_seed = 0;  ///< of the draw, with the layer and the query's block
  int32_t layer = 0;
  int32_t block_keep_percent = 0;  ///< of the blocks up to the query's, rounded up; 0 to 100
};

/// Keys [begin, end).
struct KeySpan {
  int64_t begin;
  int64_t end;
};

/// The random blocks of a query block, in the order of the draw. The draw does not depend on the
/// length of the sequence.
/// @param blocks   [num_random_blocks], or as many as there are blocks to draw from
/// @param scratch  [2 * the same]
/// @return how many
int64_t random_blocks(const AdaptivePattern& pattern, int64_t query_block, int32_t* blocks,
                      int32_t* scratch);

/// Key spans of a query block under kBlockSparse: rising, disjoint, to the end of the query block.
/// @param spans    [max_sparse_spans()]
/// @param scratch  [sparse_scratch_ints()]
/// @return how many, at least one
int64_t sparse_spans(const AdaptivePattern& pattern, int64_t query_block, KeySpan* spans,
                     int32_t* scratch);

/// What sparse_spans() needs for positions below `max_context_len`; little for the other kinds.
int64_t max_sparse_spans(const AdaptivePattern& pattern, int64_t max_context_len);
int64_t sparse_scratch_ints(const AdaptivePattern& pattern, int64_t max_context_len);

/// Blocks that a query in this block keeps under kBlockTopK, its own among them.
int64_t kept_blocks(const AdaptivePattern& pattern, int64_t query_block);

}  // namespace sluice

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_PATTERN_H_
