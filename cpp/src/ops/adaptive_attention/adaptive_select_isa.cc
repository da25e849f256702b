// kTopK and kBlockTopK: the scores of all keys of a tile's rows lie in scratch memory; each row
// then keeps a list of keys, whose scores it moves to the front of its own, and only those take
// part in the softmax and the sum of values. Everything after the products is one row's own affair.
#include "ops/adaptive_attention/adaptive_work.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

// Values are summed for the keys of one such span for all rows before the next: it stays in the
// second-level cache.
constexpr int64_t kValueSpan = 512;

/// The rows' scores and the keys that they keep.
struct Rows {
  float* scores;  // [rows][score_stride]
  int32_t* keys;  // [rows][key_stride]
  int64_t score_stride, key_stride;
  int64_t count[kAdaptiveRows];  // of kept keys
};

template <bool kBf16>
void all_products(const Work& w, const Rows& rows) {
  const int64_t group_bytes = w.k_dim16 * kLanes * w.word_bytes;
  const int64_t end = w.key_end[w.rows - 1];
  for (int64_t first = 0; first < end; first += kAdaptiveKeys) {
    const char* k[kGroups];
    int64_t offset[kGroups];
    int groups = 0;
    for (int64_t key = first; key < smaller(first + kAdaptiveKeys, end); key += kLanes) {
      const uint32_t seen = end - key >= kLanes ? 0xffffu : (1u << (end - key)) - 1u;
      k[groups] = find_keys(w, key, seen, w.k_copy + groups * group_bytes);
      offset[groups++] = key;
    }
    for (int64_t row = 0; row < w.rows;) {
      const int64_t n = next_tile_rows(w.rows - row);
      const int64_t left = w.key_end[row + n - 1] - first;
      const int64_t needed = left <= 0 ? 0 : (left + kLanes - 1) / kLanes;
      const int count = needed < groups ? static_cast<int>(needed) : groups;
      if (count > 0) products<kBf16>(w, row, n, count, k, offset, rows.scores, rows.score_stride);
      row += n;
    }
  }
}

// Products become scores.
void add_bias(const Work& w, int64_t row, float* scores) {
  const Vec scale = splat(w.p->softmax_scale);
  for (int64_t key = 0; key < w.key_end[row]; key += kLanes) {
    store(scores + key, fma(load(scores + key), scale, bias_of(w, row, key)));
  }
}

// Of a vector's lanes those below n.
SLUICE_INLINE uint32_t first_lanes(uint32_t bits, int64_t n) {
  return n < kLanes ? bits & ((1u << n) - 1u) : bits;
}

// Scores above the pivot, NaN among them.
int64_t count_above(const float* scores, int64_t n, float pivot) {
  const Vec p = splat(pivot);
  int64_t count = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    count += __builtin_popcount(mask_bits(above(load(scores + i), p)));
  }
  if (i < n) {
    count += __builtin_popcount(first_lanes(mask_bits(above(load(scores + i), p)), n - i));
  }
  return count;
}

// Integers in the order of the floats, and back.
SLUICE_INLINE int32_t to_ordered(float value) {
  int32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
SLUICE_INLINE float from_ordered(int32_t order) {
  const int32_t bits = order < 0 ? order ^ 0x7fffffff : order;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// Between two floats: half way in value, which suits scores; where that does not get on, or ends
// in infinity, half way in the order of all floats.
SLUICE_INLINE float between(float low, float high, int round) {
  const float middle = 0.5f * low + 0.5f * high;
  if (round < 32 && middle > low && middle < high) return middle;
  const int64_t a = to_ordered(low), b = to_ordered(high);
  return from_ordered(static_cast<int32_t>(a + (b - a) / 2));
}

/// More than `count` scores, or as many, lie above `low`; fewer above `high`.
struct Bracket {
  float low, high;
  int64_t above_high;
  bool exact;  // just `count` lie above `low`
};

Bracket find_bracket(const float* scores, int64_t n, int64_t count) {
  // Of all numbers: where one operand is a NaN the result is the second.
  Vec lower = splat(__builtin_inff()), upper = splat(kMinusInfinity);
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto used = first_n(n - i < kLanes ? static_cast<int>(n - i) : kLanes);
    const Vec s = load(scores + i);
    lower = min(blend(used, lower, s), lower);
    upper = max(blend(used, upper, s), upper);
  }
  const float least = -reduce_max(sub(zero(), lower)), most = reduce_max(upper);
  Bracket b{kMinusInfinity, most, count_above(scores, n, most), false};
  const int64_t above_least = count_above(scores, n, least);
  if (above_least < count) {
    b.high = least;
    b.above_high = above_least;
    return b;
  }
  b.low = least;
  b.exact = above_least == count;
  for (int round = 0; !b.exact && to_ordered(b.high) - int64_t{1} > to_ordered(b.low); ++round) {
    const float middle = between(b.low, b.high, round);
    const int64_t found = count_above(scores, n, middle);
    if (found < count) {
      b.high = middle;
      b.above_high = found;
    } else {
      b.low = middle;
      b.exact = found == count;
    }
  }
  return b;
}

// The top_k largest of n scores move to the front, in order. Beyond the first candidates only what
// beats the k-th best so far is looked at: whatever comes later loses a tie.
int64_t select_keys(const Work& w, float* scores, int32_t* keys, int64_t n, int64_t capacity) {
  const int64_t k = w.p->pattern.top_k;
  int64_t count = smaller(n, capacity);
  for (int64_t i = 0; i < count; ++i) keys[i] = static_cast<int32_t>(i);
  if (n <= k) return n;
  const int64_t first = count;
  Vec least = splat(keep_largest(scores, keys, count, k));
  count = k;
  for (int64_t i = first; i < n; i += kLanes) {
    const Vec s = load(scores + i);
    const uint32_t better = first_lanes(mask_bits(above(s, least)), n - i);
    if (better == 0) continue;
    pack(scores + count, s, better);
    pack_numbers(keys + count, static_cast<int32_t>(i), better);
    count += __builtin_popcount(better);
    // Sixteen places are written at a time.
    if (count + kLanes > capacity) {
      least = splat(keep_largest(scores, keys, count, k));
      count = k;
    }
  }
  if (count > k) keep_largest(scores, keys, count, k);
  return k;
}

float largest(const float* scores, int64_t n) {
  Vec most = splat(kMinusInfinity);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = max(most, load(scores + i));
  float out = n >= kLanes ? reduce_max(most) : kMinusInfinity;
  for (; i < n; ++i) out = out < scores[i] ? scores[i] : out;
  return out;
}

// The scores of the own block and of the most important earlier ones move to the front, in order.
int64_t select_blocks(const Work& w, int64_t row, float* scores, int32_t* keys) {
  const AdaptivePattern& pattern = w.p->pattern;
  const int64_t size = pattern.sparse_block_size;
  const int64_t own = w.position[row] / size, end = w.key_end[row];
  const int64_t earlier = kept_blocks(pattern, own) - 1;
  float* importance = w.memory + w.layout->candidates;
  auto* blocks = reinterpret_cast<int32_t*>(importance + up16(own));
  for (int64_t b = 0; b < own; ++b) {
    const int64_t begin = smaller(b * size, end);
    importance[b] = largest(scores + begin, smaller(begin + size, end) - begin);
    blocks[b] = static_cast<int32_t>(b);
  }
  if (earlier > 0 && earlier < own) {
    keep_largest(importance, blocks, own, earlier);
  }
  int64_t count = 0;
  for (int64_t i = 0; i <= earlier; ++i) {
    const int64_t begin = (i < earlier ? blocks[i] : own) * size;
    const int64_t n = smaller(begin + size, end) - begin;
    if (n <= 0) continue;
    if (begin != count) {
      __builtin_memmove(scores + count, scores + begin, static_cast<size_t>(n) * 4);
    }
    for (int64_t j = 0; j < n; ++j) keys[count + j] = static_cast<int32_t>(begin + j);
    count += n;
  }
  return count;
}

// Kept scores become exponents; their sum by lane goes to l.
void softmax(const float* in, int64_t n, float* out, float* l) {
  const Vec base = splat(safe_max(largest(in, n)));
  const Vec scale = splat(kLog2E);
  Vec sum = zero();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec e = exp2(mul(sub(load(in + i), base), scale));
    sum = add(sum, e);
    store(out + i, e);
  }
  if (i < n) {
    const int left = static_cast<int>(n - i);
    const Vec e = exp2(mul(sub(load_n(in + i, left), base), scale));
    sum = add(sum, blend(first_n(left), zero(), e));
    store_n(out + i, e, left);
  }
  store(l, sum);
}

// acc += P V over up to 64 kept keys, kVecs vectors of columns.
template <bool kBf16, int kVecs>
SLUICE_INLINE void add_values(float* acc, int64_t col, const char* const* values,
                              const int32_t* keys, const float* probs, int64_t n) {
  Vec sum[kVecs];
  for (int v = 0; v < kVecs; ++v) sum[v] = load(acc + col + v * kLanes);
  for (int64_t i = 0; i < n; ++i) {
    const Vec prob = splat(probs[i]);
    const char* in = values[i] + col * 4;
    if constexpr (kBf16) {
      const bool odd = keys[i] & 1;
      for (int v = 0; v < kVecs; ++v) {
        const Pairs pair = load_pairs(in + v * 64);
        sum[v] = fma(odd ? pair_odd(pair) : pair_even(pair), prob, sum[v]);
      }
    } else {
      for (int v = 0; v < kVecs; ++v) {
        sum[v] = fma(load(reinterpret_cast<const float*>(in) + v * kLanes), prob, sum[v]);
      }
    }
  }
  for (int v = 0; v < kVecs; ++v) store(acc + col + v * kLanes, sum[v]);
}

template <bool kBf16>
void add_kept(const Work& w, float* acc, const int32_t* keys, const float* probs, int64_t n) {
  const char* values[kAdaptiveKeys];
  for (int64_t i = 0; i < n; ++i) values[i] = value_row(w, keys[i]);
  int64_t col = 0;
  for (; col + 8 * kLanes <= w.v_dim16; col += 8 * kLanes) {
    add_values<kBf16, 8>(acc, col, values, keys, probs, n);
  }
  for (; col + 4 * kLanes <= w.v_dim16; col += 4 * kLanes) {
    add_values<kBf16, 4>(acc, col, values, keys, probs, n);
  }
  for (; col < w.v_dim16; col += kLanes) {
    add_values<kBf16, 1>(acc, col, values, keys, probs, n);
  }
}

template <bool kBf16>
void all_values(const Work& w, const Rows& rows) {
  int64_t at[kAdaptiveRows] = {};
  for (int64_t span = 0; span < w.key_end[w.rows - 1]; span += kValueSpan) {
    for (int64_t r = 0; r < w.rows; ++r) {
      const int32_t* keys = rows.keys + r * rows.key_stride;
      const float* probs = rows.scores + r * rows.score_stride;
      while (at[r] < rows.count[r] && keys[at[r]] < span + kValueSpan) {
        int64_t end = at[r];
        const int64_t most = smaller(at[r] + kAdaptiveKeys, rows.count[r]);
        while (end < most && keys[end] < span + kValueSpan) ++end;
        add_kept<kBf16>(w, w.acc + r * w.v_dim16, keys + at[r], probs + at[r], end - at[r]);
        at[r] = end;
      }
    }
  }
}

template <bool kBf16>
void run_selected(Work& w) {
  const AdaptivePattern& pattern = w.p->pattern;
  Rows rows;
  rows.score_stride = (w.context_len + 63) / 64 * 64;
  rows.key_stride = adaptive_kept_words(pattern, rows.score_stride);
  rows.scores = w.memory + w.layout->row_scores;
  rows.keys = reinterpret_cast<int32_t*>(rows.scores + w.rows * rows.score_stride);
  all_products<kBf16>(w, rows);
  for (int64_t r = 0; r < w.rows; ++r) {
    float* scores = rows.scores + r * rows.score_stride;
    int32_t* keys = rows.keys + r * rows.key_stride;
    add_bias(w, r, scores);
    rows.count[r] = pattern.kind == AdaptiveKind::kTopK
                        ? select_keys(w, scores, keys, w.key_end[r], rows.key_stride)
                        : select_blocks(w, r, scores, keys);
    softmax(scores, rows.count[r], scores, w.l + r * kLanes);
    if (uint8_t* keep = keep_row(w, r); keep != nullptr) {
      for (int64_t i = 0; i < rows.count[r]; ++i) keep[keys[i]] = 1;
    }
  }
  all_values<kBf16>(w, rows);
}

}  // namespace

float keep_largest(float* scores, int32_t* ids, int64_t n, int64_t count) {
  const Bracket b = find_bracket(scores, n, count);
  // All above `low`; or all above `high` and the first of those equal to it.
  const float pivot = b.exact ? b.low : b.high;
  int64_t equals = b.exact ? 0 : count - b.above_high, kept = 0;
  for (int64_t i = 0; i < n && kept < count; i += kLanes) {
    const Vec s = load(scores + i);
    uint32_t take = first_lanes(mask_bits(above(s, splat(pivot))), n - i);
    uint32_t same = equals > 0 ? first_lanes(mask_bits(equal(s, splat(pivot))), n - i) : 0;
    for (; same != 0 && equals > 0; same &= same - 1, --equals) take |= same & -same;
    if (take == 0) continue;
    pack(scores + kept, s, take);
    pack(ids + kept, ids + i, take);
    // More than `count` only if so many are NaN.
    kept += __builtin_popcount(take);
  }
  return pivot;
}

void run_selected_f32(Work& w) { run_selected<false>(w); }
void run_selected_bf16(Work& w) { run_selected<true>(w); }

}  // namespace sluice::SLUICE_ISA_NAMESPACE
