#include "device/kernel_log.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace sluice {
namespace {

TEST(KernelLog, CountsByOpAndVariantInTheOrderOfFirstLaunches) {
  KernelLog log;
  EXPECT_TRUE(log.entries().empty());
  log.note("gemm", "cublaslt");
  log.note("attention", "decode");
  const std::string same = "gemm";  // another address
  log.note(same.c_str(), "cublaslt");
  log.note("gemm", "bf16_stream");
  const auto entries = log.entries();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_STREQ(entries[0].op, "gemm");
  EXPECT_STREQ(entries[0].variant, "cublaslt");
  EXPECT_EQ(entries[0].launches, 2);
  EXPECT_STREQ(entries[1].variant, "decode");
  EXPECT_EQ(entries[1].launches, 1);
  EXPECT_STREQ(entries[2].variant, "bf16_stream");
}

TEST(KernelLog, SinceTellsWhatWasLaunchedBetweenTwoLooks) {
  KernelLog log;
  log.note("gemm", "cublaslt");
  log.note("attention", "decode");
  const auto before = log.entries();
  log.note("attention", "prefill");
  log.note("gemm", "cublaslt");
  log.note("gemm", "cublaslt");
  const auto found = KernelLog::since(before, log.entries());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_STREQ(found[0].op, "gemm");
  EXPECT_EQ(found[0].launches, 2);
  EXPECT_STREQ(found[1].variant, "prefill");
  EXPECT_EQ(found[1].launches, 1);
  EXPECT_TRUE(KernelLog::since(log.entries(), log.entries()).empty());
}

TEST(KernelLog, TakesNotesOfSeveralThreads) {
  KernelLog log;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) log.note("gemm", i % 2 == 0 ? "even" : "odd");
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto entries = log.entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].launches, 2000);
  EXPECT_EQ(entries[1].launches, 2000);
}

}  // namespace
}  // namespace sluice
