// Sources of weights: every layout, and everything that can be wrong with one.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "support/weight_ranks.h"
#include "support/weights_test_base.h"

namespace sluice::test {
namespace {

class WeightSourceTest : public WeightsTest {};

TEST_F(WeightSourceTest, WrongTransfers) {
  const auto changed = [&](const std::function<void(Sluice__Proto__WeightTransfer*)>& change) {
    auto* transfer = o_transfer();
    change(transfer);
    return transfer;
  };
  expect_refused("O of layer 77", changed([](auto* t) { t->destination->layer = 77; }));
  expect_refused("part: PART_Q",
                 changed([](auto* t) { t->destination->part = SLUICE__PROTO__PART__PART_Q; }));
  expect_refused("HEAD of layer -1", changed([](auto* t) {
                   t->destination->slot = SLUICE__PROTO__SLOT__HEAD;
                   t->destination->layer = -1;
                 }));
  expect_refused("shape [63, 64]", changed([](auto* t) {
                   t->source->shape[0] = 63;
                   t->source->bytes = 63 * 64 * 4;
                 }));
  expect_refused("bytes: 5", changed([](auto* t) { t->source->bytes = 5; }));
  expect_refused("file: 1", changed([](auto* t) { t->source->file = 1; }));
  expect_refused("shape[0]: 0", changed([](auto* t) { t->source->shape[0] = 0; }));
  expect_refused("shape[1]", changed([](auto* t) { t->source->shape[1] = ~0ull; }));
  expect_refused("offset", changed([](auto* t) { t->source->offset = ~0ull; }));
  expect_refused("row_begin: 65", changed([](auto* t) {
                   t->destination->has_row_begin = 1;
                   t->destination->row_begin = 65;
                 }));
  expect_refused("num_rows", changed([](auto* t) {
                   t->destination->has_num_rows = 1;
                   t->destination->num_rows = ~0ull;
                 }));
  expect_refused("num_columns: 0", changed([](auto* t) {
                   t->destination->has_num_columns = 1;
                   t->destination->num_columns = 0;
                 }));
  expect_refused("innermost",
                 changed([](auto* t) { t->source->format = SLUICE__PROTO__FORMAT__Q4_K; }));
  expect_refused("format: INT4_GROUPED not built",
                 changed([](auto* t) { t->source->format = SLUICE__PROTO__FORMAT__INT4_GROUPED; }),
                 "", SLUICE_STATUS_UNSUPPORTED);
  expect_refused("adapter: not built", changed([](auto* t) {
                   t->destination->has_adapter = 1;
                   t->destination->adapter = 1;
                 }),
                 "", SLUICE_STATUS_UNSUPPORTED);
}

TEST_F(WeightSourceTest, WrongFiles) {
  expect_refused("cannot be opened", o_transfer(), "/nonexistent/weights", SLUICE_STATUS_IO);
  expect_refused("no regular file", o_transfer(), "/tmp", SLUICE_STATUS_IO);
  expect_refused("absolute path", o_transfer(), "weights.bin");
  auto* beyond = o_transfer();
  beyond->source->offset = 1 << 30;
  expect_refused("inside its", beyond, "", SLUICE_STATUS_CORRUPT_DATA);
}

// A file that shrinks after it was checked, before it is read.
TEST(WeightFileTest, Truncated) {
  constexpr Slot kEmbed = SLUICE__PROTO__SLOT__EMBED_TOKENS;
  constexpr Slot kO = SLUICE__PROTO__SLOT__O;
  constexpr Part kWhole = SLUICE__PROTO__PART__WHOLE;
  WeightRanks ranks({matrix_slot(kEmbed, -1, {part_of(kWhole, 65536)}, 256),
                     matrix_slot(kO, 0, {part_of(kWhole, 64)}, 64)});
  ranks.set_file(std::string(64 * 64 * 4, 'x'));
  // Sixteen million random numbers keep the one loader thread busy until the file is cut.
  auto* noise =
      ranks.transfer(kEmbed, -1, kWhole, -1,
                     ranks.source({SLUICE__PROTO__FORMAT__F32, 0, {65536, 256}, {}, false}));
  noise->source->has_kind = noise->source->has_random_seed = noise->source->has_random_std = 1;
  noise->source->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
  noise->source->random_std = 1;
  auto* cut = ranks.transfer(kO, 0, kWhole, -1,
                             ranks.source({SLUICE__PROTO__FORMAT__F32, 0, {64, 64}, {}, false}));
  cut->name = ranks.arena().text("o_proj");
  ranks.begin(1);
  const Outcome queued = ranks.enqueue({noise, cut});
  ranks.set_file(std::string(100, 'x'));
  ASSERT_EQ(queued.status, SLUICE_STATUS_OK) << queued.text;
  const Outcome failed = ranks.finish();
  EXPECT_EQ(failed.status, SLUICE_STATUS_CORRUPT_DATA) << failed.text;
  EXPECT_NE(failed.text.find("o_proj"), std::string::npos) << failed.text;
  EXPECT_NE(failed.text.find("ends at byte 100"), std::string::npos) << failed.text;
  // The load is over; another one may follow.
  EXPECT_EQ(ranks.finish().status, SLUICE_STATUS_CORRUPT_DATA);
  EXPECT_EQ(ranks.enqueue({cut}).status, SLUICE_STATUS_CORRUPT_DATA);
  ranks.set_file(std::string(64 * 64 * 4, 'x'));
  const Outcome loaded = ranks.load({noise, cut});
  EXPECT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
}

TEST_F(WeightSourceTest, EverySourceLayoutGivesTheSameWeights) {
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> wanted = logits();
  const FileTensor& tensor =
      fixture_->weights().tensors().at("model.layers.0.self_attn.o_proj.weight");
  const uint64_t rows = tensor.shape[0];
  const uint64_t cols = tensor.shape[1];
  const std::vector<float> values =
      fixture_->weights().floats("model.layers.0.self_attn.o_proj.weight");
  const auto update = [&](std::vector<Sluice__Proto__WeightTransfer*> transfers,
                          const std::string& path) {
    const Outcome outcome = engine_.load(*list(transfers, path), SLUICE_WEIGHTS_UPDATE);
    ASSERT_EQ(outcome.status, SLUICE_STATUS_OK) << outcome.text;
  };

  std::vector<float> wrong(values.size(), 0.25f);
  const TemporaryFile constant(bytes_of(wrong));
  update({second_file(o_transfer(), {rows, cols}, {}, wrong.size() * 4)}, constant.path());
  EXPECT_NE(logits(), wanted);

  std::vector<float> turned(values.size());
  for (uint64_t r = 0; r < rows; ++r) {
    for (uint64_t c = 0; c < cols; ++c) turned[c * rows + r] = values[r * cols + c];
  }
  const TemporaryFile transposed(bytes_of(turned));
  auto* stored_in_out = second_file(o_transfer(), {cols, rows}, {}, turned.size() * 4);
  stored_in_out->source->has_transposed = 1;
  stored_in_out->source->transposed = 1;
  update({stored_in_out}, transposed.path());
  EXPECT_EQ(logits(), wanted);

  update({second_file(o_transfer(), {rows, cols}, {}, wrong.size() * 4)}, constant.path());
  std::vector<float> spread(rows * (cols + 5), NAN);
  for (uint64_t r = 0; r < rows; ++r) {
    for (uint64_t c = 0; c < cols; ++c) spread[r * (cols + 5) + c] = values[r * cols + c];
  }
  const TemporaryFile strided(bytes_of(spread));
  update({second_file(o_transfer(), {rows, cols}, {cols + 5, 1}, (spread.size() - 5) * 4)},
         strided.path());
  EXPECT_EQ(logits(), wanted);

  // In four rectangles.
  update({second_file(o_transfer(), {rows, cols}, {}, wrong.size() * 4)}, constant.path());
  std::vector<Sluice__Proto__WeightTransfer*> quarters;
  for (uint64_t r : {uint64_t{0}, rows / 2}) {
    for (uint64_t c : {uint64_t{0}, cols / 2}) {
      const uint64_t span = ((rows / 2 - 1) * cols + cols / 2) * 4;
      auto* part = second_file(o_transfer(), {rows / 2, cols / 2}, {cols, 1}, span);
      part->source->file = 0;
      part->source->offset = tensor.offset + (r * cols + c) * 4;
      auto* to = part->destination;
      to->has_row_begin = to->has_num_rows = to->has_column_begin = to->has_num_columns = 1;
      to->row_begin = r;
      to->num_rows = rows / 2;
      to->column_begin = c;
      to->num_columns = cols / 2;
      quarters.push_back(part);
    }
  }
  update(quarters, constant.path());
  EXPECT_EQ(logits(), wanted);
}

// One fused tensor for a slot with parts.
TEST_F(WeightSourceTest, WholeOfASlotWithParts) {
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> wanted = logits();
  std::vector<float> fused;
  for (const char* letter : {"q", "k", "v"}) {
    const auto part = fixture_->weights().floats(std::string("model.layers.1.self_attn.") + letter +
                                                 "_proj.weight");
    fused.insert(fused.end(), part.begin(), part.end());
  }
  const TemporaryFile file(bytes_of(fused));
  const uint64_t cols = static_cast<uint64_t>(fixture_->hidden_size());
  auto* whole = fixture_->transfer(SLUICE__PROTO__SLOT__QKV, 1, SLUICE__PROTO__PART__WHOLE,
                                   "model.layers.1.self_attn.q_proj.weight");
  second_file(whole, {fused.size() / cols, cols}, {}, fused.size() * 4);
  auto* all = fixture_->transfers();
  std::vector<Sluice__Proto__WeightTransfer*> others = {whole};
  for (size_t i = 0; i < all->n_transfers; ++i) {
    const auto* to = all->transfers[i]->destination;
    if (to->slot == SLUICE__PROTO__SLOT__QKV && to->layer == 1) continue;
    others.push_back(all->transfers[i]);
  }
  const Outcome loaded = engine_.load(*list(others, file.path()));
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  EXPECT_EQ(logits(), wanted);
}

TEST_F(WeightSourceTest, RandomWeightsDoNotDependOnTheCut) {
  const auto random = [&](uint64_t row_begin, uint64_t num_rows) {
    auto* transfer = o_transfer();
    auto* source = transfer->source;
    source->has_kind = source->has_random_seed = source->has_random_std = 1;
    source->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
    source->random_seed = 7;
    source->random_std = 0.02;
    source->shape[0] = num_rows;
    transfer->destination->has_row_begin = transfer->destination->has_num_rows = 1;
    transfer->destination->row_begin = row_begin;
    transfer->destination->num_rows = num_rows;
    return transfer;
  };
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> original = logits();
  ASSERT_EQ(engine_.load(*list({random(0, 64)}), SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_OK);
  const std::vector<float> whole = logits();
  EXPECT_NE(whole, original);
  ASSERT_EQ(engine_.load(*fixture_->transfers(), SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_OK);
  EXPECT_EQ(logits(), original);
  ASSERT_EQ(engine_.load(*list({random(17, 47), random(0, 17)}), SLUICE_WEIGHTS_UPDATE).status,
            SLUICE_STATUS_OK);
  EXPECT_EQ(logits(), whole);
}

}  // namespace
}  // namespace sluice::test
