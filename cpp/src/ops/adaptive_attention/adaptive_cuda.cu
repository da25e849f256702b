// Which kernels a call takes, and where they keep what. Nothing here reads an array.
#include "base/checked.h"
#include "base/error.h"
#include "ops/adaptive_attention/adaptive_device.h"
#include "ops/adaptive_attention/adaptive_kernel.h"
#include "ops/adaptive_attention/adaptive_mma.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 128;

/// Bytes of scores and lists of the tokens that go together.
constexpr int64_t kSelectionBytes = int64_t{64} << 20;
/// Tokens that go together, at most: a grid's second dimension.
constexpr int64_t kSelectionTokens = 65535;

/// Spans of a row of at most n keys; num_spans() itself falls where spans begin to grow.
int64_t spans_bound(int64_t n) {
  return std::clamp<int64_t>(ceil_div(n, int64_t{kSpanKeys}), 1, kMaxSpans);
}

int64_t partial_bytes(int64_t entries, int64_t spans, int32_t v_dim) {
  return spans > 1 ? entries * spans * (int64_t{v_dim} * 4 + 8) : 0;
}

int64_t draws_of(const AdaptivePattern& p, int64_t longest) {
  if (p.kind != AdaptiveKind::kBlockSparse) return 0;
  return std::min<int64_t>(p.num_random_blocks, ceil_div(longest, int64_t{p.sparse_block_size}));
}

/// What selecting takes for one token of all heads.
struct TokenNeeds {
  int64_t stride, list_stride, block_stride, spans;

  TokenNeeds(const AdaptivePattern& p, int64_t longest) {
    stride = round_up(longest, 4);
    list_stride = longest;
    block_stride = 0;
    if (p.kind == AdaptiveKind::kTopK) {
      list_stride = std::min<int64_t>(p.top_k, longest);
    } else {
      const int64_t blocks = ceil_div(longest, int64_t{p.sparse_block_size});
      list_stride = std::min(kept_of(p, blocks - 1) * p.sparse_block_size, longest);
      block_stride = blocks;
    }
    list_stride = round_up(list_stride, 4);
    spans = spans_bound(list_stride);
  }
  int64_t entry_bytes(int32_t v_dim) const {
    return (stride + list_stride + 2 * block_stride + 2) * 4 + partial_bytes(1, spans, v_dim);
  }
};

int64_t selection_bytes(const AdaptivePattern& p, int64_t tokens, int64_t longest, int64_t heads,
                        int32_t v_dim) {
  const int64_t token = heads * TokenNeeds(p, longest).entry_bytes(v_dim);
  return std::min(checked_mul(tokens, token), std::max(kSelectionBytes, token));
}

/// The random blocks of each token's block: random_blocks() of pattern.cc.
__global__ void __launch_bounds__(kThreads) draw_kernel(AdaptiveAttentionParams p, Draws draws) {
  const int64_t token = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (token >= p.num_tokens) return;
  const AdaptivePattern& pattern = p.pattern;
  const int64_t own = p.positions[token * p.position_stride] / pattern.sparse_block_size;
  const int64_t first = pattern.num_global_blocks;
  const int64_t pool = own - pattern.num_local_blocks + 1 - first;
  if (pool <= pattern.num_random_blocks) {
    draws.counts[token] = pool <= 0 ? 0 : -1;
    return;
  }
  const int64_t count = min(int64_t{pattern.num_random_blocks}, int64_t{draws.most});
  int32_t* blocks = draws.blocks + token * 3 * draws.most;
  int32_t* places = blocks + draws.most;
  int32_t* values = places + draws.most;
  int64_t moved = 0;
  const auto find = [&](int64_t place) {
    int64_t at = 0;
    while (at < moved && places[at] != place) ++at;
    return at;
  };
  const auto value_at = [&](int64_t place) {
    const int64_t at = find(place);
    return at < moved ? values[at] : static_cast<int32_t>(first + place);
  };
  auto state = static_cast<uint32_t>(pattern.random_block_seed +
                                     uint64_t{1000003} * static_cast<uint64_t>(pattern.layer) +
                                     uint64_t{7919} * static_cast<uint64_t>(own));
  for (int64_t r = 0; r < count; ++r) {
    state = 1664525u * state + 1013904223u;
    const int64_t pick = r + static_cast<int64_t>(state >> 16) % (pool - r);
    const int32_t here = value_at(r), there = value_at(pick);
    if (pick != r) {
      const int64_t at = find(pick);
      places[at] = static_cast<int32_t>(pick);
      values[at] = here;
      moved = max(moved, at + 1);
    }
    // In rising order from the start.
    int64_t at = r;
    for (; at > 0 && blocks[at - 1] > there; --at) blocks[at] = blocks[at - 1];
    blocks[at] = there;
  }
  draws.counts[token] = static_cast<int32_t>(count);
}

void select_rows(const CudaExec& exec, const AdaptiveAttentionParams& p, int64_t longest,
                 std::byte* memory) {
  const TokenNeeds needs(p.pattern, longest);
  const int64_t heads = p.kv.num_kv_heads;
  const int64_t token_bytes = heads * needs.entry_bytes(p.kv.v_dim);
  const int64_t together = std::min(
      std::clamp<int64_t>(kSelectionBytes / token_bytes, 1, kSelectionTokens), p.num_tokens);
  const int64_t entries = together * heads;
  Selection rows;
  rows.stride = needs.stride;
  rows.list_stride = needs.list_stride;
  rows.block_stride = needs.block_stride;
  Partials partials;
  partials.spans = static_cast<int32_t>(needs.spans);
  const auto take = [&memory](int64_t words) {
    auto* at = memory;
    memory += words * 4;
    return at;
  };
  // Pairs first, for their alignment.
  if (needs.spans > 1) {
    partials.sums = reinterpret_cast<float2*>(take(2 * entries * needs.spans));
    partials.values = reinterpret_cast<float*>(take(entries * needs.spans * p.kv.v_dim));
  }
  rows.scores = reinterpret_cast<float*>(take(entries * rows.stride));
  rows.keys = reinterpret_cast<int32_t*>(take(entries * rows.list_stride));
  rows.blocks = reinterpret_cast<float*>(take(entries * 2 * rows.block_stride));
  rows.num_keys = reinterpret_cast<int32_t*>(take(entries));
  for (rows.first = 0; rows.first < p.num_tokens; rows.first += together) {
    rows.count = std::min(together, p.num_tokens - rows.first);
    const bool fast = p.numerics == Numerics::kFast;
    if (!fast || p.longest_query != 1) {
      const bool mma = fast && mma_fits(exec, p);
      exec.note("adaptive_attention", mma ? "select_mma" : "select_tiles");
      (mma ? launch_mma_scores : launch_scores)(exec, p, rows, longest);
    }
    if (fast) {
      exec.note("adaptive_attention", "select_rows");
      launch_row_scores(exec, p, rows, longest);
    }
    launch_select(exec, p, rows);
    launch_rows(exec, p, {}, &rows, partials);
  }
}

}  // namespace

void launch_draws(const CudaExec& exec, const AdaptiveAttentionParams& p, const Draws& draws) {
  draw_kernel<<<grid_for(p.num_tokens, kThreads), kThreads, 0, stream_of(exec)>>>(p, draws);
  SLUICE_CHECK_LAUNCH("adaptive_attention: random blocks of ", p.num_tokens, " tokens");
}

int64_t adaptive_attention_workspace_bytes(const AdaptivePattern& pattern, int64_t max_tokens,
                                           int32_t max_sequences, int64_t max_context_len,
                                           int32_t num_heads, int32_t v_dim) {
  const int64_t longest = std::max<int64_t>(max_context_len, 1);
  const int64_t entries = checked_mul(max_sequences, int64_t{num_heads});
  int64_t bytes = partial_bytes(entries, spans_bound(longest), v_dim);
  if (adaptive_selects(pattern.kind)) {
    bytes = std::max(bytes, selection_bytes(pattern, max_tokens, longest, num_heads, v_dim));
  }
  return round_up(bytes, 64) + max_tokens * (3 * draws_of(pattern, longest) + 1) * 4 + 64;
}

void adaptive_attention(const CudaExec& exec, const AdaptiveAttentionParams& p, void* workspace,
                        int64_t workspace_bytes) {
  const int64_t longest = std::max<int64_t>(
      p.longest_context > 0 ? p.longest_context : p.block_table_stride * p.kv.block_size, 1);
  const int64_t needed =
      adaptive_attention_workspace_bytes(p.pattern, p.num_tokens, p.num_sequences, longest,
                                         p.kv.num_kv_heads, p.kv.v_dim);
  SLUICE_CHECK_ARG(workspace != nullptr && workspace_bytes >= needed,
                   "adaptive_attention workspace: ", workspace_bytes, " bytes (expected: at least ",
                   needed, ")");
  SLUICE_CHECK_ARG((p.keep == nullptr || p.keep_stride >= p.longest_context) &&
                       (p.replay == nullptr || p.replay_stride >= p.longest_context),
                   "adaptive_attention keep_stride, replay_stride: ", p.keep_stride, ", ",
                   p.replay_stride, " (expected: at least ", p.longest_context, ")");
  if (p.num_sequences == 0) return;
  auto* memory = static_cast<std::byte*>(workspace);
  if (p.keep != nullptr) {
    const int64_t planes = adaptive_keep_planes(p.pattern.kind, p.kv.num_kv_heads);
    cuda_fill(exec, p.keep, 0, p.num_tokens * planes * p.keep_stride);
  }
  if (adaptive_selects(p.pattern.kind) && p.replay == nullptr) {
    return select_rows(exec, p, longest, memory);
  }
  Partials partials;
  partials.spans = static_cast<int32_t>(spans_bound(longest));
  const int64_t entries = int64_t{p.num_sequences} * p.kv.num_kv_heads;
  if (partials.spans > 1) {
    partials.sums = reinterpret_cast<float2*>(memory);
    partials.values = reinterpret_cast<float*>(memory + entries * partials.spans * 8);
    memory += partial_bytes(entries, partials.spans, p.kv.v_dim);
  }
  Draws draws;
  if (p.pattern.kind == AdaptiveKind::kBlockSparse && p.replay == nullptr) {
    draws.most = static_cast<int32_t>(draws_of(p.pattern, longest));
    draws.counts = reinterpret_cast<int32_t*>(memory);
    draws.blocks = draws.counts + p.num_tokens;
    launch_draws(exec, p, draws);
  }
  // A step of one query a sequence, as in decoding, has nothing for the tiles; the plain ones alone
  // add in an order that does not depend on a sequence's other queries.
  const bool fast = p.numerics == Numerics::kFast;
  if (!fast || p.longest_query != 1) {
    const bool mma = fast && mma_fits(exec, p);
    exec.note("adaptive_attention", mma ? "mma_tiles" : "tiles");
    (mma ? launch_mma_tiles : launch_tiles)(exec, p, draws);
  }
  if (fast) {
    exec.note("adaptive_attention", "rows");
    launch_rows(exec, p, draws, nullptr, partials);
  }
}

}  // namespace sluice::cuda
