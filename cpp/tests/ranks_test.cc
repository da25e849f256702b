// Several ranks: what they cannot share, where they stand, what they tell, and how they end.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <thread>

#include "capi/arguments.h"
#include "support/driver.h"

namespace sluice::test {
namespace {

constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

using Change = std::function<void(Sluice__Proto__ModelSpec*, ProtoArena*)>;

TEST(RanksTest, RanksThatShareAKvHeadHoldTheSameBits) {
  // One KV head for all query heads: both ranks keep it, made from residuals that must be equal.
  Fixture fixture("mistral");
  OptionValues values;
  values.tensor_parallel_size = 2;
  EngineHandle engine;
  ASSERT_EQ(engine.create(*fixture.spec(), *fixture.options(values)).status, SLUICE_STATUS_OK);
  ASSERT_EQ(engine.load(*fixture.transfers()).status, SLUICE_STATUS_OK);
  Driver driver(engine.get(), static_cast<int>(values.block_size));
  Sequence sequence;
  driver.feed(&sequence, fixture.expected().ids("input_ids_0"));
  ASSERT_EQ(driver.run().status, SLUICE_STATUS_OK);
  const auto first = engine.get()->engine.kv_cache(0).memory(0);
  const auto second = engine.get()->engine.kv_cache(1).memory(0);
  ASSERT_EQ(first.size(), second.size());
  EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size()), 0);
  const std::vector<std::byte> zeros(first.size());
  EXPECT_NE(std::memcmp(first.data(), zeros.data(), first.size()), 0);
}

Outcome refused(const char* name, uint32_t size, const Change& change) {
  Fixture fixture(name);
  change(fixture.spec(), &fixture.arena());
  OptionValues values;
  values.tensor_parallel_size = size;
  EngineHandle engine;
  return engine.create(*fixture.spec(), *fixture.options(values));
}

TEST(RanksTest, WhatRanksCannotShareIsNamed) {
  const auto as_is = [](auto*, auto*) {};
  Outcome outcome = refused("llama3_rope", 4, as_is);
  EXPECT_EQ(outcome.status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(outcome.text,
            "layers[0].gqa.num_q_heads: 6 (expected: a multiple of tensor_parallel_size 4)");
  outcome = refused("llama", 2, [](auto* spec, auto*) {
    spec->layers[2]->gqa->num_q_heads = 6;
    spec->layers[2]->gqa->num_kv_heads = 3;
  });
  EXPECT_EQ(outcome.status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(outcome.text,
            "layers[2].gqa.num_kv_heads: 3 (expected: a multiple or a divisor of "
            "tensor_parallel_size 2)");
  outcome = refused("llama", 2, [](auto* spec, auto* arena) {
    auto* norm = arena->make(sluice__proto__norm_spec__init);
    norm->has_kind = norm->has_eps = norm->has_scope = 1;
    norm->kind = SLUICE__PROTO__NORM_KIND__RMS_NORM;
    norm->eps = 1e-5;
    norm->scope = SLUICE__PROTO__NORM_SCOPE__WHOLE_ROW;
    spec->layers[1]->gqa->k_norm = norm;
  });
  EXPECT_EQ(outcome.status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(outcome.text.find("layers[1].gqa.k_norm.scope: WHOLE_ROW not built"), 0u)
      << outcome.text;
}

TEST(RanksTest, PlacementsAreChecked) {
  Fixture fixture("llama");
  OptionValues values;
  values.tensor_parallel_size = 2;
  const auto spec = pack_message(fixture.spec()->base);
  const auto options = pack_message(fixture.options(values)->base);
  const auto create = [&](std::vector<int32_t> devices, int first, int world, const uint8_t* id) {
    sluice_error error = {};
    sluice_engine* engine = nullptr;
    const auto status = sluice_engine_create(spec.data(), static_cast<int64_t>(spec.size()),
                                             options.data(), static_cast<int64_t>(options.size()),
                                             devices.data(), static_cast<int32_t>(devices.size()),
                                             first, world, id, 0, 0, &engine, &error);
    sluice_engine_destroy(engine);
    return Outcome{status, error.text};
  };
  const uint8_t id[SLUICE_COMM_ID_BYTES] = {};
  EXPECT_EQ(create({0, 0}, 0, 2, nullptr).status, SLUICE_STATUS_OK);
  EXPECT_EQ(create({0, 1}, 0, 2, nullptr).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(create({0, 0}, 1, 2, nullptr).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(create({0, 0}, 0, 2, id).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(create({0, 0, 0}, 0, 3, nullptr).status, SLUICE_STATUS_INVALID_ARGUMENT);
  const Outcome apart = create({0}, 0, 2, id);
  EXPECT_EQ(apart.status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_NE(apart.text.find("several processes not built"), std::string::npos) << apart.text;
}

TEST(RanksTest, InfoCountsAllRanks) {
  const auto info = [](uint32_t size) {
    Fixture fixture("llama");
    OptionValues values;
    values.tensor_parallel_size = size;
    EngineHandle engine;
    EXPECT_EQ(engine.create(*fixture.spec(), *fixture.options(values)).status, SLUICE_STATUS_OK);
    sluice_error error = {};
    int64_t bytes = 0;
    std::vector<uint8_t> buffer(1 << 16);
    EXPECT_EQ(sluice_engine_info(engine.get(), buffer.data(), 1 << 16, &bytes, &error),
              SLUICE_STATUS_OK);
    return unpack<Sluice__Proto__EngineInfo>(sluice__proto__engine_info__descriptor,
                                             {buffer.data(), static_cast<size_t>(bytes)});
  };
  const auto one = info(1);
  const auto two = info(2);
  const auto four = info(4);
  EXPECT_EQ(one->num_parameters, two->num_parameters);
  // Two KV heads: one for each of two ranks; four ranks hold each of them twice.
  EXPECT_EQ(two->kv_groups[0]->bytes_per_block * 2, one->kv_groups[0]->bytes_per_block);
  EXPECT_EQ(four->kv_groups[0]->bytes_per_block, two->kv_groups[0]->bytes_per_block);
  EXPECT_EQ(two->kv_cache_bytes, one->kv_cache_bytes);
  EXPECT_EQ(four->kv_cache_bytes, 2 * one->kv_cache_bytes);
  EXPECT_GT(two->workspace_bytes, one->workspace_bytes);
}

TEST(RanksTest, SlotsSayHowTheyAreShared) {
  Fixture fixture("llama");
  fixture.spec()->layers[1]->dense->intermediate_size = 131;
  OptionValues values;
  values.tensor_parallel_size = 4;
  EngineHandle engine;
  ASSERT_EQ(engine.create(*fixture.spec(), *fixture.options(values)).status, SLUICE_STATUS_OK);
  sluice_error error = {};
  int64_t bytes = 0;
  std::vector<uint8_t> buffer(1 << 20);
  ASSERT_EQ(sluice_weights_slots(engine.get(), buffer.data(), 1 << 20, &bytes, &error),
            SLUICE_STATUS_OK);
  const auto list = unpack<Sluice__Proto__WeightSlotList>(
      sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(bytes)});
  int looked_at = 0;
  for (size_t s = 0; s < list->n_slots; ++s) {
    const Sluice__Proto__WeightSlot& slot = *list->slots[s];
    if (slot.slot == SLUICE__PROTO__SLOT__QKV && slot.layer == 0) {
      EXPECT_EQ(slot.parts[0]->shape[0], 64u);  // of the whole model
      EXPECT_EQ(slot.parts[0]->replication, 1u);
      EXPECT_EQ(slot.parts[1]->shape[0], 32u);
      EXPECT_EQ(slot.parts[1]->replication, 2u);  // two KV heads, four ranks
      EXPECT_EQ(slot.parts[1]->shard_axis, SLUICE__PROTO__SHARD_AXIS__ROWS);
      ++looked_at;
    }
    if (slot.slot == SLUICE__PROTO__SLOT__DOWN && slot.layer < 2) {
      EXPECT_EQ(slot.parts[0]->shard_axis, slot.layer == 0 ? SLUICE__PROTO__SHARD_AXIS__COLUMNS
                                                           : SLUICE__PROTO__SHARD_AXIS__REPLICATED);
      ++looked_at;
    }
  }
  EXPECT_EQ(looked_at, 3);
}

// An engine of several ranks in which a point fails, or holds a rank there until an abort.
class RankFaultTest : public ::testing::TestWithParam<const char*> {
 protected:
  void open(uint32_t status, uint64_t count = 2) {
    OptionValues values;
    values.tensor_parallel_size = 4;
    values.fault_name = GetParam();
    values.fault_count = count;
    values.fault_status = status;
    const Outcome created = engine_.create(*fixture_.spec(), *fixture_.options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    const Outcome loaded = engine_.load(*fixture_.transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  void submit() {
    Sequence sequence;
    driver_->begin();
    driver_->feed(&sequence, std::vector<int32_t>{1, 2, 3});
    driver_->write();
    ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  }

  Fixture fixture_{"llama"};
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(Points, RankFaultTest,
                         ::testing::Values("step.run", "step.layer", "step.rank", "step.sample"),
                         [](const auto& each) {
                           return std::string(each.param).replace(4, 1, "_");
                         });

TEST_P(RankFaultTest, AFaultOfOneRankEndsTheStepOnAll) {
  open(SLUICE_STATUS_DEVICE_LOST, 1);
  submit();
  const Outcome faulted = driver_->wait(0);
  EXPECT_EQ(faulted.status, SLUICE_STATUS_DEVICE_LOST);
  EXPECT_NE(faulted.text.find(std::string("fault point ") + GetParam()), std::string::npos)
      << faulted.text;
  driver_->write();
  EXPECT_EQ(driver_->submit().status, SLUICE_STATUS_ENGINE_FAILED);
}

TEST_P(RankFaultTest, AnAbortEndsAStepThatARankHolds) {
  open(SLUICE_STATUS_ABORTED, 1);
  submit();
  EXPECT_EQ(driver_->wait(0, 20'000).status, SLUICE_STATUS_TIMEOUT);
  sluice_error error = {};
  EXPECT_EQ(sluice_engine_abort(engine_.get(), &error), SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->wait(0, kForever).status, SLUICE_STATUS_ABORTED);
}

TEST_P(RankFaultTest, DestroyEndsAStepThatARankHolds) {
  open(SLUICE_STATUS_ABORTED, 1);
  submit();
  EXPECT_EQ(driver_->wait(0, 20'000).status, SLUICE_STATUS_TIMEOUT);
}

TEST_P(RankFaultTest, ATraceEndsLikeAStep) {
  open(SLUICE_STATUS_DEVICE_LOST, 1);
  Sequence sequence;
  driver_->feed(&sequence, std::vector<int32_t>{1, 2, 3});
  std::vector<std::vector<float>> tensors;
  const Outcome traced = driver_->trace({"logits", "hidden_1"}, &tensors);
  EXPECT_EQ(traced.status, SLUICE_STATUS_DEVICE_LOST);
}

// Whenever the abort comes, the step ends.
TEST(RanksTest, AbortsAtAnyMoment) {
  for (int i = 0; i < 30; ++i) {
    Fixture fixture("llama");
    OptionValues values;
    values.tensor_parallel_size = 2;
    EngineHandle engine;
    ASSERT_EQ(engine.create(*fixture.spec(), *fixture.options(values)).status, SLUICE_STATUS_OK);
    ASSERT_EQ(engine.load(*fixture.transfers()).status, SLUICE_STATUS_OK);
    Driver driver(engine.get(), static_cast<int>(values.block_size));
    Sequence sequence;
    driver.feed(&sequence, std::vector<int32_t>(100, 7));
    driver.write();
    ASSERT_EQ(driver.submit().status, SLUICE_STATUS_OK);
    std::this_thread::sleep_for(std::chrono::microseconds(100 * i));
    sluice_error error = {};
    EXPECT_EQ(sluice_engine_abort(engine.get(), &error), SLUICE_STATUS_OK);
    const int32_t status = driver.wait(0, kForever).status;
    EXPECT_TRUE(status == SLUICE_STATUS_ABORTED || status == SLUICE_STATUS_OK) << status;
  }
}

}  // namespace
}  // namespace sluice::test
