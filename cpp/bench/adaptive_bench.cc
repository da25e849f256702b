#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <tuple>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "machine.h"
#include "ops/adaptive_attention/adaptive_attention.h"

namespace sluice::bench {
namespace {

constexpr int32_t kHeads = 8, kDim = 64, kBlockSize = 16, kPositions = 128;
constexpr int64_t kSparseBlock = 64;

struct Case {
  AdaptivePattern pattern;
  double dense = 0;  // share of dense keys, kDensity
};

// Keys that the query at this position keeps.
int64_t kept_keys(const Case& c, const std::vector<int32_t>& dense_before, int64_t position) {
  const AdaptivePattern& p = c.pattern;
  const int64_t all = position + 1;
  switch (p.kind) {
    case AdaptiveKind::kFull:
      return all;
    case AdaptiveKind::kSlidingWindow:
      return std::min<int64_t>(all, p.window);
    case AdaptiveKind::kTopK:
      return std::min<int64_t>(all, p.top_k);
    case AdaptiveKind::kDensity: {
      const int64_t first = std::max<int64_t>(all - p.window, 0);
      return all - first + dense_before[static_cast<size_t>(first)];
    }
    case AdaptiveKind::kBlockSparse: {
      std::vector<KeySpan> spans(static_cast<size_t>(max_sparse_spans(p, all)));
      std::vector<int32_t> scratch(static_cast<size_t>(sparse_scratch_ints(p, all)));
      const int64_t n =
          sparse_spans(p, position / p.sparse_block_size, spans.data(), scratch.data());
      int64_t kept = 0;
      for (int64_t i = 0; i < n; ++i) {
        const KeySpan& span = spans[static_cast<size_t>(i)];
        kept += std::max<int64_t>(0, std::min(span.end, all) - span.begin);
      }
      return kept;
    }
    case AdaptiveKind::kBlockTopK: {
      const int64_t own = position / p.sparse_block_size;
      return (kept_blocks(p, own) - 1) * p.sparse_block_size + (all - own * p.sparse_block_size);
    }
  }
  return all;
}

// Time of kFull for (format, queries, context), measured earlier in the run.
using Key = std::tuple<Format, int64_t, int64_t>;
std::map<Key, double>& full_seconds() {
  static std::map<Key, double> seconds;
  return seconds;
}

// The `queries` last tokens of one sequence of `context` tokens, as one layer of many: the cache
// rotates.
void run_adaptive(benchmark::State& state, Format format, const Case& c, int64_t queries,
                  int64_t context) {
  const Exec& exec = settings().exec;
  const int64_t blocks = ceil_div(context, kBlockSize);
  const int64_t block_bytes = kv_block_bytes(format, kBlockSize, kHeads, kDim);
  Rotation caches(format, 2 * blocks * block_bytes);
  constexpr int64_t kStride = int64_t{kHeads} * kDim;
  Buffer q(queries * kStride * 4, "q"), out(queries * kStride * 4, "out");
  fill_random(Format::kF32, q.data(), queries * kStride, 3);
  Buffer bias(int64_t{kHeads} * kPositions * 4, "bias");
  fill_random(Format::kF32, bias.data(), int64_t{kHeads} * kPositions, 5);
  std::vector<int32_t> positions(static_cast<size_t>(queries)), table(static_cast<size_t>(blocks));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(context - queries));
  // Blocks out of order, as after a while of serving.
  for (int64_t i = 0; i < blocks; ++i) {
    table[static_cast<size_t>(i)] = static_cast<int32_t>(blocks - 1 - i);
  }
  std::vector<uint8_t> dense(static_cast<size_t>(blocks * kBlockSize));
  std::vector<int32_t> dense_before(static_cast<size_t>(context) + 1);
  uint64_t random = 88172645463325252u;
  for (int64_t j = 0; j < context; ++j) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    const bool is_dense = static_cast<double>(random >> 11) * 0x1p-53 < c.dense;
    dense[static_cast<size_t>(table[static_cast<size_t>(j / kBlockSize)] * kBlockSize +
                              j % kBlockSize)] = is_dense;
    dense_before[static_cast<size_t>(j) + 1] = dense_before[static_cast<size_t>(j)] + is_dense;
  }
  const int64_t bytes =
      adaptive_attention_workspace_bytes(exec, c.pattern, queries, 1, context, kHeads, kPositions,
                                         kDim, kDim);
  Buffer workspace(bytes, "workspace");
  const int32_t start[] = {0, static_cast<int32_t>(queries)};
  const int32_t context_len = static_cast<int32_t>(context);
  AdaptiveAttentionParams p{.num_tokens = queries,
                            .q = q.data(),
                            .q_format = Format::kF32,
                            .q_stride = kStride,
                            .positions = positions.data(),
                            .num_sequences = 1,
                            .query_start = start,
                            .context_len = &context_len,
                            .block_tables = table.data(),
                            .block_table_stride = blocks,
                            .kv = {.format = format,
                                   .num_blocks = blocks,
                                   .block_size = kBlockSize,
                                   .num_kv_heads = kHeads,
                                   .k_dim = kDim,
                                   .v_dim = kDim,
                                   .k_block_stride = block_bytes,
                                   .v_block_stride = block_bytes},
                            .pattern = c.pattern,
                            .softmax_scale = 0.125f,
                            .relative_position = reinterpret_cast<const float*>(bias.data()),
                            .relative_positions = kPositions,
                            .dense = dense.data(),
                            .out = out.data(),
                            .out_format = Format::kF32,
                            .out_stride = kStride};
  double seconds = 0;
  int64_t calls = 0;
  for (auto _ : state) {
    p.kv.k = caches.next();
    p.kv.v = static_cast<char*>(p.kv.k) + blocks * block_bytes;
    const auto begin = std::chrono::steady_clock::now();
    adaptive_attention(exec, p, workspace.data(), bytes);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ++calls;
  }
  double kept = 0, all = 0;
  for (const int32_t position : positions) {
    kept += static_cast<double>(kept_keys(c, dense_before, position));
    all += position + 1;
  }
  seconds /= static_cast<double>(calls);
  double& full = full_seconds()[{format, queries, context}];
  if (c.pattern.kind == AdaptiveKind::kFull) full = seconds;
  const bool selects =
      c.pattern.kind == AdaptiveKind::kTopK || c.pattern.kind == AdaptiveKind::kBlockTopK;
  state.counters["kept"] = kept / all;
  // Products of queries and keys are half of all.
  state.counters["bound"] = selects ? 0.5 + 0.5 * kept / all : kept / all;
  if (full > 0) state.counters["time/full"] = seconds / full;
}

}  // namespace

void register_adaptive() {
  struct Size {
    const char* name;
    int64_t queries, context;
  };
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Size& size : {Size{"prefill", 4096, 4096}, Size{"prefill", 16384, 16384},
                             Size{"decode", 1, 4096}, Size{"decode", 1, 16384}}) {
      const auto add = [&](const char* kind, double density, const Case& c) {
        auto* made =
            benchmark::RegisterBenchmark(concat("adaptive/", format_name(format), "/", size.name,
                                                ":", size.context, "/", kind, "/density:", density)
                                             .c_str(),
                                         run_adaptive, format, c, size.queries, size.context);
        made->UseRealTime()->Unit(benchmark::kMillisecond);
      };
      // The first is what the others are compared with.
      add("full", 1, {{.kind = AdaptiveKind::kFull}});
      for (const double density : {0.5, 0.25, 0.1, 0.03}) {
        const auto keys = static_cast<int32_t>(density * static_cast<double>(size.context));
        const auto blocks = static_cast<int32_t>(keys / kSparseBlock);
        const auto block = static_cast<int32_t>(kSparseBlock);
        add("sliding_window", density, {{.kind = AdaptiveKind::kSlidingWindow, .window = keys}});
        add("density", density, {{.kind = AdaptiveKind::kDensity, .window = 64}, density});
        add("block_sparse", density,
            {{.kind = AdaptiveKind::kBlockSparse,
              .sparse_block_size = block,
              .num_global_blocks = 1,
              .num_local_blocks = 1,
              .num_random_blocks = std::max(blocks - 2, 0)}});
        add("topk", density, {{.kind = AdaptiveKind::kTopK, .top_k = keys}});
        add("block_topk", density,
            {{.kind = AdaptiveKind::kBlockTopK,
              .sparse_block_size = block,
              .block_keep_percent = static_cast<int32_t>(100 * density)}});
      }
    }
  }
}

}  // namespace sluice::bench
