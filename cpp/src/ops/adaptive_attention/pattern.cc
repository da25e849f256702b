#include "ops/adaptive_attention/pattern.h"

#include <algorithm>

#include "base/checked.h"

namespace sluice {
namespace {

int64_t max_draws(const AdaptivePattern& pattern, int64_t max_context_len) {
  if (pattern.kind != AdaptiveKind::kBlockSparse) return 0;
  return std::min<int64_t>(pattern.num_random_blocks,
                           ceil_div(max_context_len, pattern.sparse_block_size));
}

/// Blocks that are neither global nor local: [num_global_blocks, end).
int64_t pool_end(const AdaptivePattern& pattern, int64_t query_block) {
  return query_block - pattern.num_local_blocks + 1;
}

}  // namespace

int64_t random_blocks(const AdaptivePattern& pattern, int64_t query_block, int32_t* blocks,
                      int32_t* scratch) {
  const int64_t first = pattern.num_global_blocks;
  const int64_t pool = std::max<int64_t>(pool_end(pattern, query_block) - first, 0);
  const int64_t count = std::min<int64_t>(pattern.num_random_blocks, pool);
  // A shuffle of `count` steps changes few places of the pool: place p holds first + p unless it is
  // in this list.
  int32_t* places = scratch;
  int32_t* values = scratch + count;
  int64_t moved = 0;
  const auto find = [&](int64_t place) {
    return std::find(places, places + moved, static_cast<int32_t>(place)) - places;
  };
  const auto value_at = [&](int64_t place) {
    const int64_t at = find(place);
    return at < moved ? values[at] : static_cast<int32_t>(first + place);
  };
  auto state = static_cast<uint32_t>(pattern.random_block_seed +
                                     uint64_t{1000003} * static_cast<uint64_t>(pattern.layer) +
                                     uint64_t{7919} * static_cast<uint64_t>(query_block));
  for (int64_t r = 0; r < count; ++r) {
    state = 1664525u * state + 1013904223u;
    const int64_t pick = r + static_cast<int64_t>(state >> 16) % (pool - r);
    const int32_t here = value_at(r);
    blocks[r] = value_at(pick);
    if (pick == r) continue;
    const int64_t at = find(pick);
    places[at] = static_cast<int32_t>(pick);
    values[at] = here;
    moved = std::max(moved, at + 1);
  }
  return count;
}

int64_t sparse_spans(const AdaptivePattern& pattern, int64_t query_block, KeySpan* spans,
                     int32_t* scratch) {
  const int64_t size = pattern.sparse_block_size;
  const int64_t first = pattern.num_global_blocks;
  const int64_t end = pool_end(pattern, query_block);
  const int64_t all = query_block + 1;
  if (end <= first || pattern.num_random_blocks >= end - first) {
    // Nothing lies between, or all of it is taken.
    spans[0] = {0, all * size};
    return 1;
  }
  int64_t n = 0;
  const auto add = [&](int64_t begin_block, int64_t end_block) {
    if (n > 0 && spans[n - 1].end == begin_block * size) {
      spans[n - 1].end = end_block * size;
    } else if (begin_block < end_block) {
      spans[n++] = {begin_block * size, end_block * size};
    }
  };
  add(0, first);
  const int64_t count =
      random_blocks(pattern, query_block, scratch, scratch + pattern.num_random_blocks);
  std::sort(scratch, scratch + count);
  for (int64_t i = 0; i < count; ++i) add(scratch[i], int64_t{scratch[i]} + 1);
  add(end, all);
  return n;
}

int64_t max_sparse_spans(const AdaptivePattern& pattern, int64_t max_context_len) {
  return max_draws(pattern, max_context_len) + 2;
}

int64_t sparse_scratch_ints(const AdaptivePattern& pattern, int64_t max_context_len) {
  return 3 * max_draws(pattern, max_context_len);
}

int64_t kept_blocks(const AdaptivePattern& pattern, int64_t query_block) {
  return std::max<int64_t>(1, (int64_t{pattern.block_keep_percent} * (query_block + 1) + 99) / 100);
}

}  // namespace sluice
