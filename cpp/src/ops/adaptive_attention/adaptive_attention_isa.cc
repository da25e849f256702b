// Which keys the rows of a tile look at, kind by kind; the products are in adaptive_tile_isa.cc and
// adaptive_select_isa.cc.
#include "ops/adaptive_attention/adaptive_work.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

// The lowest n bits.
SLUICE_INLINE uint64_t low_bits(int64_t n) {
  return n <= 0 ? 0 : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

template <bool kBf16>
void load_queries(const Work& w) {
  const AdaptiveAttentionParams& p = *w.p;
  const bool bf16_in = p.q_format == Format::kBf16;
  for (int64_t r = 0; r < w.rows; ++r) {
    const int64_t first = w.token[r] * p.q_stride + int64_t{w.head} * p.kv.k_dim;
    const char* in = static_cast<const char*>(p.q) + first * (bf16_in ? 2 : 4);
    char* out = w.q + r * w.k_dim16 * (kBf16 ? 2 : 4);
    for (int64_t d = 0; d < w.k_dim16; d += kLanes) {
      const int n = static_cast<int>(smaller(p.kv.k_dim - d, kLanes));
      store_row<kBf16>(out, d, bf16_in ? load_row_n<true>(in, d, n) : load_row_n<false>(in, d, n));
    }
  }
}

// Keys of a tile that a mask keeps for a row.
uint64_t replayed(const Work& w, int64_t row, int64_t first) {
  const AdaptiveAttentionParams& p = *w.p;
  const uint8_t* mask =
      p.replay + (w.token[row] * p.replay_planes + w.head % p.replay_planes) * p.replay_stride;
  uint64_t bits = 0;
  for (int64_t i = 0; i < smaller(w.key_end[row] - first, kAdaptiveKeys); ++i) {
    bits |= uint64_t{mask[first + i] != 0} << i;
  }
  return bits;
}

// The keys of rising spans that lie in each row's window (0: all) and not in its future.
template <bool kBf16>
void run_spans(const Work& w, const KeySpan* spans, int64_t num_spans, int64_t window) {
  KeyTile t;
  t.gathered = false;
  t.first = -1;
  uint64_t listed = 0;
  const auto flush = [&] {
    if (listed == 0) return;
    for (int64_t r = 0; r < w.rows; ++r) {
      t.seen[r] = listed & low_bits(w.key_end[r] - t.first);
      if (window > 0) t.seen[r] &= ~low_bits(w.position[r] - window + 1 - t.first);
      if (w.p->replay != nullptr) t.seen[r] &= replayed(w, r, t.first);
    }
    kBf16 ? run_keys_bf16(w, t) : run_keys_f32(w, t);
  };
  for (int64_t i = 0; i < num_spans; ++i) {
    const int64_t end = smaller(spans[i].end, w.key_end[w.rows - 1]);
    for (int64_t key = spans[i].begin; key < end;) {
      const int64_t first = key / kAdaptiveKeys * kAdaptiveKeys;
      if (first != t.first) {
        flush();
        t.first = first;
        listed = 0;
      }
      listed |= low_bits(end - first) & ~low_bits(key - first);
      key = first + kAdaptiveKeys;
    }
  }
  flush();
}

// Dense keys outside the windows, found by a scan of one byte a key.
template <bool kBf16>
void run_dense(const Work& w) {
  const AdaptiveAttentionParams& p = *w.p;
  const int64_t window = p.pattern.window;
  const int64_t end = smaller(w.position[w.rows - 1] - window + 1, w.context_len);
  KeyTile t;
  t.gathered = true;
  t.first = 0;
  t.count = 0;
  const auto flush = [&] {
    if (t.count == 0) return;
    for (int64_t r = 0; r < w.rows; ++r) {
      int64_t n = t.count;
      while (n > 0 && t.keys[n - 1] > w.position[r] - window) --n;
      t.seen[r] = low_bits(n);
    }
    kBf16 ? run_keys_bf16(w, t) : run_keys_f32(w, t);
    t.count = 0;
  };
  // Words of 8 keys, or of a whole smaller block.
  const int64_t step = smaller(w.block_mask + 1, 8);
  for (int64_t key = 0; key < end; key += step) {
    const uint8_t* bytes =
        p.dense + (int64_t{w.table[key >> w.block_shift]} << w.block_shift) + (key & w.block_mask);
    uint64_t word = 0;
    if (step == 8) {
      __builtin_memcpy(&word, bytes, 8);
    } else {
      __builtin_memcpy(&word, bytes, 4);
    }
    if (word == 0) continue;
    const int64_t n = smaller(end - key, step);
    for (int64_t i = 0; i < n; ++i) {
      if (bytes[i] == 0) continue;
      t.keys[t.count++] = static_cast<int32_t>(key + i);
      if (t.count == kAdaptiveKeys) flush();
    }
  }
  flush();
}

template <bool kBf16>
void run_kind(Work& w, void* memory) {
  load_queries<kBf16>(w);
  const AdaptivePattern& pattern = w.p->pattern;
  if (adaptive_selects(pattern.kind)) {
    load_bias(w, 1.0f);
    return kBf16 ? run_selected_bf16(w) : run_selected_f32(w);
  }
  load_bias(w, kLog2E);
  const int64_t end = w.key_end[w.rows - 1];
  if (pattern.kind == AdaptiveKind::kBlockSparse) {
    auto* words = static_cast<int32_t*>(memory);
    auto* spans = reinterpret_cast<KeySpan*>(words + w.layout->spans);
    const int64_t n = sparse_spans(pattern, w.position[0] / pattern.sparse_block_size, spans,
                                   words + w.layout->draws);
    return run_spans<kBf16>(w, spans, n, 0);
  }
  const int64_t window = pattern.kind == AdaptiveKind::kFull ? 0 : pattern.window;
  if (pattern.kind == AdaptiveKind::kDensity) run_dense<kBf16>(w);
  const KeySpan all{window == 0 ? 0 : larger(w.position[0] - window + 1, 0), end};
  run_spans<kBf16>(w, &all, 1, window);
}

void write_row(const Work& w, int64_t token, const float* acc, float factor) {
  const AdaptiveAttentionParams& p = *w.p;
  const bool bf16 = p.out_format == Format::kBf16;
  const int64_t first = token * p.out_stride + int64_t{w.head} * p.kv.v_dim;
  char* out = static_cast<char*>(p.out) + first * (bf16 ? 2 : 4);
  for (int64_t d = 0; d < p.kv.v_dim; d += kLanes) {
    const int n = static_cast<int>(smaller(p.kv.v_dim - d, kLanes));
    const Vec value = acc == nullptr ? zero() : mul(load(acc + d), splat(factor));
    bf16 ? store_row_n<true>(out, d, value, n) : store_row_n<false>(out, d, value, n);
  }
}

// Sets up the rows whose gate is open; the others' outputs are zero already.
SLUICE_INLINE void make_rows(Work& w, const AdaptiveTile& tile) {
  const AdaptiveAttentionParams& p = *w.p;
  w.rows = 0;
  for (int64_t token = tile.token_begin; token < tile.token_end; ++token) {
    const bool closed = p.gate != nullptr && p.gate[token * p.kv.num_kv_heads + w.head] == 0.0f;
    if (closed) write_row(w, token, nullptr, 0.0f);
    if (closed && p.keep == nullptr) continue;
    const int64_t position = p.positions[token * p.position_stride];
    w.token[w.rows] = token;
    w.position[w.rows] = position;
    w.key_end[w.rows++] = smaller(position + 1, w.context_len);
  }
}

}  // namespace

void adaptive_tile(const AdaptiveAttentionParams& p, const AdaptiveTile& tile, int32_t head,
                   const AdaptiveScratch& layout, void* memory) {
  auto* words = static_cast<float*>(memory);
  Work w;
  w.p = &p;
  w.layout = &layout;
  w.memory = words;
  w.head = head;
  w.context_len = p.context_len[tile.sequence];
  make_rows(w, tile);
  if (w.rows == 0) return;
  const bool bf16 = p.kv.format == Format::kBf16;
  w.k_dim16 = up16(p.kv.k_dim);
  w.v_dim16 = up16(p.kv.v_dim);
  w.word_bytes = bf16 ? 2 : 4;
  const int64_t table_row = p.table_rows == nullptr ? tile.sequence : p.table_rows[tile.sequence];
  w.table = p.block_tables + table_row * p.block_table_stride;
  w.block_shift = __builtin_ctz(static_cast<unsigned>(p.kv.block_size));
  w.block_mask = p.kv.block_size - 1;
  const int64_t head_values = int64_t{head} * p.kv.block_size * w.word_bytes;
  w.k_head = static_cast<const char*>(p.kv.k) + head_values * w.k_dim16;
  w.v_head = static_cast<const char*>(p.kv.v) + head_values * w.v_dim16;
  w.q = reinterpret_cast<char*>(words + layout.q);
  w.scores = words + layout.scores;
  w.probs = reinterpret_cast<char*>(words + layout.probs);
  w.m = words + layout.m;
  w.l = words + layout.l;
  w.acc = words + layout.acc;
  w.correction = words + layout.correction;
  w.k_copy = reinterpret_cast<char*>(words + layout.k_copy);
  w.v_copy = reinterpret_cast<char*>(words + layout.v_copy);
  w.bias = words + layout.bias;
  for (int64_t r = 0; r < w.rows; ++r) {
    w.m[r] = kMinusInfinity;
    store(w.l + r * kLanes, zero());
  }
  for (int64_t i = 0; i < w.rows * w.v_dim16; i += kLanes) store(w.acc + i, zero());

  bf16 ? run_kind<true>(w, memory) : run_kind<false>(w, memory);

  for (int64_t r = 0; r < w.rows; ++r) {
    const float gate = p.gate == nullptr ? 1.0f : p.gate[w.token[r] * p.kv.num_kv_heads + head];
    if (gate == 0.0f) continue;
    const float l = reduce_add(load(w.l + r * kLanes));
    // A sum of zero is a row without keys, whose values are zero; NaN passes through.
    write_row(w, w.token[r], w.acc + r * w.v_dim16, l == 0.0f ? 0.0f : gate / l);
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
