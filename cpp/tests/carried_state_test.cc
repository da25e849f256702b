// Expert capacity is state that positions carry: what is dropped must be what one whole pass drops,
// however a sequence came about. Pages of 4 tokens, so that state crosses many of them.
#include <algorithm>
#include <numeric>

#include "support/moe_test_base.h"

namespace sluice::test {
namespace {

constexpr int kPage = 4;

// What one token of a step gave: its logits, and of each layer the kept choices.
struct Row {
  std::vector<float> logits;
  std::vector<std::vector<bool>> kept;
};
using StepRows = std::vector<Row>;

class CarriedStateTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    model_ = std::make_unique<MoeModel>(
        [](Sluice__Proto__MoeSpec* moe, Sluice__Proto__ModelSpec*, ProtoArena* arena) {
          moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_NOISY_NETWORK;
          moe->has_router_hidden_size = 1;
          moe->router_hidden_size = 40;
          moe->normalize_top_k = 0;
          moe->has_gated = 1;
          moe->gated = 0;
          moe->activation = make_activation(arena, SLUICE__PROTO__ACTIVATION__GELU);
          moe->has_expert_capacity = moe->has_capacity_window = 1;
          moe->expert_capacity = GetParam() == 0 ? 9 : 3;
          moe->capacity_window = GetParam();
        });
    OptionValues values;
    values.block_size = kPage;
    ASSERT_NO_FATAL_FAILURE(model_->open(&engine_, values));
    driver_ = std::make_unique<Driver>(engine_.get(), kPage);
    for (int i = 0; i < 37; ++i) {
      ids_.push_back((i * i * 7 + 11 * i + 3) % 200);
      other_.push_back(i < 18 ? ids_.back() : (i * 13 + 5) % 200);
    }
    std::vector<MoeDecisions> decisions;
    model_->reference(ids_, &decisions);
    for (const MoeDecisions& layer : decisions) ASSERT_GT(layer.gap, 1e-6);
    whole_ = run_alone(ids_);
    whole_other_ = run_alone(other_);
    driver_->set_next_block(0);
  }

  // Traces the step that the driver holds.
  StepRows step() {
    std::vector<std::string> names = {"logits"};
    const size_t num_layers = model_->spec()->n_layers;
    for (size_t l = 0; l < num_layers; ++l) names.push_back("router_kept_" + std::to_string(l));
    std::vector<TracedTensor> tensors;
    const size_t tokens = driver_->token_id.size();
    const Outcome traced = driver_->trace(names, {}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    StepRows out;
    if (traced.status != SLUICE_STATUS_OK) return out;
    const auto logits = tensors[0].values<float>();
    const size_t vocab = logits.size() / tokens;
    for (size_t t = 0; t < tokens; ++t) {
      const auto first = logits.begin() + static_cast<std::ptrdiff_t>(t * vocab);
      out.push_back({{first, first + static_cast<std::ptrdiff_t>(vocab)}, {}});
      for (size_t l = 0; l < num_layers; ++l) {
        const auto kept = tensors[1 + l].values<uint8_t>();
        const size_t k = kept.size() / tokens;
        out.back().kept.emplace_back();
        for (size_t i = 0; i < k; ++i) out.back().kept.back().push_back(kept[t * k + i] != 0);
      }
    }
    return out;
  }

  StepRows run_alone(const std::vector<int32_t>& ids) {
    Sequence sequence;
    driver_->begin();
    driver_->feed(&sequence, ids);
    return step();
  }

  // Positions [begin, end) of `ids` next in the sequence.
  StepRows feed(Sequence* sequence, const std::vector<int32_t>& ids, size_t begin, size_t end) {
    driver_->begin();
    driver_->feed(sequence, {ids.data() + begin, end - begin});
    return step();
  }

  static void expect_rows(const StepRows& got, const StepRows& whole, size_t first) {
    ASSERT_LE(first + got.size(), whole.size());
    for (size_t t = 0; t < got.size(); ++t) {
      ASSERT_EQ(got[t].kept, whole[first + t].kept) << "position " << first + t;
      ASSERT_EQ(got[t].logits, whole[first + t].logits) << "position " << first + t;
    }
  }

  std::unique_ptr<MoeModel> model_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
  std::vector<int32_t> ids_, other_;  // equal in positions 0 to 17
  StepRows whole_, whole_other_;
};

// What the other tests compare with is right, and capacity decides something in it: both in the
// first half and behind it.
TEST_P(CarriedStateTest, WholePassEqualsTheReference) {
  std::vector<MoeDecisions> decisions;
  const Rows wanted = model_->reference(ids_, &decisions);
  ASSERT_EQ(whole_.size(), ids_.size());
  for (size_t t = 0; t < ids_.size(); ++t) {
    for (size_t c = 0; c < wanted[t].size(); ++c) {
      ASSERT_NEAR(whole_[t].logits[c], wanted[t][c], 1e-4);
    }
    for (size_t l = 0; l < decisions.size(); ++l) {
      ASSERT_EQ(whole_[t].kept[l], decisions[l].kept[t]) << "layer " << l << " position " << t;
    }
  }
  for (const MoeDecisions& layer : decisions) {
    int early = 0, late = 0;
    for (size_t t = 0; t < layer.kept.size(); ++t) {
      const auto dropped = std::count(layer.kept[t].begin(), layer.kept[t].end(), false);
      (t < 18 ? early : late) += static_cast<int>(dropped);
    }
    if (GetParam() > 0) {
      EXPECT_GT(early, 0);
    }
    EXPECT_GT(late, 3);
  }
}

TEST_P(CarriedStateTest, Chunks) {
  for (const std::vector<size_t>& chunks : std::vector<std::vector<size_t>>{
           {4, 4, 4, 4, 4, 4, 4, 4, 4, 1}, {1, 2, 3, 5, 7, 19}, {36, 1}, {17, 20}}) {
    driver_->set_next_block(0);
    Sequence sequence;
    size_t at = 0;
    for (size_t count : chunks) {
      expect_rows(feed(&sequence, ids_, at, at + count), whole_, at);
      at += count;
    }
  }
  driver_->set_next_block(0);
  Sequence sequence;
  for (size_t t = 0; t < ids_.size(); ++t) expect_rows(feed(&sequence, ids_, t, t + 1), whole_, t);
}

TEST_P(CarriedStateTest, BatchOfBoth) {
  Sequence a, b;
  a.slot = 1;
  b.slot = 3;
  for (size_t at = 0; at < 35; at += 5) {
    driver_->begin();
    driver_->feed(&b, {other_.data() + at, 5});
    driver_->feed(&a, {ids_.data() + at, 5});
    const StepRows rows = step();
    ASSERT_EQ(rows.size(), 10u);
    expect_rows({rows.begin(), rows.begin() + 5}, whole_other_, at);
    expect_rows({rows.begin() + 5, rows.end()}, whole_, at);
  }
}

// A sequence is copied after 18 positions, two into a page; both go on, each with its own tokens.
TEST_P(CarriedStateTest, Fork) {
  Sequence a;
  expect_rows(feed(&a, ids_, 0, 18), whole_, 0);
  Sequence b = a;
  b.slot = 2;
  b.blocks.back() = driver_->new_block();
  driver_->begin();
  driver_->state_op = {{SLUICE_STATE_OP_COPY_SEQ, 0, 0, 2},
                       {SLUICE_STATE_OP_COPY_BLOCK, 0, a.blocks.back(), b.blocks.back()}};
  driver_->block_update = {{2, 0, static_cast<int32_t>(b.blocks.size()) - 1, b.blocks.back()}};
  driver_->feed(&b, {other_.data() + 18, 4});
  driver_->feed(&a, {ids_.data() + 18, 1});
  const StepRows rows = step();
  ASSERT_EQ(rows.size(), 5u);
  expect_rows({rows.begin(), rows.begin() + 4}, whole_other_, 18);
  expect_rows({rows.begin() + 4, rows.end()}, whole_, 18);
  expect_rows(feed(&a, ids_, 19, 37), whole_, 19);
  expect_rows(feed(&b, other_, 22, 37), whole_other_, 22);
}

// A new sequence begins on the whole pages of another's prefix: in a later step, and in the step
// that fills them.
TEST_P(CarriedStateTest, PrefixHit) {
  for (const bool same_step : {false, true}) {
    driver_->set_next_block(0);
    Sequence a;
    if (!same_step) expect_rows(feed(&a, ids_, 0, 37), whole_, 0);
    driver_->begin();
    if (same_step) driver_->feed(&a, {ids_.data(), 37});
    Sequence b;
    b.slot = 1;
    b.context_len = 16;
    b.blocks.assign(a.blocks.begin(), a.blocks.begin() + 4);
    driver_->state_op.push_back({SLUICE_STATE_OP_RESET_SEQ, 0, 0, 1});
    for (int i = 0; i < 4; ++i) driver_->block_update.push_back({1, 0, i, b.blocks[i]});
    driver_->feed(&b, {other_.data() + 16, 21});
    StepRows rows = step();
    ASSERT_EQ(rows.size(), same_step ? 58u : 21u);
    if (same_step) rows.erase(rows.begin(), rows.begin() + 37);
    expect_rows(rows, whole_other_, 16);
  }
}

// As after a rejected draft: positions are fed again with other tokens, in the middle of a page and
// at its edge.
TEST_P(CarriedStateTest, Rollback) {
  for (const size_t back_to : {18, 16, 11}) {
    driver_->set_next_block(0);
    Sequence sequence;
    expect_rows(feed(&sequence, ids_, 0, 26), whole_, 0);
    sequence.context_len = static_cast<int32_t>(back_to);
    sequence.blocks.resize((back_to + kPage - 1) / kPage);
    expect_rows(feed(&sequence, other_, back_to, 31), whole_other_, back_to);
    expect_rows(feed(&sequence, other_, 31, 37), whole_other_, 31);
  }
}

// Pages that were used before hold their old sequence's choices.
TEST_P(CarriedStateTest, ReusedPages) {
  Sequence first;
  feed(&first, other_, 0, 37);
  driver_->set_next_block(0);
  Sequence second;
  expect_rows(feed(&second, ids_, 0, 5), whole_, 0);
  expect_rows(feed(&second, ids_, 5, 37), whole_, 5);
}

// Keys are seen in a window, choices are counted from the start: a step needs the blocks of both.
TEST(CarriedStateBlocksTest, CountedBlocksAreAskedFor) {
  MoeModel model([](Sluice__Proto__MoeSpec* moe, Sluice__Proto__ModelSpec* spec, ProtoArena*) {
    moe->has_expert_capacity = 1;
    moe->expert_capacity = 9;
    spec->kv_groups[0]->has_window = 1;
    spec->kv_groups[0]->window = 4;
  });
  EngineHandle engine;
  OptionValues values;
  values.block_size = kPage;
  ASSERT_NO_FATAL_FAILURE(model.open(&engine, values));
  Driver driver(engine.get(), kPage);
  const std::vector<int32_t> ids = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60, 3, 3};
  Sequence sequence;
  driver.begin();
  driver.feed(&sequence, {ids.data(), 12});
  ASSERT_EQ(driver.run().status, SLUICE_STATUS_OK);
  driver.begin();
  driver.feed(&sequence, {ids.data() + 12, 1});
  driver.block_update.push_back({0, 0, 0, -1});
  const Outcome outcome = driver.run();
  EXPECT_EQ(outcome.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(outcome.text.find("slot 0 has no block 0 in kv group 0"), std::string::npos)
      << outcome.text;
  driver.block_update.pop_back();
  const Outcome again = driver.run();
  EXPECT_EQ(again.status, SLUICE_STATUS_OK) << again.text;
}

// 0: one window for the whole sequence. 8: a multiple of the page. 10: not.
INSTANTIATE_TEST_SUITE_P(Windows, CarriedStateTest, ::testing::Values(0, 8, 10));

}  // namespace
}  // namespace sluice::test
