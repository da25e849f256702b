#include "ops/expert_capacity/expert_capacity.h"

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Random;

constexpr int32_t kExperts = 5, kPerToken = 2, kBlock = 4;

// Distinct experts of each position of a sequence.
std::vector<int32_t> random_choices(int64_t positions, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> out;
  for (int64_t t = 0; t < positions; ++t) {
    const auto first = static_cast<int32_t>(random.below(kExperts));
    out.push_back(first);
    out.push_back(static_cast<int32_t>((first + 1 + random.below(kExperts - 1)) % kExperts));
  }
  return out;
}

// SPEC section 4, word by word: in each window an expert accepts the first tokens that chose it.
std::vector<uint8_t> reference(const std::vector<int32_t>& choices, int32_t capacity,
                               int32_t window) {
  std::vector<uint8_t> kept;
  std::vector<int> accepted(kExperts);
  for (size_t t = 0; t < choices.size() / kPerToken; ++t) {
    if (window > 0 && t % static_cast<size_t>(window) == 0) accepted.assign(kExperts, 0);
    for (int i = 0; i < kPerToken; ++i) {
      int& count = accepted[choices[t * kPerToken + i]];
      kept.push_back(count < capacity);
      if (count < capacity) ++count;
    }
  }
  return kept;
}

// A cache of blocks and a table per sequence; what no step wrote is full of experts.
struct Cache {
  static constexpr int64_t kBlocks = 8192, kTable = 4096;
  std::vector<uint16_t> channel = std::vector<uint16_t>(kBlocks * kBlock * kPerToken, 1);
  std::vector<int32_t> tables = std::vector<int32_t>(4 * kTable, -1);
  int32_t next = 3;

  int32_t slot(int32_t sequence, int64_t position) {
    int32_t& block = tables[sequence * kTable + position / kBlock];
    if (block < 0) block = next++;
    return static_cast<int32_t>(block * kBlock + position % kBlock);
  }

  struct Chunk {
    int32_t sequence;
    int64_t begin, end;
    const std::vector<int32_t>* choices;
  };

  std::vector<uint8_t> run(const std::vector<Chunk>& chunks, int32_t capacity, int32_t window,
                           int threads = 2) {
    std::vector<int32_t> experts, positions, slots, start = {0}, rows;
    for (const Chunk& c : chunks) {
      for (int64_t t = c.begin; t < c.end; ++t) {
        positions.push_back(static_cast<int32_t>(t));
        slots.push_back(slot(c.sequence, t));
        for (int i = 0; i < kPerToken; ++i) experts.push_back((*c.choices)[t * kPerToken + i]);
      }
      start.push_back(static_cast<int32_t>(positions.size()));
      rows.push_back(c.sequence);
    }
    std::vector<uint8_t> kept(experts.size(), 7);
    const Exec exec = testing::exec_of(Isa::kPortable, threads);
    std::vector<char> workspace(expert_capacity_workspace_bytes(exec, kExperts));
    expert_capacity(exec,
                    {.num_tokens = static_cast<int64_t>(positions.size()),
                     .num_experts = kExperts,
                     .num_experts_per_token = kPerToken,
                     .capacity = capacity,
                     .window = window,
                     .experts = experts.data(),
                     .num_sequences = static_cast<int32_t>(chunks.size()),
                     .query_start = start.data(),
                     .positions = positions.data(),
                     .kv_slots = slots.data(),
                     .block_tables = tables.data(),
                     .block_table_stride = kTable,
                     .table_rows = rows.data(),
                     .block_size = kBlock,
                     .num_blocks = kBlocks,
                     .channel = channel.data(),
                     .kept = kept.data()},
                    workspace.data(), static_cast<int64_t>(workspace.size()));
    return kept;
  }
};

class WindowTest : public ::testing::TestWithParam<int32_t> {};

TEST_P(WindowTest, ChunksAndBatchesGiveWhatOneWholePassGives) {
  for (const int32_t capacity : {1, 3, 5}) {
    const int64_t length = 60;
    const auto a = random_choices(length, 1), b = random_choices(length, 2);
    const auto wanted_a = reference(a, capacity, GetParam());
    const auto wanted_b = reference(b, capacity, GetParam());
    if (capacity == 1 && GetParam() != 1) {
      EXPECT_NE(wanted_a, std::vector<uint8_t>(wanted_a.size(), 1));
    }
    for (const int threads : {1, 2, 3}) {
      Cache whole;
      EXPECT_EQ(whole.run({{2, 0, length, &a}}, capacity, GetParam(), threads), wanted_a);
      Cache parts;
      int64_t at = 0;
      for (const int64_t count : {7, 1, 1, 9, 16, 26}) {
        const auto kept = parts.run({{1, at, at + count, &b}, {0, at, at + count, &a}}, capacity,
                                    GetParam(), threads);
        for (int64_t i = 0; i < count * kPerToken; ++i) {
          ASSERT_EQ(kept[i], wanted_b[at * kPerToken + i]) << "position " << at + i / kPerToken;
          ASSERT_EQ(kept[count * kPerToken + i], wanted_a[at * kPerToken + i])
              << "position " << at + i / kPerToken;
        }
        at += count;
      }
    }
  }
}

// A second sequence starts on the first one's blocks, in a later step or in the same one.
TEST_P(WindowTest, SharedBlocksCountForBoth) {
  const int64_t length = 40, shared = 20;
  const auto a = random_choices(length, 5);
  auto b = random_choices(length, 6);
  std::copy_n(a.begin(), shared * kPerToken, b.begin());
  const auto wanted = reference(b, 3, GetParam());
  for (const bool same_step : {false, true}) {
    Cache cache;
    for (int64_t t = 0; t < shared; ++t) cache.slot(0, t);
    std::copy_n(cache.tables.begin(), shared / kBlock, cache.tables.begin() + Cache::kTable);
    std::vector<uint8_t> kept;
    if (same_step) {
      kept = cache.run({{1, shared, length, &b}, {0, 0, length, &a}}, 3, GetParam());
    } else {
      cache.run({{0, 0, length, &a}}, 3, GetParam());
      kept = cache.run({{1, shared, length, &b}}, 3, GetParam());
    }
    for (int64_t i = 0; i < (length - shared) * kPerToken; ++i) {
      ASSERT_EQ(kept[i], wanted[shared * kPerToken + i]);
    }
  }
}

// Positions that are fed again leave nothing of what they held before, nor of what followed.
TEST_P(WindowTest, PositionsFedAgainReplaceTheOldOnes) {
  const int64_t length = 40;
  const auto rejected = random_choices(length, 7);
  auto accepted = random_choices(length, 8);
  std::copy_n(rejected.begin(), 17 * kPerToken, accepted.begin());
  const auto wanted = reference(accepted, 3, GetParam());
  Cache cache;
  cache.run({{0, 0, 25, &rejected}}, 3, GetParam());
  const auto kept = cache.run({{0, 17, length, &accepted}}, 3, GetParam());
  for (int64_t i = 0; i < (length - 17) * kPerToken; ++i) {
    ASSERT_EQ(kept[i], wanted[17 * kPerToken + i]);
  }
}

// Enough positions that threads share the sequences.
TEST(ExpertCapacityTest, ThreadsShareSequences) {
  const int64_t length = 6000;
  const auto a = random_choices(length, 11), b = random_choices(length, 12);
  const auto wanted_a = reference(a, 700, 4000), wanted_b = reference(b, 700, 4000);
  Cache cache;
  cache.run({{0, 0, 5000, &a}, {1, 0, 5000, &b}}, 700, 4000, 2);
  const auto kept = cache.run({{0, 5000, length, &a}, {1, 5000, length, &b}}, 700, 4000, 2);
  EXPECT_TRUE(std::equal(kept.begin(), kept.begin() + 1000 * kPerToken,
                         wanted_a.begin() + 5000 * kPerToken));
  EXPECT_TRUE(
      std::equal(kept.begin() + 1000 * kPerToken, kept.end(), wanted_b.begin() + 5000 * kPerToken));
}

// 0 and 64: the whole sequence. 6 is no multiple of the block, 4 and 16 are.
INSTANTIATE_TEST_SUITE_P(Windows, WindowTest, ::testing::Values(0, 1, 4, 6, 16, 64));

TEST(ExpertCapacityTest, ReadsNothingBeforeTheWindow) {
  const auto a = random_choices(40, 9);
  Cache cache;
  cache.run({{0, 0, 20, &a}}, 2, 16);
  const auto wanted = reference(a, 2, 16);
  // The blocks before the window were given back.
  for (int i = 0; i < 4; ++i) cache.tables[i] = -1;
  const auto kept = cache.run({{0, 20, 40, &a}}, 2, 16);
  for (int64_t i = 0; i < 20 * kPerToken; ++i) ASSERT_EQ(kept[i], wanted[20 * kPerToken + i]);
  cache.tables[4] = -1;
  try {
    cache.run({{0, 20, 40, &a}}, 2, 16);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.text().find("block table of sequence 0 at 4: -1"), std::string::npos)
        << error.text();
  }
}

// As many experts as a model may have: the last one's number is the largest of 16 bits.
TEST(ExpertCapacityTest, CountsTheLastOf65536Experts) {
  constexpr int32_t kMost = 65536;
  const std::vector<int32_t> experts = {kMost - 1, 7, kMost - 1}, positions = {0, 1, 2};
  const std::vector<int32_t> start = {0, 3};
  const int32_t table = 0;
  std::vector<uint16_t> channel(kBlock, 0);
  std::vector<uint8_t> kept(3, 7);
  const Exec exec = testing::exec_of(Isa::kPortable, 1);
  std::vector<char> workspace(expert_capacity_workspace_bytes(exec, kMost));
  ExpertCapacityParams params;
  params.num_tokens = 3;
  params.num_experts = kMost;
  params.num_experts_per_token = 1;
  params.capacity = 1;
  params.experts = experts.data();
  params.num_sequences = 1;
  params.query_start = start.data();
  params.positions = positions.data();
  params.kv_slots = positions.data();
  params.block_tables = &table;
  params.block_table_stride = 1;
  params.block_size = kBlock;
  params.num_blocks = 1;
  params.channel = channel.data();
  params.kept = kept.data();
  expert_capacity(exec, params, workspace.data(), static_cast<int64_t>(workspace.size()));
  EXPECT_EQ(kept, (std::vector<uint8_t>{1, 1, 0}));
  EXPECT_EQ(channel[2], 65535);
  params.num_experts = kMost + 1;
  EXPECT_THROW(
      expert_capacity(exec, params, workspace.data(), static_cast<int64_t>(workspace.size())),
      Error);
}

TEST(ExpertCapacityTest, RefusesByName) {
  const std::vector<int32_t> bad = {0, kExperts};
  Cache cache;
  EXPECT_THROW(cache.run({{0, 0, 1, &bad}}, 2, 0), Error);
  const std::vector<int32_t> good = {0, 1};
  EXPECT_THROW(cache.run({{0, 0, 1, &good}}, 0, 0), Error);
  EXPECT_THROW(cache.run({{0, 0, 1, &good}}, 1, -1), Error);
  EXPECT_NO_THROW(cache.run({{0, 0, 1, &good}}, 1, 0));
}

}  // namespace
}  // namespace sluice
