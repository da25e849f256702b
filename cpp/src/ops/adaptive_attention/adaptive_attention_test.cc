#include "ops/adaptive_attention/adaptive_attention.h"

#include "base/error.h"
#include "ops/adaptive_attention/adaptive_fixture.h"
#include "ops/adaptive_attention/adaptive_patterns.h"

namespace sluice {
namespace {

using testing::AdaptiveConfig;
using testing::AdaptiveFixture;
using testing::kPatterns;
using testing::NamedPattern;

void check_everywhere(AdaptiveConfig setup) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    setup.format = format;
    AdaptiveFixture fixture(setup);
    const std::vector<size_t> which = all_of(setup);
    for (const Isa isa : testing::isas()) {
      SCOPED_TRACE(concat(format_name(format), " ", isa_name(isa)));
      AdaptiveFixture::Result traced = fixture.run(testing::exec_of(isa, 2), which, true);
      fixture.check(traced, which);
      if (::testing::Test::HasFatalFailure()) return;
      // Without a trace closed gates skip their work, and nothing else changes.
      AdaptiveFixture::Result plain = fixture.run(testing::exec_of(isa, 2), which, false);
      expect_same_bits(plain, traced, 0, setup.heads * setup.v_dim);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

class AdaptiveAttentionTest : public ::testing::TestWithParam<NamedPattern> {};

TEST_P(AdaptiveAttentionTest, EqualsTheDefinition) {
  check_everywhere({.sequences = {{37, 37}, {1, 1}, {1, 130}, {50, 210}, {1, 64}, {3, 65}},
                    .pattern = GetParam().pattern});
}

TEST_P(AdaptiveAttentionTest, BlocksOfEverySize) {
  for (const int32_t block_size : {4, 8, 32, 256}) {
    SCOPED_TRACE(block_size);
    check_everywhere({.sequences = {{9, 83}, {1, 9}, {2, 300}},
                      .pattern = GetParam().pattern,
                      .heads = 2,
                      .block_size = block_size});
  }
}

// One position a head and more positions than keys; head sizes that are no multiples of 16.
TEST_P(AdaptiveAttentionTest, RelativePositionsAndHeadSizes) {
  for (const int32_t relative_positions : {1, 17, 500}) {
    SCOPED_TRACE(relative_positions);
    check_everywhere({.sequences = {{7, 100}, {1, 70}},
                      .pattern = GetParam().pattern,
                      .heads = 2,
                      .k_dim = 8,
                      .v_dim = 8,
                      .relative_positions = relative_positions});
  }
  for (const int32_t dim : {33, 128, 256}) {
    SCOPED_TRACE(dim);
    check_everywhere({.sequences = {{5, 90}},
                      .pattern = GetParam().pattern,
                      .heads = 1,
                      .k_dim = dim,
                      .v_dim = dim,
                      .gate = false});
  }
}

// Bits must not depend on the batch, on where chunks of queries begin, or on the number of threads.
TEST_P(AdaptiveAttentionTest, BitsDependOnTheRowAlone) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    const AdaptiveConfig setup{.sequences = {{70, 400}, {1, 333}, {33, 33}},
                               .pattern = GetParam().pattern,
                               .heads = 2,
                               .format = format};
    AdaptiveFixture fixture(setup);
    for (const Isa isa : testing::isas()) {
      SCOPED_TRACE(concat(format_name(format), " ", isa_name(isa)));
      AdaptiveFixture::Result together = fixture.run(testing::exec_of(isa, 2), {0, 1, 2}, false);
      const int64_t values = setup.heads * setup.v_dim;
      for (const int threads : {1, 5}) {
        AdaptiveFixture::Result second = fixture.run(testing::exec_of(isa, threads), {1}, false);
        expect_same_bits(second, together, 70, values);
        AdaptiveFixture::Result third = fixture.run(testing::exec_of(isa, threads), {2}, false);
        expect_same_bits(third, together, 71, values);
        for (int64_t begin = 0; begin < 70; begin += begin == 0 ? 1 : 23) {
          const int64_t end = begin == 0 ? 1 : std::min<int64_t>(begin + 23, 70);
          AdaptiveFixture::Result chunk =
              fixture.run(testing::exec_of(isa, threads), {0}, false, begin, end);
          expect_same_bits(chunk, together, begin, values);
        }
        if (::testing::Test::HasFatalFailure()) return;
      }
      // One token at a time.
      for (int64_t t = 0; t < 33; ++t) {
        AdaptiveFixture::Result one = fixture.run(testing::exec_of(isa, 1), {2}, false, t, t + 1);
        expect_same_bits(one, together, 71 + t, values);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// A mask that is given decides, whatever the pattern would keep.
TEST_P(AdaptiveAttentionTest, ReplayedMasks) {
  const AdaptiveConfig setup{.sequences = {{260, 420}, {1, 90}, {5, 5}},
                             .pattern = GetParam().pattern};
  AdaptiveFixture fixture(setup);
  const AdaptiveFixture::Result first =
      fixture.run(testing::exec_of(detect_isa(), 2), {0, 1, 2}, true);
  // The pattern asks for other keys now; only the masks know those that are in the cache.
  AdaptivePattern& pattern = fixture.setup().pattern;
  pattern.window += 20;
  pattern.top_k += 3;
  pattern.num_random_blocks += 2;
  pattern.block_keep_percent = 60;
  const AdaptiveFixture::Result again =
      fixture.run(testing::exec_of(detect_isa(), 2), {0, 1, 2}, true, 0, -1, &first);
  fixture.setup().pattern = setup.pattern;
  ASSERT_EQ(again.keep, first.keep);
  fixture.check(again, {0, 1, 2});
}

INSTANTIATE_TEST_SUITE_P(Kinds, AdaptiveAttentionTest, ::testing::ValuesIn(kPatterns),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(AdaptiveDensityTest, FromNoneToAll) {
  for (const double density : {0.0, 0.01, 0.6, 1.0}) {
    for (const int32_t window : {1, 25, 100}) {
      SCOPED_TRACE(concat("density ", density, " window ", window));
      check_everywhere({.sequences = {{60, 290}, {2, 200}},
                        .pattern = {.kind = AdaptiveKind::kDensity, .window = window},
                        .heads = 2,
                        .density = density});
    }
  }
}

// Scores of one row take more memory than rows share: fewer rows in a tile, at last one.
TEST(AdaptiveLongContextTest, ScoresOfFewRowsAtATime) {
  for (const auto& [context, queries] : {std::pair{9000, 40}, {210000, 2}}) {
    for (const AdaptivePattern& pattern :
         {AdaptivePattern{.kind = AdaptiveKind::kTopK, .top_k = 100},
          AdaptivePattern{.kind = AdaptiveKind::kTopK, .top_k = 150000},
          AdaptivePattern{.kind = AdaptiveKind::kBlockTopK,
                          .sparse_block_size = 48,
                          .block_keep_percent = 4}}) {
      const AdaptiveConfig setup{.sequences = {{queries, context}},
                                 .pattern = pattern,
                                 .heads = 1,
                                 .k_dim = 4,
                                 .v_dim = 4,
                                 .block_size = 256,
                                 .gate = false};
      AdaptiveFixture fixture(setup);
      fixture.check(fixture.run(testing::exec_of(detect_isa(), 2), {0}, true), {0});
      if (HasFatalFailure()) return;
    }
  }
}

// All keys alike and one bias for all distances: the lower index wins everywhere.
TEST(AdaptiveTiesTest, TheLowerIndexWins) {
  for (const int32_t top_k : {3, 40}) {
    const AdaptiveConfig setup{.sequences = {{30, 300}},
                               .pattern = {.kind = AdaptiveKind::kTopK, .top_k = top_k},
                               .relative_positions = 1,
                               .equal_keys = true};
    AdaptiveFixture fixture(setup);
    for (const Isa isa : testing::isas()) {
      const AdaptiveFixture::Result result = fixture.run(testing::exec_of(isa, 2), {0}, true);
      for (int64_t t = 0; t < 30; ++t) {
        for (int64_t h = 0; h < 3; ++h) {
          for (int64_t j = 0; j <= 270 + t; ++j) {
            ASSERT_EQ(result.kept(t, h, j), j < top_k) << "token " << t << " key " << j;
          }
        }
      }
    }
  }
  const AdaptiveConfig setup{.sequences = {{30, 300}},
                             .pattern = {.kind = AdaptiveKind::kBlockTopK,
                                         .sparse_block_size = 9,
                                         .block_keep_percent = 30},
                             .relative_positions = 1,
                             .equal_keys = true};
  AdaptiveFixture fixture(setup);
  for (const Isa isa : testing::isas()) {
    const AdaptiveFixture::Result result = fixture.run(testing::exec_of(isa, 2), {0}, true);
    for (int64_t t = 0; t < 30; ++t) {
      const int64_t own = (270 + t) / 9, kept = (30 * (own + 1) + 99) / 100;
      for (int64_t j = 0; j <= 270 + t; ++j) {
        ASSERT_EQ(result.kept(t, 1, j), j / 9 < kept - 1 || j / 9 == own) << "key " << j;
      }
    }
  }
}

// Blocks of the KV cache that no query may see need not be there.
TEST(AdaptiveBlocksTest, DroppedBlocksMayBeUnmapped) {
  AdaptiveConfig setup{.sequences = {{4, 200}},
                       .pattern = {.kind = AdaptiveKind::kSlidingWindow, .window = 40}};
  AdaptiveFixture window(setup);
  const AdaptiveFixture::Result before = window.run(testing::exec_of(detect_isa(), 2), {0}, true);
  for (int64_t b = 0; b < (196 - 39) / 16; ++b) window.entry(0, b) = -1;
  window.check(window.run(testing::exec_of(detect_isa(), 2), {0}, true), {0});
  window.entry(0, (196 - 39) / 16) = -1;
  EXPECT_THROW(window.run(testing::exec_of(detect_isa(), 2), {0}, true), Error);

  setup.pattern = {.kind = AdaptiveKind::kBlockSparse,
                   .sparse_block_size = 16,
                   .num_global_blocks = 1,
                   .num_local_blocks = 2,
                   .num_random_blocks = 2};
  AdaptiveFixture blocks(setup);
  const std::set<int64_t> visible = testing::visible_blocks(setup.pattern, 12);
  for (int64_t b = 0; b < 12; ++b) {
    if (visible.count(b) == 0) blocks.entry(0, b) = -1;
  }
  blocks.check(blocks.run(testing::exec_of(detect_isa(), 2), {0}, true), {0});
  blocks.entry(0, 0) = 99999;
  EXPECT_THROW(blocks.run(testing::exec_of(detect_isa(), 2), {0}, true), Error);
}

void expect_refused(AdaptivePattern pattern, const char* text) {
  const AdaptiveConfig setup{.sequences = {{2, 20}}, .pattern = pattern};
  AdaptiveFixture fixture({.sequences = {{2, 20}}, .pattern = {.kind = AdaptiveKind::kFull}});
  fixture.setup().pattern = pattern;
  try {
    fixture.run(testing::exec_of(detect_isa(), 1), {0}, false);
    FAIL() << text;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(AdaptiveRefusalTest, NamesTheField) {
  expect_refused({.kind = AdaptiveKind::kSlidingWindow}, "window: 0 (expected: at least 1)");
  expect_refused({.kind = AdaptiveKind::kDensity}, "window: 0 (expected: at least 1)");
  expect_refused({.kind = AdaptiveKind::kTopK}, "top_k: 0 (expected: at least 1)");
  expect_refused({.kind = AdaptiveKind::kBlockSparse, .sparse_block_size = 4},
                 "num_local_blocks: 0 (expected: at least 1)");
  expect_refused(
      {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 4, .block_keep_percent = 101},
      "block_keep_percent: 101 (expected: 0 to 100)");
}

}  // namespace
}  // namespace sluice
