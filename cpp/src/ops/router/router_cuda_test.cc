// CUDA against the CPU's op. Scores agree within rounding; the choice is compared exactly, by giving
// the CPU the scores that CUDA made.
#include "base/error.h"
#include "ops/router/router.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

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
    {"softmax_normalized", RouterScore::kSoftmax, 128, 8, 1, 1, GroupScore::kMax, false, true},
    {"one_expert", RouterScore::kSoftmax, 1, 1},
    {"all_experts", RouterScore::kSoftmax, 7, 7, 1, 1, GroupScore::kMax, false, true, 1e-3f, 2.5f},
    {"most_choices", RouterScore::kSoftmax, 130, 64},
    {"most_choices_biased", RouterScore::kSigmoid, 512, 64, 1, 1, GroupScore::kMax, true, true},
    {"most_experts", RouterScore::kSoftmax, 2048, 10, 64, 40, GroupScore::kTop2Sum},
    {"group_max", RouterScore::kSoftmax, 64, 6, 8, 3, GroupScore::kMax, false, false, 0, 16},
    {"group_max_all_of_one", RouterScore::kSoftmax, 12, 3, 4, 1},
    {"many_groups", RouterScore::kSoftmax, 384, 8, 96, 33},
    {"sigmoid", RouterScore::kSigmoid, 16, 4, 1, 1, GroupScore::kMax, false, true, 1e-20f},
    {"sigmoid_bias", RouterScore::kSigmoid, 16, 4, 1, 1, GroupScore::kMax, true},
    {"sigmoid_groups", RouterScore::kSigmoid, 256, 8, 8, 4, GroupScore::kTop2Sum, true, true,
     1e-20f, 2.5f},
    {"sigmoid_group_max", RouterScore::kSigmoid, 24, 5, 3, 2, GroupScore::kMax, true},
    {"topk_softmax", RouterScore::kTopKSoftmax, 32, 4},
    {"topk_softmax_scaled", RouterScore::kTopKSoftmax, 200, 40, 1, 1, GroupScore::kMax, false,
     false, 0, 0.5f},
    {"noisy", RouterScore::kNoisyNetwork, 8, 2},
    {"noisy_normalized", RouterScore::kNoisyNetwork, 80, 3, 1, 1, GroupScore::kMax, false, true},
};

struct Routed {
  std::vector<float> scores, weights;
  std::vector<int32_t> experts;
};

RouterParams params_of(const Case& c, int64_t tokens) {
  RouterParams params;
  params.score = c.score;
  params.num_tokens = tokens;
  params.num_experts = c.experts;
  params.num_experts_per_token = c.k;
  params.normalize = c.normalize;
  params.normalize_epsilon = c.epsilon;
  params.scaling_factor = c.scaling;
  params.num_groups = c.groups;
  params.num_groups_per_token = c.groups_per_token;
  params.group_score = c.group_score;
  return params;
}

Routed on_cpu(const Case& c, RouterScore score, std::vector<float> logits,
              const std::vector<float>& bias, const std::vector<float>& noise) {
  const auto tokens = static_cast<int64_t>(logits.size()) / c.experts;
  Routed out{std::move(logits), std::vector<float>(tokens * c.k),
             std::vector<int32_t>(tokens * c.k)};
  RouterParams params = params_of(c, tokens);
  params.score = score;
  params.logits = out.scores.data();
  params.noise = noise.data();
  params.correction_bias = c.bias ? bias.data() : nullptr;
  params.experts = out.experts.data();
  params.weights = out.weights.data();
  router(exec_of(Isa::kPortable, 1), params);
  return out;
}

Routed on_gpu(const Case& c, const std::vector<float>& logits, const std::vector<float>& bias,
              const std::vector<float>& noise) {
  const auto tokens = static_cast<int64_t>(logits.size()) / c.experts;
  const DeviceArray<float> scores(logits), device_bias(bias), device_noise(noise);
  const DeviceArray<float> weights(tokens * c.k);
  const DeviceArray<int32_t> experts(tokens * c.k);
  RouterParams params = params_of(c, tokens);
  params.logits = scores.get();
  params.noise = device_noise.get();
  params.correction_bias = c.bias ? device_bias.get() : nullptr;
  params.experts = experts.get();
  params.weights = weights.get();
  router(cuda_exec(), params);
  return {scores.host(), weights.host(), experts.host()};
}

std::vector<float> random_values(int64_t count, uint64_t seed, float scale) {
  Random random(seed);
  std::vector<float> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(scale * random.value());
  return out;
}

bool near(double actual, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  return actual == expected ||
         std::abs(actual - expected) <= tolerance * std::abs(expected) + 1e-12;
}

void compare(const Case& c, const std::vector<float>& logits, const std::vector<float>& bias,
             const std::vector<float>& noise) {
  SCOPED_TRACE(c.name);
  const Routed wanted = on_cpu(c, c.score, logits, bias, noise);
  const Routed actual = on_gpu(c, logits, bias, noise);
  for (size_t i = 0; i < logits.size(); ++i) {
    ASSERT_TRUE(near(actual.scores[i], wanted.scores[i], 1e-5))
        << "score " << i << ": " << actual.scores[i] << ", expected " << wanted.scores[i];
  }
  const Routed decided = on_cpu(c, RouterScore::kTopKSoftmax, actual.scores, bias, noise);
  ASSERT_EQ(actual.experts, decided.experts);
  const auto tokens = logits.size() / static_cast<size_t>(c.experts);
  const auto k = static_cast<size_t>(c.k);
  for (size_t t = 0; t < tokens; ++t) {
    double sum = double{c.epsilon};
    const auto score = [&](size_t i) {
      return double{actual.scores[t * c.experts + actual.experts[t * k + i]]};
    };
    for (size_t i = 0; i < k; ++i) sum += score(i);
    for (size_t i = 0; i < k; ++i) {
      double weight = c.normalize ? score(i) / sum : score(i);
      weight *= double{c.scaling};
      if (c.score == RouterScore::kTopKSoftmax) weight = decided.weights[t * k + i];
      ASSERT_TRUE(near(actual.weights[t * k + i], weight, 4e-6))
          << "token " << t << " choice " << i << ": " << actual.weights[t * k + i] << ", expected "
          << weight;
    }
  }
}

TEST(CudaRouter, EqualsTheCpu) {
  for (const Case& c : kCases) {
    for (const int64_t tokens : {1, 131}) {
      auto logits = random_values(tokens * c.experts, 3 + tokens, 4);
      // Coarse scores are equal often; a last row of logits that are all equal.
      if (tokens > 1) {
        for (int64_t i = 0; i < 50 * c.experts; ++i) logits[i] = std::round(2 * logits[i]);
        for (int32_t e = 0; e < c.experts; ++e) logits[130 * c.experts + e] = 0.5f;
      }
      compare(c, logits, random_values(c.experts, 4, 0.4f), random_values(c.experts, 5, 0.3f));
    }
  }
}

TEST(CudaRouter, BadLogitsGiveValidExpertsAndNanWeights) {
  for (const Case& c : kCases) {
    auto logits = random_values(4 * c.experts, 8, 2);
    logits[c.experts / 2] = NAN;
    std::fill_n(logits.begin() + c.experts, c.experts, NAN);
    logits[2 * c.experts] = INFINITY;
    logits[3 * c.experts] = -INFINITY;
    const std::vector<float> flat(c.experts, 0.25f);
    compare(c, logits, flat, flat);
    EXPECT_TRUE(std::isnan(on_gpu(c, logits, flat, flat).weights[c.k])) << c.name;
  }
}

TEST(CudaRouter, TokenHasTheSameBitsInEveryBatch) {
  for (const Case& c : kCases) {
    const auto logits = random_values(60 * c.experts, 9, 3);
    const auto bias = random_values(c.experts, 4, 0.4f);
    const Routed all = on_gpu(c, logits, bias, bias);
    const Routed alone = on_gpu(
        c, {logits.begin() + 33 * c.experts, logits.begin() + 34 * c.experts}, bias, bias);
    for (int i = 0; i < c.k; ++i) {
      EXPECT_EQ(alone.experts[i], all.experts[33 * c.k + i]);
      EXPECT_EQ(alone.weights[i], all.weights[33 * c.k + i]);
    }
  }
}

TEST(CudaRouter, RefusesTooManyExperts) {
  float value = 0;
  int32_t expert = 0;
  RouterParams params;
  params.num_tokens = 1;
  params.num_experts = 2049;
  params.num_experts_per_token = 1;
  params.logits = params.weights = &value;
  params.experts = &expert;
  EXPECT_THROW(router(cuda_exec(), params), Error);
}

}  // namespace
}  // namespace sluice
