// Life of an engine: states, time-outs, abort, faults, memory, statistics.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <thread>

#include "capi/arguments.h"
#include "support/driver.h"

namespace sluice::test {
namespace {

class EngineTest : public ::testing::Test {
 protected:
  Outcome create(const OptionValues& values, const char* name = "llama") {
    values_ = values;
    driver_.reset();
    fixture_ = std::make_unique<Fixture>(name);
    return engine_.create(*fixture_->spec(), *fixture_->options(values));
  }

  void open(const OptionValues& values = {}, const char* name = "llama") {
    const Outcome created = create(values, name);
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    const Outcome loaded = engine_.load(*fixture_->transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  // Writes a step that feeds one token to a sequence and samples.
  void write_decode(Sequence* sequence, int32_t token, int slot = 0) {
    driver_->begin(slot);
    const int32_t at = driver_->feed(sequence, std::vector<int32_t>{token});
    driver_->add_row(SLUICE_OUTPUT_SAMPLE, at);
    driver_->write();
  }

  std::array<int64_t, SLUICE_STAT_COUNT> stats() {
    std::array<int64_t, SLUICE_STAT_COUNT> values = {};
    sluice_error error = {};
    EXPECT_EQ(sluice_engine_stats(engine_.get(), values.data(), SLUICE_STAT_COUNT, &error),
              SLUICE_STATUS_OK);
    return values;
  }

  OptionValues values_;
  int32_t token_ = 0;
  int32_t next_token_ = 1;
  std::unique_ptr<Fixture> fixture_;
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(EngineTest, NothingIsAllocatedInSteps) {
  open();
  Sequence sequence;
  write_decode(&sequence, 5);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  const int64_t before = stats()[SLUICE_STAT_DEVICE_ALLOCATIONS];
  EXPECT_GT(before, 0);
  for (int step = 1; step < 100; ++step) {
    write_decode(&sequence, step);
    ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
    ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  }
  const auto after = stats();
  EXPECT_EQ(after[SLUICE_STAT_DEVICE_ALLOCATIONS], before);
  EXPECT_EQ(after[SLUICE_STAT_STEPS], 100);
  EXPECT_EQ(after[SLUICE_STAT_TOKENS], 100);
  EXPECT_EQ(after[SLUICE_STAT_OUTPUTS], 100);
  EXPECT_GT(after[SLUICE_STAT_STEP_MICROS], 0);
  EXPECT_GT(after[SLUICE_STAT_DENSE_MICROS], 0);
  EXPECT_LE(after[SLUICE_STAT_DENSE_MICROS] + after[SLUICE_STAT_ATTENTION_MICROS],
            after[SLUICE_STAT_STEP_MICROS]);
}

// Steps of every size run on the same threads: ending some and making new ones costs milliseconds.
TEST_F(EngineTest, StepsKeepTheirThreads) {
  OptionValues values;
  values.num_threads = 4;
  values.num_blocks = 400;
  values.max_context_len = 512;
  values.max_step_tokens = 512;
  for (auto numerics : {SLUICE__PROTO__NUMERICS__BATCH_INVARIANT, SLUICE__PROTO__NUMERICS__FAST}) {
    values.numerics = numerics;
    open(values);
    std::set<std::string> threads;
    int32_t slot = 0;
    for (int size : {400, 1, 40, 3, 90, 7, 1, 200, 2}) {
      Sequence sequence;
      sequence.slot = slot++ % 4;
      driver_->begin();
      const int32_t first = driver_->feed(&sequence, std::vector<int32_t>(size, 3));
      for (int32_t t = 0; t < std::min(size, 5); ++t) {
        driver_->add_row(SLUICE_OUTPUT_LOGPROB, first + t).top_n = 1;
      }
      ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
      std::set<std::string> now;
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
        now.insert(entry.path().filename());
      }
      if (threads.empty()) threads = now;
      EXPECT_EQ(now, threads) << size << " tokens";
    }
  }
}

// The largest step that the options allow fits the workspace that was sized once.
TEST_F(EngineTest, LargestStepFits) {
  for (auto format : {SLUICE__PROTO__FORMAT__F32, SLUICE__PROTO__FORMAT__BF16}) {
    OptionValues values;
    values.compute_format = values.kv_format = format;
    values.max_step_tokens = 300;
    values.max_step_outputs = 300;
    values.max_context_len = 128;
    open(values);
    driver_->begin();
    std::vector<int32_t> ids(100, 3);
    Sequence sequences[3];
    for (int s = 0; s < 3; ++s) {
      sequences[s].slot = s;
      driver_->feed(&sequences[s], ids);
    }
    for (int32_t t = 0; t < 300; ++t) {
      const bool last = t % 100 == 99;
      driver_->add_row(last ? SLUICE_OUTPUT_SAMPLE : SLUICE_OUTPUT_LOGPROB, t).top_n = 20;
    }
    const Outcome ran = driver_->run();
    EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    for (int r = 0; r < 300; ++r) {
      EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[r], 1);
    }
  }
}

TEST_F(EngineTest, StatesOfSlots) {
  ASSERT_EQ(create({}).status, SLUICE_STATUS_OK);
  driver_ = std::make_unique<Driver>(engine_.get(), 8);
  Sequence sequence;
  write_decode(&sequence, 1);
  EXPECT_EQ(driver_->submit().status, SLUICE_STATUS_WRONG_STATE);  // no weights
  EXPECT_EQ(driver_->wait(0).status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(driver_->wait(-1).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->wait(2).status, SLUICE_STATUS_INVALID_ARGUMENT);
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->submit().status, SLUICE_STATUS_WRONG_STATE);  // in flight
  sluice_error error = {};
  EXPECT_EQ(sluice_weights_begin(engine_.get(), SLUICE_WEIGHTS_UPDATE, &error),
            SLUICE_STATUS_WRONG_STATE);
  std::vector<std::vector<float>> tensors;
  EXPECT_EQ(driver_->trace({"logits"}, &tensors).status, SLUICE_STATUS_WRONG_STATE);
  while (driver_->wait(0, 0).status == SLUICE_STATUS_TIMEOUT) std::this_thread::yield();
  EXPECT_EQ(driver_->wait(0).status, SLUICE_STATUS_WRONG_STATE);
}

TEST_F(EngineTest, FaultLeavesTheEngineFailed) {
  for (const char* point : {"step.run", "step.layer", "step.sample"}) {
    SCOPED_TRACE(point);
    OptionValues values;
    values.fault_name = point;
    values.fault_count = 2;
    values.fault_status = SLUICE_STATUS_DEVICE_LOST;
    open(values);
    Sequence sequence;
    write_decode(&sequence, 1);
    ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
    Outcome waited = driver_->wait(0);
    if (waited.status == SLUICE_STATUS_OK) {
      write_decode(&sequence, 2);
      ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
      waited = driver_->wait(0);
    }
    EXPECT_EQ(waited.status, SLUICE_STATUS_DEVICE_LOST) << waited.text;
    EXPECT_EQ(driver_->result(0).status, SLUICE_STATUS_DEVICE_LOST);
    EXPECT_NE(waited.text.find(point), std::string::npos) << waited.text;
    write_decode(&sequence, 3);
    const Outcome later = driver_->submit();
    EXPECT_EQ(later.status, SLUICE_STATUS_ENGINE_FAILED);
    EXPECT_NE(later.text.find(point), std::string::npos) << later.text;
    EXPECT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_ENGINE_FAILED);
  }
}

TEST_F(EngineTest, FaultsOfCreation) {
  for (const char* point : {"alloc.weights", "alloc.kv", "alloc.workspace"}) {
    OptionValues values;
    values.fault_name = point;
    values.fault_status = SLUICE_STATUS_OUT_OF_HOST_MEMORY;
    const Outcome created = create(values);
    EXPECT_EQ(created.status, SLUICE_STATUS_OUT_OF_HOST_MEMORY);
    EXPECT_NE(created.text.find(point), std::string::npos) << created.text;
    EXPECT_EQ(engine_.get(), nullptr);
  }
  OptionValues values;
  values.fault_name = "no.such.point";
  const Outcome created = create(values);
  EXPECT_EQ(created.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(created.text.find("weights.read"), std::string::npos) << created.text;
}

TEST_F(EngineTest, AbortEndsSteps) {
  open();
  Sequence sequences[2];
  sequences[1].slot = 1;
  write_decode(&sequences[0], 1, 0);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  write_decode(&sequences[1], 1, 1);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  sluice_error error = {};
  EXPECT_EQ(sluice_engine_abort(engine_.get(), &error), SLUICE_STATUS_OK);
  for (int slot : {0, 1}) {
    const int32_t status = driver_->wait(slot).status;
    EXPECT_TRUE(status == SLUICE_STATUS_OK || status == SLUICE_STATUS_ABORTED) << status;
  }
  EXPECT_EQ(driver_->submit().status, SLUICE_STATUS_ABORTED);
  EXPECT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_ABORTED);
  std::vector<std::vector<float>> tensors;
  EXPECT_EQ(driver_->trace({"logits"}, &tensors).status, SLUICE_STATUS_ABORTED);
  EXPECT_EQ(sluice_engine_abort(engine_.get(), &error), SLUICE_STATUS_OK);
}

TEST_F(EngineTest, DestroyWithStepsAndLoadsInFlight) {
  for (int round = 0; round < 10; ++round) {
    open();
    Sequence sequence;
    driver_->begin();
    driver_->feed(&sequence, std::vector<int32_t>(100, 3));
    driver_->write();
    ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
    ASSERT_EQ(create({}).status, SLUICE_STATUS_OK);  // destroys the engine before
    sluice_error error = {};
    ASSERT_EQ(sluice_weights_begin(engine_.get(), SLUICE_WEIGHTS_LOAD, &error), SLUICE_STATUS_OK);
    ASSERT_EQ(engine_.enqueue(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  }
}

TEST_F(EngineTest, MemoryIsCheckedBeforeItIsTaken) {
  OptionValues values;
  values.num_blocks = 250000000;  // far more than any host has; slots still fit 31 bits
  const Outcome created = create(values);
  EXPECT_EQ(created.status, SLUICE_STATUS_OUT_OF_HOST_MEMORY) << created.text;
  EXPECT_NE(created.text.find("num_blocks"), std::string::npos) << created.text;
  sluice_error error = {};
  const auto spec = pack_message(fixture_->spec()->base);
  const auto options = pack_message(fixture_->options(values)->base);
  const int32_t device = 0;
  sluice_engine* engine = nullptr;
  EXPECT_EQ(sluice_engine_create(spec.data(), static_cast<int64_t>(spec.size()), options.data(),
                                 static_cast<int64_t>(options.size()), &device, 1, 0, 1, nullptr, 0,
                                 0, &engine, &error),
            SLUICE_STATUS_OUT_OF_HOST_MEMORY);
  EXPECT_GT(error.needed_bytes, error.free_bytes);
  EXPECT_GT(error.free_bytes, 0);
  EXPECT_EQ(engine, nullptr);
}

TEST_F(EngineTest, PlanEqualsWhatCreateGives) {
  ASSERT_EQ(create({}).status, SLUICE_STATUS_OK);
  const auto spec = pack_message(fixture_->spec()->base);
  auto* options = fixture_->options({});
  const int32_t device = 0;
  const auto plan = [&](Sluice__Proto__EngineOptions* from) {
    const auto bytes = pack_message(from->base);
    sluice_error error = {};
    int64_t size = 0;
    std::vector<uint8_t> buffer(1 << 16);
    EXPECT_EQ(sluice_engine_plan(spec.data(), static_cast<int64_t>(spec.size()), bytes.data(),
                                 static_cast<int64_t>(bytes.size()), &device, 1, 0, 1, 0, 0,
                                 buffer.data(), static_cast<int64_t>(buffer.size()), &size, &error),
              SLUICE_STATUS_OK)
        << error.text;
    buffer.resize(size);
    return buffer;
  };
  sluice_error error = {};
  int64_t size = 0;
  std::vector<uint8_t> info(1 << 16);
  ASSERT_EQ(sluice_engine_info(engine_.get(), info.data(), 1 << 16, &size, &error),
            SLUICE_STATUS_OK);
  info.resize(size);
  EXPECT_EQ(plan(options), info);
  options->n_num_blocks = 0;
  const auto open_plan =
      unpack<Sluice__Proto__EngineInfo>(sluice__proto__engine_info__descriptor, plan(options));
  ASSERT_EQ(open_plan->n_kv_groups, 1u);
  EXPECT_EQ(open_plan->kv_groups[0]->num_blocks, 0u);
  // Three layers of two kv heads of 16 columns, keys and values, eight positions, float32.
  EXPECT_EQ(open_plan->kv_groups[0]->bytes_per_block, 3u * 2 * 2 * 16 * 8 * 4);
  EXPECT_GT(open_plan->num_parameters, 100000u);
  EXPECT_GT(open_plan->n_kernels, 0u);
}

TEST_F(EngineTest, PlacementsThatAreNotBuilt) {
  Fixture fixture("llama");
  const auto spec = pack_message(fixture.spec()->base);
  const auto options = pack_message(fixture.options({})->base);
  const auto status = [&](std::vector<int32_t> devices, int first, int world, int begin, int end) {
    sluice_error error = {};
    sluice_engine* engine = nullptr;
    const auto result = sluice_engine_create(spec.data(), static_cast<int64_t>(spec.size()),
                                             options.data(), static_cast<int64_t>(options.size()),
                                             devices.data(), static_cast<int32_t>(devices.size()),
                                             first, world, nullptr, begin, end, &engine, &error);
    sluice_engine_destroy(engine);
    return result;
  };
  EXPECT_EQ(status({0}, 0, 1, 0, 3), SLUICE_STATUS_OK);
  EXPECT_EQ(status({0}, 0, 2, 0, 0), SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(status({0, 0}, 0, 2, 0, 0), SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(status({0}, 0, 1, 0, 2), SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(status({0}, 0, 1, 2, 1), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({0}, 0, 1, 0, 9), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({1}, 0, 1, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({0}, 1, 1, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({}, 0, 1, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
}

TEST_F(EngineTest, MissingOneDnnIsNamed) {
  Fixture fixture("llama");
  auto* options = fixture.options({});
  options->onednn_path = fixture.arena().text("/nonexistent/libdnnl.so.3");
  const Outcome created = engine_.create(*fixture.spec(), *options);
  EXPECT_EQ(created.status, SLUICE_STATUS_LIBRARY_MISSING);
  EXPECT_NE(created.text.find("/nonexistent/libdnnl.so.3"), std::string::npos) << created.text;
}

// A sequence that is copied goes on exactly as the one that it was copied from.
TEST_F(EngineTest, CopiedSequencesAndBlocks) {
  open();
  Sequence original;
  driver_->begin();
  const std::vector<int32_t> prompt = {1, 9, 4, 22, 31, 8, 2, 77, 5, 14, 60};
  const int32_t first = driver_->feed(&original, prompt);
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(prompt.size()) - 1);
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);

  // The fork shares the full block and copies the last one.
  Sequence fork = original;
  fork.slot = 2;
  driver_->begin();
  fork.blocks[1] = driver_->new_block();
  const int32_t a = driver_->feed(&original, std::vector<int32_t>{SLUICE_TOKEN_LAST});
  const int32_t b = driver_->feed(&fork, std::vector<int32_t>{SLUICE_TOKEN_LAST});
  driver_->state_op = {{SLUICE_STATE_OP_COPY_SEQ, 0, original.slot, fork.slot},
                       {SLUICE_STATE_OP_COPY_BLOCK, 0, original.blocks[1], fork.blocks[1]}};
  driver_->block_update.push_back({fork.slot, 0, 1, fork.blocks[1]});
  driver_->add_row(SLUICE_OUTPUT_LOGPROB, a).top_n = 3;
  driver_->add_row(SLUICE_OUTPUT_LOGPROB, b).top_n = 3;
  const Outcome ran = driver_->run();
  ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
  const auto* top = driver_->output<int32_t>(0, SLUICE_SECTION_TOP_TOKEN);
  const auto* logprob = driver_->output<float>(0, SLUICE_SECTION_TOP_LOGPROB);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(top[i], top[20 + i]);
    EXPECT_EQ(logprob[i], logprob[20 + i]);
  }
  EXPECT_EQ(stats()[SLUICE_STAT_BLOCK_COPIES], 1);
}

// NaN in one sequence's cache makes its row unusable, and nothing else.
TEST_F(EngineTest, NonFiniteRowsDoNotSpread) {
  open();
  Sequence sick, well;
  sick.slot = 0;
  well.slot = 1;
  driver_->begin();
  driver_->feed(&sick, std::vector<int32_t>{1, 2, 3});
  driver_->feed(&well, std::vector<int32_t>{1, 2, 3});
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  const auto memory = engine_.get()->engine.kv_cache().memory(0);
  // The first block of layer 0's keys is the sick sequence's.
  std::memset(memory.data(), 0xff, 64);
  driver_->begin();
  const int32_t a = driver_->feed(&sick, std::vector<int32_t>{4});
  const int32_t b = driver_->feed(&well, std::vector<int32_t>{4});
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, a);
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, b);
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[0], 0);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[0], 0);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[1], 1);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[1], 1);
  EXPECT_EQ(stats()[SLUICE_STAT_NON_FINITE_ROWS], 1);
  // Its last token is 0, so the next step, which did not know, still runs.
  driver_->begin();
  driver_->feed(&sick, std::vector<int32_t>{-1});
  driver_->feed(&well, std::vector<int32_t>{-2});
  EXPECT_EQ(driver_->run().status, SLUICE_STATUS_OK);
}

TEST_F(EngineTest, MaskThatAllowsNothing) {
  open();
  Sequence sequence;
  driver_->begin();
  const int32_t at = driver_->feed(&sequence, std::vector<int32_t>{1});
  driver_->mask.assign((fixture_->vocab_size() + 31) / 32, 0);
  driver_->add_row(SLUICE_OUTPUT_SAMPLE, at).mask_index = 0;
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_FINITE)[0], 2);
  EXPECT_EQ(driver_->output<int32_t>(0, SLUICE_SECTION_ACCEPTED_COUNT)[0], 0);
}

// Biases and penalties reach the sampler: a forbidden greedy token is replaced by another.
TEST_F(EngineTest, BiasAndCountsReachTheSampler) {
  open();
  const auto greedy = [&](std::vector<sluice_logit_bias> bias, bool penalise) {
    Sequence sequence;
    driver_->begin();
    driver_->set_next_block(0);
    const int32_t at = driver_->feed(&sequence, std::vector<int32_t>{1, 9, 4});
    if (penalise) driver_->count_update = {{0, token_, 0, 1}};
    driver_->logit_bias = bias;
    sluice_output_row& row = driver_->add_row(SLUICE_OUTPUT_SAMPLE, at + 2);
    row.logit_bias_count = static_cast<int32_t>(bias.size());
    row.presence_penalty = penalise ? 1000.0f : 0.0f;
    EXPECT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    return driver_->output<int32_t>(0, SLUICE_SECTION_TOKENS)[0];
  };
  token_ = greedy({}, false);
  const float never = -std::numeric_limits<float>::infinity();
  const int32_t second = greedy({{token_, never}}, false);
  EXPECT_NE(second, token_);
  EXPECT_EQ(greedy({}, true), second);
  EXPECT_EQ(greedy({}, false), token_);  // the reset dropped the counts
}

// More tokens than the counts of a slot are sure to have room for are refused, never met by a step.
TEST_F(EngineTest, CountsOfMoreTokensThanPositions) {
  OptionValues values;
  values.max_context_len = 8;
  open(values);
  Sequence sequence;
  const auto step = [&](int updates, bool counted, int slot) {
    Sequence next = sequence;
    next.slot = slot;
    driver_->begin();
    const int32_t at = driver_->feed(&next, std::vector<int32_t>{1});
    for (int i = 0; i < updates; ++i) driver_->count_update.push_back({slot, next_token_++, 1, 0});
    driver_->add_row(SLUICE_OUTPUT_SAMPLE, at).flags = counted ? SLUICE_OUTPUT_FLAG_COUNT : 0;
    driver_->output_row.back().presence_penalty = 1;
    const Outcome ran = driver_->run();
    if (ran.status == SLUICE_STATUS_OK) sequence = next;
    return ran;
  };
  Outcome refused = step(10, false, 0);
  EXPECT_EQ(refused.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(refused.text.find("COUNT_UPDATE[9].token"), std::string::npos) << refused.text;
  refused = step(9, true, 0);
  EXPECT_EQ(refused.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(refused.text.find("OUTPUT_ROW[0].flags"), std::string::npos) << refused.text;
  ASSERT_EQ(step(7, true, 0).status, SLUICE_STATUS_OK);
  ASSERT_EQ(step(0, true, 0).status, SLUICE_STATUS_OK);
  EXPECT_EQ(step(1, false, 0).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(step(0, true, 0).status, SLUICE_STATUS_INVALID_ARGUMENT);
  ASSERT_EQ(step(0, false, 0).status, SLUICE_STATUS_OK);
  // A copy brings its counts along; a reset, here of a new sequence's slot, drops them.
  driver_->begin();
  driver_->state_op = {{SLUICE_STATE_OP_COPY_SEQ, 0, 0, 1}};
  ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
  EXPECT_EQ(step(0, true, 1).status, SLUICE_STATUS_INVALID_ARGUMENT);
  sequence = {};
  EXPECT_EQ(step(8, true, 1).status, SLUICE_STATUS_OK);
  EXPECT_EQ(stats()[SLUICE_STAT_STEPS], 5);
}

TEST_F(EngineTest, TraceNames) {
  open();
  Sequence sequence;
  driver_->feed(&sequence, std::vector<int32_t>{1, 2});
  std::vector<std::vector<float>> tensors;
  EXPECT_EQ(driver_->trace({"nonsense"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->trace({"hidden_3"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->trace({"logits", "logits"}, &tensors).status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(driver_->trace({"router_idx_1"}, &tensors).status, SLUICE_STATUS_UNSUPPORTED);
  const Outcome traced = driver_->trace({"embedding", "hidden_2", "final_norm"}, &tensors);
  ASSERT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
  // The embedding is the checkpoint's row.
  const auto table = fixture_->weights().floats("model.embed_tokens.weight");
  const size_t hidden = static_cast<size_t>(fixture_->hidden_size());
  for (size_t i = 0; i < hidden; ++i) {
    EXPECT_EQ(tensors[0][i], table[hidden + i]);
    EXPECT_EQ(tensors[0][hidden + i], table[2 * hidden + i]);
  }
}

// Rows of kind HIDDEN are the trace's final_norm.
TEST_F(EngineTest, HiddenRows) {
  for (auto format : {SLUICE__PROTO__FORMAT__F32, SLUICE__PROTO__FORMAT__BF16}) {
    OptionValues values;
    values.compute_format = format;
    open(values);
    Sequence traced, ran;
    ran.slot = 1;
    const std::vector<int32_t> ids = {1, 2, 3, 4};
    driver_->feed(&traced, ids);
    std::vector<std::vector<float>> tensors;
    ASSERT_EQ(driver_->trace({"final_norm"}, &tensors).status, SLUICE_STATUS_OK);
    driver_->begin();
    driver_->feed(&ran, ids);
    driver_->add_row(SLUICE_OUTPUT_HIDDEN, 3);
    driver_->add_row(SLUICE_OUTPUT_HIDDEN, 1);
    ASSERT_EQ(driver_->run().status, SLUICE_STATUS_OK);
    const auto* hidden = driver_->output<float>(0, SLUICE_SECTION_HIDDEN);
    const int columns = fixture_->hidden_size();
    for (int i = 0; i < columns; ++i) {
      EXPECT_EQ(hidden[i], tensors[0][3 * columns + i]);
      EXPECT_EQ(hidden[columns + i], tensors[0][columns + i]);
    }
  }
}

// A dynamic RoPE variant with the static one's frequencies gives the same logits, another one not.
TEST_F(EngineTest, DynamicRope) {
  values_ = {};
  fixture_ = std::make_unique<Fixture>("llama");
  auto* rope = fixture_->spec()->ropes[0];
  rope->has_num_dynamic_variants = 1;
  rope->num_dynamic_variants = 2;
  ASSERT_EQ(engine_.create(*fixture_->spec(), *fixture_->options(values_)).status,
            SLUICE_STATUS_OK);
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  driver_ = std::make_unique<Driver>(engine_.get(), 8);
  const std::vector<int32_t> ids = {1, 9, 4, 22, 31};
  const auto logits = [&](int slot, int variant, double factor) {
    Sequence sequence;
    sequence.slot = slot;
    sequence.rope_variant = variant;
    driver_->begin();
    driver_->feed(&sequence, ids);
    if (variant > 0) {
      const auto* fixed = rope->variants[0]->inv_freq;
      for (size_t i = 0; i < rope->variants[0]->n_inv_freq; ++i) {
        driver_->rope_inv_freq.push_back(fixed[i] * factor);
      }
      driver_->rope_update = {{0, variant, 0, 0, 1.0}};
    }
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver_->trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    return tensors.empty() ? std::vector<float>() : tensors[0];
  };
  const auto wanted = logits(0, 0, 1);
  EXPECT_EQ(logits(1, 1, 1), wanted);
  EXPECT_NE(logits(2, 2, 0.5), wanted);
  EXPECT_EQ(logits(3, 1, 1), wanted);
}

TEST_F(EngineTest, CreationAndFaultsAreLogged) {
  sluice_log_set_level(SLUICE_LOG_INFO);
  OptionValues values;
  values.fault_name = "step.run";
  open(values);
  Sequence sequence;
  write_decode(&sequence, 1);
  ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  EXPECT_EQ(driver_->wait(0).status, SLUICE_STATUS_INTERNAL);
  sluice_log_set_level(SLUICE_LOG_WARN);
  std::string texts;
  sluice_error error = {};
  std::vector<uint8_t> buffer(1 << 16);
  while (true) {
    int32_t level = -1;
    int64_t size = 0;
    ASSERT_EQ(sluice_log_poll(&level, buffer.data(), 1 << 16, &size, &error), SLUICE_STATUS_OK);
    if (size == 0) break;
    texts += std::string(reinterpret_cast<const char*>(buffer.data()), size) + "\n";
  }
  EXPECT_NE(texts.find("engine: llama"), std::string::npos) << texts;
  EXPECT_NE(texts.find("engine failed: fault point step.run"), std::string::npos) << texts;
}

// Opening and closing gives everything back.
TEST_F(EngineTest, ResidentMemoryStaysFlat) {
  const auto resident_pages = [] {
    long total = 0;
    long resident = 0;
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(file, "%ld %ld", &total, &resident), 2);
    std::fclose(file);
    return resident;
  };
  const auto round = [&] {
    open();
    Sequence sequence;
    write_decode(&sequence, 1);
    ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
    ASSERT_EQ(driver_->wait(0).status, SLUICE_STATUS_OK);
  };
  for (int i = 0; i < 5; ++i) round();
  const long before = resident_pages();
  for (int i = 0; i < 20; ++i) round();
#if !defined(__SANITIZE_ADDRESS__)  // it keeps freed memory aside
  EXPECT_LT(resident_pages() - before, 4 * 256) << "pages of 4 KiB";
#else
  (void)before;
#endif
}

TEST_F(EngineTest, NullArguments) {
  sluice_error error = {};
  EXPECT_EQ(sluice_engine_submit(nullptr, 0, &error), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_STREQ(error.text, "engine: NULL (expected: an address)");
  EXPECT_NE(std::string(error.file), "");
  EXPECT_GT(error.line, 0);
  EXPECT_EQ(sluice_engine_submit(nullptr, 0, nullptr), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_engine_create(nullptr, 0, nullptr, 0, nullptr, 0, 0, 1, nullptr, 0, 0, nullptr,
                                 &error),
            SLUICE_STATUS_INVALID_ARGUMENT);
  sluice_engine* engine = reinterpret_cast<sluice_engine*>(1);
  const int32_t device = 0;
  EXPECT_EQ(sluice_engine_create(nullptr, 5, nullptr, 0, &device, 1, 0, 1, nullptr, 0, 0, &engine,
                                 &error),
            SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(engine, nullptr);
  EXPECT_EQ(sluice_comm_id(nullptr, &error), SLUICE_STATUS_INVALID_ARGUMENT);
  uint8_t id[SLUICE_COMM_ID_BYTES];
  EXPECT_EQ(sluice_comm_id(id, &error), SLUICE_STATUS_UNSUPPORTED);
  sluice_engine_destroy(nullptr);
}

}  // namespace
}  // namespace sluice::test
