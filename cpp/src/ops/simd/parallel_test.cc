#include "ops/simd/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "ops/testing/op_test.h"

namespace sluice {
namespace {

TEST(ParallelRangesTest, CoverEachItemOnceWithAndWithoutThreads) {
  for (const Exec& exec : {Exec{Isa::kPortable, 5}, testing::exec_of(Isa::kPortable, 5)}) {
    for (int64_t count : {0, 1, 2, 3, 4, 5, 6, 17, 100}) {
      for (int64_t grain : {0, 1, 2, 7, 30}) {
        std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
        std::atomic<int> ranges = 0;
        parallel_ranges(exec, count, grain, [&](int64_t begin, int64_t end) {
          ++ranges;
          for (int64_t i = begin; i < end; ++i) ++calls[static_cast<size_t>(i)];
        });
        EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }));
        const int64_t most = grain == 0 ? count : count / grain;
        EXPECT_EQ(ranges, count == 0 ? 0 : std::clamp<int64_t>(most, 1, 5));
      }
    }
  }
}

// Which ranges there are must not depend on who is free to take them.
TEST(ParallelRangesTest, AreTheSameEachTime) {
  const Exec exec = testing::exec_of(Isa::kPortable, 4);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::atomic<int64_t>> begins(103);
    parallel_ranges(exec, 103, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) begins[static_cast<size_t>(i)] = begin;
    });
    for (int64_t i = 0; i < 103; ++i) {
      int64_t range = 0;
      while (103 * (range + 1) / 4 <= i) ++range;
      ASSERT_EQ(begins[static_cast<size_t>(i)], 103 * range / 4) << "item " << i;
    }
  }
}

}  // namespace
}  // namespace sluice
