#include "device/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

TEST(ThreadPoolTest, RunsEachTaskOnceAndNoThreadTwoAtATime) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int round = 0; round < 200; ++round) {
      const int64_t tasks = round % 13;
      std::vector<std::atomic<int>> calls(13);
      std::vector<std::atomic<bool>> running(static_cast<size_t>(threads));
      std::atomic<int> clashes = 0;
      pool.run(tasks, [&](int64_t task, int thread) {
        if (running[static_cast<size_t>(thread)].exchange(true)) ++clashes;
        ++calls[static_cast<size_t>(task)];
        running[static_cast<size_t>(thread)] = false;
      });
      EXPECT_EQ(clashes, 0);
      for (int64_t task = 0; task < 13; ++task) {
        ASSERT_EQ(calls[static_cast<size_t>(task)], task < tasks) << threads << " threads";
      }
    }
  }
}

// A task may wait for another one: they run at the same time.
TEST(ThreadPoolTest, TasksRunAtTheSameTime) {
  ThreadPool pool(3);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> inside = 0;
    pool.run(3, [&](int64_t /*task*/, int /*thread*/) {
      ++inside;
      while (inside < 3) std::this_thread::yield();
    });
    EXPECT_EQ(inside, 3);
    // Long enough for the threads to fall asleep: they must wake for the next job.
    if (round % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// The caller sleeps until a task that another thread began is done.
TEST(ThreadPoolTest, WaitsForTasksOfOthers) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> begun = 0;
    std::atomic<bool> done = false;
    pool.run(2, [&](int64_t /*task*/, int thread) {
      ++begun;
      while (begun < 2) std::this_thread::yield();
      if (thread == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      done = true;
    });
    ASSERT_TRUE(done);
  }
}

TEST(ThreadPoolTest, AJobInsideAJobRunsOnItsOwnThread) {
  ThreadPool pool(4);
  std::atomic<int> inner = 0;
  pool.run(8, [&](int64_t /*task*/, int /*thread*/) {
    const std::thread::id outside = std::this_thread::get_id();
    pool.run(5, [&](int64_t /*inner_task*/, int inner_thread) {
      if (inner_thread == 0 && std::this_thread::get_id() == outside) ++inner;
    });
  });
  EXPECT_EQ(inner, 40);
}

TEST(ThreadPoolTest, SeveralCallersGetTheirJobsDone) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        pool.run(7, [&](int64_t task, int /*thread*/) { sum += task; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 500 * 21);
}

TEST(ThreadPoolTest, ThrowsWhatATaskThrewAndGoesOn) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::atomic<int> others = 0;
    const auto job = [&](int64_t task, int /*thread*/) {
      if (task == 6) throw std::runtime_error("task 6");
      ++others;
    };
    EXPECT_THROW(pool.run(7, job), std::runtime_error);
    EXPECT_EQ(others, 6);
    pool.run(6, job);
    EXPECT_EQ(others, 12);
  }
}

TEST(ThreadPoolTest, RefusesNoThreads) { EXPECT_THROW(ThreadPool(0), Error); }

}  // namespace
}  // namespace sluice
