#include "ops/router/router.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Random;

struct Case {
  const char* name;
  RouterScore score;
  int32_t experts, k;
  int32_t groups = 1, groups_per_token = 1;
  GroupScore group_score = GroupScore::kMax;
  bool bias = false, normalize = false;
  float epsilon = 0, scaling = 1;
};

const Case kCases[] = {
    {"softmax", RouterScore::kSoftmax, 8, 2},
    {"softmax_normalized", RouterScore::kSoftmax, 8, 2, 1, 1, GroupScore::kMax, false, true},
    {"one_expert", RouterScore::kSoftmax, 1, 1},
    {"all_experts", RouterScore::kSoftmax, 7, 7, 1, 1, GroupScore::kMax, false, true, 1e-3f, 2.5f},
    {"most_experts", RouterScore::kSoftmax, 130, 64},
    {"group_max", RouterScore::kSoftmax, 64, 6, 8, 3, GroupScore::kMax, false, false, 0, 16},
    {"group_max_all_of_one", RouterScore::kSoftmax, 12, 3, 4, 1},
    {"sigmoid", RouterScore::kSigmoid, 16, 4, 1, 1, GroupScore::kMax, false, true, 1e-20f},
    {"sigmoid_bias", RouterScore::kSigmoid, 16, 4, 1, 1, GroupScore::kMax, true},
    {"sigmoid_groups", RouterScore::kSigmoid, 256, 8, 8, 4, GroupScore::kTop2Sum, true, true,
     1e-20f, 2.5f},
    {"sigmoid_group_max", RouterScore::kSigmoid, 24, 5, 3, 2, GroupScore::kMax, true},
    {"topk_softmax", RouterScore::kTopKSoftmax, 32, 4},
    {"topk_softmax_scaled", RouterScore::kTopKSoftmax, 32, 4, 1, 1, GroupScore::kMax, false, false,
     0, 0.5f},
    {"noisy", RouterScore::kNoisyNetwork, 8, 2},
    {"noisy_normalized", RouterScore::kNoisyNetwork, 8, 3, 1, 1, GroupScore::kMax, false, true},
};

std::vector<double> softmax(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  std::vector<double> out;
  double sum = 0;
  for (double value : x) sum += std::exp(value - largest);
  for (double value : x) out.push_back(std::exp(value - largest) / sum);
  return out;
}

// Indices by falling value, the lower of equal ones first.
std::vector<int> sorted(const std::vector<double>& value) {
  std::vector<int> order(value.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return value[a] > value[b]; });
  return order;
}

struct Choice {
  std::vector<int> experts;
  std::vector<double> weights;
  double gap = 1;  // between what was chosen and what was not
};

Choice reference(const Case& c, const std::vector<double>& logits, const std::vector<float>& bias,
                 const std::vector<float>& noise) {
  std::vector<double> scores = logits;
  if (c.score == RouterScore::kSoftmax) scores = softmax(logits);
  if (c.score == RouterScore::kSigmoid) {
    for (double& s : scores) s = 1 / (1 + std::exp(-s));
  }
  if (c.score == RouterScore::kNoisyNetwork) {
    scores = softmax(logits);
    for (size_t e = 0; e < scores.size(); ++e) scores[e] += double{noise[e]};
    scores = softmax(scores);
  }
  std::vector<double> choice = scores;
  if (c.bias) {
    for (size_t e = 0; e < scores.size(); ++e) choice[e] += double{bias[e]};
  }
  Choice out;
  const int size = c.experts / c.groups;
  std::vector<double> of_group;
  for (int g = 0; g < c.groups; ++g) {
    std::vector<double> members(choice.begin() + g * size, choice.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    of_group.push_back(c.group_score == GroupScore::kMax ? members[0] : members[0] + members[1]);
  }
  const std::vector<int> groups = sorted(of_group);
  if (c.groups_per_token < c.groups) {
    out.gap = of_group[groups[c.groups_per_token - 1]] - of_group[groups[c.groups_per_token]];
  }
  for (int i = c.groups_per_token; i < c.groups; ++i) {
    for (int e = groups[i] * size; e < (groups[i] + 1) * size; ++e) choice[e] = -INFINITY;
  }
  const std::vector<int> order = sorted(choice);
  if (c.k < c.experts) out.gap = std::min(out.gap, choice[order[c.k - 1]] - choice[order[c.k]]);
  std::vector<double> weight(scores.size(), -INFINITY);
  for (int i = 0; i < c.k; ++i) weight[order[i]] = scores[order[i]];
  out.experts = sorted(weight);
  out.experts.resize(c.k);
  for (int e : out.experts) out.weights.push_back(scores[e]);
  for (int i = 0; i + 1 < c.k; ++i) {
    out.gap = std::min(out.gap, out.weights[i] - out.weights[i + 1]);
  }
  if (c.score == RouterScore::kTopKSoftmax) out.weights = softmax(out.weights);
  if (c.normalize) {
    const double sum = std::accumulate(out.weights.begin(), out.weights.end(), double{c.epsilon});
    for (double& w : out.weights) w /= sum;
  }
  for (double& w : out.weights) w *= double{c.scaling};
  return out;
}

struct Routed {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Routed run(const Case& c, std::vector<float> logits, const std::vector<float>& bias,
           const std::vector<float>& noise, int threads = 2) {
  const auto tokens = static_cast<int64_t>(logits.size()) / c.experts;
  Routed out{std::vector<int32_t>(tokens * c.k), std::vector<float>(tokens * c.k)};
  router(testing::exec_of(Isa::kPortable, threads),
         {.score = c.score,
          .num_tokens = tokens,
          .num_experts = c.experts,
          .num_experts_per_token = c.k,
          .logits = logits.data(),
          .noise = noise.data(),
          .correction_bias = c.bias ? bias.data() : nullptr,
          .normalize = c.normalize,
          .normalize_epsilon = c.epsilon,
          .scaling_factor = c.scaling,
          .num_groups = c.groups,
          .num_groups_per_token = c.groups_per_token,
          .group_score = c.group_score,
          .experts = out.experts.data(),
          .weights = out.weights.data()});
  return out;
}

std::vector<float> random_values(int64_t count, uint64_t seed, float scale) {
  Random random(seed);
  std::vector<float> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(scale * random.value());
  return out;
}

TEST(RouterTest, AgreesWithDouble) {
  for (const Case& c : kCases) {
    const int64_t tokens = 300;
    const auto logits = random_values(tokens * c.experts, 3, 4);
    const auto bias = random_values(c.experts, 4, 0.4f);
    const auto noise = random_values(c.experts, 5, 0.3f);
    const Routed routed = run(c, logits, bias, noise);
    int compared = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      const Choice wanted = reference(
          c, {logits.begin() + t * c.experts, logits.begin() + (t + 1) * c.experts}, bias, noise);
      if (wanted.gap < 1e-6) continue;  // float32 may decide otherwise
      ++compared;
      for (int i = 0; i < c.k; ++i) {
        ASSERT_EQ(routed.experts[t * c.k + i], wanted.experts[i])
            << c.name << " token " << t << " choice " << i;
        ASSERT_NEAR(routed.weights[t * c.k + i], wanted.weights[i],
                    4e-6 * double{c.scaling} * std::max(1e-2, wanted.weights[i]))
            << c.name << " token " << t << " choice " << i;
      }
    }
    EXPECT_GT(compared, tokens / 2) << c.name;
  }
}

// The correction bias decides who is chosen, not with what weight: by falling weight the order of
// the chosen differs from the order of choice.
TEST(RouterTest, CorrectionBiasTakesPartInTheChoiceOnly) {
  const Case c{"", RouterScore::kSigmoid, 4, 2, 1, 1, GroupScore::kMax, true};
  const Routed routed = run(c, {2, 1, 0, -1}, {-1, 0, 0.2f, 1}, {});
  EXPECT_EQ(routed.experts, (std::vector<int32_t>{1, 3}));
  EXPECT_NEAR(routed.weights[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(routed.weights[1], 1 / (1 + std::exp(1.0)), 1e-6);
}

TEST(RouterTest, EqualScoresGoToTheLowerIndex) {
  for (const Case& c : kCases) {
    std::vector<float> logits(c.experts, 0.5f);
    const std::vector<float> flat(c.experts, 0.25f);
    const Routed routed = run(c, logits, flat, flat);
    for (int i = 0; i < c.k; ++i) EXPECT_EQ(routed.experts[i], i) << c.name;
  }
  // Of equal groups too, and equal experts of groups that were chosen in another order.
  const Case c{"", RouterScore::kSoftmax, 6, 2, 3, 2};
  EXPECT_EQ(run(c, {1, 0, 1, 0, 1, 0}, {}, {}).experts, (std::vector<int32_t>{0, 2}));
  const Case two{"", RouterScore::kSigmoid, 6, 3, 3, 2, GroupScore::kTop2Sum};
  EXPECT_EQ(run(two, {1, 1, 0, 0, 1, 2}, {}, {}).experts, (std::vector<int32_t>{5, 0, 1}));
}

// An expert of a group that was not chosen is never chosen, also when every choice is negative:
// 0 in its place would win.
TEST(RouterTest, ExpertsOfOtherGroupsAreNeverChosen) {
  const Case c{"", RouterScore::kSigmoid, 6, 2, 3, 1, GroupScore::kTop2Sum, true};
  const Routed routed = run(c, {0, 0, 0, 0, 3, -3}, {-5, -5, -2, -2, -1, -9}, {});
  EXPECT_EQ(routed.experts, (std::vector<int32_t>{2, 3}));
}

TEST(RouterTest, BadLogitsGiveValidExperts) {
  for (const Case& c : kCases) {
    auto logits = random_values(3 * c.experts, 8, 2);
    logits[0] = NAN;
    std::fill_n(logits.begin() + c.experts, c.experts, NAN);
    logits[2 * c.experts] = INFINITY;
    const std::vector<float> flat(c.experts, 0.25f);
    const Routed routed = run(c, logits, flat, flat);
    for (int64_t t = 0; t < 3; ++t) {
      std::vector<int32_t> experts(routed.experts.begin() + t * c.k,
                                   routed.experts.begin() + (t + 1) * c.k);
      std::sort(experts.begin(), experts.end());
      EXPECT_GE(experts.front(), 0);
      EXPECT_LT(experts.back(), c.experts);
      EXPECT_EQ(std::adjacent_find(experts.begin(), experts.end()), experts.end()) << c.name;
    }
    EXPECT_TRUE(std::isnan(routed.weights[c.k])) << c.name;
  }
}

TEST(RouterTest, TokenHasTheSameBitsInEveryBatch) {
  for (const Case& c : kCases) {
    const int64_t tokens = 200;
    const auto logits = random_values(tokens * c.experts, 9, 3);
    const auto bias = random_values(c.experts, 4, 0.4f);
    const Routed all = run(c, logits, bias, bias, 1);
    for (const int threads : {2, 3}) {
      const Routed same = run(c, logits, bias, bias, threads);
      EXPECT_EQ(same.experts, all.experts);
      EXPECT_EQ(same.weights, all.weights);
    }
    const Routed alone =
        run(c, {logits.begin() + 77 * c.experts, logits.begin() + 78 * c.experts}, bias, bias);
    for (int i = 0; i < c.k; ++i) {
      EXPECT_EQ(alone.experts[i], all.experts[77 * c.k + i]);
      EXPECT_EQ(alone.weights[i], all.weights[77 * c.k + i]);
    }
  }
}

TEST(RouterTest, RefusesByName) {
  float values[16] = {};
  int32_t experts[16];
  const RouterParams good{.num_tokens = 1,
                          .num_experts = 8,
                          .num_experts_per_token = 2,
                          .logits = values,
                          .num_groups = 4,
                          .num_groups_per_token = 2,
                          .experts = experts,
                          .weights = values + 8};
  EXPECT_NO_THROW(router({}, good));
  const auto refused = [&](auto change, const char* name) {
    RouterParams p = good;
    change(&p);
    try {
      router({}, p);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_NE(error.text().find(name), std::string::npos) << error.text();
    }
  };
  refused([](auto* p) { p->num_experts_per_token = 9; }, "num_experts_per_token: 9");
  refused([](auto* p) { p->num_experts_per_token = 0; }, "num_experts_per_token: 0");
  refused([](auto* p) { p->num_groups = 3; }, "num_groups: 3");
  refused([](auto* p) { p->num_groups_per_token = 5; }, "num_groups_per_token: 5");
  refused([](auto* p) { p->num_experts_per_token = 5; }, "num_groups_per_token: 2");
  refused([](auto* p) { p->score = static_cast<RouterScore>(9); }, "score: 9");
  refused([](auto* p) { p->score = RouterScore::kNoisyNetwork; }, "noise");
  refused([](auto* p) { p->logits = nullptr; }, "logits");
}

}  // namespace
}  // namespace sluice
