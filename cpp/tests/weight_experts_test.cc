// Expert slots: which expert a transfer fills, what is missing, and what is wrong with a source.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "support/weight_ranks.h"

namespace sluice::test {
namespace {

constexpr Slot kGateUp = SLUICE__PROTO__SLOT__EXPERT_GATE_UP;
constexpr Slot kGateUpBias = SLUICE__PROTO__SLOT__EXPERT_GATE_UP_BIAS;
constexpr Slot kDown = SLUICE__PROTO__SLOT__EXPERT_DOWN;
constexpr Slot kO = SLUICE__PROTO__SLOT__O;
constexpr Part kGate = SLUICE__PROTO__PART__PART_GATE;
constexpr Part kUp = SLUICE__PROTO__PART__PART_UP;
constexpr Part kWhole = SLUICE__PROTO__PART__WHOLE;
constexpr auto kF32 = SLUICE__PROTO__FORMAT__F32;

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// 1, 2, 3, ...
std::vector<float> counting(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

// Eighteen experts in layer 3: gate and up of 4 rows, 6 columns, and their biases; O beside them.
constexpr int kExperts = 18;
std::vector<WeightSlot> slots_of_layer() {
  const std::vector<WeightPart> parts = {part_of(kGate, 4), part_of(kUp, 4)};
  return {matrix_slot(kGateUp, 3, parts, 6, kExperts), vector_slot(kGateUpBias, 3, parts, kExperts),
          matrix_slot(kO, 3, {part_of(kWhole, 6)}, 64)};
}

class WeightExpertsTest : public ::testing::Test {
 protected:
  WeightExpertsTest() : ranks_(slots_of_layer()) {
    ranks_.set_file(bytes_of(counting(kExperts * 48)));
  }

  Sluice__Proto__WeightTransfer* make(Slot slot, Part part, int expert, std::vector<uint64_t> shape,
                                      uint64_t first_value = 0,
                                      std::vector<uint64_t> strides = {}) {
    return ranks_.transfer(
        slot, 3, part, expert,
        ranks_.source({kF32, first_value * 4, std::move(shape), std::move(strides), false}));
  }

  void expect_refused(const std::string& text, Sluice__Proto__WeightTransfer* transfer,
                      int32_t status = SLUICE_STATUS_INVALID_ARGUMENT) {
    ranks_.begin(1);
    const Outcome refused = ranks_.enqueue({transfer});
    EXPECT_EQ(refused.status, status) << refused.text;
    EXPECT_NE(refused.text.find(text), std::string::npos) << text << " is not in: " << refused.text;
    EXPECT_EQ(ranks_.progress().transfers_total, 0);
  }

  Outcome load_rest(std::vector<Sluice__Proto__WeightTransfer*> transfers) {
    transfers.push_back(make(kO, kWhole, -1, {6, 64}));
    return ranks_.load(transfers);
  }

  WeightRanks ranks_;
};

TEST_F(WeightExpertsTest, AllAtOnceOrOneByOne) {
  std::vector<Sluice__Proto__WeightTransfer*> all = {make(kGateUp, kWhole, -1, {kExperts, 8, 6}),
                                                     make(kGateUpBias, kWhole, -1, {kExperts, 8})};
  Outcome loaded = load_rest(all);
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  EXPECT_EQ(ranks_.values(kGateUp, 3), counting(kExperts * 48));
  EXPECT_EQ(ranks_.values(kGateUpBias, 3), counting(kExperts * 8));

  std::vector<Sluice__Proto__WeightTransfer*> single;
  for (int e = 0; e < kExperts; ++e) {
    const auto at = static_cast<uint64_t>(e);
    single.push_back(make(kGateUp, kUp, e, {4, 6}, at * 48 + 24));
    single.push_back(make(kGateUp, kGate, e, {4, 6}, at * 48));
    single.push_back(make(kGateUpBias, kWhole, e, {8}, at * 8));
  }
  WeightRanks other(slots_of_layer());
  std::swap(single.front(), single.back());  // in no order
  other.set_file(bytes_of(counting(kExperts * 48)));
  single.push_back(make(kO, kWhole, -1, {6, 64}));
  loaded = other.load(single);
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  EXPECT_EQ(other.values(kGateUp, 3), counting(kExperts * 48));
  EXPECT_EQ(other.values(kGateUpBias, 3), counting(kExperts * 8));
}

// Biases of gate and up by turns, of all experts: a stride of two within each.
TEST_F(WeightExpertsTest, InterleavedBiases) {
  const Outcome loaded = load_rest({make(kGateUp, kWhole, -1, {kExperts, 8, 6}),
                                    make(kGateUpBias, kGate, -1, {kExperts, 4}, 0, {8, 2}),
                                    make(kGateUpBias, kUp, -1, {kExperts, 4}, 1, {8, 2})});
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  const std::vector<float> values = ranks_.values(kGateUpBias, 3);
  for (int e = 0; e < kExperts; ++e) {
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(values[e * 8 + i],
                static_cast<float>(e * 8 + (i < 4 ? 2 * i : 2 * (i - 4) + 1) + 1));
    }
  }
}

TEST_F(WeightExpertsTest, MissingExpertsAreNamed) {
  std::vector<Sluice__Proto__WeightTransfer*> transfers = {
      make(kGateUp, kUp, -1, {kExperts, 4, 6}, 24, {48, 6, 1}),
      make(kGateUpBias, kWhole, -1, {kExperts, 8})};
  for (int e = 0; e < kExperts - 1; ++e) transfers.push_back(make(kGateUp, kGate, e, {4, 6}));
  Outcome loaded = load_rest(transfers);
  EXPECT_EQ(loaded.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_EQ(loaded.text, "layers[3].EXPERT_GATE_UP.PART_GATE of expert 17");

  // Two rows of the last one are not enough.
  auto* rows = make(kGateUp, kGate, kExperts - 1, {2, 6});
  rows->destination->has_num_rows = 1;
  rows->destination->num_rows = 2;
  ASSERT_EQ(ranks_.enqueue({rows}).status, SLUICE_STATUS_OK);
  loaded = ranks_.finish();
  EXPECT_EQ(loaded.text,
            "layers[3].EXPERT_GATE_UP.PART_GATE of expert 17 (rows 2 to 3, columns 0 to 5)");

  // Ten by name, the others by number.
  loaded = load_rest({});
  EXPECT_NE(loaded.text.find("layers[3].EXPERT_GATE_UP.PART_UP of expert 4 and 62 more"),
            std::string::npos)
      << loaded.text;
  EXPECT_EQ(loaded.text.find("expert 5"), std::string::npos) << loaded.text;
}

TEST_F(WeightExpertsTest, DuplicatesAreNamed) {
  ranks_.begin();
  ASSERT_EQ(ranks_.enqueue({make(kGateUp, kUp, 7, {4, 6})}).status, SLUICE_STATUS_OK);
  // The list that is refused takes no cells, of expert 0 to 6 neither.
  const Outcome twice = ranks_.enqueue({make(kGateUp, kWhole, -1, {kExperts, 8, 6})});
  EXPECT_EQ(twice.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(twice.text.find("layers[3].EXPERT_GATE_UP.PART_UP of expert 7 rows 0 to 3"),
            std::string::npos)
      << twice.text;
  EXPECT_EQ(ranks_.enqueue({make(kGateUp, kWhole, 0, {8, 6})}).status, SLUICE_STATUS_OK);
  EXPECT_EQ(ranks_.enqueue({make(kGateUp, kGate, -1, {kExperts, 4, 6})}).status,
            SLUICE_STATUS_INVALID_ARGUMENT);
}

TEST_F(WeightExpertsTest, WrongExperts) {
  expect_refused("destination.expert: 18 (expected: -1 for all, or 0 to 17 for one)",
                 make(kGateUp, kGate, 18, {4, 6}));
  expect_refused("destination.expert: -2", make(kGateUp, kGate, -2, {4, 6}));
  expect_refused("destination.expert: 0 (expected: -1, layers[3].O has no experts)",
                 make(kO, kWhole, 0, {6, 64}));
  expect_refused(
      "shape: 2 dimensions (expected: 3, [experts, rows, columns] for "
      "layers[3].EXPERT_GATE_UP)",
      make(kGateUp, kGate, -1, {4, 6}));
  expect_refused("shape: 3 dimensions (expected: 2, [rows, columns]",
                 make(kGateUp, kGate, 1, {1, 4, 6}));
  expect_refused("shape: 3 dimensions (expected: 2, [rows, columns]",
                 make(kO, kWhole, -1, {1, 6, 64}));
  expect_refused("shape: 1 dimensions (expected: 2, [experts, n]",
                 make(kGateUpBias, kWhole, -1, {8}));
  expect_refused("shape: 2 dimensions (expected: 1, [n]", make(kGateUpBias, kWhole, 1, {8, 1}));
  expect_refused("shape [17, 4, 6] (expected: [18, 4, 6]", make(kGateUp, kGate, -1, {17, 4, 6}));
  auto* head = make(kGateUp, kGate, 0, {4, 6});
  head->destination->has_head = 1;
  head->destination->head = 2;
  expect_refused("EXPERT_GATE_UP of layer 3 and head 2", head);
  auto* sideways = make(kGateUpBias, kWhole, 0, {8});
  sideways->source->transposed = 1;
  expect_refused("transposed: true (expected: false for a vector)", sideways);
}

// A source of [6, 64] FP8 values in blocks of [4, 32], or of MXFP4; scales behind them.
class WeightScalesTest : public WeightExpertsTest {
 protected:
  using Change = std::function<void(Sluice__Proto__WeightSource*)>;

  Sluice__Proto__WeightTransfer* fp8(const Change& change = [](auto*) {}) {
    auto* source = ranks_.source({SLUICE__PROTO__FORMAT__F8_E4M3, 0, {6, 64}, {}, false});
    source->scale = ranks_.source({kF32, 384, {2, 2}, {}, false});
    source->has_scale_block_rows = source->has_scale_block_columns = 1;
    source->scale_block_rows = 4;
    source->scale_block_columns = 32;
    change(source);
    return ranks_.transfer(kO, 3, kWhole, -1, source);
  }

  Sluice__Proto__WeightTransfer* mxfp4(const Change& change = [](auto*) {}) {
    auto* source = ranks_.source({SLUICE__PROTO__FORMAT__MXFP4_SPLIT, 0, {6, 64}, {}, false});
    source->scale = ranks_.source({SLUICE__PROTO__FORMAT__F8_E8M0, 192, {6, 2}, {}, false});
    source->has_scale_block_columns = 1;
    source->scale_block_columns = 32;
    change(source);
    return ranks_.transfer(kO, 3, kWhole, -1, source);
  }
};

TEST_F(WeightScalesTest, SoundSources) {
  ranks_.begin();
  EXPECT_EQ(ranks_.enqueue({fp8()}).status, SLUICE_STATUS_OK);
  ranks_.begin();
  EXPECT_EQ(ranks_.enqueue({mxfp4()}).status, SLUICE_STATUS_OK);
}

TEST_F(WeightScalesTest, WrongScales) {
  expect_refused("source.scale.shape[0]: 1 (expected: 2, 6 values in blocks of 4)",
                 fp8([&](auto* s) { s->scale = ranks_.source({kF32, 384, {1, 2}, {}, false}); }));
  expect_refused("source.scale.shape[1]: 3 (expected: 2, 64 values in blocks of 32)",
                 fp8([&](auto* s) { s->scale = ranks_.source({kF32, 384, {2, 3}, {}, false}); }));
  expect_refused("source.scale.shape: 1 dimensions (expected: 2",
                 fp8([&](auto* s) { s->scale = ranks_.source({kF32, 384, {4}, {}, false}); }));
  expect_refused("source.scale.bytes: 15 (expected: 16 for [2, 2] F32 values)",
                 fp8([](auto* s) { s->scale->bytes = 15; }));
  expect_refused("source.scale.file: 1", fp8([](auto* s) { s->scale->file = 1; }));
  expect_refused("source.scale.format: I32 (expected: F32, F16, BF16, F8_E8M0)",
                 fp8([](auto* s) { s->scale->format = SLUICE__PROTO__FORMAT__I32; }));
  expect_refused("source.scale.transposed: true", fp8([](auto* s) { s->scale->transposed = 1; }));
  expect_refused("source.scale.kind: RANDOM_NORMAL", fp8([](auto* s) {
                   s->scale->has_kind = 1;
                   s->scale->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
                 }));
  expect_refused("source.scale.scale: set", fp8([&](auto* s) {
                   s->scale->scale = ranks_.source({kF32, 384, {2, 2}, {}, false});
                 }));
  expect_refused("source.scale_block_rows: 0 (expected: 1 to",
                 fp8([](auto* s) { s->scale_block_rows = 0; }));
  expect_refused("source.scale_block_rows: 4, columns: 32 (expected: 1, there is no scale)",
                 fp8([](auto* s) { s->scale = nullptr; }));
  expect_refused("source.zero_point: not built", fp8([&](auto* s) {
                   s->zero_point = ranks_.source({kF32, 384, {2, 2}, {}, false});
                 }),
                 SLUICE_STATUS_UNSUPPORTED);
  expect_refused("tensor: scale: bytes 999984 to 999999",
                 fp8([](auto* s) { s->scale->offset = 999984; }), SLUICE_STATUS_CORRUPT_DATA);
  expect_refused("source.scale: set (expected: absent for F32)", fp8([](auto* s) {
                   s->format = kF32;
                   s->bytes *= 4;
                 }));
}

TEST_F(WeightScalesTest, WrongMxfp4) {
  expect_refused("source.bytes: 191 (expected: 192 for [6, 64] MXFP4_SPLIT values)",
                 mxfp4([](auto* s) { s->bytes = 191; }));
  expect_refused("source.scale: absent (expected: a source of F8_E8M0 for MXFP4_SPLIT)",
                 mxfp4([](auto* s) {
                   s->scale = nullptr;
                   s->scale_block_columns = 1;
                 }));
  expect_refused("source.scale_block_columns: 16, rows: 1 (expected: 32 and 1 for MXFP4_SPLIT)",
                 mxfp4([](auto* s) { s->scale_block_columns = 16; }));
  expect_refused("source.scale.format: F32 (expected: F8_E8M0)",
                 mxfp4([&](auto* s) { s->scale = ranks_.source({kF32, 192, {6, 2}, {}, false}); }));
  expect_refused("source.shape: 48 values innermost (expected: a multiple of 32 for MXFP4_SPLIT)",
                 mxfp4([](auto* s) { s->shape[1] = 48; }));
  expect_refused("source.strides[0]: 80 (expected: a multiple of 32 for MXFP4_SPLIT)",
                 mxfp4([&](auto* s) {
                   s->n_strides = 2;
                   s->strides = ranks_.arena().array(std::vector<uint64_t>{80, 1});
                 }));
  expect_refused("source.strides: 2 innermost (expected: 1 for MXFP4_SPLIT)", mxfp4([&](auto* s) {
                   s->n_strides = 2;
                   s->strides = ranks_.arena().array(std::vector<uint64_t>{128, 2});
                 }));
  expect_refused("source.format: INT4_GROUPED not built (built: F32",
                 mxfp4([](auto* s) { s->format = SLUICE__PROTO__FORMAT__INT4_GROUPED; }),
                 SLUICE_STATUS_UNSUPPORTED);
}

TEST(WeightHeadsTest, EachHeadHasItsOwn) {
  constexpr Slot kHead = SLUICE__PROTO__SLOT__HEAD;
  std::vector<WeightSlot> slots;
  for (int head = 0; head < 2; ++head) {
    slots.push_back(matrix_slot(kHead, -1, {part_of(kWhole, 3)}, 2));
    slots.back().head = head;
  }
  WeightRanks ranks(slots);
  ranks.set_file(bytes_of(counting(12)));
  const auto head = [&](uint32_t index) {
    auto* made =
        ranks.transfer(kHead, -1, kWhole, -1, ranks.source({kF32, index * 24, {3, 2}, {}, false}));
    made->destination->has_head = 1;
    made->destination->head = index;
    return made;
  };
  const Outcome missing = ranks.load({head(0)});
  EXPECT_EQ(missing.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_EQ(missing.text, "heads[1].HEAD");
  ASSERT_EQ(ranks.enqueue({head(1)}).status, SLUICE_STATUS_OK);
  ASSERT_EQ(ranks.finish().status, SLUICE_STATUS_OK);
  for (int index = 0; index < 2; ++index) {
    std::vector<std::byte> bytes = ranks.stored(ranks.store(0).find(kHead, -1, index));
    WeightView view = ranks.store(0).matrix(kHead, -1, index);
    view.data = bytes.data();
    float row[2];
    unpack_rows(view, 2, 1, row, 2);
    EXPECT_EQ(row[1], static_cast<float>(6 * index + 6));
  }
}

// As many tensors as a large checkpoint has: nothing may grow with their square.
TEST(WeightCountTest, ManyExperts) {
  constexpr int kLayers = 20;
  constexpr int kMany = 256;
  std::vector<WeightSlot> slots;
  for (int l = 0; l < kLayers; ++l) {
    slots.push_back(matrix_slot(kGateUp, l, {part_of(kGate, 2), part_of(kUp, 2)}, 4, kMany));
    slots.push_back(matrix_slot(kDown, l, {part_of(kWhole, 4)}, 2, kMany));
  }
  WeightRanks ranks(std::move(slots));
  const std::vector<float> values = counting(size_t{kLayers} * kMany * 24);
  ranks.set_file(bytes_of(values));
  std::vector<Sluice__Proto__WeightTransfer*> transfers;
  uint64_t offset = 0;
  for (int l = 0; l < kLayers; ++l) {
    for (int e = 0; e < kMany; ++e) {
      transfers.push_back(
          ranks.transfer(kGateUp, l, kGate, e, ranks.source({kF32, offset, {2, 4}, {}, false})));
      transfers.push_back(
          ranks.transfer(kGateUp, l, kUp, e, ranks.source({kF32, offset + 32, {2, 4}, {}, false})));
      transfers.push_back(ranks.transfer(kDown, l, kWhole, e,
                                         ranks.source({kF32, offset + 64, {4, 2}, {}, false})));
      offset += 96;
    }
  }
  const Outcome loaded = ranks.load(transfers);
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  EXPECT_EQ(ranks.progress().transfers_done, 3 * kLayers * kMany);
  EXPECT_EQ(ranks.progress().bytes_done, static_cast<int64_t>(offset));
  const std::vector<float> gate_up = ranks.values(kGateUp, 7);
  const std::vector<float> down = ranks.values(kDown, 7);
  for (int e = 0; e < kMany; ++e) {
    const float* from = values.data() + (7 * kMany + e) * 24;
    EXPECT_TRUE(std::equal(from, from + 16, gate_up.data() + e * 16)) << e;
    EXPECT_TRUE(std::equal(from + 16, from + 24, down.data() + e * 8)) << e;
  }
}

// One matrix in a great many pieces.
TEST(WeightCountTest, ManyPiecesOfOneMatrix) {
  constexpr uint64_t kRows = 20000;
  WeightRanks ranks({matrix_slot(kO, 0, {part_of(kWhole, int64_t{kRows})}, 2)});
  const std::vector<float> values = counting(2 * kRows);
  ranks.set_file(bytes_of(values));
  std::vector<Sluice__Proto__WeightTransfer*> transfers;
  for (uint64_t r = 0; r < kRows; ++r) {
    auto* row = ranks.transfer(kO, 0, kWhole, -1, ranks.source({kF32, r * 8, {1, 2}, {}, false}));
    row->destination->has_row_begin = row->destination->has_num_rows = 1;
    row->destination->row_begin = r;
    row->destination->num_rows = 1;
    transfers.push_back(row);
  }
  const Outcome loaded = ranks.load(transfers);
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  EXPECT_EQ(ranks.values(kO, 0), values);
}

}  // namespace
}  // namespace sluice::test
