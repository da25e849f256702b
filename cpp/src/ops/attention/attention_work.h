/// @file
/// What the parts of the attention kernel share: the memory of a tile's work, which keys its rows
/// see, and the running softmax state. Only for attention_isa.cc.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_WORK_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_WORK_H_

#include "ops/attention/attention_kernel.h"
#include "ops/attention/visible.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {

inline constexpr float kMinusInfinity = -__builtin_inff();
inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kLn2 = 0.693147180559945309f;

/// Pointers into the floats of attention_state_floats().
struct State {
  float* m;
  float* l;
  float* acc;
};

SLUICE_INLINE State state_at(float* floats) {
  return {floats, floats + kQueryRows, floats + kQueryRows * (1 + kLanes)};
}

/// What a tile's work shares; pointers into the thread's scratch memory and the cache.
struct Work {
  const AttentionParams* p;
  const AttentionTile* tile;
  int64_t rows;
  int64_t group;  // query heads per kv head
  int64_t context_len;
  int64_t k_dim16, v_dim16;
  int64_t v_row16;  // columns between value rows of the cache
  const int32_t* table;
  const char* k_head;  // of block 0; null when the value rows are the keys
  const char* v_head;
  char* q;        // [rows][k_dim16]; for shared rows panels of 16 rows, see attention_shared.h
  float* scores;  // [rows][64]
  char* probs;    // [rows][64]
  State whole, span;
  float* whole_floats;
  char* k_copy;       // [4][k_dim16 * 16] values
  char* v_copy;       // two pairs of values rows
  float* correction;  // [rows]
};

SLUICE_INLINE int64_t row_token(const Work& w, int64_t row) {
  return w.p->query_start[w.tile->sequence] + (w.tile->row_begin + row) / w.group;
}

SLUICE_INLINE KeyRange row_keys(const Work& w, int64_t row) {
  const int64_t position = w.p->positions[row_token(w, row) * w.p->position_stride];
  return visible_keys(*w.p, position, w.context_len);
}

SLUICE_INLINE void clear(State state, int64_t rows, int64_t v_dim16) {
  for (int64_t r = 0; r < rows; ++r) {
    state.m[r] = kMinusInfinity;
    store(state.l + r * kLanes, zero());
  }
  for (int64_t i = 0; i < rows * v_dim16; i += kLanes) store(state.acc + i, zero());
}

// 2^x; exp2 is 0 from -150 down and exactly 1 at 0, so both shortcuts change no bit.
SLUICE_INLINE float power_of(float x) {
  if (x == 0.0f) return 1.0f;
  if (x == kMinusInfinity) return 0.0f;
  float lanes[kLanes];
  store(lanes, exp2(splat(x)));
  return lanes[0];
}

// Exponents are taken against this maximum: 0 for a row without keys, where -inf - -inf is NaN.
SLUICE_INLINE float safe_max(float m) { return m == kMinusInfinity ? 0.0f : m; }

SLUICE_INLINE int64_t up16(int64_t n) { return (n + 15) / 16 * 16; }

SLUICE_INLINE Work make_work(const AttentionParams& p, const AttentionTile& tile, int32_t kv_head,
                             void* scratch) {
  Work w;
  w.p = &p;
  w.tile = &tile;
  w.rows = tile.row_end - tile.row_begin;
  w.group = p.num_q_heads / p.kv.num_kv_heads;
  w.context_len = p.context_len[tile.sequence];
  w.k_dim16 = up16(key_columns(p));
  w.v_dim16 = up16(value_columns(p));
  w.v_row16 = up16(p.kv.v_dim);
  const int64_t table_row = p.table_rows == nullptr ? tile.sequence : p.table_rows[tile.sequence];
  w.table = p.block_tables + table_row * p.block_table_stride;
  const int64_t head_values = int64_t{kv_head} * p.kv.block_size;
  const int64_t bytes = p.kv.format == Format::kBf16 ? 2 : 4;
  w.k_head =
      shares_rows(p) ? nullptr : static_cast<const char*>(p.kv.k) + head_values * w.k_dim16 * bytes;
  w.v_head = static_cast<const char*>(p.kv.v) + head_values * w.v_row16 * bytes;
  char* next = static_cast<char*>(scratch);
  const auto take = [&next](int64_t size) __attribute__((always_inline)) {
    char* const at = next;
    next += size;
    return at;
  };
  w.q = take(kQueryRows * w.k_dim16 * 4);
  w.scores = reinterpret_cast<float*>(take(kQueryRows * kKeyTile * 4));
  w.probs = take(kQueryRows * kKeyTile * 4);
  w.whole_floats = reinterpret_cast<float*>(take(attention_state_floats(w.v_dim16) * 4));
  w.whole = state_at(w.whole_floats);
  w.span = state_at(reinterpret_cast<float*>(take(attention_state_floats(w.v_dim16) * 4)));
  w.k_copy = take(kKeyTile * w.k_dim16 * 4);
  w.v_copy = take(2 * w.v_dim16 * 4);
  w.correction = reinterpret_cast<float*>(take(kQueryRows * 4));
  return w;
}

/// Asks for lines of the cache before they are read.
SLUICE_INLINE void fetch(const char* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 3);
}

/// Asks for the keys of a tile: blocks lie anywhere, so the hardware does not see the next coming.
SLUICE_INLINE void fetch_keys(const Work& w, int64_t first_key) {
  const KvCacheView& kv = w.p->kv;
  if (kv.block_size < kLanes) return;
  const int64_t group_bytes = w.k_dim16 * kLanes * (kv.format == Format::kBf16 ? 2 : 4);
  for (int64_t key = first_key; key < first_key + kKeyTile; key += kLanes) {
    if (key + kLanes <= w.tile->key_begin || key >= w.tile->key_end) continue;
    const auto at = static_cast<uint32_t>(key), size = static_cast<uint32_t>(kv.block_size);
    fetch(w.k_head + static_cast<int64_t>(w.table[at / size]) * kv.k_block_stride +
              at % size / kLanes * group_bytes,
          group_bytes);
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_WORK_H_
