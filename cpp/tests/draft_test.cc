// Drafts: what a sequence is told does not depend, to the bit, on whether tokens were guessed and
// how well, with every kind of layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "support/adaptive_test_base.h"
#include "support/mla_test_base.h"
#include "support/moe_test_base.h"
#include "support/random_model.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr int kTokens = 40;  // chosen by each sequence
constexpr int kMaxDrafts = 5;
constexpr int kTopN = 3;
constexpr int kSequences = 3;

struct Kind {
  const char* name;
  std::function<void(Fixture*)> change;
  int ranks = 1;
};

void each_layer(Fixture* fixture, const std::function<void(Sluice__Proto__LayerSpec*)>& change) {
  for (size_t l = 0; l < fixture->spec()->n_layers; ++l) change(fixture->spec()->layers[l]);
}

void give_experts(Fixture* fixture, uint32_t capacity, uint32_t window) {
  each_layer(fixture, [=](Sluice__Proto__LayerSpec* layer) {
    auto* moe = fixture->arena().make(sluice__proto__moe_spec__init);
    moe->has_num_experts = moe->has_num_experts_per_token = 1;
    moe->num_experts = 8;
    moe->num_experts_per_token = 2;
    moe->has_expert_intermediate_size = moe->has_router = 1;
    moe->expert_intermediate_size = 24;
    moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
    moe->activation = make_activation(&fixture->arena(), SLUICE__PROTO__ACTIVATION__SILU);
    moe->has_expert_capacity = moe->has_capacity_window = 1;
    moe->expert_capacity = capacity;
    moe->capacity_window = window;
    layer->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
    layer->moe = moe;
  });
}

std::function<void(Fixture*)> adaptive(Sluice__Proto__AdaptiveAttentionKind kind) {
  return [=](Fixture* fixture) {
    each_layer(fixture, [=](auto* layer) { make_adaptive(layer, &fixture->arena(), kind); });
    fixture->spec()->n_ropes = 0;
  };
}

const Kind kKinds[] = {
    {"grouped_query", [](Fixture*) {}},
    {"grouped_query_of_2_ranks", [](Fixture*) {}, 2},
    {"window",
     [](Fixture* f) {
       f->spec()->kv_groups[0]->has_window = 1;
       f->spec()->kv_groups[0]->window = 6;
     }},
    {"latent", [](Fixture* f) { make_mla(f, {}); }},
    {"latent_of_2_ranks", [](Fixture* f) { make_mla(f, {}); }, 2},
    {"experts", [](Fixture* f) { give_experts(f, 0, 0); }},
    {"experts_with_capacity", [](Fixture* f) { give_experts(f, 9, 0); }},
    {"experts_with_capacity_in_a_window", [](Fixture* f) { give_experts(f, 3, 10); }},
    {"experts_with_capacity_of_2_ranks", [](Fixture* f) { give_experts(f, 3, 8); }, 2},
    {"adaptive_full", adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_FULL)},
    {"adaptive_sliding_window",
     adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_SLIDING_WINDOW)},
    {"adaptive_topk", adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK)},
    {"adaptive_density", adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY)},
    {"adaptive_block_sparse",
     adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_SPARSE)},
    {"adaptive_block_topk", adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK)},
    {"adaptive_density_and_capacity_of_2_ranks",
     [](Fixture* f) {
       adaptive(SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY)(f);
       give_experts(f, 3, 10);
     },
     2},
};

// What a sequence was told of one of its tokens.
struct Told {
  int32_t token;
  float logprob;
  int32_t rank;
  std::vector<int32_t> top_token;
  std::vector<float> top_logprob;

  bool operator==(const Told&) const = default;
};

// One sequence that decodes; what it was told so far.
struct Decoding {
  Sequence sequence;
  std::vector<Told> told;
  int32_t row = 0;      // of the step before
  int32_t sampled = 0;  // position behind the last chosen token
};

class DraftTest : public ::testing::TestWithParam<std::tuple<Kind, Sluice__Proto__Format>> {
 protected:
  void SetUp() override {
    const auto& [kind, format] = GetParam();
    if (settings().cuda() && kind.ranks > 1) GTEST_SKIP() << "one rank is built";
    model_ = std::make_unique<RandomModel>(kind.change);
    OptionValues values;
    values.compute_format = values.kv_format = format;
    values.tensor_parallel_size = static_cast<uint32_t>(kind.ranks);
    values.num_blocks = 256;
    values.max_draft_len = kMaxDrafts;
    values.max_step_masks = kMaxDrafts + 1;
    ASSERT_NO_FATAL_FAILURE(model_->open(&engine_, values));
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size),
                                       static_cast<int>(model_->spec()->n_ropes));
    std::mt19937 random(17);
    words_ = (static_cast<size_t>(model_->vocab_size()) + 31) / 32;
    for (int i = 0; i < kTokens + kMaxDrafts; ++i) {
      for (size_t w = 0; w < words_; ++w) masks_.push_back(random() | random());
    }
  }

  std::vector<int32_t> prompt_of(int s) const {
    std::vector<int32_t> ids;
    for (int i = 0; i < 9 + 4 * s; ++i) ids.push_back((i * i * 7 + i * 13 + 5 + s) % 120);
    return ids;
  }

  // A row that makes every rule depend on the tokens before: draws, penalties, biases, masks.
  void add_row(int s, int32_t token, const Decoding& decoding, int32_t drafts) {
    sluice_output_row& row = driver_->add_row(SLUICE_OUTPUT_SAMPLE, token);
    row.flags = SLUICE_OUTPUT_FLAG_LOGPROB;
    row.draft_len = drafts;
    row.top_n = kTopN;
    row.seed = 42 + static_cast<uint64_t>(s);
    row.draw_position = decoding.sequence.context_len - drafts;
    if (s == 1) {
      row.temperature = 0.9f;
      row.top_p = 0.95f;
    }
    if (s == 0) return;
    row.flags |= SLUICE_OUTPUT_FLAG_COUNT;
    row.repetition_penalty = 1.3f;
    row.presence_penalty = 0.4f;
    row.frequency_penalty = 0.3f;
    if (s == 1) return;
    driver_->logit_bias = {{3, 2.0f}, {9, -1.0f}};
    row.logit_bias_count = 2;
    row.mask_index = 0;
    const auto first = masks_.begin() + static_cast<std::ptrdiff_t>(decoding.told.size() * words_);
    driver_->mask.assign(first, first + static_cast<std::ptrdiff_t>((1 + drafts) * words_));
  }

  void take(int r, int32_t drafts, Decoding* decoding) {
    const auto* accepted = driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT);
    ASSERT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[r], 1);
    ASSERT_GE(accepted[r], 1);
    ASSERT_LE(accepted[r], 1 + drafts);
    for (int i = 0; i < accepted[r]; ++i) {
      const int64_t at = int64_t{r} * (1 + kMaxDrafts) + i;
      const auto* top = driver_->output<int32_t>(0, SLUICE_SECTION_TOP_TOKEN) + at * kMaxTopN;
      const auto* top_logprob =
          driver_->output<float>(0, SLUICE_SECTION_TOP_LOGPROB) + at * kMaxTopN;
      decoding->told.push_back({driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS)[at],
                                driver_->output<float>(0, SLUICE_SECTION_LOGPROB)[at],
                                driver_->output<int32_t>(0, SLUICE_SECTION_RANK)[at],
                                {top, top + kTopN},
                                {top_logprob, top_logprob + kTopN}});
    }
    accepted_ += accepted[r];
    rejected_ += 1 + drafts - accepted[r];
    // Positions of rejected drafts are written again.
    decoding->sequence.context_len -= 1 + drafts - accepted[r];
    const auto pages = static_cast<size_t>((decoding->sequence.context_len + 7) / 8);
    decoding->sequence.blocks.resize(std::min(pages, decoding->sequence.blocks.size()));
    decoding->row = r;
  }

  // Decodes all sequences; `drafts_of` gives the drafts behind a sequence's first n tokens.
  std::vector<Decoding> decode(int first_slot,
                               const std::function<std::vector<int32_t>(int, size_t)>& drafts_of) {
    driver_->set_next_block(0);
    std::vector<Decoding> all(kSequences);
    std::vector<int32_t> drafts(kSequences);
    accepted_ = rejected_ = 0;
    for (int step = 0; std::any_of(all.begin(), all.end(),
                                   [](const Decoding& each) { return each.told.size() < kTokens; });
         ++step) {
      driver_->begin();
      std::vector<int> order;
      for (int s = 0; s < kSequences; ++s) {
        Decoding& each = all[static_cast<size_t>(s)];
        if (each.told.size() >= kTokens) continue;
        each.sequence.slot = first_slot + s;
        std::vector<int32_t> ids;
        std::vector<int32_t> guess;
        if (step == 0) {
          ids = prompt_of(s);
        } else {
          // The last token by its value, by the row that chose it, or as the resident one.
          const int32_t names[] = {each.told.back().token, -1 - each.row, SLUICE_TOKEN_LAST};
          ids = {names[(step + s) % 3]};
          guess = drafts_of(s, each.told.size());
        }
        drafts[static_cast<size_t>(s)] = static_cast<int32_t>(guess.size());
        ids.insert(ids.end(), guess.begin(), guess.end());
        driver_->feed(&each.sequence, ids);
        add_row(s, static_cast<int32_t>(driver_->token_id.size() - guess.size()) - 1, each,
                static_cast<int32_t>(guess.size()));
        order.push_back(s);
      }
      const Outcome ran = driver_->run();
      EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
      if (ran.status != SLUICE_STATUS_OK) return all;
      for (size_t r = 0; r < order.size(); ++r) {
        const auto s = static_cast<size_t>(order[r]);
        take(static_cast<int>(r), drafts[s], &all[s]);
        if (HasFatalFailure()) return all;
      }
    }
    for (Decoding& each : all) each.told.resize(kTokens);
    return all;
  }

  static constexpr int kMaxTopN = 20;  // of the options
  std::unique_ptr<RandomModel> model_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
  std::vector<uint32_t> masks_;  // one behind each token of a sequence
  size_t words_ = 0;
  int accepted_ = 0;
  int rejected_ = 0;
};

TEST_P(DraftTest, OutputDoesNotDependOnDrafts) {
  const auto alone = decode(0, [](int, size_t) { return std::vector<int32_t>(); });
  if (HasFatalFailure()) return;
  EXPECT_EQ(accepted_, kSequences * kTokens);
  // The true tokens, each replaced by another now and then; any number of them.
  for (const double wrong : {0.0, 0.3, 1.0}) {
    std::mt19937 random(3);
    const auto drafted = decode(0, [&](int s, size_t n) {
      std::vector<int32_t> guess;
      const auto& told = alone[static_cast<size_t>(s)].told;
      const size_t length = random() % (kMaxDrafts + 1);
      for (size_t i = n; i < std::min(n + length, told.size()); ++i) {
        const bool replaced = std::generate_canonical<double, 32>(random) < wrong;
        guess.push_back(replaced ? (told[i].token + 1) % 200 : told[i].token);
      }
      return guess;
    });
    if (HasFatalFailure()) return;
    for (size_t s = 0; s < alone.size(); ++s) {
      for (size_t i = 0; i < alone[s].told.size(); ++i) {
        ASSERT_EQ(drafted[s].told[i], alone[s].told[i])
            << "sequence " << s << " token " << i << " wrong " << wrong;
      }
    }
    if (wrong == 0) {
      EXPECT_EQ(rejected_, 0);
    } else {
      EXPECT_GT(rejected_, 30);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DraftTest,
                         ::testing::Combine(::testing::ValuesIn(kKinds),
                                            ::testing::Values(SLUICE__PROTO__FORMAT__F32,
                                                              SLUICE__PROTO__FORMAT__BF16)),
                         [](const auto& each) {
                           const bool wide = std::get<1>(each.param) == SLUICE__PROTO__FORMAT__F32;
                           return std::string(std::get<0>(each.param).name) +
                                  (wide ? "_float32" : "_bfloat16");
                         });

}  // namespace
}  // namespace sluice::test
