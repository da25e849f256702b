// Multi-head latent attention through the engine, against the decompressed definition in double
// precision.
#include "layers/mla.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "support/mla_test_base.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr auto kFast = SLUICE__PROTO__NUMERICS__FAST;
constexpr auto kInvariant = SLUICE__PROTO__NUMERICS__BATCH_INVARIANT;
constexpr auto kBf16 = SLUICE__PROTO__FORMAT__BF16;
constexpr auto kF32 = SLUICE__PROTO__FORMAT__F32;

std::vector<int32_t> prompt(size_t length) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<int32_t>((i * i * 7 + i * 13 + 5) % 120));
  }
  return ids;
}

// Relative distance of logits from the reference's.
double distance(const std::vector<float>& actual, const Rows& wanted, size_t first = 0) {
  const size_t vocab = wanted[0].size();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double b = wanted[first + i / vocab][i % vocab];
    difference += std::pow(actual[i] - b, 2);
    norm += b * b;
  }
  return std::sqrt(difference / norm);
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - b[i], 2);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

struct Named {
  const char* name;
  Shape shape;
};

const Named kShapes[] = {
    {"deepseek_v3", {}},
    {"no_query_compression", {.q_rank = 0}},
    {"halves", {.interleaved = false}},
    {"biases", {.bias = true}},
    {"no_norms", {.norms = false}},
    {"window", {.window = 9}},
    {"odd_sizes", {.heads = 3, .q_rank = 7, .rank = 33, .nope = 9, .rope = 6, .v = 21}},
    // Values wider than the latent: decompressing never pays.
    {"wide_values", {.heads = 2, .rank = 12, .nope = 20, .rope = 4, .v = 40}},
    {"one_head", {.heads = 1, .rank = 64}},
};

class MlaTest : public ::testing::TestWithParam<Named> {};

TEST_P(MlaTest, EqualsTheReference) {
  const std::vector<int32_t> ids = prompt(70);
  for (const auto numerics : {kFast, kInvariant}) {
    OptionValues values;
    values.numerics = numerics;
    Model model(GetParam().shape, values);
    const Rows wanted = model.wanted(ids);
    // Whole; behind prefixes short and long, in chunks that decompress and ones that do not.
    int slot = 0;
    for (const std::vector<size_t>& chunks :
         {std::vector<size_t>{70}, {9, 1, 50, 10}, {40, 30}, {1, 1, 16, 52}}) {
      Sequence sequence;
      sequence.slot = slot++;
      EXPECT_LT(distance(model.run(&sequence, ids, chunks), wanted), 1e-5)
          << "numerics " << numerics << ", first chunk " << chunks[0];
    }
  }
}

TEST_P(MlaTest, Bfloat16IsNear) {
  const std::vector<int32_t> ids = prompt(40);
  for (const auto numerics : {kFast, kInvariant}) {
    for (const auto& [compute, kv] : {std::pair{kBf16, kBf16}, {kBf16, kF32}, {kF32, kBf16}}) {
      OptionValues values;
      values.numerics = numerics;
      values.compute_format = compute;
      values.kv_format = kv;
      Model model(GetParam().shape, values);
      const Rows wanted = model.wanted(ids);
      Sequence whole, cut;
      cut.slot = 1;
      EXPECT_LT(distance(model.run(&whole, ids, {40}), wanted), 0.03);
      EXPECT_LT(distance(model.run(&cut, ids, {7, 1, 32}), wanted), 0.03);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, MlaTest, ::testing::ValuesIn(kShapes),
                         [](const auto& each) { return std::string(each.param.name); });

// Under BATCH_INVARIANT a row's bits do not depend on the batch, the chunks or the threads, also
// where the context has several spans and pieces of tokens.
TEST(MlaInvarianceTest, BitsDependOnTheSequenceAlone) {
  const size_t length = 1100;
  const std::vector<int32_t> ids = prompt(length);
  for (const auto format : {kF32, kBf16}) {
    OptionValues values;
    values.compute_format = values.kv_format = format;
    values.block_size = 16;
    values.num_blocks = 400;
    values.max_context_len = values.max_step_tokens = length;  // the workspace's bound
    values.num_threads = 1;
    Model one({.heads = 12}, values);
    Sequence sequence;
    const std::vector<float> all = one.run(&sequence, ids, {length});
    ASSERT_EQ(all.size(), length * one.vocab());

    values.num_threads = 3;
    Model many({.heads = 12}, values);
    const size_t vocab = many.vocab();
    const auto expect_same = [&](const std::vector<float>& part, size_t first) {
      ASSERT_EQ(std::memcmp(part.data(), all.data() + first * vocab, part.size() * 4), 0)
          << "from " << first;
    };
    Sequence cut;
    expect_same(many.run(&cut, ids, {511, 2, 1, 1, 585}), 0);
    // Two others in one batch with it.
    Sequence a, b;
    a.slot = 1;
    b.slot = 2;
    many.driver().begin();
    many.driver().feed(&a, {ids.data(), 300});
    many.driver().feed(&b, {ids.data(), 17});
    const std::vector<float> both = many.trace();
    expect_same({both.begin(), both.begin() + static_cast<std::ptrdiff_t>(300 * vocab)}, 0);
    expect_same({both.begin() + static_cast<std::ptrdiff_t>(300 * vocab), both.end()}, 0);
  }
}

// FAST chooses by the arithmetic; both forms agree within rounding, in pieces of the context too.
TEST(MlaFastTest, LongContextsAreNearTheAbsorbedForm) {
  const size_t length = 1400;  // three pieces of 512 keys
  const std::vector<int32_t> ids = prompt(length);
  OptionValues values;
  values.block_size = 32;
  values.num_blocks = 300;
  values.max_context_len = values.max_step_tokens = length;  // the workspace's bound
  const Shape shape{.heads = 8};
  Model exact(shape, values);
  Sequence sequence;
  const std::vector<float> wanted = exact.run(&sequence, ids, {length});
  values.numerics = kFast;
  Model fast(shape, values);
  Sequence whole, cut;
  cut.slot = 1;
  EXPECT_LT(distance(fast.run(&whole, ids, {length}), wanted), 1e-5);
  EXPECT_LT(distance(fast.run(&cut, ids, {100, 1000, 1, 299}), wanted), 1e-5);
}

// Sequences that decompress and ones that do not, in one step.
TEST(MlaFastTest, RaggedBatches) {
  const std::vector<int32_t> ids = prompt(100);
  OptionValues values;
  values.numerics = kFast;
  values.max_step_tokens = 101;  // the workspace's bound
  Model model({}, values);
  const Rows wanted = model.wanted(ids);
  std::array<Sequence, 4> sequences;
  for (int s = 0; s < 4; ++s) sequences[s].slot = s;
  model.run(&sequences[0], ids, {33});
  model.run(&sequences[2], ids, {30});
  const std::array<size_t, 4> counts = {1, 40, 50, 10};
  model.driver().begin();
  for (int s = 0; s < 4; ++s) {
    model.driver().feed(&sequences[s],
                        {ids.data() + sequences[s].context_len, counts[static_cast<size_t>(s)]});
  }
  const std::vector<float> logits = model.trace();
  const size_t vocab = model.vocab();
  ASSERT_EQ(logits.size(), 101 * vocab);
  auto at = logits.begin();
  for (const auto& [first, count] : {std::pair{33, 1}, {0, 40}, {30, 50}, {0, 10}}) {
    const auto end = at + static_cast<std::ptrdiff_t>(static_cast<size_t>(count) * vocab);
    EXPECT_LT(distance({at, end}, wanted, static_cast<size_t>(first)), 1e-5) << "from " << first;
    at = end;
  }
}

// A fork shares whole blocks and copies the last one: the bits are those of a sequence of its own.
TEST(MlaInvarianceTest, ForksShareTheirPrefix) {
  Model model({});
  const std::vector<int32_t> ids = prompt(30);
  Sequence alone;
  const std::vector<float> wanted = model.run(&alone, ids, {30});
  Sequence original;
  original.slot = 1;
  model.run(&original, ids, {19});
  Sequence fork = original;
  fork.slot = 2;
  Driver& driver = model.driver();
  driver.begin();
  fork.blocks[2] = driver.new_block();
  driver.feed(&original, std::vector<int32_t>{77, 78});
  driver.feed(&fork, {ids.data() + 19, 11});
  driver.state_op = {
      {SLUICE_STATE_OP_COPY_SEQ, 0, original.slot, fork.slot},
      {SLUICE_STATE_OP_COPY_BLOCK, 0, original.blocks[2], fork.blocks[2]},
      {SLUICE_STATE_OP_ZERO_BLOCK, 0, 0, 60},
  };
  driver.block_update.push_back({fork.slot, 0, 2, fork.blocks[2]});
  const std::vector<float> both = model.trace();
  const size_t vocab = model.vocab();
  ASSERT_EQ(both.size(), 13 * vocab);
  EXPECT_EQ(std::memcmp(both.data() + 2 * vocab, wanted.data() + 19 * vocab, 11 * vocab * 4), 0);
}

// The copies that the absorbed form reads follow an update of KV_B.
TEST(MlaWeightsTest, UpdatesReachTheDerivedCopies) {
  const std::vector<int32_t> ids = prompt(20);
  for (const auto numerics : {kFast, kInvariant}) {
    OptionValues values;
    values.numerics = numerics;
    Model model({}, values);
    const Rows before = model.wanted(ids);
    std::vector<float> changed = model.weights().get(SLUICE__PROTO__SLOT__KV_B, 1, 0);
    for (size_t i = 0; i < changed.size(); ++i) changed[i] *= i % 3 == 0 ? -0.5f : 1.25f;
    model.weights().set(SLUICE__PROTO__SLOT__KV_B, 1, 0, changed);
    WeightValues part = model.weights();
    part.keep_only(SLUICE__PROTO__SLOT__KV_B, 1, 0);
    model.load(part, SLUICE_WEIGHTS_UPDATE);
    Sequence sequence;
    const std::vector<float> logits = model.run(&sequence, ids, {20});
    EXPECT_LT(distance(logits, model.wanted(ids)), 1e-5);
    EXPECT_GT(distance(logits, before), 1e-2);
  }
}

TEST(MlaWeightsTest, SlotsNameTheDerivedCopies) {
  Model model({});
  int found = 0;
  for (size_t s = 0; s < model.slots().n_slots; ++s) {
    const auto& slot = *model.slots().slots[s];
    if (slot.slot != SLUICE__PROTO__SLOT__KV_B) {
      EXPECT_EQ(slot.n_derived, 0u);
      continue;
    }
    ++found;
    ASSERT_EQ(slot.n_derived, 2u);
    EXPECT_STREQ(slot.derived[0], "absorbed_uk");
    EXPECT_STREQ(slot.derived[1], "absorbed_uv");
    // 4 heads of 16 + 16 rows by 32 columns; on the CPU W_UK^T 32 by 16 and W_UV 16 by 32 take a panel
    // of 64 rows each.
    const uint64_t copies = settings().cuda() ? 2 * 32 * 16 : 64 * 16 + 64 * 32;
    EXPECT_EQ(slot.stored_bytes, 4u * (128 * 32 + 4 * copies));
  }
  EXPECT_EQ(found, 3);
}

TEST(MlaFormTest, TheArithmeticDecides) {
  MlaSpec spec;
  spec.num_q_heads = 16;
  spec.kv_lora_rank = 512;
  spec.qk_nope_head_dim = 128;
  spec.qk_rope_head_dim = 64;
  spec.v_head_dim = 128;
  const MlaLayer layer(spec, 0, 0, {});
  const auto chunk = [&](int64_t tokens, int64_t context) {
    return layer.decompresses(tokens, context,
                              tokens * (context - tokens) + tokens * (tokens + 1) / 2);
  };
  EXPECT_FALSE(chunk(1, 1));
  EXPECT_FALSE(chunk(1, 4096));
  EXPECT_TRUE(chunk(16, 16));
  EXPECT_TRUE(chunk(512, 512));
  // 512 * 256 / (2 * 512 - 256) = 170.7 tokens behind a long prefix.
  EXPECT_FALSE(chunk(170, 1 << 20));
  EXPECT_TRUE(chunk(172, 1 << 20));
}

}  // namespace
}  // namespace sluice::test
