// The plain CUDA kernel against sums in double precision.
#include "ops/attention/attention_cuda_fixture.h"

namespace sluice {
namespace {

using namespace sluice::testing;

std::vector<size_t> all_of(const Config& setup) {
  std::vector<size_t> which;
  for (size_t i = 0; i < setup.sequences.size(); ++i) which.push_back(i);
  return which;
}

void check_everywhere(Config setup) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Format io : {Format::kF32, Format::kBf16}) {
      SCOPED_TRACE(concat(format_name(format), " cache, ", format_name(io), " queries"));
      setup.format = format;
      setup.q_format = setup.out_format = io;
      CudaFixture fixture(setup);
      fixture.host().check(fixture.run(all_of(setup)), all_of(setup));
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(CudaAttention, RaggedPrefillAndDecode) {
  check_everywhere({.sequences = {{37, 37}, {1, 1}, {1, 130}, {20, 75}, {1, 64}, {3, 65}}});
  check_everywhere({.sequences = {{1, 1}, {1, 130}, {1, 75}, {0, 9}, {1, 1200}}});
}

TEST(CudaAttention, GroupsOfThreeAndBlocksOfEverySize) {
  for (const int32_t block_size : {4, 16, 64, 256}) {
    SCOPED_TRACE(block_size);
    check_everywhere({.sequences = {{19, 83}, {1, 9}, {1, 300}},
                      .q_heads = 9,
                      .kv_heads = 3,
                      .block_size = block_size});
  }
}

TEST(CudaAttention, HeadDims) {
  for (const auto& [k_dim, v_dim] :
       {std::pair{8, 8}, {17, 33}, {80, 80}, {96, 112}, {128, 128}, {192, 128}, {256, 256}}) {
    SCOPED_TRACE(concat(k_dim, " ", v_dim));
    check_everywhere(
        {.sequences = {{9, 70}, {1, 33}}, .k_dim = k_dim, .v_dim = v_dim, .scale = 0.05f});
  }
}

TEST(CudaAttention, MasksCapAndSinks) {
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .window = 33});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .window = 1});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .chunk = 40});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .soft_cap = 0.7f});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .window = 20, .sinks = true});
  check_everywhere({.sequences = {{50, 150}, {7, 100, 20}}, .causal = false});
  check_everywhere({.sequences = {{5, 40, 60}}, .window = 21});
}

TEST(CudaAttention, ManyQueryHeadsOfOneKvHead) {
  check_everywhere(
      {.sequences = {{3, 80}, {1, 20}}, .q_heads = 71, .kv_heads = 1, .k_dim = 16, .v_dim = 16});
}

TEST(CudaAttention, ValueRowsAreTheKeys) {
  for (const auto& [row, value_dim] :
       {std::pair{9, 8}, {27, 17}, {300, 1}, {576, 512}, {1024, 700}}) {
    SCOPED_TRACE(concat(row, " ", value_dim));
    check_everywhere({.sequences = {{4, 70}, {1, 33}},
                      .q_heads = 22,
                      .kv_heads = 2,
                      .k_dim = 0,
                      .v_dim = row,
                      .scale = 0.05f,
                      .value_dim = value_dim});
  }
}

TEST(CudaAttention, LongContexts) {
  Config setup{.sequences = {{1, 1300}, {1, 700}, {2, 1100}}, .q_heads = 3, .kv_heads = 1};
  check_everywhere(setup);
  setup.window = 600;
  check_everywhere(setup);
  setup.window = 0;
  setup.chunk = 513;
  check_everywhere(setup);
  check_everywhere({.sequences = {{1, 9000}}, .q_heads = 1, .kv_heads = 1, .k_dim = 16, .v_dim = 8});
  check_everywhere({.sequences = {{1, 1300}, {2, 1100}},
                    .q_heads = 16,
                    .kv_heads = 1,
                    .k_dim = 0,
                    .v_dim = 576,
                    .scale = 0.04f,
                    .value_dim = 512});
}

// What no query sees is never read: unmapped blocks of a window that has passed.
TEST(CudaAttention, PassedBlocksOfAWindowMayBeUnmapped) {
  Config setup{.sequences = {{4, 200}}, .format = Format::kBf16, .window = 40};
  CudaFixture fixture(setup);
  fixture.host().unmap(0, 0, (196 - 39) / 16);
  fixture.host().check(fixture.run({0}), {0});
  fixture.host().unmap(0, 0, (196 - 39) / 16 + 1);
  const Fixture::Result result = fixture.run({0});
  EXPECT_TRUE(std::isnan(result.out.get(0)));
  EXPECT_FALSE(std::isnan(result.out.get(3 * result.stride)));
}

// A padded sequence of a captured step: a token, but no keys.
TEST(CudaAttention, SequencesWithoutKeysAreZero) {
  for (const int32_t queries : {1, 40}) {
    Config setup{.sequences = {{1, 1300}, {queries, 0, 5}, {1, 40}}, .format = Format::kBf16};
    CudaFixture fixture(setup);
    fixture.host().check(fixture.run({0, 1, 2}), {0, 1, 2});
  }
}

// Bits must not depend on the batch or on where chunks of queries begin.
void check_bits(Config setup) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const int32_t window : {0, 100}) {
      SCOPED_TRACE(concat(format_name(format), " window ", window));
      setup.format = format;
      setup.window = window;
      CudaFixture fixture(setup);
      Fixture::Result together = fixture.run({0, 1, 2});
      Fixture::Result second = fixture.run({1});
      expect_same_bits(setup, second, together, 170, 1);
      Fixture::Result third = fixture.run({2});
      expect_same_bits(setup, third, together, 171, 33);
      for (int64_t begin = 0; begin < 170; begin += begin == 0 ? 1 : 53) {
        const int64_t end = begin == 0 ? 1 : std::min<int64_t>(begin + 53, 170);
        Fixture::Result chunk = fixture.run({0}, begin, end);
        expect_same_bits(setup, chunk, together, begin, end - begin);
      }
    }
  }
}

TEST(CudaAttention, BitsDependOnTheRowAlone) {
  check_bits({.sequences = {{170, 1200}, {1, 1100}, {33, 33}}, .q_heads = 6, .kv_heads = 2});
}

TEST(CudaAttention, BitsOfSharedRowsDependOnTheRowAlone) {
  check_bits({.sequences = {{170, 1200}, {1, 1100}, {33, 33}},
              .q_heads = 7,
              .kv_heads = 1,
              .k_dim = 0,
              .v_dim = 72,
              .value_dim = 64});
}

TEST(CudaAttention, RefusesTheCpusLayout) {
  const Config setup{.sequences = {{4, 20}}};
  Fixture fixture(setup);
  const Fixture::Batch batch = fixture.batch({0});
  EXPECT_THROW(attention(cuda_exec(), fixture.params(batch), nullptr, 0), Error);
}

}  // namespace
}  // namespace sluice
