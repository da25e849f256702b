#include "ops/permute/permute.h"

#include <algorithm>

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Random;

struct Permuted {
  std::vector<int32_t> offsets, tokens, choices, rows;
  Permuted(int32_t num_experts, int32_t k, const std::vector<int32_t>& experts,
           const std::vector<uint8_t>& kept)
      : offsets(num_experts + 1, -7),
        tokens(experts.size(), -7),
        choices(experts.size(), -7),
        rows(experts.size(), -7) {
    permute({}, {.num_tokens = static_cast<int64_t>(experts.size()) / k,
             .num_experts = num_experts,
             .num_experts_per_token = k,
             .experts = experts.data(),
             .kept = kept.empty() ? nullptr : kept.data(),
             .expert_offsets = offsets.data(),
             .row_tokens = tokens.data(),
             .row_choices = choices.data(),
             .choice_rows = rows.data()});
  }
};

TEST(PermuteTest, SortsByExpertAndKeepsTheOrderOfTokens) {
  const std::vector<int32_t> experts = {2, 0, 4, 2, 2, 4};  // 1 and 3: none
  const Permuted all(5, 2, experts, {});
  EXPECT_EQ(all.offsets, (std::vector<int32_t>{0, 1, 1, 4, 4, 6}));
  EXPECT_EQ(all.tokens, (std::vector<int32_t>{0, 0, 1, 2, 1, 2}));
  EXPECT_EQ(all.choices, (std::vector<int32_t>{1, 0, 3, 4, 2, 5}));
  EXPECT_EQ(all.rows, (std::vector<int32_t>{1, 0, 4, 2, 3, 5}));
  const Permuted some(5, 2, experts, {1, 0, 1, 0, 1, 1});
  EXPECT_EQ(some.offsets, (std::vector<int32_t>{0, 0, 0, 2, 2, 4}));
  EXPECT_EQ(some.rows, (std::vector<int32_t>{0, -1, 2, -1, 1, 3}));
  EXPECT_EQ(some.choices, (std::vector<int32_t>{0, 4, 2, 5, -7, -7}));
}

TEST(PermuteTest, RandomChoicesInvert) {
  Random random(3);
  for (const int32_t num_experts : {1, 3, 64}) {
    for (const int64_t tokens : {0, 1, 2, 500}) {
      const int32_t k = 6;
      std::vector<int32_t> experts;
      std::vector<uint8_t> kept;
      for (int64_t i = 0; i < tokens * k; ++i) {
        experts.push_back(static_cast<int32_t>(random.below(num_experts)));
        kept.push_back(random.below(4) != 0);
      }
      const Permuted p(num_experts, k, experts, kept);
      EXPECT_EQ(p.offsets[num_experts], std::count(kept.begin(), kept.end(), 1));
      for (int32_t e = 0; e < num_experts; ++e) {
        for (int32_t r = p.offsets[e]; r < p.offsets[e + 1]; ++r) {
          ASSERT_EQ(experts[p.choices[r]], e);
          ASSERT_EQ(p.tokens[r], p.choices[r] / k);
          ASSERT_EQ(p.rows[p.choices[r]], r);
          if (r > p.offsets[e]) {
            ASSERT_GT(p.choices[r], p.choices[r - 1]);
          }
        }
      }
      for (size_t c = 0; c < kept.size(); ++c) ASSERT_EQ(p.rows[c] >= 0, kept[c] == 1);
    }
  }
  const std::vector<int32_t> bad = {0, 3};
  EXPECT_THROW(Permuted(3, 2, bad, {}), Error);
}

TEST(UnpermuteTest, AgreesWithDoubleAndHasTheSameBitsInEveryBatch) {
  Random random(5);
  const int64_t tokens = 90, num_rows = 300;
  const int32_t k = 3;
  for (const int64_t cols : {1, 16, 70, 515}) {
    const int64_t stride = cols + 2;
    std::vector<float> rows(num_rows * stride, NAN);
    for (int64_t r = 0; r < num_rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) rows[r * stride + c] = random.value();
    }
    std::vector<int32_t> index;
    std::vector<float> weights;
    for (int64_t i = 0; i < tokens * k; ++i) {
      index.push_back(
          i % k != 0 && random.below(3) == 0 ? -1 : static_cast<int32_t>(random.below(num_rows)));
      weights.push_back(random.value());
    }
    std::fill_n(index.begin() + 7 * k, k, -1);  // token 7: every choice dropped
    for (const Isa isa : testing::isas()) {
      for (const bool weighted : {true, false}) {
        const auto run = [&](int64_t first, int64_t count, int threads) {
          std::vector<float> y(tokens * cols, 0.25f);
          unpermute(testing::exec_of(isa, threads),
                    {.num_tokens = count,
                     .num_experts_per_token = k,
                     .choice_rows = index.data() + first * k,
                     .weights = weighted ? weights.data() + first * k : nullptr,
                     .rows = rows.data(),
                     .row_stride = stride,
                     .cols = cols,
                     .multiplier = 0.6f,
                     .y = y.data() + first * cols,
                     .y_stride = cols});
          return y;
        };
        const std::vector<float> all = run(0, tokens, 2);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t c = 0; c < cols; ++c) {
            double sum = 0;
            for (int32_t i = 0; i < k; ++i) {
              const int32_t row = index[t * k + i];
              if (row < 0) continue;
              const double weight = weighted ? weights[t * k + i] : 1;
              sum += weight * double{rows[row * stride + c]};
            }
            ASSERT_NEAR(all[t * cols + c], 0.25 + double{0.6f} * sum, 1e-6);
          }
        }
        for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(all[7 * cols + c], 0.25f);
        for (const int threads : {1, 3}) EXPECT_EQ(run(0, tokens, threads), all);
        const std::vector<float> alone = run(40, 1, 2);
        for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(alone[40 * cols + c], all[40 * cols + c]);
      }
    }
  }
}

}  // namespace
}  // namespace sluice
