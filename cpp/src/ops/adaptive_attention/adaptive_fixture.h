/// @file
/// Sequences with known keys, values and densities in a poisoned cache, and adaptive attention of
/// their queries in double precision, straight from the definition; for adaptive_attention_test.cc.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_FIXTURE_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_FIXTURE_H_

#include <algorithm>
#include <set>
#include <vector>

#include "base/checked.h"
#include "ops/adaptive_attention/adaptive_attention.h"
#include "ops/kv_write/kv_write.h"
#include "ops/testing/op_test.h"

namespace sluice::testing {

struct AdaptiveSequence {
  int32_t queries;
  int32_t context;
};

struct AdaptiveConfig {
  std::vector<AdaptiveSequence> sequences;
  AdaptivePattern pattern;
  int32_t heads = 3, k_dim = 24, v_dim = 24, block_size = 16, relative_positions = 20;
  Format format = Format::kF32;
  double density = 0.2;     // of dense keys
  bool gate = true;         // a third of them closed
  bool equal_keys = false;  // all keys of a head alike: scores differ by their bias alone
  float bias_scale = 1.0f;
};

/// Blocks that a query block sees, drawn as the definition says from a pool written out.
inline std::set<int64_t> visible_blocks(const AdaptivePattern& p, int64_t query_block) {
  std::vector<int64_t> pool;
  for (int64_t b = p.num_global_blocks; b <= query_block - p.num_local_blocks; ++b) {
    pool.push_back(b);
  }
  uint64_t state = (p.random_block_seed + 1000003ull * static_cast<uint64_t>(p.layer) +
                    7919ull * static_cast<uint64_t>(query_block)) %
                   (1ull << 32);
  const size_t count = std::min(static_cast<size_t>(p.num_random_blocks), pool.size());
  for (size_t r = 0; r < count; ++r) {
    state = (1664525 * state + 1013904223) % (1ull << 32);
    std::swap(pool[r], pool[r + state / 65536 % (pool.size() - r)]);
  }
  std::set<int64_t> blocks(pool.begin(), pool.begin() + static_cast<int64_t>(count));
  for (int64_t b = 0; b < p.num_global_blocks; ++b) blocks.insert(b);
  for (int64_t b = query_block - p.num_local_blocks + 1; b <= query_block; ++b) blocks.insert(b);
  return blocks;
}

class AdaptiveFixture {
 public:
  virtual ~AdaptiveFixture() = default;

  /// Only keys that some query of the setup may look at are in the cache; all else is NaN, unused
  /// table entries are far out of range and unused densities say "dense".
  explicit AdaptiveFixture(const AdaptiveConfig& setup) : s_(setup) {
    int64_t blocks = 0;
    for (const AdaptiveSequence& q : s_.sequences) {
      const int64_t n = ceil_div(q.context, s_.block_size);
      table_stride_ = std::max(table_stride_, n + 3);
      blocks += n;
    }
    cache_ = {.format = s_.format,
              .num_blocks = blocks + 2,
              .block_size = s_.block_size,
              .num_kv_heads = s_.heads,
              .k_dim = s_.k_dim,
              .v_dim = s_.v_dim};
    cache_.k_block_stride =
        round_up(kv_block_bytes(s_.format, s_.block_size, s_.heads, s_.k_dim), 64) + 64;
    cache_.v_block_stride =
        round_up(kv_block_bytes(s_.format, s_.block_size, s_.heads, s_.v_dim), 64) + 128;
    k_ = Buffer(cache_.num_blocks * cache_.k_block_stride, "k");
    v_ = Buffer(cache_.num_blocks * cache_.v_block_stride, "v");
    std::memset(k_.data(), 0xff, static_cast<size_t>(k_.size()));
    std::memset(v_.data(), 0xff, static_cast<size_t>(v_.size()));
    cache_.k = k_.data();
    cache_.v = v_.data();
    dense_.assign(static_cast<size_t>(cache_.num_blocks * s_.block_size), 0xff);
    tables_.assign(s_.sequences.size() * static_cast<size_t>(table_stride_), 0x7fffff00);
    int64_t next = 0;
    for (size_t i = 0; i < s_.sequences.size(); ++i) {
      table_rows_.push_back(static_cast<int32_t>(s_.sequences.size() - 1 - i));
      const int64_t n = ceil_div(s_.sequences[i].context, s_.block_size);
      for (int64_t b = 0; b < n; ++b, ++next) entry(i, b) = static_cast<int32_t>(blocks - next);
      write_keys(i);
    }
    for (int64_t i = 0; i < int64_t{s_.heads} * s_.relative_positions; ++i) {
      bias_.push_back(s_.bias_scale * value(4, 0, i, 0));
    }
  }

  int32_t& entry(size_t seq, int64_t block) {
    return tables_[static_cast<size_t>(table_rows_[seq] * table_stride_ + block)];
  }
  const KvCacheView& cache() const { return cache_; }
  AdaptiveConfig& setup() { return s_; }

  struct Result {
    Values out;
    std::vector<uint8_t> keep;  // [tokens][planes][keep_stride]
    int64_t stride, planes, keep_stride;

    bool kept(int64_t token, int64_t head, int64_t key) const {
      return keep[static_cast<size_t>((token * planes + head % planes) * keep_stride + key)] == 1;
    }
  };

  /// Runs queries [begin, end) of these sequences (all when end < 0).
  Result run(const Exec& exec, const std::vector<size_t>& which, bool trace, int64_t begin = 0,
             int64_t end = -1, const Result* replay = nullptr) {
    std::vector<int32_t> start{0}, context, rows, positions;
    std::vector<float> gates;
    int64_t longest = 0;
    for (const size_t i : which) {
      const int64_t last = end < 0 ? s_.sequences[i].queries : end;
      for (int64_t t = begin; t < last; ++t) {
        positions.push_back(static_cast<int32_t>(position(i, t)));
        positions.push_back(-7);  // a second position dimension
        for (int64_t h = 0; h < s_.heads; ++h) gates.push_back(gate(i, position(i, t), h));
      }
      start.push_back(static_cast<int32_t>(positions.size() / 2));
      // A chunk knows no later keys.
      context.push_back(static_cast<int32_t>(position(i, last - 1) + 1));
      rows.push_back(table_rows_[i]);
      longest = std::max<int64_t>(longest, context.back());
    }
    const int64_t tokens = start.back();
    const int64_t q_stride = s_.heads * s_.k_dim + 3, out_stride = s_.heads * s_.v_dim + 5;
    Values q(s_.format, tokens * q_stride);
    for (size_t j = 0; j < which.size(); ++j) {
      for (int64_t t = start[j]; t < start[j + 1]; ++t) {
        for (int64_t h = 0; h < s_.heads; ++h) {
          for (int64_t d = 0; d < s_.k_dim; ++d) {
            q.set(t * q_stride + h * s_.k_dim + d,
                  query(which[j], positions[static_cast<size_t>(2 * t)], h, d));
          }
        }
      }
    }
    const int64_t planes = adaptive_keep_planes(s_.pattern.kind, s_.heads);
    Result result{Values(s_.format, tokens * out_stride), {}, out_stride, planes, longest + 2};
    result.keep.assign(static_cast<size_t>(tokens * planes * result.keep_stride), 7);
    const AdaptiveAttentionParams params{
        .num_tokens = tokens,
        .q = q.data(), .q_format = s_.format, .q_stride = q_stride,
        .positions = positions.data(),
        .position_stride = 2,
        .num_sequences = static_cast<int32_t>(which.size()),
        .query_start = start.data(), .context_len = context.data(),
        .block_tables = tables_.data(), .block_table_stride = table_stride_,
        .table_rows = rows.data(),
        .longest_context = longest,
        .kv = cache_,
        .pattern = s_.pattern,
        .softmax_scale = kScale,
        .relative_position = bias_.data(), .relative_positions = s_.relative_positions,
        .dense = dense_.data(),
        .gate = s_.gate ? gates.data() : nullptr,
        .out = result.out.data(), .out_format = s_.format, .out_stride = out_stride,
        .keep = trace ? result.keep.data() : nullptr,
        .keep_stride = result.keep_stride,
        .replay = replay == nullptr ? nullptr : replay->keep.data(),
        .replay_planes = static_cast<int32_t>(planes),
        .replay_stride = replay == nullptr ? 0 : replay->keep_stride};
    attend_on(exec, params, longest);
    return result;
  }

  /// The call itself; a device's copies the arrays there and back.
  virtual void attend_on(const Exec& exec, const AdaptiveAttentionParams& p, int64_t longest) {
    Buffer workspace(
        adaptive_attention_workspace_bytes(exec, p.pattern, p.num_tokens, p.num_sequences, longest,
                                           p.kv.num_kv_heads, p.relative_positions, p.kv.k_dim,
                                           p.kv.v_dim),
        "workspace");
    std::memset(workspace.data(), 0xff, static_cast<size_t>(workspace.size()));
    adaptive_attention(exec, p, workspace.data(), workspace.size());
  }

  /// The masks against the definition, and the outputs against a softmax over the masks' keys.
  void check(const Result& result, const std::vector<size_t>& which) const {
    const double tolerance = s_.format == Format::kBf16 ? 0x1p-6 : 4e-6;
    int64_t token = 0;
    for (const size_t i : which) {
      for (int64_t t = 0; t < s_.sequences[i].queries; ++t, ++token) {
        const int64_t pos = position(i, t);
        for (int64_t h = 0; h < s_.heads; ++h) {
          SCOPED_TRACE(concat("sequence ", i, " position ", pos, " head ", h));
          std::vector<double> scores;
          std::vector<bool> kept;
          for (int64_t j = 0; j <= pos; ++j) {
            if (may_see(i, pos, j))
              scores.push_back(score(i, pos, j, h));
            else
              scores.push_back(-std::numeric_limits<double>::infinity());
            kept.push_back(result.kept(token, h, j));
          }
          for (int64_t j = pos + 1; j < result.keep_stride; ++j) {
            ASSERT_EQ(result.keep[static_cast<size_t>(
                          (token * result.planes + h % result.planes) * result.keep_stride + j)],
                      0)
                << "key " << j;
          }
          check_mask(i, pos, scores, kept);
          if (::testing::Test::HasFatalFailure()) return;
          const std::vector<double> expected = attend(i, pos, h, scores, kept);
          for (int64_t d = 0; d < s_.v_dim; ++d) {
            const double actual = result.out.get(token * result.stride + h * s_.v_dim + d);
            ASSERT_TRUE(close(actual, expected[static_cast<size_t>(d)], tolerance))
                << "dim " << d << ": " << actual << " expected "
                << expected[static_cast<size_t>(d)];
          }
        }
        for (int64_t d = s_.heads * s_.v_dim; d < result.stride; ++d) {
          ASSERT_TRUE(std::isnan(result.out.get(token * result.stride + d)));
        }
      }
    }
  }

  float gate(size_t seq, int64_t pos, int64_t head) const {
    if (!s_.gate) return 1.0f;
    const float x = value(5, seq, pos, head);
    return x < -0.33f ? 0.0f : 0.5f + 0.5f * x;
  }
  int64_t position(size_t seq, int64_t query) const {
    return s_.sequences[seq].context - s_.sequences[seq].queries + query;
  }

 private:
  static constexpr float kScale = 0.3f;

  static float value(uint64_t kind, size_t seq, int64_t pos, int64_t column) {
    Random random(((kind * 64 + seq) * 1000003 + static_cast<uint64_t>(pos)) * 65537 +
                  static_cast<uint64_t>(column));
    random.next();
    return random.value();
  }
  float round(float x) const { return s_.format == Format::kBf16 ? to_float(to_bf16(x)) : x; }
  float key(size_t seq, int64_t pos, int64_t head, int64_t d) const {
    return round(value(1, seq, s_.equal_keys ? 0 : pos, head * 1000 + d));
  }
  float val(size_t seq, int64_t pos, int64_t head, int64_t d) const {
    return round(value(2, seq, pos, head * 1000 + d));
  }
  float query(size_t seq, int64_t pos, int64_t head, int64_t d) const {
    return round(2.0f * value(3, seq, pos, head * 1000 + d));
  }
  bool is_dense(size_t seq, int64_t pos) const {
    Random random(seq * 7919 + static_cast<uint64_t>(pos) * 104729 + 5);
    random.next();
    return random.uniform() < s_.density;
  }

  double score(size_t seq, int64_t pos, int64_t j, int64_t head) const {
    double sum = 0;
    for (int64_t d = 0; d < s_.k_dim; ++d) {
      sum += double{query(seq, pos, head, d)} * double{key(seq, j, head, d)};
    }
    const int64_t distance = std::min<int64_t>(pos - j, s_.relative_positions - 1);
    return sum * double{kScale} +
           double{bias_[static_cast<size_t>(head * s_.relative_positions + distance)]};
  }

  // Whether a query looks at a key at all: always, where scores decide.
  bool may_see(size_t seq, int64_t pos, int64_t j) const {
    const AdaptivePattern& p = s_.pattern;
    switch (p.kind) {
      case AdaptiveKind::kSlidingWindow:
        return pos - j < p.window;
      case AdaptiveKind::kDensity:
        return pos - j < p.window || is_dense(seq, j);
      case AdaptiveKind::kBlockSparse:
        return visible_blocks(p, pos / p.sparse_block_size).count(j / p.sparse_block_size) > 0;
      default:
        return true;
    }
  }

  // Scores within rounding of the last one kept may fall on either side.
  static void check_largest(const std::vector<double>& scores, const std::vector<bool>& kept,
                            size_t count) {
    ASSERT_EQ(static_cast<size_t>(std::count(kept.begin(), kept.end(), true)), count);
    double least = std::numeric_limits<double>::infinity();
    for (size_t j = 0; j < scores.size(); ++j) {
      if (kept[j]) least = std::min(least, scores[j]);
    }
    for (size_t j = 0; j < scores.size(); ++j) {
      if (!kept[j]) {
        ASSERT_LT(scores[j], least + 1e-5) << "dropped " << j;
      }
    }
  }

  void check_mask(size_t seq, int64_t pos, const std::vector<double>& scores,
                  const std::vector<bool>& kept) const {
    const AdaptivePattern& p = s_.pattern;
    if (p.kind == AdaptiveKind::kTopK) {
      return check_largest(scores, kept, std::min(scores.size(), static_cast<size_t>(p.top_k)));
    }
    if (p.kind == AdaptiveKind::kBlockTopK) {
      const size_t own = static_cast<size_t>(pos / p.sparse_block_size);
      const size_t size = static_cast<size_t>(p.sparse_block_size);
      std::vector<double> importance(own, -std::numeric_limits<double>::infinity());
      std::vector<bool> blocks(own);
      for (size_t j = 0; j < scores.size(); ++j) {
        if (j / size == own) {
          ASSERT_TRUE(kept[j]) << "own block, key " << j;
          continue;
        }
        importance[j / size] = std::max(importance[j / size], scores[j]);
        if (j % size == 0) blocks[j / size] = kept[j];
        ASSERT_EQ(kept[j], blocks[j / size]) << "key " << j;
      }
      const size_t percent = static_cast<size_t>(p.block_keep_percent);
      return check_largest(importance, blocks,
                           std::max<size_t>(1, (percent * (own + 1) + 99) / 100) - 1);
    }
    for (int64_t j = 0; j <= pos; ++j) {
      ASSERT_EQ(kept[static_cast<size_t>(j)], may_see(seq, pos, j)) << "key " << j;
    }
  }

  std::vector<double> attend(size_t seq, int64_t pos, int64_t head,
                             const std::vector<double>& scores,
                             const std::vector<bool>& kept) const {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (size_t j = 0; j < scores.size(); ++j) {
      if (kept[j]) largest = std::max(largest, scores[j]);
    }
    std::vector<double> out(static_cast<size_t>(s_.v_dim), 0.0);
    for (size_t j = 0; j < scores.size(); ++j) {
      if (!kept[j]) continue;
      const double weight = std::exp(scores[j] - largest);
      sum += weight;
      for (int64_t d = 0; d < s_.v_dim; ++d) {
        out[static_cast<size_t>(d)] += weight * double{val(seq, static_cast<int64_t>(j), head, d)};
      }
    }
    for (double& x : out) x *= double{gate(seq, pos, head)} / sum;
    return out;
  }

  void write_keys(size_t i) {
    const int32_t context = s_.sequences[i].context;
    std::vector<bool> seen(static_cast<size_t>(context));
    for (int64_t t = 0; t < s_.sequences[i].queries; ++t) {
      for (int64_t j = 0; j <= position(i, t); ++j) {
        if (!seen[static_cast<size_t>(j)] && may_see(i, position(i, t), j)) {
          seen[static_cast<size_t>(j)] = true;
        }
      }
    }
    const int64_t k_size = s_.heads * s_.k_dim, v_size = s_.heads * s_.v_dim;
    Values k(s_.format, context * k_size), v(s_.format, context * v_size);
    std::vector<int32_t> slots;
    for (int64_t pos = 0; pos < context; ++pos) {
      const int64_t slot =
          int64_t{entry(i, pos / s_.block_size)} * s_.block_size + pos % s_.block_size;
      dense_[static_cast<size_t>(slot)] = is_dense(i, pos) ? 1 : 0;
      slots.push_back(seen[static_cast<size_t>(pos)] ? static_cast<int32_t>(slot) : -1);
      if (slots.back() < 0) continue;
      for (int64_t h = 0; h < s_.heads; ++h) {
        for (int64_t d = 0; d < s_.k_dim; ++d) {
          k.set(pos * k_size + h * s_.k_dim + d, key(i, pos, h, d));
        }
        for (int64_t d = 0; d < s_.v_dim; ++d) {
          v.set(pos * v_size + h * s_.v_dim + d, val(i, pos, h, d));
        }
      }
    }
    kv_write(exec_of(detect_isa(), 2), {.num_tokens = context,
                                        .k = k.data(),
                                        .v = v.data(),
                                        .format = s_.format,
                                        .k_stride = k_size,
                                        .v_stride = v_size,
                                        .slots = slots.data(),
                                        .cache = cache_});
  }

  AdaptiveConfig s_;
  KvCacheView cache_;
  Buffer k_, v_;
  std::vector<uint8_t> dense_;
  int64_t table_stride_ = 0;
  std::vector<int32_t> tables_, table_rows_;
  std::vector<float> bias_;
};

/// Every sequence of a setup.
inline std::vector<size_t> all_of(const AdaptiveConfig& setup) {
  std::vector<size_t> which;
  for (size_t i = 0; i < setup.sequences.size(); ++i) which.push_back(i);
  return which;
}

/// The tokens of `part` have the bits of those of `whole` from `token` on; `values` each.
inline void expect_same_bits(const AdaptiveFixture::Result& part,
                             const AdaptiveFixture::Result& whole, int64_t token, int64_t values) {
  const int64_t tokens = static_cast<int64_t>(part.keep.size()) / part.planes / part.keep_stride;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < values; ++i) {
      ASSERT_EQ(part.out.get(t * part.stride + i), whole.out.get((token + t) * whole.stride + i))
          << "token " << token + t << " value " << i;
    }
  }
}

}  // namespace sluice::testing

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_FIXTURE_H_
