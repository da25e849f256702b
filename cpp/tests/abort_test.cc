// Steps, traces and loads that are held at a known point, and what ends them.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <thread>

#include "support/driver.h"

// While true, reads of weights do not return.
static std::atomic<bool> reads_held = false;
static std::atomic<int> reads_waiting = 0;

// In front of the system's, which cannot be made to wait on purpose.
extern "C" __attribute__((visibility("default"))) ssize_t pread(int file, void* out, size_t bytes,
                                                                off_t offset) {
  static const auto read = reinterpret_cast<ssize_t (*)(int, void*, size_t, off_t)>(
      ::dlsym(RTLD_NEXT, "pread"));
  ++reads_waiting;
  while (reads_held) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  --reads_waiting;
  return read(file, out, bytes, offset);
}

namespace sluice::test {
namespace {

constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

class AbortTest : public ::testing::Test {
 protected:
  // Steps wait before their second layer until something is aborted.
  void open_held() {
    OptionValues values;
    values.fault_name = "step.layer";
    values.fault_count = 2;
    values.fault_status = SLUICE_STATUS_ABORTED;
    create(values);
    const Outcome loaded = engine_.load(*fixture_.transfers());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values.block_size));
  }

  void create(const OptionValues& values) {
    const Outcome created = engine_.create(*fixture_.spec(), *fixture_.options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
  }

  void submit(int slot) {
    Sequence sequence;
    sequence.slot = slot;
    driver_->begin(slot);
    driver_->feed(&sequence, std::vector<int32_t>{1, 2});
    driver_->write();
    ASSERT_EQ(driver_->submit().status, SLUICE_STATUS_OK);
  }

  int32_t abort() {
    sluice_error error = {};
    return sluice_engine_abort(engine_.get(), &error);
  }

  // A load with one loader thread, which is inside a read.
  void begin_held_load() {
    OptionValues values;
    values.num_threads = 1;
    create(values);
    reads_held = true;
    sluice_error error = {};
    ASSERT_EQ(sluice_weights_begin(engine_.get(), SLUICE_WEIGHTS_LOAD, &error), SLUICE_STATUS_OK);
    const Outcome queued = engine_.enqueue(*fixture_.transfers());
    ASSERT_EQ(queued.status, SLUICE_STATUS_OK) << queued.text;
    while (reads_waiting == 0) std::this_thread::yield();
  }

  int32_t poll(int64_t timeout_us) {
    sluice_error error = {};
    sluice_weights_progress progress = {};
    return sluice_weights_poll(engine_.get(), timeout_us, &progress, &error);
  }

  void TearDown() override { reads_held = false; }

  Fixture fixture_{"llama"};
  EngineHandle engine_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(AbortTest, EndsStepsInFlight) {
  open_held();
  submit(0);
  submit(1);
  EXPECT_EQ(driver_->wait(0, 1000).status, SLUICE_STATUS_TIMEOUT);
  EXPECT_EQ(driver_->wait(1, 0).status, SLUICE_STATUS_TIMEOUT);
  EXPECT_EQ(abort(), SLUICE_STATUS_OK);
  for (int slot : {0, 1}) {
    EXPECT_EQ(driver_->wait(slot).status, SLUICE_STATUS_ABORTED);
    EXPECT_EQ(driver_->result(slot).status, SLUICE_STATUS_ABORTED);
    EXPECT_EQ(driver_->wait(slot).status, SLUICE_STATUS_WRONG_STATE);
  }
  EXPECT_EQ(driver_->submit().status, SLUICE_STATUS_ABORTED);
  EXPECT_EQ(engine_.load(*fixture_.transfers()).status, SLUICE_STATUS_ABORTED);
  std::vector<std::vector<float>> tensors;
  EXPECT_EQ(driver_->trace({"logits"}, &tensors).status, SLUICE_STATUS_ABORTED);
  EXPECT_EQ(abort(), SLUICE_STATUS_OK);
}

TEST_F(AbortTest, DestroyEndsAStepInFlight) {
  open_held();
  submit(0);
  create({});  // destroys the engine before
}

// One of two waits gets the result; the other is told that there is none.
TEST_F(AbortTest, TwoWaitsOnOneSlot) {
  open_held();
  submit(0);
  std::array<int32_t, 2> statuses = {};
  std::thread waits[2];
  for (int i : {0, 1}) {
    waits[i] = std::thread([&, i] { statuses[i] = driver_->wait(0, kForever).status; });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(abort(), SLUICE_STATUS_OK);
  for (std::thread& wait : waits) wait.join();
  std::sort(statuses.begin(), statuses.end());
  EXPECT_EQ(statuses, (std::array<int32_t, 2>{SLUICE_STATUS_ABORTED, SLUICE_STATUS_WRONG_STATE}));
}

TEST_F(AbortTest, AWaitDoesNotEndATrace) {
  open_held();
  Sequence sequence;
  driver_->feed(&sequence, std::vector<int32_t>{1, 2});
  int32_t status = SLUICE_STATUS_OK;
  std::thread trace([&] {
    std::vector<std::vector<float>> tensors;
    status = driver_->trace({"logits"}, &tensors).status;
  });
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(driver_->wait(0, 0).status, SLUICE_STATUS_WRONG_STATE);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(abort(), SLUICE_STATUS_OK);
  trace.join();
  EXPECT_EQ(status, SLUICE_STATUS_ABORTED);
}

TEST_F(AbortTest, EndsAPollInProgress) {
  begin_held_load();
  EXPECT_EQ(poll(1000), SLUICE_STATUS_TIMEOUT);
  int32_t status = SLUICE_STATUS_OK;
  std::thread other([&] { status = poll(kForever); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  // Returns although the loader is still inside its read.
  EXPECT_EQ(abort(), SLUICE_STATUS_OK);
  other.join();
  EXPECT_EQ(status, SLUICE_STATUS_ABORTED);
  EXPECT_EQ(reads_waiting, 1);
}

// Whoever is inside finish when the load is aborted is told so; the engine can load again.
TEST_F(AbortTest, EndsAFinishInProgress) {
  int32_t status = SLUICE_STATUS_WRONG_STATE;
  for (int pause = 20; status == SLUICE_STATUS_WRONG_STATE && pause < 5000; pause *= 3) {
    begin_held_load();
    std::thread other([&] {
      sluice_error error = {};
      status = sluice_weights_finish(engine_.get(), &error);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));  // until it waits
    std::thread release([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      reads_held = false;  // sluice_weights_abort waits for the loader
    });
    sluice_error error = {};
    EXPECT_EQ(sluice_weights_abort(engine_.get(), &error), SLUICE_STATUS_OK);
    EXPECT_EQ(reads_waiting, 0);
    other.join();
    release.join();
  }
  EXPECT_EQ(status, SLUICE_STATUS_ABORTED);
  const Outcome loaded = engine_.load(*fixture_.transfers());
  EXPECT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
}

}  // namespace
}  // namespace sluice::test
