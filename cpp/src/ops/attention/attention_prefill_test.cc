// The tuned prefill kernels against sums in double precision. The CPU's fixture rounds queries like
// the kernels, which also round the weights: hence the wider tolerance.
#include "ops/attention/attention_cuda_fixture.h"

namespace sluice {
namespace {

using namespace sluice::testing;

void check_prefill(Config setup, const std::string& variant = "prefill_sm90") {
  if (!cuda_device().exec().has_sm90a()) GTEST_SKIP() << "needs compute capability 9.0";
  setup.format = Format::kBf16;
  setup.q_padding = setup.out_padding = 8;
  std::vector<size_t> which;
  for (size_t i = 0; i < setup.sequences.size(); ++i) which.push_back(i);
  for (const Format io : {Format::kF32, Format::kBf16}) {
    SCOPED_TRACE(format_name(io));
    setup.q_format = setup.out_format = io;
    CudaFixture fixture(setup);
    fixture.set_numerics(Numerics::kFast);
    fixture.host().check(fixture.run(which), which);
    EXPECT_EQ(fixture.variant(), variant);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(CudaPrefill, OneSequence) {
  for (const int32_t tokens : {16, 64, 127, 128, 129, 300}) {
    SCOPED_TRACE(tokens);
    check_prefill({.sequences = {{tokens, tokens}}, .k_dim = 128, .v_dim = 128, .scale = 0.08f});
  }
}

TEST(CudaPrefill, RaggedChunksBehindPrefixes) {
  for (const auto& [k_dim, v_dim] : {std::pair{64, 64}, {128, 128}, {192, 128}}) {
    for (const int32_t block_size : {8, 64, 256}) {
      SCOPED_TRACE(concat(k_dim, " ", v_dim, " blocks of ", block_size));
      check_prefill({.sequences = {{130, 500}, {1, 1}, {64, 64}, {3, 300}, {257, 257}, {40, 41}},
                     .q_heads = 4,
                     .kv_heads = 2,
                     .k_dim = k_dim,
                     .v_dim = v_dim,
                     .block_size = block_size,
                     .scale = 0.06f});
    }
  }
}

TEST(CudaPrefill, WindowsAndSinks) {
  for (const int32_t window : {1, 20, 128, 300}) {
    SCOPED_TRACE(window);
    check_prefill({.sequences = {{200, 650}, {1, 100}, {50, 50}},
                   .k_dim = 128,
                   .v_dim = 128,
                   .window = window,
                   .sinks = true,
                   .scale = 0.08f});
  }
}

TEST(CudaPrefill, PassedBlocksOfAWindowMayBeUnmapped) {
  if (!cuda_device().exec().has_sm90a()) GTEST_SKIP() << "needs compute capability 9.0";
  Config setup{.sequences = {{40, 400}},
               .k_dim = 64,
               .v_dim = 64,
               .format = Format::kBf16,
               .window = 40,
               .scale = 0.1f,
               .q_padding = 8,
               .out_padding = 8};
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  fixture.host().unmap(0, 0, (360 - 39) / 16);
  fixture.host().check(fixture.run({0}), {0});
  EXPECT_EQ(fixture.variant(), "prefill_sm90");
}

// A tile without keys is skipped by those who bring keys and by those who wait for them.
TEST(CudaPrefill, SequencesWithoutKeysAreZero) {
  check_prefill({.sequences = {{150, 200}, {40, 0, 5}, {130, 130}, {20, 0, 300}, {64, 90}},
                 .k_dim = 128,
                 .v_dim = 128,
                 .scale = 0.08f});
}

// What this kernel cannot do is another's.
TEST(CudaPrefill, OtherShapesAreNotItsOwn) {
  check_prefill({.sequences = {{50, 50}}, .k_dim = 96, .v_dim = 96, .scale = 0.1f}, "plain");
  check_prefill({.sequences = {{50, 50}}, .k_dim = 64, .v_dim = 64, .soft_cap = 3}, "prefill_mma");
}

}  // namespace
}  // namespace sluice
