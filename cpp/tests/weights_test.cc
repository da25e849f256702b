// Loading and rewriting weights: progress, gaps, duplicates, states, faults.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <span>

#include "support/weights_test_base.h"

// Threads that this program may still start; < 0: any number.
static std::atomic<int> threads_left = -1;

// In front of the system's, which cannot be made to fail on purpose.
extern "C" __attribute__((visibility("default"))) int pthread_create(
    pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
    void* argument) noexcept {
  static const auto create =
      reinterpret_cast<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
          ::dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left == 0) return EAGAIN;
  if (threads_left > 0) --threads_left;
  return create(thread, attributes, run, argument);
}

namespace sluice::test {
namespace {

constexpr int32_t kInvalid = SLUICE_STATUS_INVALID_ARGUMENT;

TEST_F(WeightsTest, ProgressAndSlots) {
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  ASSERT_EQ(engine_.enqueue(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  ASSERT_EQ(poll().status, SLUICE_STATUS_OK);
  EXPECT_EQ(progress_.transfers_total, static_cast<int64_t>(fixture_->transfers()->n_transfers));
  EXPECT_EQ(progress_.transfers_done, progress_.transfers_total);
  EXPECT_EQ(progress_.bytes_done, progress_.bytes_total);
  EXPECT_EQ(finish().status, SLUICE_STATUS_OK);

  int64_t size = 0;
  EXPECT_EQ(sluice_weights_slots(engine_.get(), nullptr, 0, &size, &error_),
            SLUICE_STATUS_BUFFER_TOO_SMALL);
  std::vector<uint8_t> bytes(size);
  ASSERT_EQ(sluice_weights_slots(engine_.get(), bytes.data(), size, &size, &error_),
            SLUICE_STATUS_OK);
  const auto slots =
      unpack<Sluice__Proto__WeightSlotList>(sluice__proto__weight_slot_list__descriptor, bytes);
  // Embedding, final norm, and six slots a layer.
  EXPECT_EQ(slots->n_slots, 2u + 6u * static_cast<unsigned>(fixture_->num_layers()));
  for (size_t s = 0; s < slots->n_slots; ++s) {
    const Sluice__Proto__WeightSlot& slot = *slots->slots[s];
    ASSERT_GT(slot.n_parts, 0u);
    const bool is_matrix = slot.parts[0]->n_shape == 2;
    const auto accepts = [&](Sluice__Proto__Format format) {
      const std::span formats(slot.accepted_formats, slot.n_accepted_formats);
      return std::find(formats.begin(), formats.end(), format) != formats.end();
    };
    EXPECT_TRUE(accepts(SLUICE__PROTO__FORMAT__F8_E4M3));
    EXPECT_TRUE(accepts(SLUICE__PROTO__FORMAT__MXFP4));
    EXPECT_EQ(accepts(SLUICE__PROTO__FORMAT__MXFP4_SPLIT), is_matrix);  // it needs scales
    EXPECT_FALSE(accepts(SLUICE__PROTO__FORMAT__INT4_GROUPED));
    EXPECT_FALSE(accepts(SLUICE__PROTO__FORMAT__F8_E8M0));
    EXPECT_EQ(slot.num_experts, 0u);
  }
}

TEST_F(WeightsTest, MissingPartsAreNamed) {
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  auto* all = fixture_->transfers();
  // Without the keys of layer 1, and without rows of the output projection of layer 0.
  std::vector<Sluice__Proto__WeightTransfer*> kept;
  for (size_t i = 0; i < all->n_transfers; ++i) {
    const std::string name = all->transfers[i]->name;
    if (name == "model.layers.1.self_attn.k_proj.weight") continue;
    if (name == "model.layers.0.self_attn.o_proj.weight") {
      auto* part = o_transfer();
      part->destination->has_num_rows = 1;
      part->destination->num_rows = 10;
      part->source->shape[0] = 10;
      part->source->bytes = 10 * part->source->shape[1] * 4;
      kept.push_back(part);
    } else {
      kept.push_back(all->transfers[i]);
    }
  }
  ASSERT_EQ(engine_.enqueue(*list(kept)).status, SLUICE_STATUS_OK);
  const Outcome finished = finish();
  EXPECT_EQ(finished.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_NE(finished.text.find("layers[1].QKV.PART_K"), std::string::npos) << finished.text;
  EXPECT_NE(finished.text.find("layers[0].O (rows 10 to 63"), std::string::npos) << finished.text;
  // What is missing may follow.
  auto* rest = o_transfer();
  rest->destination->has_row_begin = 1;
  rest->destination->row_begin = 10;
  rest->source->offset += 10 * rest->source->shape[1] * 4;
  rest->source->shape[0] -= 10;
  rest->source->bytes = rest->source->shape[0] * rest->source->shape[1] * 4;
  auto* keys = fixture_->transfer(SLUICE__PROTO__SLOT__QKV, 1, SLUICE__PROTO__PART__PART_K,
                                  "model.layers.1.self_attn.k_proj.weight");
  ASSERT_EQ(engine_.enqueue(*list({rest, keys})).status, SLUICE_STATUS_OK);
  const Outcome done = finish();
  EXPECT_EQ(done.status, SLUICE_STATUS_OK) << done.text;
}

TEST_F(WeightsTest, DuplicatesAreNamed) {
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  const Outcome twice = engine_.enqueue(*list({o_transfer(), o_transfer()}));
  EXPECT_EQ(twice.status, kInvalid);
  EXPECT_NE(twice.text.find("layers[0].O rows 0 to 63"), std::string::npos) << twice.text;
  EXPECT_EQ(engine_.enqueue(*list({o_transfer()})).status, SLUICE_STATUS_OK);
  EXPECT_EQ(engine_.enqueue(*list({o_transfer()})).status, kInvalid);
}

TEST_F(WeightsTest, StatesOfALoad) {
  EXPECT_EQ(engine_.enqueue(*list({o_transfer()})).status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(poll().status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(finish().status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(begin(SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(begin(SLUICE_WEIGHTS_ADAPTER).status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(begin(3).status, kInvalid);
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  EXPECT_EQ(begin().status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  EXPECT_EQ(poll().status, SLUICE_STATUS_WRONG_STATE);
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> wanted = logits();

  // An update that ends early leaves the engine unready until its parts are rewritten.
  ASSERT_EQ(begin(SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_OK);
  ASSERT_EQ(engine_.enqueue(*list({o_transfer()})).status, SLUICE_STATUS_OK);
  ASSERT_EQ(abort().status, SLUICE_STATUS_OK);
  Driver driver(engine_.get(), block_size_);
  driver.set_step_id(steps_);
  EXPECT_EQ(driver.run().status, SLUICE_STATUS_WRONG_STATE);
  auto* other = fixture_->transfer(SLUICE__PROTO__SLOT__O, 1, SLUICE__PROTO__PART__WHOLE,
                                   "model.layers.1.self_attn.o_proj.weight");
  const Outcome partial = engine_.load(*list({other}), SLUICE_WEIGHTS_UPDATE);
  EXPECT_EQ(partial.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_NE(partial.text.find("layers[0].O"), std::string::npos) << partial.text;
  // Some of its rows are not enough.
  auto* head = o_transfer();
  head->destination->has_num_rows = 1;
  head->destination->num_rows = head->source->shape[0] = 10;
  head->source->bytes = 10 * head->source->shape[1] * 4;
  ASSERT_EQ(engine_.enqueue(*list({head})).status, SLUICE_STATUS_OK);
  const Outcome rows = finish();
  EXPECT_EQ(rows.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_NE(rows.text.find("layers[0].O (rows 10 to 63"), std::string::npos) << rows.text;
  auto* rest = o_transfer();
  rest->destination->has_row_begin = 1;
  rest->destination->row_begin = 10;
  rest->source->offset += 10 * rest->source->shape[1] * 4;
  rest->source->shape[0] -= 10;
  rest->source->bytes = rest->source->shape[0] * rest->source->shape[1] * 4;
  ASSERT_EQ(engine_.enqueue(*list({rest})).status, SLUICE_STATUS_OK);
  EXPECT_EQ(finish().status, SLUICE_STATUS_OK);
  EXPECT_EQ(logits(), wanted);
}

TEST_F(WeightsTest, FaultsOfLoading) {
  OptionValues values;
  values.fault_name = "weights.read";
  values.fault_count = 3;
  values.fault_status = SLUICE_STATUS_IO;
  open(values);
  const Outcome loaded = engine_.load(*fixture_->transfers());
  EXPECT_EQ(loaded.status, SLUICE_STATUS_IO);
  EXPECT_NE(loaded.text.find("weights.read"), std::string::npos) << loaded.text;
  EXPECT_NE(loaded.text.find("model."), std::string::npos) << loaded.text;
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  const Outcome again = engine_.load(*fixture_->transfers());
  EXPECT_EQ(again.status, SLUICE_STATUS_OK) << again.text;
}

TEST_F(WeightsTest, LoaderThreadsThatDoNotStart) {
  OptionValues values;
  values.num_threads = 4;
  open(values);
  threads_left = 0;
  const Outcome none = begin();
  EXPECT_EQ(none.status, SLUICE_STATUS_OUT_OF_HOST_MEMORY);
  EXPECT_NE(none.text.find("loader threads: 0 of 4"), std::string::npos) << none.text;
  threads_left = 1;  // enough for a slower load
  const Outcome some = engine_.load(*fixture_->transfers());
  EXPECT_EQ(threads_left, 0);
  threads_left = -1;
  EXPECT_EQ(some.status, SLUICE_STATUS_OK) << some.text;
}

}  // namespace
}  // namespace sluice::test
