// Steps take no memory of any kind: every function that could give some is counted.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>

#include "support/moe_test_base.h"

// Sanitizers bring their own malloc.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define SLUICE_TEST_COUNTS_MALLOC 0
#else
#define SLUICE_TEST_COUNTS_MALLOC 1
#endif

// The test's own allocations between calls of the engine do not count.
static thread_local bool outside = false;
static std::atomic<int64_t> allocations = 0;

#if SLUICE_TEST_COUNTS_MALLOC
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

#define SLUICE_VISIBLE __attribute__((visibility("default")))
SLUICE_VISIBLE void* malloc(size_t bytes) noexcept {
  if (!outside) ++allocations;
  return __libc_malloc(bytes);
}
SLUICE_VISIBLE void* calloc(size_t count, size_t bytes) noexcept {
  if (!outside) ++allocations;
  return __libc_calloc(count, bytes);
}
SLUICE_VISIBLE void* realloc(void* memory, size_t bytes) noexcept {
  if (!outside) ++allocations;
  return __libc_realloc(memory, bytes);
}
SLUICE_VISIBLE void* memalign(size_t alignment, size_t bytes) noexcept {
  if (!outside) ++allocations;
  return __libc_memalign(alignment, bytes);
}
SLUICE_VISIBLE void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  if (!outside) ++allocations;
  return __libc_memalign(alignment, bytes);
}
SLUICE_VISIBLE int posix_memalign(void** memory, size_t alignment, size_t bytes) noexcept {
  if (!outside) ++allocations;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? 12 : 0;  // ENOMEM
}
}
#endif

namespace sluice::test {
namespace {

struct Setup {
  const char* name;
  uint32_t ranks;
  bool experts;
};

class AllocationTest : public ::testing::TestWithParam<Setup> {};

INSTANTIATE_TEST_SUITE_P(Setups, AllocationTest,
                         ::testing::Values(Setup{"Dense", 1, false},
                                           Setup{"DenseTwoRanks", 2, false},
                                           Setup{"Experts", 1, true},
                                           Setup{"ExpertsTwoRanks", 2, true}),
                         [](const auto& each) { return std::string(each.param.name); });

void open_experts(EngineHandle* engine, const OptionValues& values) {
  MoeModel model([](auto* moe, auto* /*spec*/, auto* /*arena*/) {
    moe->has_expert_capacity = moe->has_capacity_window = 1;
    moe->expert_capacity = 20;
    moe->capacity_window = 64;
  });
  model.open(engine, values);
}

void open_dense(EngineHandle* engine, const OptionValues& values) {
  Fixture fixture("llama");
  const Outcome created = engine->create(*fixture.spec(), *fixture.options(values));
  ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
  ASSERT_EQ(engine->load(*fixture.transfers()).status, SLUICE_STATUS_OK);
}

TEST_P(AllocationTest, StepsTakeNoMemory) {
  if (!SLUICE_TEST_COUNTS_MALLOC) GTEST_SKIP() << "a sanitizer's malloc";
  outside = true;
  OptionValues values;
  values.num_threads = 4;
  values.tensor_parallel_size = GetParam().ranks;
  values.num_blocks = 512;
  values.max_context_len = 700;
  values.max_step_tokens = 400;
  EngineHandle engine;
  if (GetParam().experts) {
    ASSERT_NO_FATAL_FAILURE(open_experts(&engine, values));
  } else {
    ASSERT_NO_FATAL_FAILURE(open_dense(&engine, values));
  }
  Driver driver(engine.get(), static_cast<int>(values.block_size));
  std::array<Sequence, 4> sequences;
  for (int s = 0; s < 4; ++s) sequences[s].slot = s;

  // Tokens of each sequence of a step; 0: not in it.
  const auto run = [&](std::array<int, 4> tokens) {
    driver.begin();
    for (int s = 0; s < 4; ++s) {
      if (tokens[s] == 0) continue;
      const int32_t first = driver.feed(&sequences[s], std::vector<int32_t>(tokens[s], 3 + s));
      driver.count_update.push_back({s, 3 + s, 1, 0});
      sluice_output_row& sample = driver.add_row(SLUICE_OUTPUT_SAMPLE, first + tokens[s] - 1);
      sample.flags = SLUICE_OUTPUT_FLAG_COUNT | SLUICE_OUTPUT_FLAG_LOGPROB;
      sample.temperature = 0.8f;
      sample.top_p = 0.9f;
      sample.repetition_penalty = 1.2f;
      driver.add_row(SLUICE_OUTPUT_LOGPROB, first).top_n = 3;
    }
    driver.write();
    const int64_t before = allocations;
    outside = false;
    const Outcome submitted = driver.submit();
    const Outcome waited = submitted.status == SLUICE_STATUS_OK ? driver.wait(0) : submitted;
    outside = true;
    EXPECT_EQ(waited.status, SLUICE_STATUS_OK) << waited.text;
    return allocations - before;
  };
  run({380, 20, 0, 0});  // oneDNN takes what it keeps
  EXPECT_EQ(run({0, 0, 100, 300}), 0);
  EXPECT_EQ(run({0, 200, 130, 1}), 0);
  for (int step = 0; step < 100; ++step) {
    ASSERT_EQ(run({1, step % 2, 1, step % 3 == 0 ? 1 : 0}), 0) << "step " << step;
  }
  outside = false;
  const int64_t before = allocations;
  Driver another(engine.get(), 8);
  EXPECT_GT(allocations, before) << "allocations are not counted";
  outside = true;
}

}  // namespace
}  // namespace sluice::test
