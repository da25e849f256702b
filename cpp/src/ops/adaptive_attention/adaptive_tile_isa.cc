// Tiles of up to 48 rows by 64 keys: products of queries and keys into the first-level cache, one
// softmax update per row, then products of probabilities and values, as in ops/attention. The keys
// are either 64 neighbours from a multiple of 64, of which a mask says what each row sees, or 64
// dense keys gathered by rank: the i-th dense key of the sequence is slot i % 64 of gathered tile
// i / 64, whoever looks.
//
// So a row's arithmetic is fixed by its own keys: in a tile of which a row sees nothing its
// maximum, sum and values stay as they are (factors 1 and 0), and the rows it is grouped with do
// not matter.
#include "ops/adaptive_attention/adaptive_work.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

// Up to so many rows, scattered keys are multiplied where they lie, with their neighbours: to copy
// one costs more than the products of a few rows with all 16 that share its cache lines.
constexpr int64_t kDirectRows = 4;
static_assert(kDirectRows <= kTileRows);

SLUICE_INLINE uint32_t group_of(uint64_t mask, int g) {
  return static_cast<uint32_t>(mask >> (g * kLanes)) & 0xffffu;
}

SLUICE_INLINE uint64_t any_of_rows(const KeyTile& t, int64_t row, int64_t rows) {
  uint64_t any = 0;
  for (int64_t r = row; r < row + rows; ++r) any |= t.seen[r];
  return any;
}

// A scattered key to a lane of a copied group.
void copy_key(const Work& w, int64_t key, char* lane) {
  const int64_t width = smaller(w.block_mask + 1, kLanes);  // keys that share cache lines
  const int64_t steps = w.k_dim16 * w.word_bytes / 4;
  const char* in = w.k_head + int64_t{w.table[key >> w.block_shift]} * w.p->kv.k_block_stride +
                   (key & w.block_mask) / width * (steps * width * 4) + key % width * 4;
  for (int64_t s = 0; s < steps; ++s) __builtin_memcpy(lane + s * 64, in + s * width * 4, 4);
}

// Products with scattered keys where they lie, a few groups of 16 at a time; the lanes between them
// are dropped.
template <bool kBf16>
__attribute__((noinline)) void direct_products(const Work& w, const KeyTile& t) {
  const int64_t group_bytes = w.k_dim16 * kLanes * w.word_bytes;
  const int64_t offset[kGroups] = {0, kLanes, 2 * kLanes, 3 * kLanes};
  float lanes[kTileRows * kAdaptiveKeys];
  int8_t lane_of[kAdaptiveKeys];
  for (int64_t slot = 0; slot < t.count;) {
    const char* k[kGroups];
    int groups = 0;
    int64_t end = slot;
    for (; groups < kGroups && end < t.count; ++groups) {
      const int64_t first = t.keys[end] / kLanes * kLanes;
      uint32_t seen = 0;
      for (; end < t.count && t.keys[end] < first + kLanes; ++end) {
        seen |= 1u << (t.keys[end] - first);
        lane_of[end] = static_cast<int8_t>(groups * kLanes + t.keys[end] - first);
      }
      k[groups] = find_keys(w, first, seen, w.k_copy + groups * group_bytes);
    }
    products<kBf16>(w, 0, w.rows, groups, k, offset, lanes, kAdaptiveKeys);
    for (; slot < end; ++slot) {
      for (int64_t r = 0; r < w.rows; ++r) {
        w.scores[r * kAdaptiveKeys + slot] = lanes[r * kAdaptiveKeys + lane_of[slot]];
      }
    }
  }
}

template <bool kBf16>
void tile_products(const Work& w, const KeyTile& t) {
  if (t.gathered && w.rows <= kDirectRows) return direct_products<kBf16>(w, t);
  const int64_t group_bytes = w.k_dim16 * kLanes * w.word_bytes;
  const char* k[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t seen = group_of(t.any, g);
    if (seen == 0) continue;
    char* copy = w.k_copy + g * group_bytes;
    if (t.gathered) {
      for (int64_t i = 0; i < kLanes && g * kLanes + i < t.count; ++i) {
        copy_key(w, t.keys[g * kLanes + i], copy + i * 4);
      }
      k[g] = copy;
    } else {
      k[g] = find_keys(w, t.first + g * kLanes, seen, copy);
    }
  }
  for (int64_t row = 0; row < w.rows;) {
    const int64_t rows = next_tile_rows(w.rows - row);
    const uint64_t any = any_of_rows(t, row, rows);
    const char* groups[kGroups];
    int64_t offset[kGroups];
    int n = 0;
    for (int g = 0; g < kGroups; ++g) {
      if (group_of(any, g) == 0) continue;
      groups[n] = k[g];
      offset[n++] = g * kLanes;
    }
    if (n > 0) products<kBf16>(w, row, rows, n, groups, offset, w.scores, kAdaptiveKeys);
    row += rows;
  }
}

SLUICE_INLINE Vec tile_bias(const Work& w, const KeyTile& t, int64_t row, int g) {
  if (!t.gathered) return bias_of(w, row, t.first + g * kLanes);
  const int64_t begin = g * kLanes, end = smaller(begin + kLanes, t.count);
  if (w.position[row] - t.keys[end - 1] >= w.bias_last) return splat(w.bias[0]);
  float lanes[kLanes] = {};
  for (int64_t i = begin; i < end; ++i) {
    if (t.seen[row] >> i & 1) lanes[i - begin] = bias_at(w, row, t.keys[i]);
  }
  return load(lanes);
}

// Scores of one row become probabilities against its new maximum.
template <bool kBf16>
SLUICE_INLINE void update_row(const Work& w, const KeyTile& t, int64_t row) {
  const float* scores = w.scores + row * kAdaptiveKeys;
  char* probs = w.probs + row * kAdaptiveKeys * (kBf16 ? 2 : 4);
  const uint64_t seen = t.seen[row];
  if (seen == 0) {
    w.correction[row] = 1.0f;
    __builtin_memset(probs, 0, kAdaptiveKeys * (kBf16 ? 2 : 4));
    return;
  }
  const Vec minus_infinity = splat(kMinusInfinity);
  const Vec scale = splat(w.p->softmax_scale * kLog2E);
  Vec s[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t bits = group_of(seen, g);
    s[g] = minus_infinity;
    if (bits == 0) continue;
    s[g] = fma(load(scores + g * kLanes), scale, tile_bias(w, t, row, g));
    if (bits != 0xffffu) s[g] = blend(mask_of(bits), minus_infinity, s[g]);
  }
  const float tile_max = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
  const float old_max = w.m[row];
  const float new_max = old_max < tile_max ? tile_max : old_max;
  const Vec base = splat(safe_max(new_max));
  const float correction = new_max == old_max ? 1.0f : power_of(old_max - safe_max(new_max));
  float* l = w.l + row * kLanes;
  Vec sum = mul(splat(correction), load(l));
  for (int g = 0; g < kGroups; ++g) {
    const Vec e = exp2(sub(s[g], base));
    sum = add(sum, e);
    if constexpr (kBf16) {
      store_probabilities(reinterpret_cast<uint16_t*>(probs) + g * kLanes, e);
    } else {
      store(reinterpret_cast<float*>(probs) + g * kLanes, e);
    }
  }
  store(l, sum);
  w.correction[row] = correction;
  w.m[row] = new_max;
}

/// Values of the keys of a tile: step i of the product takes rows[i] with the probabilities at
/// slots[i] (one slot, or a pair).
struct ValueRows {
  int64_t count;
  int8_t slots[kAdaptiveKeys];
  const char* rows[kAdaptiveKeys];
};

// Two keys' values as a pair; a key that no row sees is zero there, since 0 * NaN is NaN.
void join_pair(const Work& w, const KeyTile& t, int64_t slot, uint32_t seen, char* out) {
  const int64_t even_key = key_at(t, seen & 1 ? slot : slot + 1);
  const int64_t odd_key = key_at(t, seen & 2 ? slot + 1 : slot);
  const auto* even = reinterpret_cast<const uint32_t*>(value_row(w, even_key));
  const auto* odd = reinterpret_cast<const uint32_t*>(value_row(w, odd_key));
  auto* pairs = reinterpret_cast<uint32_t*>(out);
  const int even_shift = even_key & 1 ? 16 : 0, odd_shift = odd_key & 1 ? 0 : 16;
  const uint32_t even_bits = seen & 1 ? 0x0000ffffu : 0u, odd_bits = seen & 2 ? 0xffff0000u : 0u;
  for (int64_t d = 0; d < w.v_dim16; ++d) {
    pairs[d] = (even[d] >> even_shift & even_bits) | (odd[d] << odd_shift & odd_bits);
  }
}

// Only rows of keys that some row sees.
template <bool kBf16>
void find_values(const Work& w, const KeyTile& t, ValueRows* values) {
  values->count = 0;
  constexpr int64_t kValues = DotStep<kBf16>::kValues;
  for (int64_t s = 0; s < kAdaptiveKeys / kValues; ++s) {
    const uint32_t seen =
        static_cast<uint32_t>(t.any >> (s * kValues)) & static_cast<uint32_t>(2 * kValues - 1);
    if (seen == 0) continue;
    const char* row = nullptr;
    if (kBf16 && (t.gathered || seen != 3)) {
      char* copy = w.v_copy + s * w.v_dim16 * 4;
      join_pair(w, t, s * kValues, seen, copy);
      row = copy;
    } else {
      row = value_row(w, key_at(t, s * kValues));
    }
    values->rows[values->count] = row;
    values->slots[values->count++] = static_cast<int8_t>(s);
  }
}

// acc = acc * correction + P V over the first `steps` steps.
template <bool kBf16, int kRows, int kVecs>
SLUICE_INLINE void value_tile(const Work& w, int64_t row, int64_t col, const ValueRows& values,
                              int64_t steps) {
  using S = DotStep<kBf16>;
  constexpr int64_t kRowBytes = kAdaptiveKeys * (kBf16 ? 2 : 4);
  Vec sum[kRows][kVecs];
  float* acc = w.acc + row * w.v_dim16 + col;
  for (int r = 0; r < kRows; ++r) {
    const Vec correction = splat(w.correction[row + r]);
    for (int v = 0; v < kVecs; ++v) {
      sum[r][v] = mul(correction, load(acc + r * w.v_dim16 + v * kLanes));
    }
  }
  const char* probs = w.probs + row * kRowBytes;
  for (int64_t i = 0; i < steps; ++i) {
    const char* in_row = values.rows[i] + col * 4;
    for (int r = 0; r < kRows; ++r) {
      const auto in = S::input(probs + r * kRowBytes, values.slots[i]);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], in_row + v * 64, in);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) store(acc + r * w.v_dim16 + v * kLanes, sum[r][v]);
  }
}

template <bool kBf16>
void weighted_values(const Work& w, const KeyTile& t, const ValueRows& values) {
  for (int64_t row = 0; row < w.rows;) {
    const int64_t rows = next_tile_rows(w.rows - row);
    const uint64_t any = any_of_rows(t, row, rows);
    // Steps behind the last key of these rows have probability zero in all of them.
    const int64_t last = any == 0 ? -1 : (63 - __builtin_clzll(any)) / DotStep<kBf16>::kValues;
    int64_t steps = values.count;
    while (steps > 0 && values.slots[steps - 1] > last) --steps;
    int64_t col = 0;
    if (steps > 0) {
      for (; kTileVecs == 4 && col + 4 * kLanes <= w.v_dim16; col += 4 * kLanes) {
#define SLUICE_TILE(n) value_tile<kBf16, n, kTileVecs>(w, row, col, values, steps)
        SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
      }
      for (; col < w.v_dim16; col += kLanes) {
#define SLUICE_TILE(n) value_tile<kBf16, n, 1>(w, row, col, values, steps)
        SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
      }
    }
    row += rows;
  }
}

template <bool kBf16>
void run_keys(const Work& w, KeyTile& t) {
  t.any = any_of_rows(t, 0, w.rows);
  if (t.any == 0) return;
  ValueRows values;
  find_values<kBf16>(w, t, &values);
  tile_products<kBf16>(w, t);
  for (int64_t r = 0; r < w.rows; ++r) {
    update_row<kBf16>(w, t, r);
    if (uint8_t* keep = keep_row(w, r); keep != nullptr) {
      for (uint64_t left = t.seen[r]; left != 0; left &= left - 1) {
        keep[key_at(t, __builtin_ctzll(left))] = 1;
      }
    }
  }
  weighted_values<kBf16>(w, t, values);
}

}  // namespace

void run_keys_f32(const Work& w, KeyTile& t) { run_keys<false>(w, t); }
void run_keys_bf16(const Work& w, KeyTile& t) { run_keys<true>(w, t); }

}  // namespace sluice::SLUICE_ISA_NAMESPACE
