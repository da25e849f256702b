#include "support/reference_adaptive.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/reference_parts.h"

namespace sluice::test {
namespace {

// The largest `count` values; of equal ones the first.
std::vector<bool> largest(const std::vector<double>& values, size_t count) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  std::vector<bool> out(values.size());
  for (size_t i = 0; i < std::min(count, order.size()); ++i) out[order[i]] = true;
  return out;
}

std::vector<bool> visible_blocks(const AdaptiveSpec& spec, int layer, int64_t query_block) {
  std::vector<int64_t> pool;
  for (int64_t b = spec.num_global_blocks; b <= query_block - spec.num_local_blocks; ++b) {
    pool.push_back(b);
  }
  uint64_t state = (spec.random_block_seed + 1000003u * static_cast<uint64_t>(layer) +
                    7919u * static_cast<uint64_t>(query_block)) %
                   (uint64_t{1} << 32);
  const size_t count = std::min(static_cast<size_t>(spec.num_random_blocks), pool.size());
  std::vector<bool> out(static_cast<size_t>(query_block) + 1);
  for (size_t r = 0; r < count; ++r) {
    state = (1664525 * state + 1013904223) % (uint64_t{1} << 32);
    std::swap(pool[r], pool[r + state / 65536 % (pool.size() - r)]);
    out[static_cast<size_t>(pool[r])] = true;
  }
  for (int64_t b = 0; b <= query_block; ++b) {
    if (b < spec.num_global_blocks || b > query_block - spec.num_local_blocks) {
      out[static_cast<size_t>(b)] = true;
    }
  }
  return out;
}

// Keys of the query at the position behind all scores but the last, which is its own.
std::vector<bool> kept_keys(const AdaptiveSpec& spec, int layer, const std::vector<bool>& dense,
                            const std::vector<double>& scores) {
  const size_t n = scores.size(), i = n - 1;
  std::vector<bool> keep(n, true);
  const size_t window = static_cast<size_t>(spec.window);
  const size_t size = static_cast<size_t>(std::max(spec.sparse_block_size, 1));
  const size_t own = i / size;
  std::vector<bool> blocks(own + 1, true);
  switch (spec.kind) {
    case AdaptiveKind::kFull:
      return keep;
    case AdaptiveKind::kTopK:
      return largest(scores, static_cast<size_t>(spec.top_k));
    case AdaptiveKind::kSlidingWindow:
      for (size_t j = 0; j < n; ++j) keep[j] = i - j < window;
      return keep;
    case AdaptiveKind::kDensity:
      for (size_t j = 0; j < n; ++j) keep[j] = i - j < window || dense[j];
      return keep;
    case AdaptiveKind::kBlockSparse:
      blocks = visible_blocks(spec, layer, static_cast<int64_t>(own));
      break;
    case AdaptiveKind::kBlockTopK: {
      std::vector<double> importance(own + 1, -INFINITY);
      for (size_t j = 0; j < n; ++j) {
        importance[j / size] = std::max(importance[j / size], scores[j]);
      }
      importance[own] = INFINITY;
      const size_t percent = static_cast<size_t>(spec.block_keep_percent);
      blocks = largest(importance, std::max<size_t>(1, (percent * (own + 1) + 99) / 100));
      break;
    }
  }
  for (size_t j = 0; j < n; ++j) keep[j] = blocks[j / size];
  return keep;
}

}  // namespace

Rows adaptive_attention(const AdaptiveSpec& spec, const WeightValues& weights, int layer,
                        const Rows& x, KeepMasks* keep) {
  const auto project = [&](int slot, int part) {
    Rows out;
    for (const auto& row : x) {
      out.push_back(
          linear(weights.get(slot, layer, part), weights.get(slot + 1, layer, part), row));
    }
    return out;
  };
  const Rows q = project(SLUICE__PROTO__SLOT__QKV, SLUICE__PROTO__PART__PART_Q);
  const Rows k = project(SLUICE__PROTO__SLOT__QKV, SLUICE__PROTO__PART__PART_K);
  const Rows v = project(SLUICE__PROTO__SLOT__QKV, SLUICE__PROTO__PART__PART_V);
  Rows gates;
  if (spec.sparse_gate) gates = project(SLUICE__PROTO__SLOT__SPARSE_GATE, 0);
  std::vector<bool> dense(x.size());
  if (spec.kind == AdaptiveKind::kDensity) {
    const Rows logits = project(SLUICE__PROTO__SLOT__DENSITY, 0);
    for (size_t t = 0; t < x.size(); ++t) {
      dense[t] = sigmoid(logits[t][0]) >= double{spec.density_threshold};
    }
  }
  const auto& bias = weights.get(SLUICE__PROTO__SLOT__RELATIVE_POSITION, layer, 0);
  const size_t dim = static_cast<size_t>(spec.head_dim);
  const size_t distances = static_cast<size_t>(spec.relative_positions);
  if (keep != nullptr) keep->assign(static_cast<size_t>(spec.num_q_heads), {});
  Rows out;
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> row(static_cast<size_t>(spec.q_size()));
    for (size_t h = 0; h < static_cast<size_t>(spec.num_q_heads); ++h) {
      std::vector<double> scores;
      for (size_t j = 0; j <= i; ++j) {
        double score = 0;
        for (size_t d = 0; d < dim; ++d) score += q[i][h * dim + d] * k[j][h * dim + d];
        scores.push_back(score * double{spec.softmax_scale} +
                         double{bias[h * distances + std::min(i - j, distances - 1)]});
      }
      const std::vector<bool> kept = kept_keys(spec, layer, dense, scores);
      if (keep != nullptr) (*keep)[h].push_back(kept);
      double gate = spec.sparse_gate ? sigmoid(gates[i][h]) : 1;
      if (gate < double{spec.sparse_gate_threshold}) gate = 0;
      double sum = 0;
      for (size_t j = 0; j <= i; ++j) sum += kept[j] ? std::exp(scores[j]) : 0;
      for (size_t j = 0; j <= i; ++j) {
        if (!kept[j]) continue;
        const double weight = gate * std::exp(scores[j]) / sum;
        for (size_t d = 0; d < dim; ++d) row[h * dim + d] += weight * v[j][h * dim + d];
      }
    }
    out.push_back(linear(weights.get(SLUICE__PROTO__SLOT__O, layer, 0),
                         weights.get(SLUICE__PROTO__SLOT__O_BIAS, layer, 0), row));
  }
  return out;
}

}  // namespace sluice::test
