#include "ops/adaptive_attention/adaptive_attention.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "ops/adaptive_attention/adaptive_cuda.h"
#include "ops/adaptive_attention/adaptive_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// A share of the work that is worth a thread, in multiply-adds (about 5 us).
constexpr int64_t kGrain = int64_t{64} << 10;

int64_t tile_bytes(int64_t num_tokens) {
  return round_up(num_tokens * static_cast<int64_t>(sizeof(AdaptiveTile)), 64);
}

AdaptiveScratch make_scratch(const AdaptivePattern& pattern, int64_t max_context_len,
                             int32_t relative_positions, int32_t k_dim, int32_t v_dim) {
  const int64_t k_dim16 = round_up(k_dim, 16), v_dim16 = round_up(v_dim, 16);
  AdaptiveScratch s{};
  const auto take = [&s](int64_t words) {
    const int64_t at = s.words;
    s.words += round_up(words, 16);
    return at;
  };
  s.q = take(kAdaptiveRows * k_dim16);
  s.m = take(kAdaptiveRows);
  s.l = take(kAdaptiveRows * 16);
  s.acc = take(kAdaptiveRows * v_dim16);
  s.scores = take(kAdaptiveRows * kAdaptiveKeys);
  s.probs = take(kAdaptiveRows * kAdaptiveKeys);
  s.correction = take(kAdaptiveRows);
  s.k_copy = take(kAdaptiveKeys * k_dim16);
  s.v_copy = take(kAdaptiveKeys / 2 * v_dim16);
  s.bias = take(std::min<int64_t>(relative_positions, max_context_len) + 48);
  if (adaptive_selects(pattern.kind)) {
    const int64_t keys = round_up(max_context_len, 64);
    const int64_t kept = adaptive_kept_words(pattern, keys);
    const int64_t rows =
        std::max<int64_t>(std::min(kAdaptiveRows * (keys + kept), kSelectWords), keys + kept);
    // Shorter sequences may have more rows, in any proportion of scores to keys; a vector may be
    // read beyond the last score.
    s.row_scores = take(rows + 16);
    s.row_keys = s.row_scores;  // behind the scores of a tile's rows
    const bool blocks = pattern.kind == AdaptiveKind::kBlockTopK;
    s.candidates =
        take(blocks ? 2 * round_up(ceil_div(max_context_len, pattern.sparse_block_size), 16) : 0);
  }
  s.spans = take(max_sparse_spans(pattern, max_context_len) * 4);
  s.draws = take(sparse_scratch_ints(pattern, max_context_len));
  return s;
}

void check_pattern(const AdaptiveAttentionParams& p) {
  const AdaptivePattern& pattern = p.pattern;
  const auto at_least = [](const char* field, int64_t value, int64_t least) {
    check_at_least(field, value, least);
  };
  switch (pattern.kind) {
    case AdaptiveKind::kFull:
      return;
    case AdaptiveKind::kSlidingWindow:
      return at_least("adaptive_attention window", pattern.window, 1);
    case AdaptiveKind::kTopK:
      return at_least("adaptive_attention top_k", pattern.top_k, 1);
    case AdaptiveKind::kDensity:
      at_least("adaptive_attention window", pattern.window, 1);
      return check_memory("adaptive_attention dense", p.dense, p.kv.num_blocks * p.kv.block_size);
    case AdaptiveKind::kBlockSparse:
      at_least("adaptive_attention sparse_block_size", pattern.sparse_block_size, 1);
      at_least("adaptive_attention num_global_blocks", pattern.num_global_blocks, 0);
      at_least("adaptive_attention num_local_blocks", pattern.num_local_blocks, 1);
      return at_least("adaptive_attention num_random_blocks", pattern.num_random_blocks, 0);
    case AdaptiveKind::kBlockTopK:
      at_least("adaptive_attention sparse_block_size", pattern.sparse_block_size, 1);
      SLUICE_CHECK_ARG(pattern.block_keep_percent >= 0 && pattern.block_keep_percent <= 100,
                       "adaptive_attention block_keep_percent: ", pattern.block_keep_percent,
                       " (expected: 0 to 100)");
      return;
  }
  SLUICE_CHECK_ARG(false, "adaptive_attention kind: ", static_cast<int32_t>(pattern.kind),
                   " (expected: 1 to 6)");
}

void check_params(const AdaptiveAttentionParams& p, KvLayout layout) {
  check_kv_cache(p.kv);
  SLUICE_CHECK_ARG(p.kv.layout == layout,
                   "adaptive_attention kv layout: ", static_cast<int>(p.kv.layout), " (expected: ",
                   static_cast<int>(layout), ", that of where the op runs)");
  check_compute_format("adaptive_attention q_format", p.q_format);
  check_compute_format("adaptive_attention out_format", p.out_format);
  check_at_least("adaptive_attention num_tokens", p.num_tokens, 0);
  check_stride("adaptive_attention q_stride", p.q_stride, int64_t{p.kv.num_kv_heads} * p.kv.k_dim,
               p.num_tokens);
  check_stride("adaptive_attention out_stride", p.out_stride,
               int64_t{p.kv.num_kv_heads} * p.kv.v_dim, p.num_tokens);
  check_memory("adaptive_attention q", p.q, p.num_tokens);
  check_memory("adaptive_attention out", p.out, p.num_tokens);
  check_memory("adaptive_attention positions", p.positions, p.num_tokens);
  check_memory("adaptive_attention query_start", p.query_start, p.num_sequences);
  check_memory("adaptive_attention context_len", p.context_len, p.num_sequences);
  check_memory("adaptive_attention block_tables", p.block_tables, p.num_sequences);
  check_at_least("adaptive_attention relative_positions", p.relative_positions, 1);
  check_memory("adaptive_attention relative_position", p.relative_position,
               int64_t{p.kv.num_kv_heads} * p.relative_positions);
  check_pattern(p);
  const int32_t planes = adaptive_keep_planes(p.pattern.kind, p.kv.num_kv_heads);
  SLUICE_CHECK_ARG(p.replay == nullptr || p.replay_planes == planes,
                   "adaptive_attention replay_planes: ", p.replay_planes, " (expected: ", planes,
                   ")");
}

void check_sequences(const AdaptiveAttentionParams& p) {
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    SLUICE_CHECK_ARG(p.query_start[s] >= 0 && p.query_start[s] <= p.query_start[s + 1] &&
                         p.query_start[s + 1] <= p.num_tokens,
                     "query_start[", s + 1, "]: ", p.query_start[s + 1],
                     " (expected: rising, at most ", p.num_tokens, ")");
    check_at_least("adaptive_attention context_len", p.context_len[s], 0);
    SLUICE_CHECK_ARG(p.replay == nullptr || p.replay_stride >= p.context_len[s],
                     "adaptive_attention replay_stride: ", p.replay_stride, " (expected: at least ",
                     p.context_len[s], ")");
    SLUICE_CHECK_ARG(p.keep == nullptr || p.keep_stride >= p.context_len[s],
                     "adaptive_attention keep_stride: ", p.keep_stride, " (expected: at least ",
                     p.context_len[s], ")");
  }
}

void check_blocks(const AdaptiveAttentionParams& p, int32_t sequence, KeySpan keys) {
  if (keys.begin >= keys.end) return;
  const int64_t row = p.table_rows == nullptr ? sequence : p.table_rows[sequence];
  const int32_t* table = p.block_tables + row * p.block_table_stride;
  for (int64_t i = keys.begin / p.kv.block_size; i <= (keys.end - 1) / p.kv.block_size; ++i) {
    SLUICE_CHECK_ARG(table[i] >= 0 && table[i] < p.kv.num_blocks, "block table of sequence ",
                     sequence, " at ", i, ": ", table[i], " (expected: 0 to ", p.kv.num_blocks - 1,
                     ")");
  }
}

// Cuts sequences into tiles, and checks the table entries of all keys that their rows may read.
class Planner {
 public:
  Planner(const AdaptiveAttentionParams& p, AdaptiveTile* tiles, int32_t* scratch,
          const AdaptiveScratch& layout)
      : p_(p),
        tiles_(tiles),
        spans_(reinterpret_cast<KeySpan*>(scratch + layout.spans)),
        draws_(scratch + layout.draws) {}

  void run() {
    for (int32_t s = 0; s < p_.num_sequences; ++s) {
      const int64_t rows = adaptive_tile_rows(p_.pattern, p_.context_len[s]);
      const int32_t end = p_.query_start[s + 1];
      for (int32_t token = p_.query_start[s]; token < end;) {
        AdaptiveTile tile{s, token, token + 1};
        while (tile.token_end < end && tile.token_end - token < rows && joins(tile.token_end)) {
          ++tile.token_end;
        }
        check(tile);
        tiles_[count_++] = tile;
        token = tile.token_end;
      }
    }
  }

  int64_t count() const { return count_; }
  int64_t keys() const { return keys_; }  // of all rows, those scored

 private:
  int64_t position(int64_t token) const { return p_.positions[token * p_.position_stride]; }

  // Whether a token can lie in one tile with the token before it.
  bool joins(int64_t token) const {
    const AdaptivePattern& pattern = p_.pattern;
    switch (pattern.kind) {
      case AdaptiveKind::kBlockSparse:
        return position(token) / pattern.sparse_block_size ==
               position(token - 1) / pattern.sparse_block_size;
      case AdaptiveKind::kSlidingWindow:
      case AdaptiveKind::kDensity:
        // Their windows hang together.
        return position(token) - pattern.window <= position(token - 1);
      default:
        return true;
    }
  }

  void check(const AdaptiveTile& tile) {
    const AdaptivePattern& pattern = p_.pattern;
    const int64_t first = position(tile.token_begin), last = position(tile.token_end - 1);
    check_at_least("adaptive_attention position", first, 0);
    const int64_t end = std::min<int64_t>(last + 1, p_.context_len[tile.sequence]);
    int64_t keys = end;
    if (pattern.kind == AdaptiveKind::kBlockSparse) {
      keys = 0;
      const int64_t n = sparse_spans(pattern, last / pattern.sparse_block_size, spans_, draws_);
      for (int64_t i = 0; i < n; ++i) {
        const KeySpan seen{spans_[i].begin, std::min(spans_[i].end, end)};
        check_blocks(p_, tile.sequence, seen);
        keys += std::max<int64_t>(seen.end - seen.begin, 0);
      }
    } else {
      const bool window = pattern.kind == AdaptiveKind::kSlidingWindow;
      const int64_t begin = window ? std::max<int64_t>(first - pattern.window + 1, 0) : 0;
      check_blocks(p_, tile.sequence, {begin, end});
      keys = end - begin;
    }
    keys_ += std::max<int64_t>(keys, 0) * (tile.token_end - tile.token_begin);
  }

  const AdaptiveAttentionParams& p_;
  AdaptiveTile* tiles_;
  KeySpan* spans_;
  int32_t* draws_;
  int64_t count_ = 0;
  int64_t keys_ = 0;
};

int64_t longest_context(const AdaptiveAttentionParams& p) {
  int64_t longest = 1;
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    longest = std::max<int64_t>(longest, p.context_len[s]);
  }
  // A query's own block counts even when it is not in the cache.
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    longest = std::max<int64_t>(longest, p.positions[t * p.position_stride] + int64_t{1});
  }
  return longest;
}

void run(const Exec& exec, const AdaptiveAttentionParams& p, void* workspace,
         int64_t workspace_bytes) {
  const AdaptiveScratch scratch =
      make_scratch(p.pattern, longest_context(p), p.relative_positions, p.kv.k_dim, p.kv.v_dim);
  const int64_t tiles_end = tile_bytes(p.num_tokens);
  const int64_t needed = tiles_end + exec.num_threads * scratch.words * 4;
  SLUICE_CHECK_ARG(workspace != nullptr && workspace_bytes >= needed,
                   "adaptive_attention workspace: ", workspace_bytes, " bytes (expected: at least ",
                   needed, ")");
  auto* tiles = static_cast<AdaptiveTile*>(workspace);
  char* memory = static_cast<char*>(workspace) + tiles_end;
  Planner plan(p, tiles, reinterpret_cast<int32_t*>(memory), scratch);
  plan.run();
  const int64_t heads = p.kv.num_kv_heads;
  if (p.keep != nullptr) {
    const int64_t planes = adaptive_keep_planes(p.pattern.kind, p.kv.num_kv_heads);
    std::memset(p.keep, 0, static_cast<size_t>(p.num_tokens * planes * p.keep_stride));
  }

  const auto kernel = SLUICE_SELECT_ISA(exec.isa, adaptive_tile);
  const int64_t tasks = plan.count() * heads;
  const auto run_task = [&](int64_t i, int thread) {
    kernel(p, tiles[i / heads], static_cast<int32_t>(i % heads), scratch,
           memory + thread * scratch.words * 4);
  };
  const int64_t multiply_adds = plan.keys() * heads * (p.kv.k_dim + p.kv.v_dim);
  if (multiply_adds / kGrain <= 1) {
    for (int64_t i = 0; i < tasks; ++i) run_task(i, 0);
    return;
  }
  // The longest (last) tasks first.
  parallel_tasks(exec, tasks, [&](int64_t i, int thread) { run_task(tasks - 1 - i, thread); });
}

// A given mask: all keys are looked at, and those dropped that it does not keep.
void replay(const Exec& exec, const AdaptiveAttentionParams& p, void* workspace,
            int64_t workspace_bytes) {
  const int32_t planes = adaptive_keep_planes(p.pattern.kind, p.kv.num_kv_heads);
  AdaptiveAttentionParams masked = p;
  masked.pattern = {};
  masked.keep = nullptr;
  run(exec, masked, workspace, workspace_bytes);
  if (p.keep == nullptr) return;
  std::memset(p.keep, 0, static_cast<size_t>(p.num_tokens * planes * p.keep_stride));
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    for (int64_t t = p.query_start[s]; t < p.query_start[s + 1]; ++t) {
      const int64_t keys =
          std::min<int64_t>(p.positions[t * p.position_stride] + int64_t{1}, p.context_len[s]);
      for (int64_t plane = t * planes; plane < (t + 1) * planes; ++plane) {
        for (int64_t j = 0; j < keys; ++j) {
          p.keep[plane * p.keep_stride + j] = p.replay[plane * p.replay_stride + j] != 0;
        }
      }
    }
  }
}

}  // namespace

int32_t adaptive_keep_planes(AdaptiveKind kind, int32_t num_heads) {
  return adaptive_selects(kind) ? num_heads : 1;
}

int64_t adaptive_attention_workspace_bytes(const Exec& exec, const AdaptivePattern& pattern,
                                           int64_t max_tokens, int32_t max_sequences,
                                           int64_t max_context_len, int32_t num_heads,
                                           int32_t relative_positions, int32_t k_dim,
                                           int32_t v_dim) {
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      return cuda::adaptive_attention_workspace_bytes(pattern, max_tokens, max_sequences,
                                                      max_context_len, num_heads, v_dim);
    }
  }
  const AdaptiveScratch scratch =
      make_scratch(pattern, max_context_len, relative_positions, k_dim, v_dim);
  return tile_bytes(max_tokens) + exec.num_threads * scratch.words * 4;
}

void adaptive_attention(const Exec& exec, const AdaptiveAttentionParams& p, void* workspace,
                        int64_t workspace_bytes) {
  check_params(p, exec.cuda == nullptr ? KvLayout::kInterleaved : KvLayout::kRows);
  if (p.num_tokens == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      return cuda::adaptive_attention(*exec.cuda, p, workspace, workspace_bytes);
    }
  }
  check_sequences(p);
  (p.replay == nullptr ? run : replay)(exec, p, workspace, workspace_bytes);
}

}  // namespace sluice
