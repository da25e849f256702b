/// @file
/// Patterns of every kind, for the tests of both backends.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_PATTERNS_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_PATTERNS_H_

#include "ops/adaptive_attention/pattern.h"

namespace sluice::testing {

struct NamedPattern {
  const char* name;
  AdaptivePattern pattern;
};

// Every kind, with sizes around those of tiles, cache lines and KV blocks.
inline const NamedPattern kPatterns[] = {
    {"full", {.kind = AdaptiveKind::kFull}},
    {"sliding_window_1", {.kind = AdaptiveKind::kSlidingWindow, .window = 1}},
    {"sliding_window_33", {.kind = AdaptiveKind::kSlidingWindow, .window = 33}},
    {"sliding_window_70", {.kind = AdaptiveKind::kSlidingWindow, .window = 70}},
    {"topk_1", {.kind = AdaptiveKind::kTopK, .top_k = 1}},
    {"topk_5", {.kind = AdaptiveKind::kTopK, .top_k = 5}},
    {"topk_60", {.kind = AdaptiveKind::kTopK, .top_k = 60}},
    {"topk_1000", {.kind = AdaptiveKind::kTopK, .top_k = 1000}},
    {"density_1", {.kind = AdaptiveKind::kDensity, .window = 1}},
    {"density_25", {.kind = AdaptiveKind::kDensity, .window = 25}},
    {"density_100", {.kind = AdaptiveKind::kDensity, .window = 100}},
    {"block_sparse_5",
     {.kind = AdaptiveKind::kBlockSparse,
      .sparse_block_size = 5,
      .num_global_blocks = 1,
      .num_local_blocks = 2,
      .num_random_blocks = 3,
      .random_block_seed = 2024,
      .layer = 1}},
    {"block_sparse_24",
     {.kind = AdaptiveKind::kBlockSparse,
      .sparse_block_size = 24,
      .num_global_blocks = 2,
      .num_local_blocks = 1,
      .num_random_blocks = 2,
      .random_block_seed = 7,
      .layer = 3}},
    {"block_sparse_1_no_globals",
     {.kind = AdaptiveKind::kBlockSparse,
      .sparse_block_size = 1,
      .num_local_blocks = 20,
      .num_random_blocks = 9,
      .random_block_seed = 0xfedcba9876543210u}},
    {"block_topk_7",
     {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 7, .block_keep_percent = 30}},
    {"block_topk_64",
     {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 64, .block_keep_percent = 50}},
    {"block_topk_1",
     {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 1, .block_keep_percent = 17}},
    {"block_topk_0_percent",
     {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 20, .block_keep_percent = 0}},
    {"block_topk_100_percent",
     {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 20, .block_keep_percent = 100}},
};

}  // namespace sluice::testing

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_PATTERNS_H_
