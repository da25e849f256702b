// Life of an engine: states, time-outs, abort, faults, memory, statistics.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include "support/engine_test_base.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

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
  EXPECT_EQ(after[SLUICE_STAT_DENSE_MICROS] == 0, settings().cuda());  // told of the CPU alone
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
      // None is new; of the engine before some may still be ending.
      for (const std::string& thread : now) EXPECT_TRUE(threads.contains(thread)) << size;
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
  const auto status = settings().cuda() ? SLUICE_STATUS_OUT_OF_DEVICE_MEMORY
                                        : SLUICE_STATUS_OUT_OF_HOST_MEMORY;
  const Outcome created = create(values);
  EXPECT_EQ(created.status, status) << created.text;
  EXPECT_NE(created.text.find("num_blocks"), std::string::npos) << created.text;
  sluice_error error = {};
  const auto spec = pack_message(fixture_->spec()->base);
  const auto options = pack_message(fixture_->options(values)->base);
  const int32_t device = 0;
  sluice_engine* engine = nullptr;
  EXPECT_EQ(sluice_engine_create(spec.data(), static_cast<int64_t>(spec.size()), options.data(),
                                 static_cast<int64_t>(options.size()), &device, 1, 0, 1, nullptr, 0,
                                 0, &engine, &error),
            status);
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
  // Not what the options say, tensor_parallel_size 1.
  EXPECT_EQ(status({0}, 0, 2, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({0, 0}, 0, 2, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({0}, 0, 1, 0, 2), SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(status({0}, 0, 1, 2, 1), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({0}, 0, 1, 0, 9), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({1}, 0, 1, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({0}, 1, 1, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status({}, 0, 1, 0, 0), SLUICE_STATUS_INVALID_ARGUMENT);
}

TEST_F(EngineTest, MissingOneDnnIsNamed) {
  if (settings().cuda()) GTEST_SKIP() << "the CPU's library";
  Fixture fixture("llama");
  auto* options = fixture.options({});
  options->onednn_path = fixture.arena().text("/nonexistent/libdnnl.so.3");
  const Outcome created = engine_.create(*fixture.spec(), *options);
  EXPECT_EQ(created.status, SLUICE_STATUS_LIBRARY_MISSING);
  EXPECT_NE(created.text.find("/nonexistent/libdnnl.so.3"), std::string::npos) << created.text;
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
