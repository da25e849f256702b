// What positions alone decide, and the choice of the largest scores.
#include "ops/adaptive_attention/pattern.h"

#include "ops/adaptive_attention/adaptive_fixture.h"
#include "ops/adaptive_attention/adaptive_kernel.h"

namespace sluice {
namespace {

TEST(AdaptivePatternTest, RandomBlocksAreThoseOfTheDefinition) {
  const AdaptivePattern pattern{.kind = AdaptiveKind::kBlockSparse,
                                .sparse_block_size = 4,
                                .num_global_blocks = 1,
                                .num_local_blocks = 2,
                                .num_random_blocks = 2,
                                .random_block_seed = 2024,
                                .layer = 1};
  const std::vector<std::vector<int32_t>> wanted = {{},     {},     {},     {1},   {2, 1},
                                                    {1, 3}, {1, 3}, {3, 5}, {3, 1}};
  for (size_t b = 0; b < wanted.size(); ++b) {
    std::vector<int32_t> blocks(2), scratch(4);
    blocks.resize(static_cast<size_t>(
        random_blocks(pattern, static_cast<int64_t>(b), blocks.data(), scratch.data())));
    EXPECT_EQ(blocks, wanted[b]) << "block " << b;
  }
}

TEST(AdaptivePatternTest, SpansAreTheVisibleBlocks) {
  for (const int32_t globals : {0, 1, 4}) {
    for (const int32_t locals : {1, 3}) {
      for (const int32_t randoms : {0, 1, 5, 40}) {
        for (int64_t b = 0; b < 60; ++b) {
          const AdaptivePattern pattern{.kind = AdaptiveKind::kBlockSparse,
                                        .sparse_block_size = 3,
                                        .num_global_blocks = globals,
                                        .num_local_blocks = locals,
                                        .num_random_blocks = randoms,
                                        .random_block_seed = 99};
          std::vector<KeySpan> spans(static_cast<size_t>(max_sparse_spans(pattern, 3 * b + 1)));
          std::vector<int32_t> scratch(
              static_cast<size_t>(sparse_scratch_ints(pattern, 3 * b + 1)));
          const int64_t n = sparse_spans(pattern, b, spans.data(), scratch.data());
          ASSERT_LE(n, static_cast<int64_t>(spans.size()));
          std::set<int64_t> listed;
          int64_t last = -1;
          for (int64_t i = 0; i < n; ++i) {
            const KeySpan& span = spans[static_cast<size_t>(i)];
            ASSERT_GT(span.begin, last);
            ASSERT_LT(span.begin, span.end);
            ASSERT_EQ(span.begin % 3 + span.end % 3, 0);
            for (int64_t k = span.begin / 3; k < span.end / 3; ++k) listed.insert(k);
            last = span.end;
          }
          std::set<int64_t> wanted;
          for (const int64_t k : testing::visible_blocks(pattern, b)) {
            if (k >= 0 && k <= b) wanted.insert(k);
          }
          ASSERT_EQ(listed, wanted) << "block " << b;
        }
      }
    }
  }
}

TEST(KeepLargestTest, KeepsTheOrderAndTheEarlierOfEqualScores) {
  testing::Random random(5);
  for (const Isa isa : testing::isas()) {
    const auto keep_largest = SLUICE_SELECT_ISA(isa, keep_largest);
    for (int round = 0; round < 3000; ++round) {
      const size_t n = static_cast<size_t>(1 + random.below(round % 10 == 0 ? 500 : 40));
      const size_t count = static_cast<size_t>(1 + random.below(static_cast<int64_t>(n)));
      std::vector<float> scores;
      std::vector<int32_t> ids, order(n);
      const int64_t kinds = round % 3;
      for (size_t i = 0; i < n; ++i) {
        // Few values, both zeros among them; many; and of all magnitudes.
        const float few =
            static_cast<float>(random.below(7) - 3) * (random.below(2) ? 0.5f : -0.5f);
        const float many = random.value();
        const float wide = std::ldexp(many, static_cast<int>(random.below(250)) - 140);
        scores.push_back(kinds == 0 ? few : kinds == 1 ? many : wide);
        if (random.below(50) == 0) scores.back() = std::numeric_limits<float>::infinity();
        if (random.below(50) == 0) scores.back() = -std::numeric_limits<float>::infinity();
        ids.push_back(static_cast<int32_t>(100 + i));
        order[i] = static_cast<int32_t>(i);
      }
      const std::vector<float> before = scores;
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return before[static_cast<size_t>(a)] > before[static_cast<size_t>(b)];
      });
      const float least = before[static_cast<size_t>(order[count - 1])];
      std::sort(order.begin(), order.begin() + static_cast<int64_t>(count));
      scores.resize(n + 15, std::numeric_limits<float>::quiet_NaN());
      ids.resize(n + 15, -1);
      ASSERT_LE(keep_largest(scores.data(), ids.data(), static_cast<int64_t>(n),
                             static_cast<int64_t>(count)),
                least);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(ids[i], 100 + order[i]) << "n " << n << " count " << count;
        ASSERT_EQ(scores[i], before[static_cast<size_t>(order[i])]);
      }
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    float scores[20] = {1, nan, 3, 2};
    int32_t ids[20] = {0, 1, 2, 3};
    keep_largest(scores, ids, 4, 2);
    EXPECT_EQ(ids[0], 1);
    EXPECT_EQ(ids[1], 2);
    float nans[20] = {nan, nan, 3, nan};
    int32_t more[20] = {0, 1, 2, 3};
    keep_largest(nans, more, 4, 2);
    EXPECT_EQ(more[0], 0);
    EXPECT_EQ(more[1], 1);
  }
}

}  // namespace
}  // namespace sluice
