/// @file
/// Sequences with known keys and values in a poisoned cache, and the attention of their queries in
/// double precision; for attention_test.cc.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_FIXTURE_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_FIXTURE_H_

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/checked.h"
#include "ops/attention/attention.h"
#include "ops/kv_write/kv_write.h"
#include "ops/testing/op_test.h"

namespace sluice::testing {

struct Sequence {
  int32_t queries;
  int32_t context;     // positions that hold keys after the step
  int32_t first = -1;  // position of the first query; -1: the queries are the last positions
};

struct Config {
  std::vector<Sequence> sequences;
  int32_t q_heads = 4, kv_heads = 2, k_dim = 64, v_dim = 64, block_size = 16;
  Format format = Format::kF32;  // of the cache
  Format q_format = Format::kF32, out_format = Format::kF32;
  int32_t window = 0, chunk = 0;
  float soft_cap = 0.0f;
  bool causal = true, sinks = false;
  float scale = 0.125f;
  int32_t value_dim = 0;  // with k_dim 0: the value rows are the keys
  int32_t q_padding = 3, out_padding = 5;  // elements between tokens that are not theirs

  int32_t key_columns() const { return k_dim == 0 ? v_dim : k_dim; }
  int32_t value_columns() const { return k_dim == 0 ? value_dim : v_dim; }
};

// Keys, values and queries of whole sequences, computed from position numbers, in a paged cache
// whose every unused place is NaN and whose unused table entries are far out of range.
class Fixture {
 public:
  explicit Fixture(const Config& setup) : s_(setup) {
    int32_t blocks_per_row = 0, blocks = 0;
    for (const Sequence& q : s_.sequences) {
      const int32_t n = static_cast<int32_t>(ceil_div(q.context, s_.block_size));
      blocks_per_row = std::max(blocks_per_row, n + 3);
      blocks += n;
    }
    cache_ = {.format = s_.format,
              .num_blocks = blocks + 2,
              .block_size = s_.block_size,
              .num_kv_heads = s_.kv_heads,
              .k_dim = s_.k_dim,
              .v_dim = s_.v_dim};
    cache_.k_block_stride =
        round_up(kv_block_bytes(s_.format, s_.block_size, s_.kv_heads, s_.k_dim), 64) + 64;
    cache_.v_block_stride =
        round_up(kv_block_bytes(s_.format, s_.block_size, s_.kv_heads, s_.v_dim), 64) + 128;
    if (s_.k_dim == 0) cache_.k_block_stride = 0;
    k_ = Buffer(cache_.num_blocks * cache_.k_block_stride, "k");
    v_ = Buffer(cache_.num_blocks * cache_.v_block_stride, "v");
    if (s_.k_dim > 0) std::memset(k_.data(), 0xff, static_cast<size_t>(k_.size()));
    std::memset(v_.data(), 0xff, static_cast<size_t>(v_.size()));
    cache_.k = k_.data();
    cache_.v = v_.data();
    table_stride_ = blocks_per_row;
    // Table rows in reverse order of the sequences, block ids scattered.
    tables_.assign(s_.sequences.size() * static_cast<size_t>(table_stride_), 0x7fffff00);
    int32_t next = 0;
    for (size_t i = 0; i < s_.sequences.size(); ++i) {
      table_rows_.push_back(static_cast<int32_t>(s_.sequences.size() - 1 - i));
      const int64_t n = ceil_div(s_.sequences[i].context, s_.block_size);
      for (int64_t b = 0; b < n; ++b, ++next) {
        tables_[static_cast<size_t>(table_rows_[i] * table_stride_ + b)] = (blocks - 1 - next) + 1;
      }
    }
    for (size_t i = 0; i < s_.sequences.size(); ++i) write_keys(i);
  }

  float key(size_t seq, int64_t pos, int64_t head, int64_t d) const {
    return s_.k_dim == 0 ? val(seq, pos, head, d)
                         : round(value(1, seq, pos, head * 1000 + d), s_.format);
  }
  float val(size_t seq, int64_t pos, int64_t head, int64_t d) const {
    return round(value(2, seq, pos, head * 1000 + d), s_.format);
  }
  float query(size_t seq, int64_t pos, int64_t head, int64_t d) const {
    return round(round(2.0f * value(3, seq, pos, head * 1000 + d), s_.q_format), s_.format);
  }

  int64_t first_position(size_t seq) const {
    const Sequence& q = s_.sequences[seq];
    return q.first >= 0 ? q.first : q.context - q.queries;
  }

  // Blocks that no query sees become unmapped, as after a window has passed them.
  void unmap(size_t seq, int64_t first_block, int64_t end_block) {
    for (int64_t b = first_block; b < end_block; ++b) {
      tables_[static_cast<size_t>(table_rows_[seq] * table_stride_ + b)] = -1;
    }
  }

  struct Result {
    Values out;
    std::vector<float> lse;  // empty: not asked for
    int64_t stride;
  };

  // The sequences' queries [begin, end) of each (all when end < 0), on the host.
  struct Batch {
    std::vector<int32_t> start{0}, context, rows, positions;
    int64_t tokens = 0, longest = 0, q_stride = 0, out_stride = 0;
    Values q;

    explicit Batch(Values queries) : q(std::move(queries)) {}
  };
  Batch batch(const std::vector<size_t>& which, int64_t begin = 0, int64_t end = -1) const {
    Batch b{Values(s_.q_format, 0)};
    for (const size_t i : which) {
      const int64_t last = end < 0 ? s_.sequences[i].queries : end;
      for (int64_t t = begin; t < last; ++t) {
        b.positions.push_back(static_cast<int32_t>(first_position(i) + t));
        b.positions.push_back(-7);  // a second position dimension
      }
      b.start.push_back(static_cast<int32_t>(b.positions.size() / 2));
      b.context.push_back(s_.sequences[i].context);
      b.rows.push_back(table_rows_[i]);
      b.longest = std::max<int64_t>(b.longest, s_.sequences[i].context);
    }
    b.tokens = b.start.back();
    const int64_t k_dim = s_.key_columns(), v_dim = s_.value_columns();
    b.q_stride = s_.q_heads * k_dim + s_.q_padding;
    b.out_stride = s_.q_heads * v_dim + s_.out_padding;
    b.q = Values(s_.q_format, b.tokens * b.q_stride);
    for (size_t j = 0; j < which.size(); ++j) {
      for (int64_t t = b.start[j]; t < b.start[j + 1]; ++t) {
        for (int64_t h = 0; h < s_.q_heads; ++h) {
          for (int64_t d = 0; d < k_dim; ++d) {
            const int64_t position = b.positions[static_cast<size_t>(2 * t)];
            b.q.set(t * b.q_stride + h * k_dim + d,
                    2.0f * value(3, which[j], position, h * 1000 + d));
          }
        }
      }
    }
    return b;
  }

  // The parameters of a batch without its outputs; arrays on the host.
  AttentionParams params(const Batch& b) {
    return {.num_tokens = b.tokens,
            .num_q_heads = s_.q_heads,
            .q = b.q.data(),
            .q_format = s_.q_format,
            .q_stride = b.q_stride,
            .positions = b.positions.data(),
            .position_stride = 2,
            .num_sequences = static_cast<int32_t>(b.context.size()),
            .query_start = b.start.data(),
            .context_len = b.context.data(),
            .block_tables = tables_.data(),
            .block_table_stride = table_stride_,
            .table_rows = b.rows.data(),
            .longest_context = b.longest,
            .kv = cache_,
            .value_dim = s_.value_dim,
            .softmax_scale = s_.scale,
            .soft_cap = s_.soft_cap,
            .window = s_.window,
            .chunk = s_.chunk,
            .causal = s_.causal,
            .sinks = s_.sinks ? sinks().data() : nullptr,
            .out_format = s_.out_format,
            .out_stride = b.out_stride};
  }

  // Runs the sequences' queries [begin, end) of each (all when end < 0).
  Result run(const Exec& exec, const std::vector<size_t>& which, int64_t begin = 0,
             int64_t end = -1) {
    const Batch b = batch(which, begin, end);
    Result result{Values(s_.out_format, b.tokens * b.out_stride),
                  std::vector<float>(static_cast<size_t>(b.tokens * s_.q_heads), -5.0f),
                  b.out_stride};
    Buffer workspace(
        attention_workspace_bytes(exec, b.tokens, static_cast<int32_t>(which.size()), b.longest,
                                  s_.q_heads, s_.key_columns(), s_.value_columns()),
        "workspace");
    std::memset(workspace.data(), 0xff, static_cast<size_t>(workspace.size()));
    AttentionParams p = params(b);
    p.out = result.out.data();
    p.lse = result.lse.data();
    attention(exec, p, workspace.data(), workspace.size());
    return result;
  }

  void check(const Result& result, const std::vector<size_t>& which) {
    // Probabilities are rounded to bf16 with a bf16 cache: 2^-9 of each weight.
    const double tolerance = (s_.format == Format::kBf16 ? 0x1p-7 : 2e-6) + epsilon(s_.out_format);
    int64_t token = 0;
    for (const size_t i : which) {
      for (int64_t t = 0; t < s_.sequences[i].queries; ++t, ++token) {
        for (int64_t h = 0; h < s_.q_heads; ++h) {
          std::vector<double> expected;
          const double lse = reference(i, first_position(i) + t, h, &expected);
          for (int64_t d = 0; d < s_.value_columns(); ++d) {
            const double actual =
                result.out.get(token * result.stride + h * s_.value_columns() + d);
            ASSERT_TRUE(close(actual, expected[static_cast<size_t>(d)], tolerance))
                << "sequence " << i << " query " << t << " head " << h << " dim " << d << ": "
                << actual << " expected " << expected[static_cast<size_t>(d)];
          }
          if (result.lse.empty()) continue;
          ASSERT_TRUE(close(result.lse[static_cast<size_t>(token * s_.q_heads + h)], lse, 1e-5))
              << result.lse[static_cast<size_t>(token * s_.q_heads + h)] << " expected " << lse;
        }
        for (int64_t d = s_.q_heads * s_.value_columns(); d < result.stride; ++d) {
          ASSERT_TRUE(std::isnan(result.out.get(token * result.stride + d)));
        }
      }
    }
  }

  const KvCacheView& cache() const { return cache_; }
  const Config& config() const { return s_; }
  const std::vector<int32_t>& tables() const { return tables_; }
  const std::vector<int32_t>& table_rows() const { return table_rows_; }
  int64_t table_stride() const { return table_stride_; }
  std::vector<float>& sinks() {
    sinks_.resize(static_cast<size_t>(s_.q_heads));
    for (size_t h = 0; h < sinks_.size(); ++h) sinks_[h] = 0.3f * static_cast<float>(h) - 0.5f;
    return sinks_;
  }

 private:
  static float round(float value, Format format) {
    return format == Format::kBf16 ? to_float(to_bf16(value)) : value;
  }
  static float value(uint64_t kind, size_t seq, int64_t pos, int64_t column) {
    Random random(((kind * 64 + seq) * 100003 + static_cast<uint64_t>(pos)) * 65537 +
                  static_cast<uint64_t>(column));
    random.next();
    return random.value();
  }

  double reference(size_t seq, int64_t pos, int64_t head, std::vector<double>* out) {
    const int64_t kv_head = head / (s_.q_heads / s_.kv_heads);
    std::vector<double> scores;
    std::vector<int64_t> keys;
    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < s_.sequences[seq].context; ++j) {
      if (s_.causal && j > pos) continue;
      if (s_.window > 0 && pos - j >= s_.window) continue;
      if (s_.chunk > 0 && j / s_.chunk != pos / s_.chunk) continue;
      double score = 0;
      for (int64_t d = 0; d < s_.key_columns(); ++d) {
        score += double{query(seq, pos, head, d)} * double{key(seq, j, kv_head, d)};
      }
      score *= double{s_.scale};
      if (s_.soft_cap > 0) score = s_.soft_cap * std::tanh(score / s_.soft_cap);
      keys.push_back(j);
      scores.push_back(score);
      largest = std::max(largest, score);
    }
    if (s_.sinks) largest = std::max(largest, double{sinks()[static_cast<size_t>(head)]});
    double sum = s_.sinks ? std::exp(double{sinks()[static_cast<size_t>(head)]} - largest) : 0.0;
    out->assign(static_cast<size_t>(s_.value_columns()), 0.0);
    for (size_t j = 0; j < keys.size(); ++j) {
      const double weight = std::exp(scores[j] - largest);
      sum += weight;
      for (int64_t d = 0; d < s_.value_columns(); ++d) {
        (*out)[static_cast<size_t>(d)] += weight * double{val(seq, keys[j], kv_head, d)};
      }
    }
    for (double& x : *out) x = sum > 0 ? x / sum : 0.0;
    return sum > 0 ? largest + std::log(sum) : -std::numeric_limits<double>::infinity();
  }

  void write_keys(size_t i) {
    const int32_t context = s_.sequences[i].context;
    const int64_t k_stride = s_.kv_heads * s_.k_dim + 1, v_stride = s_.kv_heads * s_.v_dim + 2;
    Values k(Format::kF32, context * k_stride), v(Format::kF32, context * v_stride);
    std::vector<int32_t> slots;
    for (int64_t pos = 0; pos < context; ++pos) {
      for (int64_t h = 0; h < s_.kv_heads; ++h) {
        for (int64_t d = 0; d < s_.k_dim; ++d) {
          k.set(pos * k_stride + h * s_.k_dim + d, value(1, i, pos, h * 1000 + d));
        }
        for (int64_t d = 0; d < s_.v_dim; ++d) {
          v.set(pos * v_stride + h * s_.v_dim + d, value(2, i, pos, h * 1000 + d));
        }
      }
      const int32_t block =
          tables_[static_cast<size_t>(table_rows_[i] * table_stride_ + pos / s_.block_size)];
      slots.push_back(static_cast<int32_t>(block * s_.block_size + pos % s_.block_size));
    }
    kv_write({detect_isa(), 2}, {.num_tokens = context,
                                 .k = k.data(),
                                 .v = v.data(),
                                 .format = Format::kF32,
                                 .k_stride = k_stride,
                                 .v_stride = v_stride,
                                 .slots = slots.data(),
                                 .cache = cache_});
  }

  Config s_;
  KvCacheView cache_;
  Buffer k_, v_;
  int32_t table_stride_ = 0;
  std::vector<int32_t> tables_, table_rows_;
  std::vector<float> sinks_;
};

/// The first `count` tokens of `part` have the bits of those of `whole` from `first` on.
inline void expect_same_bits(const Config& setup, Fixture::Result& part, Fixture::Result& whole,
                             int64_t first, int64_t count) {
  const auto bytes = static_cast<size_t>(setup.q_heads * setup.value_columns()) * 4;
  for (int64_t t = 0; t < count; ++t) {
    ASSERT_EQ(std::memcmp(part.out.at(t * part.stride), whole.out.at((first + t) * whole.stride),
                          bytes),
              0)
        << "token " << first + t;
    for (int64_t h = 0; h < setup.q_heads; ++h) {
      ASSERT_EQ(part.lse[static_cast<size_t>(t * setup.q_heads + h)],
                whole.lse[static_cast<size_t>((first + t) * setup.q_heads + h)]);
    }
  }
}

}  // namespace sluice::testing

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_FIXTURE_H_
