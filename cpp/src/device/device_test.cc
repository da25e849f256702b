#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "base/error.h"
#include "device/buffer.h"
#include "device/cpu.h"

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
