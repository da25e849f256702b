// Rows with drafts; everything else of sampling is in sampling_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ops/sampling/sampling_fixture.h"

namespace sluice {
namespace {

// Logits of which each position has one that wins by far, and drafts that name them.
struct Drafted : Batch {
  explicit Drafted(int drafts) : Batch{50, {}, {greedy_row()}} {
    max_drafts = 4;
    first_logits = {0};
    token_ids = {3};
    rows[0].draft_len = drafts;
    rows[0].flags = SLUICE_OUTPUT_FLAG_LOGPROB;
    rows[0].top_n = 2;
    for (int i = 0; i <= drafts; ++i) {
      auto x = random_logits(50, 30 + i, 0.5f);
      x[10 + i] = 9;
      logits.insert(logits.end(), x.begin(), x.end());
      token_ids.push_back(10 + i);
    }
  }
};

TEST(Drafts, DraftsAreAcceptedUpToTheFirstUnequalOne) {
  for (const int wrong : {0, 1, 2, 3}) {
    Drafted run(3);
    run.token_ids[1 + wrong] = 7;  // 3: behind the last draft, not looked at
    run();
    EXPECT_EQ(run.finite[0], 1);
    ASSERT_EQ(run.accepted[0], 1 + wrong);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(run.tokens[i], i <= wrong ? 10 + i : 0);
      EXPECT_EQ(run.rank[i], 0);
      if (i > wrong) {
        EXPECT_EQ(run.logprob[i], 0);
        continue;
      }
      Batch alone{
          50, {run.logits.begin() + i * 50, run.logits.begin() + (i + 1) * 50}, {run.rows[0]}};
      alone.rows[0].draft_len = 0;
      alone();
      EXPECT_EQ(run.logprob[i], alone.logprob[0]);
      EXPECT_EQ(run.top_token[i * 4], 10 + i);
      EXPECT_EQ(run.top_logprob[i * 4 + 1], alone.top_logprob[1]);
    }
  }
}

TEST(Drafts, OnlyAcceptedTokensAreCounted) {
  Drafted run(3);
  run.token_ids[2] = 7;
  TokenCounts counts(1, 50, 16);
  run.counts = &counts;
  run.rows[0].flags |= SLUICE_OUTPUT_FLAG_COUNT;
  run();
  ASSERT_EQ(run.accepted[0], 2);
  for (int t = 0; t < 50; ++t) EXPECT_EQ(counts.find(0, t).output, t == 10 || t == 11) << t;
}

// A draft that the model answers with a number that is none makes the row unusable, even one that
// would have been rejected.
TEST(Drafts, DraftsMustBeFinite) {
  for (const int wrong : {0, 3}) {
    Drafted run(3);
    run.token_ids[1 + wrong] = 7;
    run.logits[3 * 50 + 44] = NAN;
    TokenCounts counts(1, 50, 16);
    run.counts = &counts;
    run.rows[0].flags |= SLUICE_OUTPUT_FLAG_COUNT;
    run();
    EXPECT_EQ(run.finite[0], 0);
    EXPECT_EQ(run.accepted[0], 0);
    EXPECT_EQ(run.tokens, std::vector<int32_t>(5));
    EXPECT_EQ(counts.find(0, 10).output, 0);
  }
}

// The masks of drafts that are not reached are not looked at; one that allows nothing ends the row.
TEST(Drafts, EachDraftHasItsMask) {
  Drafted run(3);
  run.rows[0].mask_index = 1;
  run.masks.assign(5 * 2, 0xffffffffu);
  run.masks[0] = run.masks[1] = 0;   // another row's
  run.masks[(1 + 2) * 2] = 1u << 5;  // of the token behind draft 2
  run.masks[(1 + 2) * 2 + 1] = 0;
  run.masks[(1 + 3) * 2] = run.masks[(1 + 3) * 2 + 1] = 0;
  Drafted again = run;
  run();
  EXPECT_EQ(run.accepted[0], 3);
  EXPECT_EQ(run.tokens, (std::vector<int32_t>{10, 11, 5, 0, 0}));
  again.masks[(1 + 2) * 2] = 0;
  Drafted at_once = again;
  again();
  EXPECT_EQ(again.finite[0], 1);
  EXPECT_EQ(again.accepted[0], 2);
  at_once.masks[2] = at_once.masks[3] = 0;
  at_once();
  EXPECT_EQ(at_once.finite[0], 2);
  EXPECT_EQ(at_once.accepted[0], 0);
}

}  // namespace
}  // namespace sluice
