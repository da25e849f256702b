#include "ops/sampling/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ops/sampling/sampling_fixture.h"

namespace sluice {
namespace {

/// The rules of sluice_output_row in double, by sorting everything.
int32_t reference(std::vector<double> x, const sluice_output_row& row) {
  std::vector<int32_t> order;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] != -std::numeric_limits<double>::infinity()) order.push_back(static_cast<int32_t>(i));
  }
  if (order.empty()) return -1;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return x[a] > x[b]; });
  if (row.temperature == 0) return order[0];
  const auto weight = [&](int32_t t) { return std::exp((x[t] - x[order[0]]) / row.temperature); };
  if (row.top_k > 0 && order.size() > static_cast<size_t>(row.top_k)) order.resize(row.top_k);
  const auto sum = [&] {
    double s = 0;
    for (int32_t t : order) s += weight(t);
    return s;
  };
  if (row.top_p < 1) {
    const double wanted = row.top_p * sum();
    double s = 0;
    size_t keep = 0;
    while (keep < order.size() && s < wanted) s += weight(order[keep++]);
    order.resize(std::max<size_t>(keep, 1));
  }
  if (row.min_p > 0) {
    size_t keep = 0;
    while (keep < order.size() && weight(order[keep]) >= row.min_p) ++keep;
    order.resize(std::max<size_t>(keep, 1));
  }
  const double wanted = philox_uniform(row.seed, row.draw_position, 0) * sum();
  double s = 0;
  for (int32_t t : order) {
    s += weight(t);
    if (s > wanted) return t;
  }
  return order.back();
}

std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (int i = 0; i <= static_cast<int>(detect_isa()); ++i) all.push_back(static_cast<Isa>(i));
  return all;
}

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  const PhiloxBlock zero = philox4x32_10(0, 0, 0);
  EXPECT_EQ(zero.x[0], 0x6627e8d5u);
  EXPECT_EQ(zero.x[1], 0xe169c58du);
  EXPECT_EQ(zero.x[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.x[3], 0x9b00dbd8u);
  const PhiloxBlock ones = philox4x32_10(~0ull, ~0ull, ~0ull);
  EXPECT_EQ(ones.x[0], 0x408f276du);
  EXPECT_EQ(ones.x[1], 0x41c83b0eu);
  EXPECT_EQ(ones.x[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.x[3], 0x6d5451fdu);
}

TEST(Sampling, GreedyTakesTheLargestAndTheLowerOfEqualOnes) {
  for (Isa isa : isas()) {
    for (int vocab : {1, 2, 15, 16, 17, 33, 1000}) {
      for (int best : {0, vocab / 2, vocab - 1}) {
        Batch run{vocab, random_logits(vocab, 5), {greedy_row()}};
        run.logits[best] = 50.0f;
        run.logits[vocab - 1] = 50.0f;
        run(isa);
        EXPECT_EQ(run.tokens[0], best) << vocab;
        EXPECT_EQ(run.accepted[0], 1);
        EXPECT_EQ(run.finite[0], 1);
      }
    }
  }
}

TEST(Sampling, EveryCombinationOfFiltersAgreesWithSortingInDouble) {
  std::mt19937 rng(11);
  int different = 0;
  int total = 0;
  for (int vocab : {3, 40, 1000, 5000}) {
    for (float spread : {0.01f, 1.0f, 6.0f}) {
      for (int top_k : {0, 1, 5, 100000}) {
        for (float top_p : {1.0f, 0.9f, 0.3f, 1e-6f}) {
          for (float min_p : {0.0f, 0.05f, 0.99f}) {
            for (float temperature : {0.2f, 1.0f, 4.0f, 1e-40f}) {
              sluice_output_row row = greedy_row();
              row.top_k = top_k;
              row.top_p = top_p;
              row.min_p = min_p;
              row.temperature = temperature;
              row.seed = rng();
              row.draw_position = rng() % 1000;
              Batch run{vocab, random_logits(vocab, static_cast<uint32_t>(rng()), spread), {row}};
              const std::vector<double> x(run.logits.begin(), run.logits.end());
              run();
              ++total;
              // Float and double may differ where u or top_p falls on a boundary: rarely.
              different += run.tokens[0] != reference(x, row);
            }
          }
        }
      }
    }
  }
  EXPECT_LE(different, total / 500) << total;
}

TEST(Sampling, FrequenciesFollowTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  std::vector<int> seen(4, 0);
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    sluice_output_row row = greedy_row();
    row.temperature = 1.0f;
    row.seed = 42;
    row.draw_position = i;
    Batch run{4, logits, {row}};
    run(Isa::kPortable, 1);
    ++seen[run.tokens[0]];
  }
  double total = 0;
  for (float v : logits) total += std::exp(v);
  for (int t = 0; t < 4; ++t) {
    const double expected = draws * std::exp(logits[t]) / total;
    EXPECT_NEAR(seen[t], expected, 5 * std::sqrt(expected)) << t;
  }
}

TEST(Sampling, LogprobsRanksTargetsAndTopComeFromRawLogits) {
  for (Isa isa : isas()) {
    const int vocab = 777;
    sluice_output_row row = greedy_row();
    row.flags = SLUICE_OUTPUT_FLAG_LOGPROB;
    row.top_n = 3;
    row.target_begin = 1;
    row.target_count = 3;
    row.logit_bias_count = 1;
    Batch run{vocab, random_logits(vocab, 3), {row}};
    run.logits[30] = run.logits[60];
    run.bias = {{30, 100.0f}};
    run.targets = {5, 60, 30, 700};
    const std::vector<float> x = run.logits;
    run(isa);
    double sum = 0;
    for (float v : x) sum += std::exp(static_cast<double>(v));
    const auto logprob = [&](int t) { return x[t] - std::log(sum); };
    const auto rank = [&](int t) {
      int r = 0;
      for (int i = 0; i < vocab; ++i) r += x[i] > x[t] || (x[i] == x[t] && i < t);
      return r;
    };
    EXPECT_EQ(run.tokens[0], 30);
    EXPECT_NEAR(run.logprob[0], logprob(30), 1e-5);
    EXPECT_EQ(run.rank[0], rank(30));
    EXPECT_EQ(rank(60), rank(30) + 1);
    EXPECT_EQ(run.target_rank[0], -7) << "targets outside the range stay untouched";
    for (int i = 1; i < 4; ++i) {
      EXPECT_NEAR(run.target_logprob[i], logprob(run.targets[i]), 1e-5);
      EXPECT_EQ(run.target_rank[i], rank(run.targets[i]));
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(rank(run.top_token[i]), i);
      EXPECT_NEAR(run.top_logprob[i], logprob(run.top_token[i]), 1e-5);
    }
  }
}

TEST(Sampling, PenaltiesSeePromptAndOutput) {
  TokenCounts counts(2, 8, 16);
  counts.add(1, 0, 2, 0);
  counts.add(1, 1, 0, 3);
  counts.add(1, 2, 1, 1);
  sluice_output_row row = greedy_row();
  row.repetition_penalty = 2.0f;
  row.presence_penalty = 0.5f;
  row.frequency_penalty = 0.25f;
  row.flags = SLUICE_OUTPUT_FLAG_COUNT;
  Batch run{8, {4.0f, 4.0f, -1.0f, 1.0f, 0.0f, 0.0f, 0.0f, 1.9f}, {row}};
  run.seq_slots = {1};
  run.counts = &counts;
  run();
  EXPECT_FLOAT_EQ(run.logits[0], 2.0f);
  EXPECT_FLOAT_EQ(run.logits[1], 2.0f - 0.75f - 0.5f);
  EXPECT_FLOAT_EQ(run.logits[2], -2.0f - 0.25f - 0.5f);
  EXPECT_FLOAT_EQ(run.logits[3], 1.0f);
  EXPECT_EQ(run.tokens[0], 0);
  EXPECT_EQ(counts.find(1, 0).output, 1) << "the accepted token is counted";
  EXPECT_EQ(counts.find(0, 0).output, 0) << "other sequences are not";
}

TEST(Sampling, MaskAndBiasForbid) {
  sluice_output_row masked = greedy_row();
  masked.mask_index = 1;
  sluice_output_row nothing = greedy_row();
  nothing.mask_index = 0;
  nothing.temperature = 1.0f;
  sluice_output_row biased = greedy_row();
  biased.logit_bias_begin = 0;
  biased.logit_bias_count = 2;
  const int vocab = 40;
  Batch run{vocab, {}, {masked, nothing, biased}};
  for (int r = 0; r < 3; ++r) {
    for (int v = 0; v < vocab; ++v) run.logits.push_back(static_cast<float>(-v));
  }
  run.masks = {0u, 0u, 0u, 1u << (35 - 32)};
  run.bias = {{0, -kInf}, {7, 20.0f}};
  run();
  EXPECT_EQ(run.tokens[0], 35);
  EXPECT_EQ(run.finite[1], 2);
  EXPECT_EQ(run.accepted[1], 0);
  EXPECT_EQ(run.tokens[1], 0);
  EXPECT_EQ(run.tokens[2], 7);
}

TEST(Sampling, AForbiddenTokenStaysForbidden) {
  for (const bool forbidden_first : {true, false}) {
    sluice_output_row row = greedy_row();
    row.logit_bias_count = 3;
    Batch run{2, {-FLT_MAX, 5.0f}, {row}};
    run.bias = {{1, -kInf}, {1, 100.0f}, {0, -FLT_MAX}};
    if (!forbidden_first) std::swap(run.bias[0], run.bias[1]);
    run();
    EXPECT_EQ(run.finite[0], 1);
    EXPECT_EQ(run.tokens[0], 0);
    EXPECT_EQ(run.logits[1], -kInf);
  }
}

TEST(Sampling, ANonFiniteRowFailsAlone) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), kInf, -kInf}) {
    for (int place : {0, 20, 36}) {
      for (Isa isa : isas()) {
        Batch run{37, {}, {greedy_row(), greedy_row(), greedy_row()}};
        for (uint32_t r = 0; r < 3; ++r) {
          const auto x = random_logits(37, r);
          run.logits.insert(run.logits.end(), x.begin(), x.end());
        }
        run.logits[37 + place] = bad;
        run(isa);
        EXPECT_EQ(run.finite, (std::vector<int32_t>{1, 0, 1}));
        EXPECT_EQ(run.accepted, (std::vector<int32_t>{1, 0, 1}));
        EXPECT_EQ(run.tokens[1], 0);
      }
    }
  }
}

TEST(Sampling, ARowDoesNotDependOnItsNeighbours) {
  sluice_output_row row = greedy_row();
  row.temperature = 0.8f;
  row.top_p = 0.95f;
  row.seed = 9;
  row.flags = SLUICE_OUTPUT_FLAG_LOGPROB;
  Batch alone{500, random_logits(500, 1), {row}};
  alone();
  Batch crowd{500, {}, {}};
  for (int r = 0; r < 7; ++r) {
    const auto x = random_logits(500, r == 4 ? 1 : 100 + r);
    crowd.logits.insert(crowd.logits.end(), x.begin(), x.end());
    crowd.rows.push_back(row);
  }
  crowd();
  EXPECT_EQ(crowd.tokens[4], alone.tokens[0]);
  EXPECT_EQ(crowd.logprob[4], alone.logprob[0]);
}

TEST(Sampling, BadValuesAreNamed) {
  const auto refuses = [](const char* text, auto change) {
    Batch run{4, {1, 2, 3, 4}, {greedy_row()}};
    change(run);
    try {
      run();
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_NE(e.text().find(text), std::string::npos) << e.text();
    }
  };
  refuses("temperature", [](Batch& r) { r.rows[0].temperature = -1; });
  refuses("temperature", [](Batch& r) { r.rows[0].temperature = NAN; });
  refuses("top_p", [](Batch& r) { r.rows[0].top_p = 0; });
  refuses("top_p", [](Batch& r) { r.rows[0].top_p = NAN; });
  refuses("min_p", [](Batch& r) { r.rows[0].min_p = 1; });
  refuses("top_k", [](Batch& r) { r.rows[0].top_k = -1; });
  refuses("top_n", [](Batch& r) { r.rows[0].top_n = 5; });
  refuses("draft_len: 1 (expected: 0 to 0)", [](Batch& r) { r.rows[0].draft_len = 1; });
  refuses("draft_len: -1", [](Batch& r) { r.rows[0].draft_len = -1; });
  refuses("draft_len: 1 without the ids", [](Batch& r) {
    r.max_drafts = 1;
    r.rows[0].draft_len = 1;
  });
  refuses("draft_len: 1 (expected: 0 to 0)", [](Batch& r) {
    r.max_drafts = 1;
    r.rows[0].draft_len = 1;
    r.rows[0].kind = SLUICE_OUTPUT_LOGPROB;
  });
  refuses("repetition_penalty", [](Batch& r) { r.rows[0].repetition_penalty = 0; });
  refuses("counts", [](Batch& r) { r.rows[0].frequency_penalty = 1; });
  refuses("target", [](Batch& r) {
    r.targets = {4};
    r.rows[0].target_count = 1;
  });
  refuses("logit bias", [](Batch& r) {
    r.bias = {{0, kInf}};
    r.rows[0].logit_bias_count = 1;
  });
}

TEST(TokenCounts, AgreesWithAMapOverRandomChanges) {
  const int vocab = 300;
  TokenCounts counts(3, vocab, 40);
  std::mt19937 rng(2);
  std::map<int, std::pair<int, int>> model;
  for (int i = 0; i < 5000; ++i) {
    const int token = static_cast<int>(rng() % 41) * 7;  // as many as the table holds
    if (i % 11 == 0 && model.count(token) > 0) {
      // A rollback takes back what was added.
      counts.add(1, token, -model[token].first, -model[token].second);
      model.erase(token);
    }
    counts.add(1, token, 1, static_cast<int>(i % 3));
    model[token].first += 1;
    model[token].second += i % 3;
    if (i % 97 == 0) {
      for (int t = 0; t < vocab; ++t) {
        const auto it = model.find(t);
        ASSERT_EQ(counts.find(1, t).prompt, it == model.end() ? 0 : it->second.first);
        ASSERT_EQ(counts.find(1, t).output, it == model.end() ? 0 : it->second.second);
        ASSERT_EQ(counts.find(0, t).prompt, 0);
      }
    }
  }
  counts.copy(1, 2);
  counts.reset(1);
  EXPECT_EQ(counts.find(1, model.begin()->first).prompt, 0);
  EXPECT_EQ(counts.find(2, model.begin()->first).prompt, model.begin()->second.first);
  for (int t = 0; t < 41; ++t) counts.add(0, t, 1, 0);
  EXPECT_THROW(counts.add(0, 299, 1, 0), Error);
}

}  // namespace
}  // namespace sluice
