// What ranks hold of weights that are split by rows, by columns, by heads with shared KV heads.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "support/weight_ranks.h"

namespace sluice::test {
namespace {

constexpr Slot kQkv = SLUICE__PROTO__SLOT__QKV;
constexpr Slot kQkvBias = SLUICE__PROTO__SLOT__QKV_BIAS;
constexpr Slot kO = SLUICE__PROTO__SLOT__O;
constexpr Slot kNorm = SLUICE__PROTO__SLOT__ATTENTION_NORM;
constexpr Slot kGateUp = SLUICE__PROTO__SLOT__EXPERT_GATE_UP;
constexpr Slot kDown = SLUICE__PROTO__SLOT__EXPERT_DOWN;
constexpr Part kWhole = SLUICE__PROTO__PART__WHOLE;
constexpr int kExperts = 3;
constexpr int64_t kHeads = 8;
constexpr int64_t kKvHeads = 2;
constexpr int64_t kHeadDim = 5;
constexpr int64_t kHidden = 96;
constexpr int64_t kSize = 160;  // intermediate: a share of 40 columns is no whole number of blocks

std::vector<WeightSlot> whole_slots() {
  const std::vector<WeightPart> heads = {
      part_of(SLUICE__PROTO__PART__PART_Q, kHeads * kHeadDim, ShardAxis::kRows),
      part_of(SLUICE__PROTO__PART__PART_K, kKvHeads * kHeadDim, ShardAxis::kRows),
      part_of(SLUICE__PROTO__PART__PART_V, kKvHeads * kHeadDim, ShardAxis::kRows)};
  const std::vector<WeightPart> gate_up = {
      part_of(SLUICE__PROTO__PART__PART_GATE, kSize, ShardAxis::kRows),
      part_of(SLUICE__PROTO__PART__PART_UP, kSize, ShardAxis::kRows)};
  const auto columns = [](int64_t rows) {
    return std::vector<WeightPart>{part_of(kWhole, rows, ShardAxis::kColumns)};
  };
  return {matrix_slot(kQkv, 0, heads, kHidden),
          vector_slot(kQkvBias, 0, heads),
          matrix_slot(kO, 0, columns(kHidden), kHeads * kHeadDim),
          vector_slot(kNorm, 0, {part_of(kWhole, kHidden)}),
          matrix_slot(kGateUp, 0, gate_up, kHidden, kExperts),
          matrix_slot(kDown, 0, columns(kHidden), kSize, kExperts, Format::kBf16)};
}

std::vector<std::vector<WeightSlot>> shares(int num_ranks) {
  std::vector<std::vector<WeightSlot>> slots(num_ranks);
  const int kv_ranks = std::max(1, num_ranks / static_cast<int>(kKvHeads));
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (const WeightSlot& slot : whole_slots()) {
      slots[rank].push_back(share_of(slot, rank, num_ranks, kv_ranks));
    }
  }
  return slots;
}

// Random bytes of a format whose every code is a number.
std::string random_file(size_t bytes) {
  std::mt19937 random(5);
  std::string file(bytes, '\0');
  for (char& byte : file) byte = static_cast<char>(random() & 0x77);
  return file;
}

// Every slot in a format of its own: fused, interleaved, with scales, in blocks.
std::vector<Sluice__Proto__WeightTransfer*> transfers(WeightRanks* ranks) {
  uint64_t offset = 0;
  const auto next = [&](uint64_t bytes) { return std::exchange(offset, offset + bytes); };
  const auto fp8 = [&](std::vector<uint64_t> shape) {
    uint64_t values = 1;
    for (const uint64_t extent : shape) values *= extent;
    auto* source = ranks->source({SLUICE__PROTO__FORMAT__F8_E4M3, next(values), shape, {}, false});
    uint64_t scales = 1;
    for (size_t d = shape.size() - 2; d < shape.size(); ++d) shape[d] = (shape[d] + 31) / 32;
    for (const uint64_t extent : shape) scales *= extent;
    source->scale =
        ranks->source({SLUICE__PROTO__FORMAT__BF16, next(2 * scales), shape, {}, false});
    source->has_scale_block_rows = source->has_scale_block_columns = 1;
    source->scale_block_rows = source->scale_block_columns = 32;
    return source;
  };
  const uint64_t qkv = (kHeads + 2 * kKvHeads) * kHeadDim;
  std::vector<Sluice__Proto__WeightTransfer*> list;
  list.push_back(ranks->transfer(kQkv, 0, kWhole, -1, fp8({qkv, kHidden})));
  list.push_back(ranks->transfer(
      kQkvBias, 0, kWhole, -1,
      ranks->source({SLUICE__PROTO__FORMAT__F16, next(2 * qkv), {qkv}, {}, false})));
  // [in, out]
  list.push_back(ranks->transfer(kO, 0, kWhole, -1,
                                 ranks->source({SLUICE__PROTO__FORMAT__BF16,
                                                next(2 * kHidden * kHeads * kHeadDim),
                                                {kHeads * kHeadDim, kHidden},
                                                {},
                                                true})));
  list.push_back(ranks->transfer(
      kNorm, 0, kWhole, -1,
      ranks->source({SLUICE__PROTO__FORMAT__F32, next(4 * kHidden), {kHidden}, {}, false})));
  // MXFP4, gate and up rows by turns.
  const uint64_t rows = next(kExperts * 2 * kSize * kHidden / 2);
  const uint64_t scales = next(kExperts * 2 * kSize * kHidden / 32);
  for (uint64_t up : {0, 1}) {
    auto* source = ranks->source({SLUICE__PROTO__FORMAT__MXFP4_SPLIT,
                                  rows + up * kHidden / 2,
                                  {kExperts, kSize, kHidden},
                                  {2 * kSize * kHidden, 2 * kHidden, 1},
                                  false});
    source->scale = ranks->source({SLUICE__PROTO__FORMAT__F8_E8M0,
                                   scales + up * kHidden / 32,
                                   {kExperts, kSize, kHidden / 32},
                                   {2 * kSize * kHidden / 32, 2 * kHidden / 32, 1},
                                   false});
    source->has_scale_block_columns = 1;
    source->scale_block_columns = 32;
    list.push_back(ranks->transfer(
        kGateUp, 0, up ? SLUICE__PROTO__PART__PART_UP : SLUICE__PROTO__PART__PART_GATE, -1,
        source));
  }
  // Expert 0 in scaled bytes, the others in blocks of 32 that a share of columns cuts.
  list.push_back(ranks->transfer(kDown, 0, kWhole, 0, fp8({kHidden, kSize})));
  for (int e = 1; e < kExperts; ++e) {
    list.push_back(ranks->transfer(kDown, 0, kWhole, e,
                                   ranks->source({SLUICE__PROTO__FORMAT__MXFP4,
                                                  next(kHidden * kSize / 32 * 17),
                                                  {kHidden, kSize},
                                                  {},
                                                  false})));
  }
  ranks->set_file(random_file(offset));
  return list;
}

// What a share holds must equal those rows and columns of the whole; together they are all of it.
void expect_shares(const WeightRanks& ranks, int num_ranks, const WeightRanks& whole) {
  for (const WeightSlot& slot : whole.store(0).slots()) {
    const std::vector<float> wanted = whole.values(slot.slot, 0);
    std::vector<int> held(wanted.size());
    for (int rank = 0; rank < num_ranks; ++rank) {
      const WeightStore& store = ranks.store(rank);
      const WeightSlot& share = store.slots()[store.find(slot.slot, 0)];
      const std::vector<float> values = ranks.values(slot.slot, 0, rank);
      for (int64_t e = 0; e < slot.count(); ++e) {
        for (size_t p = 0; p < slot.parts.size(); ++p) {
          const WeightPart& part = share.parts[p];
          for (int64_t r = 0; r < part.rows; ++r) {
            for (int64_t c = 0; c < share.cols; ++c) {
              const int64_t from = (e * share.rows + part.row_begin + r) * share.cols + c;
              const int64_t row = slot.parts[p].row_begin + part.first_row + r;
              const int64_t to = (e * slot.rows + row) * slot.cols + share.first_col + c;
              ASSERT_EQ(values[from], wanted[to])
                  << slot.name(slot.parts[p]) << " rank " << rank << " expert " << e << " row " << r
                  << " column " << c;
              ++held[to];
            }
          }
        }
      }
    }
    for (const int count : held) ASSERT_GT(count, 0) << slot.name();
  }
}

TEST(WeightShardsTest, SharesMakeTheWhole) {
  WeightRanks whole(whole_slots());
  const Outcome loaded = whole.load(transfers(&whole));
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  // The test's numbers tell one place from another.
  for (const WeightSlot& slot : whole.store(0).slots()) {
    const std::vector<float> values = whole.values(slot.slot, 0);
    double sum = 0;
    for (const float value : values) sum += std::fabs(value);
    ASSERT_TRUE(std::isfinite(sum)) << slot.name();
    ASSERT_NE(values[0], values[1]) << slot.name();
  }
  for (const int num_ranks : {2, 4}) {
    WeightRanks ranks(shares(num_ranks));
    const Outcome shared = ranks.load(transfers(&ranks));
    ASSERT_EQ(shared.status, SLUICE_STATUS_OK) << shared.text;
    EXPECT_EQ(ranks.progress().transfers_done, ranks.progress().transfers_total);
    EXPECT_EQ(ranks.progress().bytes_done, ranks.progress().bytes_total);
    expect_shares(ranks, num_ranks, whole);
  }
}

// A transfer that no cell of a rank lies in leaves that rank alone; what is missing names the rank.
TEST(WeightShardsTest, CoverageIsOfEachRank) {
  WeightRanks ranks(shares(4));
  std::vector<Sluice__Proto__WeightTransfer*> list = transfers(&ranks);
  auto* fused = list.front();
  // Without the last query head, which rank 3 holds, as the second of its two.
  const uint64_t query_rows = (kHeads - 1) * kHeadDim;
  fused->destination->part = SLUICE__PROTO__PART__PART_Q;
  fused->destination->has_num_rows = 1;
  fused->destination->num_rows = query_rows;
  fused->source =
      ranks.source({SLUICE__PROTO__FORMAT__F8_E4M3, 0, {query_rows, uint64_t{kHidden}}, {}, false});
  auto* keys = ranks.transfer(
      kQkv, 0, SLUICE__PROTO__PART__PART_K, -1,
      ranks.source({SLUICE__PROTO__FORMAT__F8_E4M3, 0, {kKvHeads * kHeadDim, kHidden}, {}, false}));
  auto* values = ranks.transfer(
      kQkv, 0, SLUICE__PROTO__PART__PART_V, -1,
      ranks.source({SLUICE__PROTO__FORMAT__F8_E4M3, 0, {kKvHeads * kHeadDim, kHidden}, {}, false}));
  list.push_back(keys);
  list.push_back(values);
  const Outcome loaded = ranks.load(list);
  EXPECT_EQ(loaded.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_EQ(loaded.text, "layers[0].QKV.PART_Q on rank 3 (rows 35 to 39, columns 0 to 95)");
  // A KV head that ranks share is filled on each of them, and taken on each of them.
  const Outcome again = ranks.enqueue({keys});
  EXPECT_EQ(again.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(again.text.find("layers[0].QKV.PART_K on rank 0"), std::string::npos) << again.text;
}

TEST(WeightShardsTest, RandomWeightsAgree) {
  const auto random = [](WeightRanks* ranks, bool by_expert) {
    std::vector<Sluice__Proto__WeightTransfer*> list = transfers(ranks);
    if (by_expert) {
      for (int e = 0; e < kExperts; ++e) {
        list.push_back(ranks->transfer(
            kGateUp, 0, kWhole, e,
            ranks->source({SLUICE__PROTO__FORMAT__F32, 0, {2 * kSize, kHidden}, {}, false})));
      }
      std::erase_if(list, [](const auto* t) {
        return t->destination->slot == kGateUp && t->destination->expert < 0;
      });
    }
    for (auto* transfer : list) {
      auto* source = transfer->source;
      source->has_kind = source->has_random_seed = source->has_random_std = 1;
      source->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
      source->random_seed = 11;
      source->random_std = 0.5;
      source->scale = nullptr;
      source->scale_block_rows = source->scale_block_columns = 1;
    }
    return list;
  };
  WeightRanks whole(whole_slots());
  const Outcome loaded = whole.load(random(&whole, false));
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  for (const int num_ranks : {1, 2, 4}) {
    WeightRanks ranks(shares(num_ranks));
    const Outcome shared = ranks.load(random(&ranks, true));
    ASSERT_EQ(shared.status, SLUICE_STATUS_OK) << shared.text;
    expect_shares(ranks, num_ranks, whole);
  }
  // No two parts and no two experts alike.
  const std::vector<float> values = whole.values(kGateUp, 0);
  for (size_t block = 1; block < 2 * kExperts; ++block) {
    EXPECT_FALSE(std::equal(values.begin(), values.begin() + kSize * kHidden,
                            values.begin() + static_cast<int64_t>(block) * kSize * kHidden));
  }
  // Normal: moments of 92160 numbers.
  double sum[5] = {};
  for (const float value : values) {
    for (int power = 0; power < 5; ++power) sum[power] += std::pow(value / 0.5, power);
  }
  EXPECT_NEAR(sum[1] / sum[0], 0, 0.015);
  EXPECT_NEAR(sum[2] / sum[0], 1, 0.02);
  EXPECT_NEAR(sum[3] / sum[0], 0, 0.05);
  EXPECT_NEAR(sum[4] / sum[0], 3, 0.15);
}

}  // namespace
}  // namespace sluice::test
