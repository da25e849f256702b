/// @file
/// What a CTA of attention_prefill_sm90.cu works on: its shared memory, and which queries; and how
/// its warpgroups wait for each other.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_PREFILL_TILES_CUH_
#define SLUICE_OPS_ATTENTION_ATTENTION_PREFILL_TILES_CUH_

#include "ops/attention/attention_device.h"
#include "ops/cuda/sm90.h"
#include "ops/cuda/tensor_map.h"

namespace sluice::cuda {

inline constexpr int kTileQueries = 128, kTileKeys = 128, kKvStages = 2;
inline constexpr int kMaxSequences = 1024;
inline constexpr int kMaxSorted = 512;  ///< tiles of several sequences that are sorted
/// Fewer queries a sequence leave most of a tile empty: such steps are decode's.
inline constexpr int64_t kFewestQueries = 16;

/// Barriers of the kernel beside __syncthreads() and warpgroup_sync(): one a turn.
__device__ inline void wait_turn(int warpgroup) {
  asm volatile("bar.sync %0, 256;" ::"r"(4 + warpgroup) : "memory");
}
__device__ inline void give_turn(int warpgroup) {
  asm volatile("bar.arrive %0, 256;" ::"r"(4 + warpgroup) : "memory");
}

struct Prefill {
  AttentionParams p;
  int32_t group = 1;    ///< query heads of a kv head
  int32_t section = 1;  ///< query heads whose keys and values share the L2 cache at a time
};

template <int kK, int kV>
struct PrefillShared {
  // Chunks of 64 columns, each [rows][64] in the 128-byte swizzle.
  alignas(1024) __nv_bfloat16 q[kTileQueries * kK];
  alignas(1024) __nv_bfloat16 k[kKvStages][kTileKeys * kK];
  alignas(1024) __nv_bfloat16 v[kKvStages][kTileKeys * kV];
  uint64_t k_full[kKvStages], k_empty[kKvStages], v_full[kKvStages], v_empty[kKvStages];
  int32_t first_tile[kMaxSequences + 1];
  bool sorted;
  int32_t keys[kMaxSorted];   // that a tile's queries see
  int16_t order[kMaxSorted];  // tiles, those of the most keys first
};

struct PrefillTile {
  int sequence, head;
  int token, tokens;          // of the step
  int context;                // context_len
  int keys_begin, keys_end;   // keys that some query of the tile sees

  __device__ int first_tile() const { return keys_begin / kTileKeys * kTileKeys; }
  __device__ int last_tile() const { return (keys_end - 1) / kTileKeys * kTileKeys; }
};

/// By one warp: tiles of queries before each sequence.
template <int kK, int kV>
__device__ void count_tiles(PrefillShared<kK, kV>& s, const AttentionParams& p) {
  const int lane = threadIdx.x;
  int before = 0;
  for (int base = 0; base <= p.num_sequences; base += 32) {
    const int i = base + lane;
    const int queries = i < p.num_sequences ? p.query_start[i + 1] - p.query_start[i] : 0;
    const int tiles = (queries + kTileQueries - 1) / kTileQueries;
    int sum = tiles;
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += other;
    }
    if (i <= p.num_sequences) s.first_tile[i] = before + sum - tiles;
    before += __shfl_sync(kAllLanes, sum, 31);
  }
}

/// What a tile of queries, counted over all sequences, is of and sees; its head stays as it is.
template <int kK, int kV>
__device__ void describe_tile(const PrefillShared<kK, kV>& s, const AttentionParams& p, int tile,
                              PrefillTile& t) {
  int low = 0, high = p.num_sequences - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (s.first_tile[middle] <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  t.sequence = low;
  t.token = p.query_start[low] + (tile - s.first_tile[low]) * kTileQueries;
  t.tokens = min(kTileQueries, p.query_start[low + 1] - t.token);
  t.context = p.context_len[low];
  const int first = p.positions[t.token * p.position_stride];
  const int last = p.positions[(t.token + t.tokens - 1) * p.position_stride];
  t.keys_end = min(t.context, last + 1);
  t.keys_begin = p.window > 0 ? max(0, first - p.window + 1) : 0;
}

/// By all threads of a CTA: the order of tiles of several sequences; each thread finds the places of its
/// own by counting. Tiles of one sequence rise already.
template <int kK, int kV>
__device__ void sort_tiles(PrefillShared<kK, kV>& s, const AttentionParams& p) {
  const int tiles = s.first_tile[p.num_sequences];
  const bool sorts = p.num_sequences > 1 && tiles <= kMaxSorted;
  if (threadIdx.x == 0) s.sorted = sorts;
  if (sorts) {
    for (int i = threadIdx.x; i < tiles; i += blockDim.x) {
      PrefillTile t;
      describe_tile(s, p, i, t);
      s.keys[i] = max(0, t.keys_end - t.keys_begin);
    }
  }
  __syncthreads();
  if (!sorts) return;
  for (int i = threadIdx.x; i < tiles; i += blockDim.x) {
    int before = 0;
    for (int j = 0; j < tiles; ++j) {
      before += s.keys[j] > s.keys[i] || (s.keys[j] == s.keys[i] && j < i) ? 1 : 0;
    }
    s.order[before] = static_cast<int16_t>(i);
  }
  __syncthreads();
}

/// The tile of this CTA's turn; false when there are no more. Heads go in sections, whose keys and
/// values fit the L2 cache; inside one, the tiles of queries that have the most keys first.
template <int kK, int kV>
__device__ bool find_tile(const PrefillShared<kK, kV>& s, const Prefill& w, int turn,
                          PrefillTile& t) {
  const AttentionParams& p = w.p;
  const int ctas = gridDim.x, cta = blockIdx.x;
  const int index = turn * ctas + (turn % 2 == 0 ? cta : ctas - 1 - cta);
  const int tiles = s.first_tile[p.num_sequences];
  if (index >= tiles * p.num_q_heads) return false;
  const int section = index / (tiles * w.section);
  const int first_head = section * w.section;
  const int heads = min(w.section, p.num_q_heads - first_head);
  const int local = index - section * tiles * w.section;
  t.head = first_head + local % heads;
  describe_tile(s, p, s.sorted ? s.order[local / heads] : tiles - 1 - local / heads, t);
  return true;
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_PREFILL_TILES_CUH_
