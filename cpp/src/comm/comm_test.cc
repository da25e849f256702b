#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "comm/local_group.h"

namespace sluice {
namespace {

// Runs `body` on one thread for each rank; gives what each threw.
std::vector<std::optional<Error>> on_all_ranks(LocalGroup& group,
                                               const std::function<void(Communicator&)>& body) {
  std::vector<std::optional<Error>> errors(static_cast<size_t>(group.size()));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < group.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(group.rank(rank));
      } catch (const Error& error) {
        errors[static_cast<size_t>(rank)] = error;
        group.fail(error);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

void expect_none(const std::vector<std::optional<Error>>& errors) {
  for (const auto& error : errors) EXPECT_FALSE(error) << error->text();
}

std::vector<float> random_values(uint32_t seed, int64_t count) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Summed by hand in the order of the ranks: the bits that every rank must have.
std::vector<float> sum_in_order(int size, int64_t count, uint32_t seed) {
  std::vector<float> sums = random_values(seed, count);
  for (int rank = 1; rank < size; ++rank) {
    const auto values = random_values(seed + static_cast<uint32_t>(rank), count);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  }
  return sums;
}

class LocalGroupTest : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Sizes, LocalGroupTest, ::testing::Values(1, 2, 3, 4, 7));

TEST_P(LocalGroupTest, SumsInRankOrderToTheSameBitsOnAllRanks) {
  const int size = GetParam();
  for (int64_t count : {0, 1, 15, 16, 17, 64, 1000, 4099, 70001}) {
    LocalGroup group(size);
    const auto expected = sum_in_order(size, count, 11);
    expect_none(on_all_ranks(group, [&](Communicator& comm) {
      auto values = random_values(11 + static_cast<uint32_t>(comm.rank()), count);
      comm.all_reduce(values.data(), count);
      ASSERT_EQ(values.size(), expected.size());
      for (size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected[i]))
            << "rank " << comm.rank() << " of " << comm.size() << ", value " << i << " of "
            << count;
      }
    }));
  }
}

TEST_P(LocalGroupTest, GathersRowsSideBySide) {
  const int size = GetParam();
  constexpr int64_t kRows = 5;
  constexpr int64_t kBytes = 13;
  LocalGroup group(size);
  expect_none(on_all_ranks(group, [&](Communicator& comm) {
    std::vector<uint8_t> own(kRows * kBytes);
    for (size_t i = 0; i < own.size(); ++i) own[i] = static_cast<uint8_t>(i * 7 + comm.rank() * 31);
    std::vector<uint8_t> all(own.size() * static_cast<size_t>(size));
    comm.all_gather(own.data(), kRows, kBytes, all.data());
    for (int64_t row = 0; row < kRows; ++row) {
      for (int rank = 0; rank < size; ++rank) {
        for (int64_t b = 0; b < kBytes; ++b) {
          ASSERT_EQ(all[static_cast<size_t>((row * size + rank) * kBytes + b)],
                    static_cast<uint8_t>((row * kBytes + b) * 7 + rank * 31));
        }
      }
    }
  }));
}

// Ranks run apart from each other and meet again, thousands of times and with changing sizes.
TEST_P(LocalGroupTest, ManyIterationsStayInStep) {
  const int size = GetParam();
  constexpr int kIterations = 3000;
  LocalGroup group(size);
  expect_none(on_all_ranks(group, [&](Communicator& comm) {
    std::mt19937 random(static_cast<uint32_t>(comm.rank()));
    std::vector<float> values(300);
    std::vector<int32_t> gathered(static_cast<size_t>(size));
    for (int i = 0; i < kIterations; ++i) {
      if (random() % 500 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
      const int64_t count = 1 + i % 300;
      for (int64_t v = 0; v < count; ++v) {
        values[static_cast<size_t>(v)] = static_cast<float>(i % 1000 + comm.rank() * v);
      }
      comm.all_reduce(values.data(), count);
      for (int64_t v = 0; v < count; ++v) {
        const auto expected =
            static_cast<float>(size * (i % 1000) + size * (size - 1) / 2 * static_cast<int>(v));
        ASSERT_EQ(values[static_cast<size_t>(v)], expected) << "iteration " << i;
      }
      const int32_t own = i * size + comm.rank();
      comm.all_gather(&own, 1, sizeof(own), gathered.data());
      for (int rank = 0; rank < size; ++rank) {
        ASSERT_EQ(gathered[static_cast<size_t>(rank)], i * size + rank);
      }
    }
  }));
}

TEST_P(LocalGroupTest, AFaultReleasesTheRanksThatWait) {
  const int size = GetParam();
  LocalGroup group(size);
  const auto errors = on_all_ranks(group, [&](Communicator& comm) {
    std::vector<float> values(100, 1.0f);
    for (int i = 0; i < 50; ++i) comm.all_reduce(values.data(), 100);
    if (comm.rank() == size - 1) SLUICE_FAIL(SLUICE_STATUS_DEVICE_LOST, "rank ", size - 1);
    comm.all_reduce(values.data(), 100);
  });
  for (const auto& error : errors) {
    ASSERT_TRUE(error);
    EXPECT_EQ(error->status(), SLUICE_STATUS_DEVICE_LOST);
    EXPECT_EQ(error->text(), "rank " + std::to_string(size - 1));
  }
  // For good.
  float value = 1;
  EXPECT_THROW(group.rank(0).all_reduce(&value, 1), Error);
}

TEST(LocalGroup, AnAbortFromOutsideReleasesSleepingRanks) {
  LocalGroup group(3);
  std::atomic<int> waiting = 0;
  std::thread outside([&] {
    while (waiting.load() < 2) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // by then both sleep
    group.fail(Error(SLUICE_STATUS_ABORTED, "stop", __FILE__, __LINE__));
  });
  const auto errors = on_all_ranks(group, [&](Communicator& comm) {
    if (comm.rank() == 1) return;  // never comes
    waiting.fetch_add(1);
    float value = 1;
    comm.all_reduce(&value, 1);
  });
  outside.join();
  EXPECT_TRUE(errors[0] && errors[2]);
  EXPECT_EQ(errors[0]->status(), SLUICE_STATUS_ABORTED);
  EXPECT_EQ(errors[2]->text(), "stop");
}

// Whenever the failure comes, all ranks end, and none reads an array that its owner has left.
TEST(LocalGroup, FailuresAtAnyMoment) {
  constexpr int kSize = 4;
  for (int i = 0; i < 200; ++i) {
    LocalGroup group(kSize);
    std::thread outside([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(i * 3));
      group.fail(Error(SLUICE_STATUS_ABORTED, "first", __FILE__, __LINE__));
      group.fail(Error(SLUICE_STATUS_INTERNAL, "second", __FILE__, __LINE__));
    });
    const auto errors = on_all_ranks(group, [&](Communicator& comm) {
      while (true) {
        std::vector<float> values(5000, 1.0f);  // freed each time
        comm.all_reduce(values.data(), 5000);
        ASSERT_EQ(values[4999], static_cast<float>(kSize));
        std::vector<float> all(4 * kSize);
        comm.all_gather(values.data(), 1, 16, all.data());
      }
    });
    outside.join();
    for (const auto& error : errors) {
      ASSERT_TRUE(error);
      EXPECT_EQ(error->text(), "first");
    }
    ASSERT_TRUE(group.failure());
    EXPECT_EQ(group.failure()->text(), "first");
  }
}

TEST(LocalGroup, DifferentCallsAreADefectOnAllRanks) {
  LocalGroup group(2);
  const auto errors = on_all_ranks(group, [&](Communicator& comm) {
    std::vector<float> values(64, 1.0f);
    comm.all_reduce(values.data(), comm.rank() == 0 ? 64 : 32);
  });
  for (const auto& error : errors) {
    ASSERT_TRUE(error);
    EXPECT_EQ(error->status(), SLUICE_STATUS_INTERNAL);
  }
}

TEST(LocalGroup, RefusesNoRanks) { EXPECT_THROW(LocalGroup(0), Error); }

}  // namespace
}  // namespace sluice
