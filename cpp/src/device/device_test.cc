#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/buffer.h"
#include "device/cpu.h"
#include "device/cuda.h"

namespace sluice {
namespace {

TEST(BufferTest, IsAlignedZeroedCountedAndMovable) {
  AllocationCounter counter;
  Buffer small(100, "test", &counter);
  Buffer large((int64_t{3} << 20) + 5, "test", &counter);
  EXPECT_EQ(counter.count(), 2);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data()) % kBufferAlignment, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % (2u << 20), 0u);
  for (int64_t i = 0; i < large.size(); i += 1000) ASSERT_EQ(large.data()[i], std::byte{0});
  std::byte* const data = large.data();
  Buffer moved = std::move(large);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(large.data(), nullptr);
  small = std::move(moved);
  EXPECT_EQ(small.data(), data);
}

TEST(BufferTest, RefusesMoreThanThereIs) {
  try {
    Buffer buffer(int64_t{1} << 50, "KV cache");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SLUICE_STATUS_OUT_OF_HOST_MEMORY);
    EXPECT_EQ(error.needed_bytes(), int64_t{1} << 50);
    EXPECT_GT(error.free_bytes(), 0);
  }
}

TEST(ArenaTest, BumpsRewindsAndRefuses) {
  Arena arena(1000, "workspace");
  char* first = static_cast<char*>(arena.allocate(10));
  char* second = static_cast<char*>(arena.allocate(10));
  EXPECT_EQ(second - first, 64);
  {
    const ArenaScope scope(arena);
    arena.allocate(500);
  }
  EXPECT_EQ(arena.used(), 74);
  EXPECT_EQ(arena.peak(), 628);
  EXPECT_THROW(arena.allocate(1000), Error);
  EXPECT_THROW(arena.allocate(-1), Error);
  arena.reset();
  EXPECT_EQ(arena.allocate(1000), first);
}

// A file tree that goes away with the test.
class Tree {
 public:
  Tree() : root_(::testing::TempDir() + "sluice_device_" + std::to_string(::getpid())) {
    std::filesystem::remove_all(root_);
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  int64_t memory_free() const { return cgroup_memory_free(root_ + "/proc", root_ + "/cgroup"); }

 private:
  std::string root_;
};

TEST(CgroupTest, TheTightestLimitOfTheAncestorsHolds) {
  const Tree tree;
  EXPECT_EQ(tree.memory_free(), -1);
  tree.write("/proc/self/cgroup", "0::/pod/box\n");
  EXPECT_EQ(tree.memory_free(), -1) << "not mounted here: no limit";
  tree.write("/cgroup/pod/box/memory.max", "max\n");
  tree.write("/cgroup/pod/box/memory.current", "300\n");
  EXPECT_EQ(tree.memory_free(), -1);
  tree.write("/cgroup/pod/memory.max", "5000000000\n");
  tree.write("/cgroup/pod/memory.current", "1000000000\n");
  EXPECT_EQ(tree.memory_free(), 4000000000);
  tree.write("/cgroup/pod/memory.stat",
             "anon 600000000\ninactive_file 300000000\nslab 5\nactive_file 100000000\n");
  EXPECT_EQ(tree.memory_free(), 4400000000);
  tree.write("/cgroup/pod/box/memory.max", "1000\n");
  EXPECT_EQ(tree.memory_free(), 700);
  tree.write("/cgroup/memory.max", "200\n");  // a container sees its own group as the root
  tree.write("/cgroup/memory.current", "300\n");
  EXPECT_EQ(tree.memory_free(), 0);
}

TEST(CgroupTest, VersionOne) {
  const Tree tree;
  tree.write("/proc/self/cgroup", "7:cpu,cpuacct:/box\n5:memory:/box\n0::/\n");
  tree.write("/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  tree.write("/cgroup/memory/memory.usage_in_bytes", "70\n");
  tree.write("/cgroup/memory/box/memory.limit_in_bytes", "90\n");
  tree.write("/cgroup/memory/box/memory.usage_in_bytes", "70\n");
  EXPECT_EQ(tree.memory_free(), 20);
}

TEST(CudaTest, WhatIsMissingIsNamedWithItsRemedy) {
  const CudaInfo info = cuda_info();
  if (!info.devices.empty()) GTEST_SKIP() << "there is a GPU";
  EXPECT_NE(info.problem.find("remedy"), std::string::npos) << info.problem;
  for (const auto& call : std::vector<std::function<void()>>{
           [] { cuda_describe(0); }, [] { const CudaDevice device(0); },
           [] { const Buffer buffer(256, "weights", nullptr, {MemoryKind::kDevice, 0}); }}) {
    try {
      call();
      ADD_FAILURE() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), SLUICE_STATUS_UNSUPPORTED);
      EXPECT_NE(error.text().find(info.problem), std::string::npos) << error.text();
    }
  }
}

TEST(CpuTest, SelectsByName) {
  EXPECT_EQ(select_isa(""), detect_isa());
  EXPECT_EQ(select_isa("portable"), Isa::kPortable);
  EXPECT_THROW(select_isa("sse9"), Error);
  for (int i = 0; i <= static_cast<int>(detect_isa()); ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(select_isa(isa_name(isa)), isa);
  }
  EXPECT_GT(cpu_info().num_cores, 0);
  EXPECT_GT(host_memory_free(), 0);
}

}  // namespace
}  // namespace sluice
