/// @file
/// What the parts of the adaptive attention kernel share: the rows and memory of a tile, the bias
/// of relative positions, and products of queries with keys. Only for adaptive_*_isa.cc.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_WORK_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_WORK_H_

#include "ops/adaptive_attention/adaptive_kernel.h"
#include "ops/simd/dot_step.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {

inline constexpr float kMinusInfinity = -__builtin_inff();
inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr int kGroups = kAdaptiveKeys / kLanes;  // of 16 keys in a tile of keys

/// One head of a tile. Rows are its tokens whose gate is open, in order.
struct Work {
  const AdaptiveAttentionParams* p;
  const AdaptiveScratch* layout;
  float* memory;
  int32_t head;
  int64_t rows;
  int64_t token[kAdaptiveRows];     // of the batch
  int64_t position[kAdaptiveRows];  // rising
  int64_t key_end[kAdaptiveRows];   // keys below it are in the cache and not in the future; rising
  int64_t context_len;
  int64_t k_dim16, v_dim16;
  int64_t word_bytes;  // of one value of the cache
  const int32_t* table;
  int64_t block_shift, block_mask;  // of the KV block size
  const char* k_head;               // of block 0
  const char* v_head;
  char* q;            // [rows][k_dim16]
  float* scores;      // [rows][64]
  char* probs;        // [rows][64]
  float *m, *l;       // [rows] maximum score times log2(e), [rows][16] sums of exponents by lane
  float* acc;         // [rows][v_dim16] weighted values
  float* correction;  // [rows]
  char* k_copy;       // [4][k_dim16 * 16] values
  char* v_copy;       // [32] pairs of values rows
  float* bias;        // of distances bias_last + 16 (like bias_last) down to -32 (zero)
  int64_t bias_last;  // distances from here on share one bias
};

SLUICE_INLINE int64_t up16(int64_t n) { return (n + 15) / 16 * 16; }
SLUICE_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
SLUICE_INLINE int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

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

/// The biases of the head, times `factor`, in the order in which a row's keys need them.
SLUICE_INLINE void load_bias(Work& w, float factor) {
  const AdaptiveAttentionParams& p = *w.p;
  const int64_t farthest = w.rows == 0 ? 0 : w.position[w.rows - 1];
  w.bias_last = smaller(p.relative_positions - 1, farthest);
  const float* in = p.relative_position + int64_t{w.head} * p.relative_positions;
  for (int64_t i = 0; i < 16; ++i) w.bias[i] = in[w.bias_last] * factor;
  for (int64_t d = 0; d <= w.bias_last; ++d) w.bias[16 + w.bias_last - d] = in[d] * factor;
  for (int64_t i = 0; i < 31; ++i) w.bias[17 + w.bias_last + i] = 0.0f;
}

/// Biases of 16 keys from `key` on; those of keys in the future are of no meaning.
SLUICE_INLINE Vec bias_of(const Work& w, int64_t row, int64_t key) {
  const int64_t at = 16 + w.bias_last - (w.position[row] - key);
  return load(w.bias + (at < 0 ? 0 : smaller(at, w.bias_last + 32)));
}

SLUICE_INLINE float bias_at(const Work& w, int64_t row, int64_t key) {
  return w.bias[16 + w.bias_last - smaller(w.position[row] - key, w.bias_last)];
}

SLUICE_INLINE const char* key_group(const Work& w, int64_t key) {
  return w.k_head + int64_t{w.table[key >> w.block_shift]} * w.p->kv.k_block_stride +
         (key & w.block_mask) / kLanes * (w.k_dim16 * kLanes * w.word_bytes);
}

/// Where the 16 keys from `key`, a multiple of 16, lie; `seen` are those that some row sees. Blocks
/// of fewer keys are put side by side in the copy; one of which no key is seen is not read.
SLUICE_INLINE const char* find_keys(const Work& w, int64_t key, uint32_t seen, char* copy) {
  const int64_t size = w.block_mask + 1;
  if (size >= kLanes) return key_group(w, key);
  const int64_t steps = w.k_dim16 * w.word_bytes / 4;
  for (int64_t lane = 0; lane < kLanes; lane += size) {
    // Left as they are, lanes that nobody sees are dropped.
    if ((seen >> lane & ((1u << size) - 1u)) == 0) continue;
    const char* in =
        w.k_head + int64_t{w.table[(key + lane) >> w.block_shift]} * w.p->kv.k_block_stride;
    for (int64_t s = 0; s < steps; ++s) {
      for (int64_t i = 0; i < size; i += 4) {
        __builtin_memcpy(copy + s * 64 + (lane + i) * 4, in + (s * size + i) * 4, 16);
      }
    }
  }
  return copy;
}

/// Values of a key: of its pair, with a bf16 cache.
SLUICE_INLINE const char* value_row(const Work& w, int64_t key) {
  const int64_t offset = key & w.block_mask;
  return w.v_head + int64_t{w.table[key >> w.block_shift]} * w.p->kv.v_block_stride +
         (w.word_bytes == 2 ? offset >> 1 : offset) * w.v_dim16 * 4;
}

// Products of kRows rows with kVecs groups of 16 keys.
template <bool kBf16, int kRows, int kVecs>
SLUICE_INLINE void product_tile(const char* q, int64_t steps, const char* const* k, float* out,
                                int64_t out_stride, const int64_t* offset) {
  using S = DotStep<kBf16>;
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) sum[r][v] = zero();
  }
  for (int64_t s = 0; s < steps; ++s) {
    for (int r = 0; r < kRows; ++r) {
      const auto in = S::input(q + r * steps * 4, s);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], k[v] + s * 64, in);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) store(out + r * out_stride + offset[v], sum[r][v]);
  }
}

/// Products of up to kTileRows rows with n groups of keys; group i goes to out + row * out_stride +
/// offset[i].
template <bool kBf16>
SLUICE_INLINE void products(const Work& w, int64_t row, int64_t rows, int n, const char* const* k,
                            const int64_t* offset, float* out, int64_t out_stride) {
  const int64_t steps = w.k_dim16 / DotStep<kBf16>::kValues;
  const char* q = w.q + row * steps * 4;
  out += row * out_stride;
  if (kTileVecs == 4 && n > 2) {
    // Three groups are four of which two are the same.
    const char* const all[4] = {k[0], k[1], k[2], k[n - 1]};
    const int64_t to[4] = {offset[0], offset[1], offset[2], offset[n - 1]};
#define SLUICE_TILE(count) product_tile<kBf16, count, kTileVecs>(q, steps, all, out, out_stride, to)
    SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
    return;
  }
  int g = 0;
  if (kTileVecs == 4 && n == 2) {
#define SLUICE_TILE(count) product_tile<kBf16, count, 2>(q, steps, k, out, out_stride, offset)
    SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
    return;
  }
  for (; g < n; ++g) {
#define SLUICE_TILE(count) \
  product_tile<kBf16, count, 1>(q, steps, k + g, out, out_stride, offset + g)
    SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
  }
}

/// Marks keys of a row in AdaptiveAttentionParams.keep, in the plane of its head if it has one.
SLUICE_INLINE uint8_t* keep_row(const Work& w, int64_t row) {
  const AdaptiveAttentionParams& p = *w.p;
  if (p.keep == nullptr) return nullptr;
  const bool selects = adaptive_selects(p.pattern.kind);
  if (!selects && w.head != 0) return nullptr;
  const int64_t planes = selects ? p.kv.num_kv_heads : 1;
  return p.keep + (w.token[row] * planes + (selects ? w.head : 0)) * p.keep_stride;
}

/// Keys of one softmax update.
struct KeyTile {
  int64_t first;                 // key of slot 0, when they are neighbours
  bool gathered;                 // else `keys` are the keys
  int64_t count;                 // gathered: slots in use
  int32_t keys[kAdaptiveKeys];   // gathered, rising
  uint64_t seen[kAdaptiveRows];  // slots that each row sees
  uint64_t any;                  // slots that some row sees
};

SLUICE_INLINE int64_t key_at(const KeyTile& t, int64_t slot) {
  return t.gathered ? t.keys[slot] : t.first + slot;
}

/// Adds the keys of a tile to the state of the rows that see them: w.m, w.l, w.acc. Sets t.any.
void run_keys_f32(const Work& w, KeyTile& t);
void run_keys_bf16(const Work& w, KeyTile& t);

/// kTopK and kBlockTopK: scores of all keys, the choice of each row, its softmax and values, into
/// w.acc and w.l.
void run_selected_f32(Work& w);
void run_selected_bf16(Work& w);

}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_WORK_H_
