#include "ops/router/router.h"

#include <cmath>

#include "ops/router/router_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// NaN is below every number, also below -inf.
bool above(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

// The best few of a row of values, best first; of equal ones the earlier.
struct Best {
  int32_t size;  // wanted
  int32_t count = 0;
  int32_t index[kMaxExpertsPerToken];
  float value[kMaxExpertsPerToken];

  explicit Best(int32_t wanted) : size(wanted) {}

  // Indices come in rising order.
  void offer(int32_t i, float v) {
    if (count == size && !above(v, value[count - 1])) return;
    int32_t at = count < size ? count++ : count - 1;
    for (; at > 0 && above(v, value[at - 1]); --at) {
      value[at] = value[at - 1];
      index[at] = index[at - 1];
    }
    value[at] = v;
    index[at] = i;
  }
};

void softmax(float* x, int64_t count) {
  float largest = x[0];
  for (int64_t i = 1; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    x[i] = std::exp(x[i] - largest);
    sum += x[i];
  }
  for (int64_t i = 0; i < count; ++i) x[i] /= sum;
}

void make_scores(const RouterParams& p, float* x) {
  switch (p.score) {
    case RouterScore::kSoftmax:
      return softmax(x, p.num_experts);
    case RouterScore::kSigmoid:
      for (int32_t e = 0; e < p.num_experts; ++e) x[e] = 1.0f / (1.0f + std::exp(-x[e]));
      return;
    case RouterScore::kTopKSoftmax:
      return;
    case RouterScore::kNoisyNetwork:
      softmax(x, p.num_experts);
      for (int32_t e = 0; e < p.num_experts; ++e) x[e] += p.noise[e];
      return softmax(x, p.num_experts);
  }
}

float choice(const RouterParams& p, const float* scores, int32_t e) {
  return p.correction_bias == nullptr ? scores[e] : scores[e] + p.correction_bias[e];
}

float score_of_group(const RouterParams& p, const float* scores, int32_t begin, int32_t end) {
  Best best(p.group_score == GroupScore::kTop2Sum ? 2 : 1);
  for (int32_t e = begin; e < end; ++e) best.offer(e, choice(p, scores, e));
  return best.size == 2 ? best.value[0] + best.value[1] : best.value[0];
}

void choose(const RouterParams& p, const float* scores, Best* chosen) {
  if (p.num_groups_per_token == p.num_groups) {
    for (int32_t e = 0; e < p.num_experts; ++e) chosen->offer(e, choice(p, scores, e));
    return;
  }
  const int32_t size = p.num_experts / p.num_groups;
  Best groups(p.num_groups_per_token);
  for (int32_t g = 0; g < p.num_groups; ++g) {
    groups.offer(g, score_of_group(p, scores, g * size, (g + 1) * size));
  }
  // In rising order, so that of equal experts the lower index is offered first.
  for (int32_t next = 0, n = 0; n < groups.count; ++n) {
    int32_t group = p.num_groups;
    for (int32_t i = 0; i < groups.count; ++i) {
      if (groups.index[i] >= next && groups.index[i] < group) group = groups.index[i];
    }
    for (int32_t e = group * size; e < (group + 1) * size; ++e) {
      chosen->offer(e, choice(p, scores, e));
    }
    next = group + 1;
  }
}

void route(const RouterParams& p, int64_t token) {
  const int32_t k = p.num_experts_per_token;
  float* scores = p.logits + token * p.num_experts;
  make_scores(p, scores);
  Best chosen(k);
  choose(p, scores, &chosen);
  float* weights = p.weights + token * k;
  int32_t* experts = p.experts + token * k;
  // By falling weight: the correction bias can have chosen in another order.
  for (int32_t i = 0; i < k; ++i) {
    const int32_t expert = chosen.index[i];
    const float weight = scores[expert];
    int32_t at = i;
    for (; at > 0 && (above(weight, weights[at - 1]) ||
                      (!above(weights[at - 1], weight) && expert < experts[at - 1]));
         --at) {
      weights[at] = weights[at - 1];
      experts[at] = experts[at - 1];
    }
    weights[at] = weight;
    experts[at] = expert;
  }
  if (p.score == RouterScore::kTopKSoftmax) softmax(weights, k);
  if (p.normalize) {
    float sum = 0;
    for (int32_t i = 0; i < k; ++i) sum += weights[i];
    sum += p.normalize_epsilon;
    for (int32_t i = 0; i < k; ++i) weights[i] /= sum;
  }
  if (p.scaling_factor != 1.0f) {
    for (int32_t i = 0; i < k; ++i) weights[i] *= p.scaling_factor;
  }
}

void check_params(const RouterParams& p) {
  SLUICE_CHECK(p.score >= RouterScore::kSoftmax && p.score <= RouterScore::kNoisyNetwork,
               SLUICE_STATUS_UNSUPPORTED, "router score: ", static_cast<int32_t>(p.score),
               " (expected: a number of sluice.proto's RouterScore)");
  check_at_least("router num_tokens", p.num_tokens, 0);
  check_at_least("num_experts", p.num_experts, 1);
  const int32_t most = p.num_experts < kMaxExpertsPerToken ? p.num_experts : kMaxExpertsPerToken;
  SLUICE_CHECK_ARG(p.num_experts_per_token >= 1 && p.num_experts_per_token <= most,
                   "num_experts_per_token: ", p.num_experts_per_token, " (expected: 1 to ", most,
                   ")");
  SLUICE_CHECK_ARG(p.num_groups >= 1 && p.num_experts % p.num_groups == 0,
                   "num_groups: ", p.num_groups, " (expected: a divisor of num_experts, ",
                   p.num_experts, ")");
  const int32_t size = p.num_experts / p.num_groups;
  const int32_t most_groups =
      p.num_groups < kMaxExpertsPerToken ? p.num_groups : kMaxExpertsPerToken;
  SLUICE_CHECK_ARG((p.num_groups_per_token >= 1 && p.num_groups_per_token <= most_groups) ||
                       p.num_groups_per_token == p.num_groups,
                   "num_groups_per_token: ", p.num_groups_per_token, " (expected: 1 to ",
                   most_groups, ")");
  SLUICE_CHECK_ARG(int64_t{p.num_groups_per_token} * size >= p.num_experts_per_token,
                   "num_groups_per_token: ", p.num_groups_per_token, " groups of ", size,
                   " experts (expected: at least num_experts_per_token, ", p.num_experts_per_token,
                   ", experts)");
  if (p.num_groups_per_token < p.num_groups) {
    SLUICE_CHECK(p.group_score == GroupScore::kMax || p.group_score == GroupScore::kTop2Sum,
                 SLUICE_STATUS_UNSUPPORTED, "group_score: ", static_cast<int32_t>(p.group_score),
                 " (expected: a number of sluice.proto's GroupScore)");
    SLUICE_CHECK_ARG(p.group_score != GroupScore::kTop2Sum || size >= 2,
                     "num_groups: ", p.num_groups, " groups of one expert (expected: two or more ",
                     "experts a group for GROUP_TOP2_SUM)");
  }
  SLUICE_CHECK_ARG(p.score != RouterScore::kNoisyNetwork || p.noise != nullptr,
                   "router noise: null (expected: ", p.num_experts, " elements)");
  check_memory("router logits", p.logits, p.num_tokens);
  check_memory("router experts", p.experts, p.num_tokens);
  check_memory("router weights", p.weights, p.num_tokens);
}

}  // namespace

void router(const Exec& exec, const RouterParams& p) {
  check_params(p);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      exec.cuda->note("router", "plain");
      return cuda::router(*exec.cuda, p);
    }
  }
  // An exponential costs about as much as moving 32 bytes.
  parallel_ranges(exec, p.num_tokens, grain_for_bytes(int64_t{p.num_experts} * 32),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t t = begin; t < end; ++t) route(p, t);
                  });
}

}  // namespace sluice
