#include "support/reference_parts.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace sluice::test {
namespace {

std::vector<double> softmax(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  std::vector<double> out;
  double sum = 0;
  for (double value : x) sum += std::exp(value - largest);
  for (double value : x) out.push_back(std::exp(value - largest) / sum);
  return out;
}

// Indices by falling value; the lower of equal ones first.
std::vector<size_t> by_falling(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  return order;
}

// Distance between the last that is taken and the first that is not.
double gap_after(const std::vector<double>& values, const std::vector<size_t>& order,
                 size_t taken) {
  return taken < order.size() ? values[order[taken - 1]] - values[order[taken]] : 1;
}

std::vector<double> router_scores(const MoeSpec& spec, const WeightValues& weights, int layer,
                                  const std::vector<double>& x) {
  const auto get = [&](int slot) -> const std::vector<float>& {
    return weights.get(slot, layer, 0);
  };
  auto z = linear(get(SLUICE__PROTO__SLOT__ROUTER), get(SLUICE__PROTO__SLOT__ROUTER_BIAS), x);
  switch (spec.router) {
    case RouterScore::kSoftmax:
      return softmax(z);
    case RouterScore::kSigmoid:
      for (double& value : z) value = sigmoid(value);
      return z;
    case RouterScore::kTopKSoftmax:
      return z;
    case RouterScore::kNoisyNetwork:
      break;
  }
  for (double& value : z) value = activate({.kind = ActivationKind::kGelu}, value);
  z = softmax(
      linear(get(SLUICE__PROTO__SLOT__ROUTER_OUT), get(SLUICE__PROTO__SLOT__ROUTER_OUT_BIAS), z));
  const auto& noise = get(SLUICE__PROTO__SLOT__ROUTER_NOISE);
  for (size_t e = 0; e < z.size(); ++e) z[e] += double{noise[e]};
  return softmax(z);
}

// Choice scores with the experts of groups that are not chosen out of reach.
void limit_groups(const MoeSpec& spec, std::vector<double>* choice, double* gap) {
  const auto groups = static_cast<size_t>(spec.num_groups);
  const size_t size = choice->size() / groups;
  std::vector<double> scores;
  for (size_t g = 0; g < groups; ++g) {
    std::vector<double> members(choice->begin() + static_cast<std::ptrdiff_t>(g * size),
                                choice->begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
    std::sort(members.rbegin(), members.rend());
    scores.push_back(spec.group_score == GroupScore::kMax ? members[0] : members[0] + members[1]);
  }
  const auto order = by_falling(scores);
  const auto taken = static_cast<size_t>(spec.num_groups_per_token);
  *gap = std::min(*gap, gap_after(scores, order, taken));
  for (size_t i = taken; i < groups; ++i) {
    for (size_t e = order[i] * size; e < (order[i] + 1) * size; ++e) (*choice)[e] = -INFINITY;
  }
}

void route(const MoeSpec& spec, const WeightValues& weights, int layer,
           const std::vector<double>& x, MoeDecisions* out) {
  const auto k = static_cast<size_t>(spec.num_experts_per_token);
  const std::vector<double> scores = router_scores(spec, weights, layer, x);
  std::vector<double> choice = scores;
  const auto& bias = weights.get(SLUICE__PROTO__SLOT__ROUTER_CORRECTION_BIAS, layer, 0);
  for (size_t e = 0; e < bias.size(); ++e) choice[e] += double{bias[e]};
  if (spec.num_groups > 1) limit_groups(spec, &choice, &out->gap);
  const auto order = by_falling(choice);
  out->gap = std::min(out->gap, gap_after(choice, order, k));
  std::vector<double> of_chosen(scores.size(), -INFINITY);
  for (size_t i = 0; i < k; ++i) of_chosen[order[i]] = scores[order[i]];
  auto chosen = by_falling(of_chosen);
  chosen.resize(k);
  std::vector<double> weight;
  for (size_t e : chosen) weight.push_back(scores[e]);
  if (spec.router == RouterScore::kTopKSoftmax) weight = softmax(weight);
  if (spec.normalize_top_k) {
    const double sum =
        std::accumulate(weight.begin(), weight.end(), double{spec.normalize_epsilon});
    for (double& w : weight) w /= sum;
  }
  for (double& w : weight) w *= double{spec.routed_scaling_factor};
  out->experts.emplace_back(chosen.begin(), chosen.end());
  out->weights.push_back(weight);
}

// In each window an expert accepts the first tokens that chose it.
void limit_capacity(const MoeSpec& spec, MoeDecisions* out) {
  std::vector<int> accepted(static_cast<size_t>(spec.num_experts));
  for (size_t t = 0; t < out->experts.size(); ++t) {
    if (spec.capacity_window > 0 && t % static_cast<size_t>(spec.capacity_window) == 0) {
      accepted.assign(accepted.size(), 0);
    }
    out->kept.emplace_back();
    for (int e : out->experts[t]) {
      int& count = accepted[static_cast<size_t>(e)];
      const bool kept = spec.expert_capacity == 0 || count < spec.expert_capacity;
      out->kept.back().push_back(kept);
      if (kept) ++count;
    }
  }
}

}  // namespace

std::vector<double> linear(std::span<const float> matrix, std::span<const float> bias,
                           const std::vector<double>& x) {
  std::vector<double> y(matrix.size() / x.size());
  for (size_t r = 0; r < y.size(); ++r) {
    for (size_t c = 0; c < x.size(); ++c) y[r] += double{matrix[r * x.size() + c]} * x[c];
    if (!bias.empty()) y[r] += bias[r];
  }
  return y;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double activate(const ActivationSpec& spec, double x) {
  switch (spec.kind) {
    case ActivationKind::kSilu:
      return x * sigmoid(x);
    case ActivationKind::kGelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2)));
    case ActivationKind::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kRelu:
      return std::max(x, 0.0);
    case ActivationKind::kReluSquared:
      return std::pow(std::max(x, 0.0), 2);
    case ActivationKind::kQuickGelu:
      return x * sigmoid(1.702 * x);
    case ActivationKind::kSigmoid:
      return sigmoid(x);
    default:
      std::abort();
  }
}

std::vector<double> mlp(const WeightValues& weights, const MlpSlots& slots,
                        const ActivationSpec& activation, bool gated, int layer,
                        const std::vector<double>& x) {
  const auto get = [&](int slot, int part) -> std::span<const float> {
    const std::vector<float>& all = weights.get(slot, layer, part);
    if (slots.num_experts == 0) return all;
    const size_t size = all.size() / static_cast<size_t>(slots.num_experts);
    return std::span(all).subspan(static_cast<size_t>(slots.expert) * size, size);
  };
  const auto half = [&](Sluice__Proto__Part which) {
    return linear(get(slots.gate_up, which), get(slots.gate_up + 1, which), x);
  };
  std::vector<double> inner = half(SLUICE__PROTO__PART__PART_UP);
  const std::vector<double> gate =
      gated ? half(SLUICE__PROTO__PART__PART_GATE) : std::vector<double>{};
  for (size_t i = 0; i < inner.size(); ++i) {
    if (!gated) {
      inner[i] = activate(activation, inner[i]);
    } else if (activation.kind == ActivationKind::kClampedSwiglu) {
      const double limit = activation.limit;
      const double g = std::min(gate[i], limit);
      inner[i] = g * sigmoid(activation.alpha * g) *
                 (std::clamp(inner[i], -limit, limit) + activation.beta);
    } else {
      inner[i] *= activate(activation, gate[i]);
    }
  }
  return linear(get(slots.down, 0), get(slots.down + 1, 0), inner);
}

Rows moe(const MoeSpec& spec, const WeightValues& weights, int layer, const Rows& x,
         MoeDecisions* decisions) {
  MoeDecisions made;
  for (const auto& row : x) route(spec, weights, layer, row, &made);
  limit_capacity(spec, &made);
  Rows out;
  for (size_t t = 0; t < x.size(); ++t) {
    out.emplace_back(x[t].size());
    const auto add = [&](const std::vector<double>& y, double factor) {
      for (size_t c = 0; c < y.size(); ++c) out[t][c] += factor * y[c];
    };
    for (size_t i = 0; i < made.experts[t].size(); ++i) {
      if (!made.kept[t][i]) continue;
      const MlpSlots expert{SLUICE__PROTO__SLOT__EXPERT_GATE_UP, SLUICE__PROTO__SLOT__EXPERT_DOWN,
                            spec.num_experts, made.experts[t][i]};
      std::vector<double> in = x[t];
      const double weight = made.weights[t][i];
      if (spec.scale_input) {
        for (double& value : in) value *= weight;
      }
      add(mlp(weights, expert, spec.activation, spec.gated, layer, in),
          spec.scale_input ? 1 : weight);
    }
    if (!spec.shared) continue;
    double factor = 1;
    if (spec.shared_gate) {
      factor =
          sigmoid(linear(weights.get(SLUICE__PROTO__SLOT__SHARED_GATE, layer, 0), {}, x[t])[0]);
    }
    add(mlp(weights, {SLUICE__PROTO__SLOT__SHARED_GATE_UP, SLUICE__PROTO__SLOT__SHARED_DOWN},
            spec.shared->activation, spec.shared->gated, layer, x[t]),
        factor);
  }
  if (decisions != nullptr) *decisions = std::move(made);
  return out;
}

}  // namespace sluice::test
