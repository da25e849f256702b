// Tiles of 48 rows by 64 keys: scores = Q K^T into the first-level cache, one softmax update per
// row, then P V; both products are register tiles whose operands are 64-byte lines of the cache's
// layout (kv_cache.h) and 4-byte broadcasts, as in the matrix product. With bf16 caches queries and
// probabilities are rounded to bf16, sums are float32.
//
// A row's arithmetic is fixed by its own keys: a tile or span in which a row sees nothing leaves
// its maximum, sum and values as they are (factors 1 and 0), so the rows it is grouped with do not
// matter.
#include "ops/attention/attention_shared.h"
#include "ops/attention/attention_work.h"
#include "ops/simd/dot_step.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

template <bool kBf16>
void load_queries(const Work& w, int32_t kv_head) {
  const AttentionParams& p = *w.p;
  if (shares_rows(p)) return load_query_panels<kBf16>(w, kv_head);
  const bool bf16_in = p.q_format == Format::kBf16;
  for (int64_t r = 0; r < w.rows; ++r) {
    const int64_t head = kv_head * w.group + (w.tile->row_begin + r) % w.group;
    const int64_t first = row_token(w, r) * p.q_stride + head * p.kv.k_dim;
    const char* in = static_cast<const char*>(p.q) + first * (bf16_in ? 2 : 4);
    char* out = w.q + r * w.k_dim16 * (kBf16 ? 2 : 4);
    for (int64_t d = 0; d < w.k_dim16; d += kLanes) {
      const int64_t left = p.kv.k_dim - d;
      const int n = left < kLanes ? static_cast<int>(left) : kLanes;
      store_row<kBf16>(out, d, bf16_in ? load_row_n<true>(in, d, n) : load_row_n<false>(in, d, n));
    }
  }
}

// Scores of kRows rows with kVecs groups of 16 keys.
template <bool kBf16, int kRows, int kVecs>
SLUICE_INLINE void score_tile(const Work& w, int64_t row, const char* const* k, float* out) {
  using S = DotStep<kBf16>;
  const int64_t steps = w.k_dim16 / S::kValues;
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) sum[r][v] = zero();
  }
  const char* q = w.q + row * steps * 4;
  for (int64_t s = 0; s < steps; ++s) {
    for (int r = 0; r < kRows; ++r) {
      const auto in = S::input(q + r * steps * 4, s);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], k[v] + s * 64, in);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) store(out + r * kKeyTile + v * kLanes, sum[r][v]);
  }
}

// The end of the keys that the rows [row, row + rows) see, counted from `first_key`, at most a
// tile.
SLUICE_INLINE int64_t end_of_rows(const Work& w, int64_t row, int64_t rows, int64_t first_key) {
  // Positions rise, so the last row sees farthest.
  const int64_t end = row_keys(w, row + rows - 1).end - first_key;
  return end < kKeyTile ? (end > 0 ? end : 0) : kKeyTile;
}

template <bool kBf16>
void scores(const Work& w, const char* const* k, int64_t first_key) {
  for (int64_t row = 0; row < w.rows;) {
    const int64_t rows = next_tile_rows(w.rows - row);
    // Groups that the mask hides from all of these rows are left as they are: update_row drops
    // them.
    const int64_t end = end_of_rows(w, row, rows, first_key);
    for (int g = 0; g * kLanes < end; g += kTileVecs) {
      float* out = w.scores + row * kKeyTile + g * kLanes;
      if (kTileVecs == 4 && end <= 2 * kLanes) {
#define SLUICE_TILE(n) score_tile<kBf16, n, kTileVecs == 4 ? 2 : kTileVecs>(w, row, k + g, out)
        SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
      } else {
#define SLUICE_TILE(n) score_tile<kBf16, n, kTileVecs>(w, row, k + g, out)
        SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
      }
    }
    row += rows;
  }
}

// acc = acc * correction + P V over the steps [begin, end) of a tile's keys.
template <bool kBf16, int kRows, int kVecs>
SLUICE_INLINE void value_tile(const Work& w, int64_t row, int64_t col, const char* const* v_rows,
                              int64_t begin, int64_t end) {
  using S = DotStep<kBf16>;
  Vec sum[kRows][kVecs];
  float* acc = w.span.acc + row * w.v_dim16 + col;
  for (int r = 0; r < kRows; ++r) {
    const Vec correction = splat(w.correction[row + r]);
    for (int v = 0; v < kVecs; ++v) {
      sum[r][v] = mul(correction, load(acc + r * w.v_dim16 + v * kLanes));
    }
  }
  const char* probs = w.probs + row * kKeyTile * (kBf16 ? 2 : 4);
  for (int64_t s = begin; s < end; ++s) {
    const char* values = v_rows[s] + col * 4;
    for (int r = 0; r < kRows; ++r) {
      const auto in = S::input(probs + r * kKeyTile * (kBf16 ? 2 : 4), s);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], values + v * 64, in);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) store(acc + r * w.v_dim16 + v * kLanes, sum[r][v]);
  }
}

template <bool kBf16>
void weighted_values(const Work& w, const char* const* v_rows, int64_t first_key, int64_t begin,
                     int64_t last) {
  constexpr int64_t kValues = DotStep<kBf16>::kValues;
  for (int64_t row = 0; row < w.rows;) {
    const int64_t rows = next_tile_rows(w.rows - row);
    // Steps beyond have probability zero in all of these rows.
    const int64_t seen = (end_of_rows(w, row, rows, first_key) + kValues - 1) / kValues;
    const int64_t end = seen < last ? seen : last;
    int64_t col = 0;
    if constexpr (kTileVecs == 4) {
      for (; col + 4 * kLanes <= w.v_dim16; col += 4 * kLanes) {
#define SLUICE_TILE(n) value_tile<kBf16, n, 4>(w, row, col, v_rows, begin, end)
        SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
      }
    }
    for (; col < w.v_dim16; col += kLanes) {
#define SLUICE_TILE(n) value_tile<kBf16, n, 1>(w, row, col, v_rows, begin, end)
      SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
    }
    row += rows;
  }
}

// Turns a row's 64 scores into probabilities against the new maximum.
template <bool kBf16>
SLUICE_INLINE void update_row(const Work& w, int64_t row, int64_t first_key) {
  const AttentionParams& p = *w.p;
  const float* scores = w.scores + row * kKeyTile;
  const KeyRange keys = row_keys(w, row);
  const Vec minus_infinity = splat(kMinusInfinity);
  Vec s[4];
  if (p.soft_cap > 0.0f) {
    for (int g = 0; g < 4; ++g) {
      const Vec x = mul(load(scores + g * kLanes), splat(p.softmax_scale / p.soft_cap));
      s[g] = mul(splat(p.soft_cap * kLog2E), tanh(x));
    }
  } else {
    for (int g = 0; g < 4; ++g) {
      s[g] = mul(load(scores + g * kLanes), splat(p.softmax_scale * kLog2E));
    }
  }
  if (keys.begin > first_key || keys.end < first_key + kKeyTile) {
    for (int g = 0; g < 4; ++g) {
      const int64_t begin = keys.begin - first_key - g * kLanes;
      const int64_t end = keys.end - first_key - g * kLanes;
      const int skip = begin <= 0 ? 0 : begin >= kLanes ? kLanes : static_cast<int>(begin);
      const int take = end <= 0 ? 0 : end >= kLanes ? kLanes : static_cast<int>(end);
      s[g] = blend(first_n(take), minus_infinity, s[g]);
      s[g] = blend(first_n(skip), s[g], minus_infinity);
    }
  }
  const float tile_max = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
  const float old_max = w.span.m[row];
  const float new_max = old_max < tile_max ? tile_max : old_max;
  const Vec base = splat(safe_max(new_max));
  char* probs = w.probs + row * kKeyTile * (kBf16 ? 2 : 4);
  const float correction = new_max == old_max ? 1.0f : power_of(old_max - safe_max(new_max));
  float* l = w.span.l + row * kLanes;
  Vec sum = mul(splat(correction), load(l));
  for (int g = 0; g < 4; ++g) {
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
  w.span.m[row] = new_max;
}

// Rows without keys in this tile keep their state: factor 1, probabilities 0.
template <bool kBf16>
void update_rows(const Work& w, int64_t first_key) {
  for (int64_t r = 0; r < w.rows; ++r) update_row<kBf16>(w, r, first_key);
}

// A group of 16 keys in blocks of fewer: side by side in the copy; a block that no row sees is
// zero.
void join_blocks(const Work& w, int64_t key, char* out) {
  const KvCacheView& kv = w.p->kv;
  const int64_t size = kv.block_size;
  const int64_t steps = kv.format == Format::kBf16 ? w.k_dim16 / 2 : w.k_dim16;
  for (int64_t part = 0; part < kLanes / size; ++part) {
    const int64_t first = key + size * part;
    const bool seen = first + size > w.tile->key_begin && first < w.tile->key_end;
    const char* in =
        seen ? w.k_head + static_cast<int64_t>(w.table[first / size]) * kv.k_block_stride : nullptr;
    char* to = out + part * size * 4;
    for (int64_t s = 0; s < steps; ++s, to += 64) {
      for (int64_t i = 0; i < size; i += 4) {
        if (seen) {
          __builtin_memcpy(to + i * 4, in + (s * size + i) * 4, 16);
        } else {
          __builtin_memset(to + i * 4, 0, 16);
        }
      }
    }
  }
}

// Where the four groups of 16 keys of a tile lie.
void find_keys(const Work& w, int64_t first_key, const char** k) {
  const KvCacheView& kv = w.p->kv;
  const int64_t group_bytes = w.k_dim16 * kLanes * (kv.format == Format::kBf16 ? 2 : 4);
  for (int g = 0; g < 4; ++g) {
    const int64_t key = first_key + g * kLanes;
    char* copy = w.k_copy + g * group_bytes;
    if (key + kLanes <= w.tile->key_begin || key >= w.tile->key_end) {
      __builtin_memset(copy, 0, static_cast<size_t>(group_bytes));
      k[g] = copy;
    } else if (kv.block_size < kLanes) {
      join_blocks(w, key, copy);
      k[g] = copy;
    } else {
      k[g] = w.k_head + static_cast<int64_t>(w.table[key / kv.block_size]) * kv.k_block_stride +
             key % kv.block_size / kLanes * group_bytes;
    }
  }
}

// Where the values of steps [begin, end) of a tile lie. In a pair of which one key is not seen by
// any row, that key's values may be anything: a copy has zeros there, since 0 * NaN is NaN.
template <bool kBf16>
void find_values(const Work& w, int64_t first_key, int64_t begin, int64_t end,
                 const char** v_rows) {
  const KvCacheView& kv = w.p->kv;
  constexpr int64_t kValues = DotStep<kBf16>::kValues;
  int copies = 0;
  int64_t block = (first_key + begin * kValues) / kv.block_size;
  int64_t in_block = (first_key + begin * kValues) % kv.block_size;
  for (int64_t s = begin; s < end; ++s, in_block += kValues) {
    if (in_block >= kv.block_size) {
      in_block = 0;
      ++block;
    }
    const int64_t key = first_key + s * kValues;
    const char* row = w.v_head + static_cast<int64_t>(w.table[block]) * kv.v_block_stride +
                      in_block / kValues * w.v_row16 * 4;
    fetch(row, w.v_dim16 * 4);
    if constexpr (kBf16) {
      const bool even = key >= w.tile->key_begin, odd = key + 1 < w.tile->key_end;
      if (!even || !odd) {
        char* copy = w.v_copy + copies++ * w.v_dim16 * 4;
        for (int64_t d = 0; d < w.v_dim16; ++d) {
          uint32_t pair;
          __builtin_memcpy(&pair, row + d * 4, 4);
          pair &= (even ? 0x0000ffffu : 0u) | (odd ? 0xffff0000u : 0u);
          __builtin_memcpy(copy + d * 4, &pair, 4);
        }
        row = copy;
      }
    }
    v_rows[s] = row;
  }
}

template <bool kBf16>
void run_span(const Work& w, int64_t span) {
  constexpr int64_t kValues = DotStep<kBf16>::kValues;
  clear(w.span, w.rows, w.v_dim16);
  const int64_t span_begin = span * kKeySpan;
  const int64_t begin = w.tile->key_begin > span_begin ? w.tile->key_begin : span_begin;
  const int64_t end =
      w.tile->key_end < span_begin + kKeySpan ? w.tile->key_end : span_begin + kKeySpan;
  if (!shares_rows(*w.p)) fetch_keys(w, begin / kKeyTile * kKeyTile);
  for (int64_t first = begin / kKeyTile * kKeyTile; first < end; first += kKeyTile) {
    const int64_t last = end < first + kKeyTile ? end - first : kKeyTile;
    const int64_t step_begin = begin > first ? (begin - first) / kValues : 0;
    const int64_t step_end = (last + kValues - 1) / kValues;
    const char* v_rows[kKeyTile];
    find_values<kBf16>(w, first, step_begin, step_end, v_rows);
    if (shares_rows(*w.p)) {
      shared_scores<kBf16>(w, first, begin, end);
    } else {
      if (first + kKeyTile < end) fetch_keys(w, first + kKeyTile);
      const char* k[4];
      find_keys(w, first, k);
      scores<kBf16>(w, k, first);
    }
    update_rows<kBf16>(w, first);
    weighted_values<kBf16>(w, v_rows, first, step_begin, step_end);
  }
}

// Adds the state of the next keys to the state of all keys before them.
void merge(State whole, const State& next, int64_t rows, int64_t v_dim16) {
  for (int64_t r = 0; r < rows; ++r) {
    const float m = whole.m[r] < next.m[r] ? next.m[r] : whole.m[r];
    const Vec a = splat(power_of(whole.m[r] - safe_max(m)));
    const Vec b = splat(power_of(next.m[r] - safe_max(m)));
    const auto add_to = [a, b](float* to, const float* from) __attribute__((always_inline)) {
      store(to, fma(load(from), b, mul(load(to), a)));
    };
    whole.m[r] = m;
    add_to(whole.l + r * kLanes, next.l + r * kLanes);
    for (int64_t d = 0; d < v_dim16; d += kLanes) {
      add_to(whole.acc + r * v_dim16 + d, next.acc + r * v_dim16 + d);
    }
  }
}

void write_out(const Work& w, int32_t kv_head, State state) {
  const AttentionParams& p = *w.p;
  for (int64_t r = 0; r < w.rows; ++r) {
    const int64_t token = row_token(w, r);
    const int64_t head = kv_head * w.group + (w.tile->row_begin + r) % w.group;
    float m = state.m[r], l = reduce_add(load(state.l + r * kLanes)), factor = 1.0f;
    if (p.sinks != nullptr) {
      const float sink = p.sinks[head] * kLog2E;
      const float with_sink = m < sink ? sink : m;
      factor = power_of(m - safe_max(with_sink));
      l = l * factor + power_of(sink - safe_max(with_sink));
      m = with_sink;
    }
    if (p.lse != nullptr) {
      p.lse[token * p.num_q_heads + head] =
          l > 0.0f ? m * kLn2 + __builtin_logf(l) : l + kMinusInfinity;
    }
    // A sum of zero is a row without keys, whose values are zero; NaN passes through.
    const Vec scale = splat(l == 0.0f ? 0.0f : factor / l);
    const int64_t columns = value_columns(p);
    const int64_t first = token * p.out_stride + head * columns;
    const bool bf16 = p.out_format == Format::kBf16;
    char* out = static_cast<char*>(p.out) + first * (bf16 ? 2 : 4);
    for (int64_t d = 0; d < columns; d += kLanes) {
      const int64_t left = columns - d;
      const int n = left < kLanes ? static_cast<int>(left) : kLanes;
      const Vec value = mul(load(state.acc + r * w.v_dim16 + d), scale);
      bf16 ? store_row_n<true>(out, d, value, n) : store_row_n<false>(out, d, value, n);
    }
  }
}

template <bool kBf16>
void run_tile(const Work& w, int32_t kv_head) {
  load_queries<kBf16>(w, kv_head);
  clear(w.whole, w.rows, w.v_dim16);
  for (int64_t span = w.tile->key_begin / kKeySpan; span * kKeySpan < w.tile->key_end; ++span) {
    run_span<kBf16>(w, span);
    merge(w.whole, w.span, w.rows, w.v_dim16);
  }
  write_out(w, kv_head, w.whole);
}

}  // namespace

void attention_tile(const AttentionParams& p, const AttentionTile& tile, int32_t kv_head,
                    void* scratch) {
  const Work w = make_work(p, tile, kv_head, scratch);
  if (p.kv.format == Format::kBf16) {
    run_tile<true>(w, kv_head);
  } else {
    run_tile<false>(w, kv_head);
  }
}

void attention_span(const AttentionParams& p, const AttentionTile& tile, int32_t kv_head,
                    int64_t span, float* state, void* scratch) {
  Work w = make_work(p, tile, kv_head, scratch);
  w.span = state_at(state);
  if (p.kv.format == Format::kBf16) {
    load_queries<true>(w, kv_head);
    run_span<true>(w, span);
  } else {
    load_queries<false>(w, kv_head);
    run_span<false>(w, span);
  }
}

void attention_combine(const AttentionParams& p, const AttentionTile& tile, int32_t kv_head,
                       float* states, int64_t num_states) {
  Work w = make_work(p, tile, kv_head, nullptr);
  const int64_t size = attention_state_floats(w.v_dim16);
  // From an empty state, as attention_tile does it: the same factors, the same bits.
  State whole = state_at(states);
  for (int64_t i = 1; i < num_states; ++i) {
    merge(whole, state_at(states + i * size), w.rows, w.v_dim16);
  }
  write_out(w, kv_head, whole);
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
