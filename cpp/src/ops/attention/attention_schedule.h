/// @file
/// How the tuned decode kernels share out the keys of a batch: made by every block for itself from
/// the lengths on the device, since a captured launch knows only their bounds. For .cu sources only.
///
/// An item is one tile of rows (token, query head of one kv head's group) of a sequence; it has a
/// unit of work per kUnitKeys keys that the sequence's tokens see, and costs kItemUnits more: its
/// queries' loading and its writing. Items follow each other by sequence, tile and kv head, and all
/// of that is cut into equal shares, one a block. So a block ends and begins in the middle of items: it has at most two incomplete ones, whose
/// states it leaves in slots of its own for combine_shares(); a block that has a whole item writes
/// the output itself. An item's cuts, and so its bits, depend on the whole batch.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_SCHEDULE_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_SCHEDULE_H_

#include "ops/attention/attention_device.h"

namespace sluice::cuda {

inline constexpr int32_t kUnitKeys = 64;
inline constexpr int32_t kItemUnits = 2;

/// Argument of the decode kernels. Sequences of more than max_queries tokens are not theirs.
struct Shares {
  AttentionParams p;
  int32_t group = 1;      ///< query heads per kv head
  int32_t tile_rows = 1;  ///< rows of an item
  int32_t max_queries = 1;
  int32_t min_units = 1;  ///< length of a share, at least
  int32_t num_blocks = 1;
  float* states = nullptr;   ///< [num_blocks, 2, tile_rows, state_floats]
  int64_t state_floats = 0;  ///< attention_state_floats()
};

/// Bytes of the states.
inline int64_t shares_bytes(int64_t num_blocks, int32_t tile_rows, int32_t v_dim) {
  return num_blocks * 2 * tile_rows * attention_state_floats(v_dim) * 4;
}

/// Writes out and lse of all rows of sequences of up to max_queries tokens, but those of items that
/// a block had whole.
void combine_shares(const CudaExec& exec, const Shares& shares);

/// The items of one sequence.
struct SequenceWork {
  int32_t sequence;
  int32_t items;       ///< tiles of rows times kv heads
  int32_t units;       ///< of an item
  int32_t first_unit;  ///< its keys begin at first_unit * kUnitKeys
  int32_t key_begin;   ///< keys that any token of it sees
  int32_t key_end;

  /// Of one item in the shares: kItemUnits, then its units.
  __device__ int32_t length() const { return units == 0 ? 0 : kItemUnits + units; }
};

__device__ inline SequenceWork work_of(const Shares& w, int32_t sequence) {
  const AttentionParams& p = w.p;
  SequenceWork work{sequence, 0, 0, 0, 0, 0};
  if (sequence >= p.num_sequences) return work;
  const int32_t begin = p.query_start[sequence], end = p.query_start[sequence + 1];
  if (begin >= end || end - begin > w.max_queries) return work;
  const int64_t context_len = p.context_len[sequence];
  // Positions rise, and with them both ends of what they see.
  work.key_begin = static_cast<int32_t>(
      visible_keys(p, p.positions[begin * p.position_stride], context_len).begin);
  work.key_end = static_cast<int32_t>(
      visible_keys(p, p.positions[(end - 1) * p.position_stride], context_len).end);
  work.items = ((end - begin) * w.group + w.tile_rows - 1) / w.tile_rows * p.kv.num_kv_heads;
  if (work.key_begin >= work.key_end) return work;
  work.first_unit = work.key_begin / kUnitKeys;
  work.units = (work.key_end + kUnitKeys - 1) / kUnitKeys - work.first_unit;
  return work;
}

/// Length of the sequences [0, end) in the shares. A whole warp takes part; all its lanes get the sum.
__device__ inline int32_t length_before(const Shares& w, int32_t end) {
  int32_t sum = 0;
  for (int32_t s = threadIdx.x % 32; s < end; s += 32) {
    const SequenceWork work = work_of(w, s);
    sum += work.items * work.length();
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  return sum;
}

/// Blocks that have a share of a length.
__device__ inline int32_t blocks_with_share(const Shares& w, int32_t length) {
  return min(w.num_blocks, (length + w.min_units - 1) / w.min_units);
}

/// Where a block's share begins.
__device__ inline int32_t share_begin(int32_t block, int32_t length, int32_t blocks) {
  return static_cast<int32_t>(static_cast<int64_t>(block) * length / blocks);
}

/// The block that has a place in its share: the last whose share begins at or before it.
__device__ inline int32_t block_of(int32_t place, int32_t length, int32_t blocks) {
  auto block = static_cast<int32_t>((static_cast<int64_t>(place) * blocks) / length);
  while (block + 1 < blocks && share_begin(block + 1, length, blocks) <= place) ++block;
  return block;
}

/// Walks the units of a share.
struct Cursor {
  SequenceWork work;
  int32_t place;
  int32_t item;  ///< tile * num_kv_heads + kv head
  int32_t unit;  ///< of the item

  __device__ bool ends_item() const { return unit + 1 == work.units; }
  /// Place of the next unit, which there need not be.
  __device__ int32_t next() const { return place + (ends_item() ? 1 + kItemUnits : 1); }
};

/// At the first unit at or behind a place. A whole warp takes part.
__device__ inline Cursor cursor_at(const Shares& w, int32_t place) {
  const int lane = threadIdx.x % 32;
  int32_t inside = place;  // the sequences from `first` on
  for (int32_t first = 0;; first += 32) {
    const SequenceWork work = work_of(w, first + lane);
    const int32_t mine = work.items * work.length();
    int32_t sum = mine;
    for (int step = 1; step < 32; step *= 2) {
      const int32_t other = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += other;
    }
    const int32_t before = sum - mine;
    const unsigned found = __ballot_sync(kAllLanes, inside >= before && inside < sum);
    if (found != 0) {
      const int source = __ffs(static_cast<int>(found)) - 1;
      inside -= __shfl_sync(kAllLanes, before, source);
      const SequenceWork its = work_of(w, first + source);
      const int32_t unit = inside % its.length() - kItemUnits;
      return {its, place - min(unit, 0), inside / its.length(), max(unit, 0)};
    }
    inside -= __shfl_sync(kAllLanes, sum, 31);
  }
}

/// To the next unit; there is one.
__device__ inline void advance(const Shares& w, Cursor* c) {
  c->place = c->next();
  if (++c->unit < c->work.units) return;
  c->unit = 0;
  if (++c->item < c->work.items) return;
  c->item = 0;
  do {
    c->work = work_of(w, c->work.sequence + 1);
  } while (c->work.items * c->work.units == 0);
}

/// Row `row` of the item at a cursor.
struct ItemRow {
  bool live;  ///< otherwise the sequence has no such row
  int64_t token, head;
};
__device__ inline ItemRow row_of(const Shares& w, const Cursor& c, int32_t row) {
  const int32_t heads = w.p.kv.num_kv_heads;
  const int32_t r = c.item / heads * w.tile_rows + row;
  const int32_t begin = w.p.query_start[c.work.sequence];
  const int32_t end = w.p.query_start[c.work.sequence + 1];
  return {r < (end - begin) * w.group, int64_t{begin + r / w.group},
          int64_t{c.item % heads} * w.group + r % w.group};
}

/// Keys that a row sees.
__device__ inline KeyRange keys_of(const Shares& w, const Cursor& c, const ItemRow& row) {
  if (!row.live) return {0, 0};
  return visible_keys(w.p, w.p.positions[row.token * w.p.position_stride],
                      w.p.context_len[c.work.sequence]);
}

/// The state of a row of a block's incomplete item: slot 0 of one that began in an earlier share,
/// slot 1 of one that begins in this.
__device__ inline float* state_of(const Shares& w, int32_t block, int32_t slot, int32_t row) {
  return w.states + ((int64_t{block} * 2 + slot) * w.tile_rows + row) * w.state_floats;
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_SCHEDULE_H_
