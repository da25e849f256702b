/// @file
/// Scores of rows whose keys are the value rows. Only for attention_isa.cc.
///
/// A value row lies along its columns, so here the queries take the place that keys have elsewhere:
/// they are turned once per tile into panels of 16 rows, [k_dim16 / n][16][n] with n columns in
/// four bytes, and a step of a product broadcasts four bytes of a key row to the 16 rows of a
/// panel. The alternative, turning every tile of keys, moves 64 x k_dim values per tile instead of
/// 64 x rows scores: for the 16 heads of a decode as many moves as there are vector products.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_SHARED_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_SHARED_H_

#include "ops/attention/attention_work.h"
#include "ops/simd/dot_step.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

inline constexpr int kMaxPanels = static_cast<int>(kQueryRows / kLanes);
inline constexpr int kPanelTile = kTileVecs == 4 ? kMaxPanels : 1;  // panels of one register tile

template <bool kBf16>
void load_query_panels(const Work& w, int32_t kv_head) {
  const AttentionParams& p = *w.p;
  const bool bf16_in = p.q_format == Format::kBf16;
  const int64_t columns = key_columns(p);
  const int64_t steps = w.k_dim16 / DotStep<kBf16>::kValues;
  // Rows that the last panel lacks: zero, so that no sum meets a NaN.
  __builtin_memset(w.q, 0, static_cast<size_t>(up16(w.rows) * steps * 4));
  for (int64_t r = 0; r < w.rows; ++r) {
    const int64_t head = kv_head * w.group + (w.tile->row_begin + r) % w.group;
    const int64_t first = row_token(w, r) * p.q_stride + head * columns;
    const char* in = static_cast<const char*>(p.q) + first * (bf16_in ? 2 : 4);
    for (int64_t d = 0; d < w.k_dim16; d += kLanes) {
      const int64_t left = columns - d;
      const int n = left < kLanes ? static_cast<int>(left) : kLanes;
      store_row<kBf16>(w.k_copy, d,
                       bf16_in ? load_row_n<true>(in, d, n) : load_row_n<false>(in, d, n));
    }
    char* panel = w.q + (r / kLanes * steps * kLanes + r % kLanes) * 4;
    for (int64_t s = 0; s < steps; ++s) {
      __builtin_memcpy(panel + s * kLanes * 4, w.k_copy + s * 4, 4);
    }
  }
}

// Scores of kKeys key rows with kPanels panels of queries, out[key][kQueryRows].
template <bool kBf16, int kKeys, int kPanels>
SLUICE_INLINE void shared_tile(const Work& w, const char* const* keys, int64_t panel, float* out) {
  using S = DotStep<kBf16>;
  const int64_t steps = w.k_dim16 / S::kValues;
  Vec sum[kKeys][kPanels];
  for (int k = 0; k < kKeys; ++k) {
    for (int v = 0; v < kPanels; ++v) sum[k][v] = zero();
  }
  const char* q = w.q + panel * steps * 64;
  for (int64_t s = 0; s < steps; ++s) {
    for (int k = 0; k < kKeys; ++k) {
      const auto in = S::input(keys[k], s);
      for (int v = 0; v < kPanels; ++v) {
        sum[k][v] = S::add(sum[k][v], q + (v * steps + s) * 64, in);
      }
    }
  }
  for (int k = 0; k < kKeys; ++k) {
    for (int v = 0; v < kPanels; ++v) {
      store(out + k * kQueryRows + (panel + v) * kLanes, sum[k][v]);
    }
  }
}

template <bool kBf16, int kPanels>
void shared_tiles(const Work& w, const char* const* keys, int64_t num_keys, int64_t panel,
                  float* out) {
  for (int64_t key = 0; key < num_keys;) {
    const int64_t n = next_tile_rows(num_keys - key);
#define SLUICE_TILE(k) shared_tile<kBf16, k, kPanels>(w, keys + key, panel, out + key * kQueryRows)
    SLUICE_FOR_TILE_ROWS(n, SLUICE_TILE)
#undef SLUICE_TILE
    key += n;
  }
}

// Where the rows of keys [begin, end) lie, each along its columns. A bf16 cache keeps two keys side
// by side: the copy parts them.
template <bool kBf16>
void find_rows(const Work& w, int64_t begin, int64_t end, const char** rows) {
  const KvCacheView& kv = w.p->kv;
  const auto stored = [&w, &kv](int64_t key, int64_t values) __attribute__((always_inline)) {
    return w.v_head + static_cast<int64_t>(w.table[key / kv.block_size]) * kv.v_block_stride +
           key % kv.block_size / values * w.v_row16 * 4;
  };
  if constexpr (!kBf16) {
    for (int64_t key = begin; key < end; ++key) rows[key - begin] = stored(key, 1);
  } else {
    const int64_t row_bytes = w.v_row16 * 2;
    const int64_t first = begin / 2 * 2;
    for (int64_t key = first; key < end; key += 2) {
      const char* stored_pairs = stored(key, 2);
      auto* even = reinterpret_cast<uint16_t*>(w.k_copy + (key - first) * row_bytes);
      uint16_t* odd = even + w.v_row16;
      for (int64_t d = 0; d < w.v_row16; d += kLanes) {
        // Exact but for subnormals, which end as zeros.
        const Pairs pairs = load_pairs(stored_pairs + d * 4);
        store_probabilities(even + d, pair_even(pairs));
        store_probabilities(odd + d, pair_odd(pairs));
      }
    }
    for (int64_t key = begin; key < end; ++key) {
      rows[key - begin] = w.k_copy + (key - first) * row_bytes;
    }
  }
}

// Scores of the tile's keys that lie inside [begin, end); those of other keys are left as they are:
// update_row drops them.
template <bool kBf16>
void shared_scores(const Work& w, int64_t first_key, int64_t begin, int64_t end) {
  const int64_t first = begin > first_key ? begin : first_key;
  const int64_t last = end < first_key + kKeyTile ? end : first_key + kKeyTile;
  const char* rows[kKeyTile];
  find_rows<kBf16>(w, first, last, rows);
  float* turned = reinterpret_cast<float*>(w.probs);  // [64][kQueryRows], until update_row
  const int64_t panels = up16(w.rows) / kLanes;
  for (int64_t panel = 0; panel < panels;) {
    const int64_t n = panels - panel < kPanelTile ? panels - panel : kPanelTile;
    switch (n) {
      case 3:
        shared_tiles<kBf16, kPanelTile == 3 ? 3 : 1>(w, rows, last - first, panel, turned);
        break;
      case 2:
        shared_tiles<kBf16, kPanelTile == 3 ? 2 : 1>(w, rows, last - first, panel, turned);
        break;
      default:
        shared_tiles<kBf16, 1>(w, rows, last - first, panel, turned);
        break;
    }
    panel += n;
  }
  for (int64_t r = 0; r < w.rows; ++r) {
    float* out = w.scores + r * kKeyTile + (first - first_key);
    for (int64_t k = 0; k < last - first; ++k) out[k] = turned[k * kQueryRows + r];
  }
}

}  // namespace
}  // namespace sluice::SLUICE_ISA_NAMESPACE

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_SHARED_H_
