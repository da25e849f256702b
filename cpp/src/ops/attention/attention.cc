#include "ops/attention/attention.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/attention/attention_cuda.h"
#include "ops/attention/attention_kernel.h"
#include "ops/attention/visible.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// A share of the work that is worth a thread, in multiply-adds (about 5 us).
constexpr int64_t kGrain = int64_t{64} << 10;
// Tasks per thread below which the keys of a tile are split over threads too.
constexpr int64_t kTasksPerThread = 4;
// Workspace for the states of split keys; with more spans than fit, keys are not split.
constexpr int64_t kMaxStateBytes = int64_t{32} << 20;

int64_t max_tiles(int64_t max_tokens, int64_t group) {
  // A gap in a sequence's positions can end a tile after any token.
  return max_tokens * (group / kQueryRows + 2);
}

int64_t spans_of(const AttentionTile& tile) {
  return (tile.key_end - 1) / kKeySpan - tile.key_begin / kKeySpan + 1;
}

void check_params(const AttentionParams& p, KvLayout layout) {
  check_kv_cache(p.kv);
  SLUICE_CHECK_ARG(p.kv.layout == layout, "attention kv layout: ", static_cast<int>(p.kv.layout),
                   " (expected: ", static_cast<int>(layout), ", that of where the op runs)");
  check_compute_format("attention q_format", p.q_format);
  check_compute_format("attention out_format", p.out_format);
  check_at_least("attention num_tokens", p.num_tokens, 0);
  SLUICE_CHECK_ARG(p.num_q_heads > 0 && p.num_q_heads % p.kv.num_kv_heads == 0,
                   "num_q_heads: ", p.num_q_heads, " (expected: a multiple of ", p.kv.num_kv_heads,
                   ")");
  SLUICE_CHECK_ARG(shares_rows(p) ? p.value_dim > 0 && p.value_dim <= p.kv.v_dim : p.value_dim == 0,
                   "attention value_dim: ", p.value_dim, " (expected: ",
                   shares_rows(p) ? concat("1 to v_dim, ", p.kv.v_dim) : "0, keys are stored", ")");
  check_stride("attention q_stride", p.q_stride, int64_t{p.num_q_heads} * key_columns(p),
               p.num_tokens);
  check_stride("attention out_stride", p.out_stride, int64_t{p.num_q_heads} * value_columns(p),
               p.num_tokens);
  check_memory("attention q", p.q, p.num_tokens);
  check_memory("attention out", p.out, p.num_tokens);
  check_memory("attention positions", p.positions, p.num_tokens);
  check_memory("attention query_start", p.query_start, p.num_sequences);
  check_memory("attention context_len", p.context_len, p.num_sequences);
  check_memory("attention block_tables", p.block_tables, p.num_sequences);
  SLUICE_CHECK_ARG(p.soft_cap >= 0 && p.window >= 0 && p.chunk >= 0, "attention soft_cap ",
                   p.soft_cap, ", window ", p.window, ", chunk ", p.chunk,
                   " (expected: 0 or more)");
}

void check_sequences(const AttentionParams& p) {
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    SLUICE_CHECK_ARG(p.query_start[s] >= 0 && p.query_start[s] <= p.query_start[s + 1] &&
                         p.query_start[s + 1] <= p.num_tokens,
                     "query_start[", s + 1, "]: ", p.query_start[s + 1],
                     " (expected: rising, at most ", p.num_tokens, ")");
  }
}

void check_blocks(const AttentionParams& p, const AttentionTile& tile) {
  const int64_t row = p.table_rows == nullptr ? tile.sequence : p.table_rows[tile.sequence];
  const int32_t* table = p.block_tables + row * p.block_table_stride;
  if (tile.key_begin >= tile.key_end) return;
  for (int64_t i = tile.key_begin / p.kv.block_size; i <= (tile.key_end - 1) / p.kv.block_size;
       ++i) {
    SLUICE_CHECK_ARG(table[i] >= 0 && table[i] < p.kv.num_blocks, "block table of sequence ",
                     tile.sequence, " at ", i, ": ", table[i], " (expected: 0 to ",
                     p.kv.num_blocks - 1, ")");
  }
}

struct Tiles {
  AttentionTile* tiles;
  int64_t count = 0;
  int64_t multiply_adds = 0;  // of one kv head
  int64_t spans = 0;
};

// One span of the keys of one tile, for one kv head.
struct SpanTask {
  int64_t tile = 0;
  int64_t first_span = 0;  // of the tile, among the spans of all tiles
  int64_t spans = 0;       // of the tile
  int64_t head = 0;
  int64_t span = 0;
};

SpanTask find_span_task(const Tiles& tiles, int64_t kv_heads, int64_t index) {
  SpanTask task;
  task.spans = spans_of(tiles.tiles[0]);
  while (index >= task.spans * kv_heads) {
    index -= task.spans * kv_heads;
    task.first_span += task.spans;
    task.spans = spans_of(tiles.tiles[++task.tile]);
  }
  task.head = index / task.spans;
  task.span = index % task.spans;
  return task;
}

// Cuts every sequence into tiles of rows that share their keys.
Tiles make_tiles(const AttentionParams& p, AttentionTile* memory) {
  const int64_t group = p.num_q_heads / p.kv.num_kv_heads;
  Tiles out{memory};
  const auto add = [&](const AttentionTile& tile) {
    check_blocks(p, tile);
    memory[out.count++] = tile;
    out.spans += spans_of(tile);
    if (tile.key_begin >= tile.key_end) return;
    out.multiply_adds += int64_t{tile.row_end - tile.row_begin} * (tile.key_end - tile.key_begin) *
                         (key_columns(p) + value_columns(p));
  };
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    const int64_t tokens = p.query_start[s + 1] - p.query_start[s];
    const int64_t rows = tokens * group;
    int64_t row = 0;
    while (row < rows) {
      AttentionTile tile{s, static_cast<int32_t>(row), static_cast<int32_t>(row), 0, 0};
      // Token by token, as far as the rows' keys hang together and the tile has room.
      while (row < rows && row - tile.row_begin < kQueryRows) {
        const int64_t token = row / group;
        const int64_t position = p.positions[(p.query_start[s] + token) * p.position_stride];
        const KeyRange keys = visible_keys(p, position, p.context_len[s]);
        const bool empty = keys.begin >= keys.end;
        const bool tile_empty = tile.key_begin >= tile.key_end;
        if (row > tile.row_begin &&
            (empty || tile_empty || keys.begin > tile.key_end || keys.end < tile.key_begin)) {
          // Rows without keys stay among themselves.
          if (!(empty && tile_empty)) break;
        }
        if (!empty) {
          tile.key_begin = static_cast<int32_t>(
              tile_empty ? keys.begin : std::min<int64_t>(tile.key_begin, keys.begin));
          tile.key_end = static_cast<int32_t>(
              tile_empty ? keys.end : std::max<int64_t>(tile.key_end, keys.end));
        }
        row = std::min({(token + 1) * group, rows, tile.row_begin + kQueryRows});
        tile.row_end = static_cast<int32_t>(row);
      }
      add(tile);
    }
  }
  return out;
}

}  // namespace

int64_t attention_workspace_bytes(const Exec& exec, int64_t max_tokens, int32_t max_sequences,
                                  int64_t max_context_len, int32_t num_q_heads, int32_t k_dim,
                                  int32_t v_dim) {
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      return cuda::attention_workspace_bytes(*exec.cuda, max_tokens, max_sequences, max_context_len,
                                             num_q_heads, k_dim, v_dim);
    }
  }
  const int64_t k_dim16 = round_up(k_dim, 16), v_dim16 = round_up(v_dim, 16);
  const int64_t spans = ceil_div(max_context_len, kKeySpan) + 1;
  const int64_t states =
      kTasksPerThread * exec.num_threads * spans * attention_state_floats(v_dim16) * 4;
  return round_up(max_tiles(max_tokens, num_q_heads) * static_cast<int64_t>(sizeof(AttentionTile)),
                  64) +
         exec.num_threads * attention_scratch_bytes(k_dim16, v_dim16) +
         std::min(states, kMaxStateBytes);
}

void attention(const Exec& exec, const AttentionParams& p, void* workspace,
               int64_t workspace_bytes) {
  check_params(p, exec.cuda == nullptr ? KvLayout::kInterleaved : KvLayout::kRows);
  if (p.num_tokens == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::attention(*exec.cuda, p, workspace, workspace_bytes);
  }
  check_sequences(p);
  const int64_t k_dim16 = round_up(key_columns(p), 16);
  const int64_t v_dim16 = round_up(value_columns(p), 16);
  const int64_t kv_heads = p.kv.num_kv_heads;
  const int64_t tile_bytes = round_up(max_tiles(p.num_tokens, p.num_q_heads / kv_heads) *
                                          static_cast<int64_t>(sizeof(AttentionTile)),
                                      64);
  const int64_t scratch_bytes = attention_scratch_bytes(k_dim16, v_dim16);
  const int64_t fixed = tile_bytes + exec.num_threads * scratch_bytes;
  SLUICE_CHECK_ARG(workspace != nullptr && workspace_bytes >= fixed,
                   "attention workspace: ", workspace_bytes, " bytes (expected: at least ", fixed,
                   ")");
  auto* memory = static_cast<char*>(workspace);
  const Tiles tiles = make_tiles(p, reinterpret_cast<AttentionTile*>(memory));
  char* scratch = memory + tile_bytes;
  auto* states = reinterpret_cast<float*>(memory + fixed);

  const int threads =
      tiles.multiply_adds * kv_heads / kGrain > 1 ? static_cast<int>(exec.num_threads) : 1;
  const int64_t tasks = tiles.count * kv_heads;
  const int64_t state_floats = attention_state_floats(v_dim16);
  const bool split = threads > 1 && tasks < kTasksPerThread * threads &&
                     tiles.spans > tiles.count &&
                     tiles.spans * kv_heads * state_floats * 4 <= workspace_bytes - fixed;

  if (!split) {
    const auto kernel = SLUICE_SELECT_ISA(exec.isa, attention_tile);
    const auto run = [&](int64_t i, int thread) {
      kernel(p, tiles.tiles[i / kv_heads], static_cast<int32_t>(i % kv_heads),
             scratch + thread * scratch_bytes);
    };
    if (threads == 1) {
      for (int64_t i = 0; i < tasks; ++i) run(i, 0);
      return;
    }
    // The longest (last) tasks first.
    parallel_tasks(exec, tasks, [&](int64_t i, int thread) { run(tasks - 1 - i, thread); });
    return;
  }

  // One task per (tile, kv head, span); then the states of each (tile, kv head) are put together.
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, attention_span);
  const auto combine = SLUICE_SELECT_ISA(exec.isa, attention_combine);
  const auto state = [&](int64_t first_span, int64_t head, int64_t spans, int64_t span) {
    return states + (first_span * kv_heads + head * spans + span) * state_floats;
  };
  parallel_tasks(exec, tiles.spans * kv_heads, [&](int64_t i, int thread) {
    const SpanTask task = find_span_task(tiles, kv_heads, i);
    const AttentionTile& tile = tiles.tiles[task.tile];
    kernel(p, tile, static_cast<int32_t>(task.head), tile.key_begin / kKeySpan + task.span,
           state(task.first_span, task.head, task.spans, task.span),
           scratch + thread * scratch_bytes);
  });
  parallel_tasks(exec, tasks, [&](int64_t i, int /*thread*/) {
    int64_t first_span = 0;
    for (int64_t t = 0; t < i / kv_heads; ++t) first_span += spans_of(tiles.tiles[t]);
    const AttentionTile& tile = tiles.tiles[i / kv_heads];
    const int64_t spans = spans_of(tile);
    combine(p, tile, static_cast<int32_t>(i % kv_heads), state(first_span, i % kv_heads, spans, 0),
            spans);
  });
}

}  // namespace sluice
