#include "ops/attention/attention.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "ops/attention/attention_fixture.h"
#include "ops/kv_write/kv_write.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Config;
using testing::Fixture;

std::vector<size_t> all_of(const Config& setup) {
  std::vector<size_t> which;
  for (size_t i = 0; i < setup.sequences.size(); ++i) which.push_back(i);
  return which;
}

void check_everywhere(Config setup) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    setup.format = format;
    setup.q_format = setup.out_format = format;
    Fixture fixture(setup);
    for (const Isa isa : testing::isas()) {
      SCOPED_TRACE(concat(format_name(format), " ", isa_name(isa)));
      const std::vector<size_t> which = all_of(setup);
      fixture.check(fixture.run(testing::exec_of(isa, 2), which), which);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(AttentionTest, RaggedPrefillAndDecode) {
  check_everywhere({.sequences = {{37, 37}, {1, 1}, {1, 130}, {20, 75}, {1, 64}, {3, 65}}});
}

TEST(AttentionTest, GroupsOfThreeAndBlocksOfEverySize) {
  for (const int32_t block_size : {4, 8, 16, 32, 64, 128, 256}) {
    SCOPED_TRACE(block_size);
    check_everywhere({.sequences = {{19, 83}, {1, 9}, {1, 300}},
                      .q_heads = 9,
                      .kv_heads = 3,
                      .block_size = block_size});
  }
}

TEST(AttentionTest, OddHeadDims) {
  for (const auto& [k_dim, v_dim] : {std::pair{8, 8},
                                     {17, 33},
                                     {72, 40},
                                     {80, 80},
                                     {96, 112},
                                     {128, 128},
                                     {192, 128},
                                     {256, 256}}) {
    SCOPED_TRACE(k_dim);
    check_everywhere(
        {.sequences = {{9, 70}, {1, 33}}, .k_dim = k_dim, .v_dim = v_dim, .scale = 0.05f});
  }
}

TEST(AttentionTest, OneKvHeadForManyQueryHeads) {
  check_everywhere(
      {.sequences = {{3, 80}, {1, 20}}, .q_heads = 71, .kv_heads = 1, .k_dim = 16, .v_dim = 16});
}

TEST(AttentionTest, WindowChunkCapSinksAndNoMask) {
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .window = 33});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .window = 1});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .chunk = 40});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .soft_cap = 0.7f});
  check_everywhere({.sequences = {{50, 150}, {1, 100}}, .window = 20, .sinks = true});
  check_everywhere({.sequences = {{50, 150}, {7, 100, 20}}, .causal = false});
}

TEST(AttentionTest, PositionBeyondTheKeys) {
  // Queries that are not kept in the cache see the context only; with a window, nothing at all.
  check_everywhere({.sequences = {{5, 40, 60}}, .window = 21});
}

// Keys that are the value rows: latent attention after absorption.
TEST(AttentionTest, ValueRowsAreTheKeys) {
  for (const int32_t block_size : {4, 8, 16, 32, 64, 128, 256}) {
    SCOPED_TRACE(block_size);
    check_everywhere({.sequences = {{19, 83}, {1, 9}, {1, 300}, {3, 3}},
                      .q_heads = 5,
                      .kv_heads = 1,
                      .k_dim = 0,
                      .v_dim = 40,
                      .block_size = block_size,
                      .value_dim = 32});
  }
  // Columns that are no multiples of a vector, rows that fill no panel, several kv heads.
  for (const auto& [row, value_dim] : {std::pair{9, 8}, {27, 17}, {33, 33}, {300, 1}, {576, 512}}) {
    SCOPED_TRACE(row);
    check_everywhere({.sequences = {{4, 70}, {1, 33}},
                      .q_heads = 22,
                      .kv_heads = 2,
                      .k_dim = 0,
                      .v_dim = row,
                      .scale = 0.05f,
                      .value_dim = value_dim});
  }
}

TEST(AttentionTest, ValueRowsAreTheKeysUnderEveryMask) {
  const Config setup{.sequences = {{50, 150}, {1, 100}, {7, 90, 95}},
                     .q_heads = 20,
                     .kv_heads = 1,
                     .k_dim = 0,
                     .v_dim = 48,
                     .block_size = 8,
                     .value_dim = 40};
  Config changed = setup;
  changed.window = 33;
  check_everywhere(changed);
  changed = setup;
  changed.chunk = 37;
  check_everywhere(changed);
  changed = setup;
  changed.soft_cap = 0.7f;
  changed.sinks = true;
  check_everywhere(changed);
  changed = setup;
  changed.causal = false;
  check_everywhere(changed);
}

TEST(AttentionTest, ValueRowsAreTheKeysOfALongContext) {
  Config setup{.sequences = {{1, 1300}, {2, 1100}},
               .q_heads = 16,
               .kv_heads = 1,
               .k_dim = 0,
               .v_dim = 576,
               .scale = 0.04f,
               .value_dim = 512};
  check_everywhere(setup);
  setup.window = 601;
  check_everywhere(setup);
}

TEST(AttentionTest, LongContextSplitsOverThreads) {
  Config setup{.sequences = {{1, 1300}, {1, 700}}, .q_heads = 3, .kv_heads = 1};
  check_everywhere(setup);
  setup.window = 600;
  check_everywhere(setup);
}

TEST(AttentionTest, PassedBlocksOfAWindowMayBeUnmapped) {
  Config setup{.sequences = {{4, 200}}, .format = Format::kBf16, .window = 40};
  Fixture fixture(setup);
  fixture.unmap(0, 0, (196 - 39) / 16);
  fixture.check(fixture.run(testing::exec_of(detect_isa(), 2), {0}), {0});
  fixture.unmap(0, 0, (196 - 39) / 16 + 1);
  EXPECT_THROW(fixture.run(testing::exec_of(detect_isa(), 2), {0}), Error);
}

// Bits must not depend on the batch, on where chunks of queries begin, or on the number of threads.
void check_bits(Config setup) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const int32_t window : {0, 100}) {
      setup.format = format;
      setup.window = window;
      Fixture fixture(setup);
      for (const Isa isa : testing::isas()) {
        SCOPED_TRACE(concat(format_name(format), " ", isa_name(isa), " window ", window));
        Fixture::Result together = fixture.run(testing::exec_of(isa, 2), {0, 1, 2});
        for (const int threads : {1, 2, 5}) {
          Fixture::Result second = fixture.run(testing::exec_of(isa, threads), {1});
          expect_same_bits(setup, second, together, 70, 1);
          Fixture::Result third = fixture.run(testing::exec_of(isa, threads), {2});
          expect_same_bits(setup, third, together, 71, 33);
          for (int64_t begin = 0; begin < 70; begin += begin == 0 ? 1 : 23) {
            const int64_t end = begin == 0 ? 1 : std::min<int64_t>(begin + 23, 70);
            Fixture::Result chunk = fixture.run(testing::exec_of(isa, threads), {0}, begin, end);
            expect_same_bits(setup, chunk, together, begin, end - begin);
          }
        }
      }
    }
  }
}

TEST(AttentionTest, BitsDependOnTheRowAlone) {
  check_bits({.sequences = {{70, 1200}, {1, 1100}, {33, 33}}, .q_heads = 6, .kv_heads = 2});
}

TEST(AttentionTest, BitsOfSharedRowsDependOnTheRowAlone) {
  check_bits({.sequences = {{70, 1200}, {1, 1100}, {33, 33}},
              .q_heads = 7,
              .kv_heads = 1,
              .k_dim = 0,
              .v_dim = 72,
              .value_dim = 64});
}

TEST(AttentionTest, RefusesByName) {
  const Config setup{.sequences = {{4, 20}}};
  Fixture fixture(setup);
  KvCacheView cache = fixture.cache();
  cache.block_size = 12;
  EXPECT_THROW(check_kv_cache(cache), Error);
  cache = fixture.cache();
  cache.k_dim = 257;
  EXPECT_THROW(check_kv_cache(cache), Error);
  cache = fixture.cache();
  cache.format = Format::kF16;
  EXPECT_THROW(check_kv_cache(cache), Error);
  cache = fixture.cache();
  cache.k_dim = 0;
  cache.v_dim = 1025;
  EXPECT_THROW(check_kv_cache(cache), Error);
  EXPECT_THROW(attention({},
                         {.num_tokens = 0,
                          .num_q_heads = 4,
                          .q_format = Format::kF32,
                          .kv = fixture.cache(),
                          .value_dim = 8,
                          .out_format = Format::kF32},
                         nullptr, 0),
               Error);
  EXPECT_THROW(
      attention({}, {.num_tokens = 1, .num_q_heads = 3, .kv = fixture.cache()}, nullptr, 0), Error);
  EXPECT_THROW(kv_copy_block({}, fixture.cache(), 0, 99), Error);
}

TEST(KvCacheTest, CopiesAndZeroesBlocks) {
  const Config setup{.sequences = {{20, 20}}, .block_size = 8, .format = Format::kBf16};
  Fixture fixture(setup);
  const KvCacheView& cache = fixture.cache();
  auto* k = static_cast<char*>(cache.k);
  auto* v = static_cast<char*>(cache.v);
  kv_copy_block({}, cache, 1, 4);
  EXPECT_EQ(std::memcmp(k + cache.k_block_stride, k + 4 * cache.k_block_stride,
                        static_cast<size_t>(kv_block_bytes(cache.format, 8, 2, 64))),
            0);
  EXPECT_EQ(std::memcmp(v + cache.v_block_stride, v + 4 * cache.v_block_stride,
                        static_cast<size_t>(kv_block_bytes(cache.format, 8, 2, 64))),
            0);
  kv_zero_block({}, cache, 4);
  EXPECT_EQ(k[4 * cache.k_block_stride], 0);
  EXPECT_EQ(v[4 * cache.v_block_stride + 100], 0);
  EXPECT_NE(k[1 * cache.k_block_stride], 0);
}

}  // namespace
}  // namespace sluice
