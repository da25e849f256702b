// CUDA against the CPU's op: the same rows, logits and counts, all output sections.
#include "ops/sampling/sampling_cuda.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <map>
#include <memory>

#include "base/error.h"
#include "ops/sampling/sampling_fixture.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr int kMaxContext = 60;
constexpr int kPoison = -7;

/// The sections that a run wrote.
struct Sections {
  std::vector<int32_t> accepted, tokens, rank, target_rank, top_token, finite;
  std::vector<float> logprob, target_logprob, top_logprob;
  std::vector<int32_t> row_last, seq_last;
  std::map<std::pair<int, int>, std::pair<int, int>> counts;  // by slot and token
};

/// Some rows with everything that they refer to.
struct Rows : Batch {
  Rows(int vocab_size, int drafts) : Batch(vocab_size, {}, {}) {
    max_drafts = drafts;
    cpu_counts = std::make_unique<TokenCounts>(kSlots, vocab, kMaxContext);
    counts = cpu_counts.get();
  }

  static constexpr int kSlots = 40;
  std::unique_ptr<TokenCounts> cpu_counts;
  std::vector<sluice_count_update> updates;

  /// Runs the rows in the order of `order`, whose negative entries are padding.
  Sections on_gpu(const std::vector<int32_t>& order) const {
    const int n = static_cast<int>(rows.size()), n_tokens = n * (1 + max_drafts);
    const cuda::DeviceTokenCounts device_counts(*cuda_exec().cuda, kSlots, vocab, kMaxContext);
    const DeviceArray<sluice_count_update> device_updates(updates);
    device_counts.add(*cuda_exec().cuda, device_updates.get(), static_cast<int>(updates.size()));
    std::vector<int32_t> first, slots;
    for (const int32_t r : order) {
      first.push_back(r < 0 ? 0x7fffff00 : first_logits[r]);
      slots.push_back(r < 0 ? 0x7fffff00 : seq_slots[r]);
    }
    const DeviceArray<float> device_logits(logits);
    const DeviceArray<sluice_output_row> device_rows(rows);
    const DeviceArray<int32_t> device_order(order), device_first(first), device_slots(slots);
    const DeviceArray<int32_t> device_ids(token_ids), device_targets(targets);
    const DeviceArray<sluice_logit_bias> device_bias(bias);
    const DeviceArray<uint32_t> device_masks(masks);
    const auto ints = [](size_t count) {
      return DeviceArray<int32_t>(std::vector<int32_t>(count, kPoison));
    };
    const auto floats = [](size_t count) {
      return DeviceArray<float>(std::vector<float>(count, kPoison));
    };
    const auto accepted_out = ints(n), tokens_out = ints(n_tokens), rank_out = ints(n_tokens);
    const auto target_rank_out = ints(targets.size()), top_out = ints(n_tokens * top_n);
    const auto finite_out = ints(n), row_last_out = ints(n), seq_last_out = ints(kSlots);
    const auto logprob_out = floats(n_tokens), target_out = floats(targets.size());
    const auto top_logprob_out = floats(n_tokens * top_n);
    cuda::SamplingParams p;
    p.num_rows = static_cast<int32_t>(order.size());
    p.vocab_size = vocab;
    p.max_row_tokens = 1 + max_drafts;
    p.logits = device_logits.get();
    p.logits_stride = vocab;
    p.first_logits = device_first.get();
    p.rows = device_rows.get();
    p.row_index = device_order.get();
    p.seq_slots = device_slots.get();
    p.token_ids = device_ids.get();
    p.counts = device_counts.view();
    p.logit_bias = device_bias.get();
    p.targets = device_targets.get();
    p.masks = device_masks.get();
    p.max_draft_len = max_drafts;
    p.max_top_n = top_n;
    p.accepted_count = accepted_out.get();
    p.tokens = tokens_out.get();
    p.logprob = logprob_out.get();
    p.rank = rank_out.get();
    p.target_logprob = target_out.get();
    p.target_rank = target_rank_out.get();
    p.top_token = top_out.get();
    p.top_logprob = top_logprob_out.get();
    p.finite = finite_out.get();
    p.row_last_token = row_last_out.get();
    p.seq_last_token = seq_last_out.get();
    const int64_t bytes = cuda::sampling_workspace_bytes(
        static_cast<int64_t>(order.size()) * (1 + max_drafts), vocab, top_n);
    const DeviceBytes workspace(bytes);
    cuda::sampling(*cuda_exec().cuda, p, workspace.data(), bytes);
    Sections out;
    out.accepted = accepted_out.host();
    out.tokens = tokens_out.host();
    out.rank = rank_out.host();
    out.target_rank = target_rank_out.host();
    out.top_token = top_out.host();
    out.finite = finite_out.host();
    out.logprob = logprob_out.host();
    out.target_logprob = target_out.host();
    out.top_logprob = top_logprob_out.host();
    out.row_last = row_last_out.host();
    out.seq_last = seq_last_out.host();
    const int64_t capacity = device_counts.view().capacity;
    std::vector<TokenCount> places(static_cast<size_t>(kSlots * capacity));
    cuda_copy(*cuda_exec().cuda, places.data(), device_counts.view().places,
              kSlots * capacity * static_cast<int64_t>(sizeof(TokenCount)));
    cuda_device().synchronize();
    for (int64_t i = 0; i < kSlots * capacity; ++i) {
      const TokenCount& c = places[static_cast<size_t>(i)];
      if (c.token >= 0 && (c.prompt != 0 || c.output != 0)) {
        out.counts[{static_cast<int>(i / capacity), c.token}] = {c.prompt, c.output};
      }
    }
    return out;
  }

  Sections on_cpu() {
    const std::vector<float> raw = logits;
    for (const sluice_count_update& u : updates) {
      counts->add(u.seq_slot, u.token, u.prompt_delta, u.output_delta);
    }
    (*this)();
    logits = raw;
    Sections out{accepted, tokens, rank, target_rank, top_token, finite, logprob, target_logprob,
                 top_logprob, std::vector<int32_t>(rows.size(), kPoison),
                 std::vector<int32_t>(kSlots, kPoison), {}};
    for (size_t r = 0; r < rows.size(); ++r) {
      if (rows[r].kind != SLUICE_OUTPUT_SAMPLE) continue;
      const int32_t n = accepted[r];
      const int32_t last = n > 0 ? tokens[r * static_cast<size_t>(1 + max_drafts) +
                                          static_cast<size_t>(n) - 1]
                                 : 0;
      out.row_last[r] = out.seq_last[static_cast<size_t>(seq_slots[r])] = last;
    }
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int64_t i = 0; i < counts->capacity(); ++i) {
        const TokenCount& c = counts->places(slot)[i];
        if (c.token >= 0 && (c.prompt != 0 || c.output != 0)) {
          out.counts[{slot, c.token}] = {c.prompt, c.output};
        }
      }
    }
    return out;
  }
};

/// Rows of every kind, in every state.
Rows random_rows(int vocab, int drafts, int count, uint64_t seed) {
  Random random(seed);
  const auto pick = [&](std::initializer_list<float> of) {
    return of.begin()[random.below(static_cast<int64_t>(of.size()))];
  };
  Rows out(vocab, drafts);
  out.token_ids = {0};
  out.targets = {0};
  out.bias = {{0, 0.0f}};
  const int words = (vocab + 31) / 32;
  out.masks.assign(static_cast<size_t>(words), 0);
  for (int r = 0; r < count; ++r) {
    sluice_output_row row = greedy_row();
    row.kind = random.below(6) == 0 ? SLUICE_OUTPUT_LOGPROB : SLUICE_OUTPUT_SAMPLE;
    const bool samples = row.kind == SLUICE_OUTPUT_SAMPLE;
    row.flags = static_cast<int32_t>(random.below(4));
    row.seed = random.next();
    row.draw_position = random.below(1000);
    row.temperature = pick({0.0f, 0.0f, 0.2f, 1.0f, 4.0f, 1e-40f});
    row.top_p = pick({1.0f, 0.9f, 0.3f, 1e-6f});
    row.min_p = pick({0.0f, 0.0f, 0.05f, 0.99f});
    row.top_k = static_cast<int32_t>(pick({0, 0, 1, 5, 50, 1e6}));
    row.top_n = static_cast<int32_t>(random.below(out.top_n + 1));
    row.draft_len = samples && drafts > 0 ? static_cast<int32_t>(random.below(drafts + 1)) : 0;
    row.token_index = static_cast<int32_t>(out.token_ids.size());
    out.token_ids.push_back(0);
    out.first_logits.push_back(static_cast<int32_t>(out.logits.size() / vocab));
    out.seq_slots.push_back(static_cast<int32_t>((r * 7) % Rows::kSlots));
    const float spread = pick({0.01f, 1.0f, 3.0f, 6.0f});
    const bool ties = random.below(3) == 0, equal = random.below(8) == 0;
    for (int d = 0; d <= row.draft_len; ++d) {
      auto x = random_logits(vocab, static_cast<uint32_t>(random.next()), spread);
      for (float& v : x) {
        if (ties) v = 0.5f * std::round(v);  // the zeros of both signs, too
        if (equal) v = 0.25f;
      }
      if (random.below(3) > 0) x[static_cast<size_t>(random.below(vocab))] = 30.0f;
      if (random.below(16) == 0) {
        x[static_cast<size_t>(random.below(vocab))] = pick({NAN, kInf, -kInf});
      }
      const auto best = std::max_element(x.begin(), x.end()) - x.begin();
      out.logits.insert(out.logits.end(), x.begin(), x.end());
      if (d < row.draft_len) {
        const bool right = random.below(6) > 0;
        out.token_ids.push_back(static_cast<int32_t>(right ? best : random.below(vocab)));
      }
    }
    if (samples && random.below(2) == 0) {
      row.repetition_penalty = pick({1.0f, 1.3f, 0.8f, 1e30f});
      row.presence_penalty = pick({0.0f, 0.5f, -0.25f});
      row.frequency_penalty = pick({0.0f, 0.7f, FLT_MAX});
    }
    // What was counted: a few tokens near the start, some of them the drafts.
    for (int i = 0; i < 20; ++i) {
      const bool draft = random.below(4) == 0;
      const int64_t at = row.token_index + random.below(1 + row.draft_len);
      const int32_t token = draft ? out.token_ids[static_cast<size_t>(at)]
                                  : static_cast<int32_t>(random.below(std::min(vocab, 100)));
      out.updates.push_back({out.seq_slots.back(), token, static_cast<int32_t>(random.below(3)),
                             static_cast<int32_t>(random.below(3))});
    }
    if (samples && random.below(3) == 0) {
      row.logit_bias_begin = static_cast<int32_t>(out.bias.size());
      row.logit_bias_count = static_cast<int32_t>(random.below(90));
      for (int i = 0; i < row.logit_bias_count; ++i) {
        out.bias.push_back({static_cast<int32_t>(random.below(std::min(vocab, 5000))),
                            pick({-kInf, 2.0f, -100.0f, 35.0f, FLT_MAX})});
      }
    }
    if (samples && random.below(3) == 0) {
      row.mask_index = static_cast<int32_t>(out.masks.size()) / words;
      for (int d = 0; d <= row.draft_len; ++d) {
        const int64_t how = random.below(8);
        for (int i = 0; i < words; ++i) {
          out.masks.push_back(how == 0 ? 0u
                              : how < 5 ? ~0u
                                        : static_cast<uint32_t>(random.next() | random.next()));
        }
      }
    }
    if (random.below(2) == 0) {
      row.target_begin = static_cast<int32_t>(out.targets.size());
      row.target_count = static_cast<int32_t>(random.below(5));
      for (int i = 0; i < row.target_count; ++i) {
        out.targets.push_back(static_cast<int32_t>(random.below(vocab)));
      }
      out.targets.push_back(0);  // nobody's
    }
    out.rows.push_back(row);
  }
  return out;
}

void expect_close_floats(const std::vector<float>& actual, const std::vector<float>& expected,
                         const char* what) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(close(actual[i], expected[i], 2e-6))
        << what << " " << i << ": " << actual[i] << ", expected " << expected[i];
  }
}

void expect_equal(const Sections& actual, const Sections& expected) {
  EXPECT_EQ(actual.finite, expected.finite);
  EXPECT_EQ(actual.accepted, expected.accepted);
  EXPECT_EQ(actual.tokens, expected.tokens);
  EXPECT_EQ(actual.rank, expected.rank);
  EXPECT_EQ(actual.target_rank, expected.target_rank);
  EXPECT_EQ(actual.top_token, expected.top_token);
  EXPECT_EQ(actual.row_last, expected.row_last);
  EXPECT_EQ(actual.seq_last, expected.seq_last);
  EXPECT_EQ(actual.counts, expected.counts);
  expect_close_floats(actual.logprob, expected.logprob, "logprob");
  expect_close_floats(actual.target_logprob, expected.target_logprob, "target_logprob");
  expect_close_floats(actual.top_logprob, expected.top_logprob, "top_logprob");
}

// In another order than the sections', with padding between.
std::vector<int32_t> shuffled(int rows) {
  std::vector<int32_t> order;
  for (int i = 0; i < rows; ++i) {
    order.push_back((i * 11 + 3) % rows);
    if (i % 5 == 2) order.push_back(-1);
  }
  return order;
}

TEST(CudaSampling, RandomRowsEqualTheCpu) {
  for (const int vocab : {1, 2, 33, 1000, 2048, 2049, 6000, 70001}) {
    for (const int drafts : {0, 3}) {
      for (uint64_t seed = 0; seed < (vocab > 10000 ? 2 : 8); ++seed) {
        SCOPED_TRACE(concat("vocab ", vocab, " drafts ", drafts, " seed ", seed));
        const int count = 37;  // one row a slot
        Rows rows = random_rows(vocab, drafts, count, seed * 100 + vocab + drafts);
        const Sections actual = rows.on_gpu(shuffled(count));
        expect_equal(actual, rows.on_cpu());
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

// Many draws from one kind of row: those of which the running sums decide.
TEST(CudaSampling, DrawsEqualTheCpus) {
  for (const float spread : {0.0f, 0.01f, 1.0f, 3.0f}) {
    for (const float top_p : {1.0f, 0.9f}) {
      for (const int top_k : {0, 3000}) {
        SCOPED_TRACE(concat("spread ", spread, " top_p ", top_p, " top_k ", top_k));
        const int vocab = 30000, count = 24;
        Rows rows(vocab, 0);
        rows.targets = {0};
        rows.token_ids = {0};
        rows.bias = {{0, 0.0f}};
        rows.masks = {0};
        rows.updates = {{0, 0, 0, 0}};
        for (int r = 0; r < count; ++r) {
          sluice_output_row row = greedy_row();
          row.temperature = 0.9f;
          row.top_p = top_p;
          row.top_k = top_k;
          row.seed = 77 + r;
          row.draw_position = r;
          rows.rows.push_back(row);
          rows.first_logits.push_back(r);
          rows.seq_slots.push_back(r);
          const auto x = random_logits(vocab, static_cast<uint32_t>(r), spread);
          rows.logits.insert(rows.logits.end(), x.begin(), x.end());
        }
        const Sections actual = rows.on_gpu(shuffled(count));
        expect_equal(actual, rows.on_cpu());
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

// To the bit: alone, in a crowd, and again.
TEST(CudaSampling, ARowDoesNotDependOnOthers) {
  Rows rows = random_rows(20000, 2, 23, 5);
  const Sections together = rows.on_gpu(shuffled(23));
  for (const int32_t r : {0, 7, 22}) {
    const Sections alone = rows.on_gpu({r});
    EXPECT_EQ(alone.accepted[r], together.accepted[r]);
    for (int i = r * 3; i < (r + 1) * 3; ++i) {
      EXPECT_EQ(alone.tokens[i], together.tokens[i]);
      EXPECT_EQ(0, std::memcmp(&alone.logprob[i], &together.logprob[i], 4));
      EXPECT_EQ(alone.rank[i], together.rank[i]);
    }
  }
  const Sections again = rows.on_gpu(shuffled(23));
  EXPECT_EQ(again.tokens, together.tokens);
}

TEST(CudaSampling, SizesAreNamed) {
  cuda::SamplingParams p;
  p.num_rows = 1;
  p.vocab_size = 10;
  p.max_row_tokens = 2;
  EXPECT_THROW(cuda::sampling(*cuda_exec().cuda, p, &p, 1 << 20), Error);
  p.max_row_tokens = 1;
  EXPECT_THROW(cuda::sampling(*cuda_exec().cuda, p, &p, 16), Error);
}

}  // namespace
}  // namespace sluice
