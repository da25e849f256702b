#include "ops/simd/parallel.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace sluice {
namespace {

TEST(ParallelRangesTest, CoverEachItemOnceInATeamOfConstantSize) {
  const Exec exec{Isa::kPortable, 5};
  for (int64_t count : {0, 1, 2, 3, 4, 5, 6, 17, 100}) {
    for (int64_t grain : {0, 1, 2, 7, 30}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      std::atomic<int> ranges = 0;
      std::atomic<int> wrong_teams = 0;
      parallel_ranges(exec, count, grain, [&](int64_t begin, int64_t end) {
        ++ranges;
        if (omp_in_parallel() != 0 && omp_get_num_threads() != 5) ++wrong_teams;
        for (int64_t i = begin; i < end; ++i) ++calls[static_cast<size_t>(i)];
      });
      EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }));
      EXPECT_EQ(wrong_teams, 0) << count << " items, grain " << grain;
      const int64_t most = grain == 0 ? count : count / grain;
      EXPECT_EQ(ranges, count == 0 ? 0 : std::clamp<int64_t>(most, 1, 5));
    }
  }
}

}  // namespace
}  // namespace sluice
