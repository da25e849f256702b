// The tuned CUDA kernels: against sums in double precision at small sizes, against the plain kernel
// at real ones.
#include "ops/attention/attention_cuda_fixture.h"

namespace sluice {
namespace {

using namespace sluice::testing;

std::vector<size_t> all_of(const Config& setup) {
  std::vector<size_t> which;
  for (size_t i = 0; i < setup.sequences.size(); ++i) which.push_back(i);
  return which;
}

void check_variant(Config setup, const char* variant) {
  for (const Format io : {Format::kF32, Format::kBf16}) {
    SCOPED_TRACE(concat(variant, ", ", format_name(io), " queries"));
    setup.format = Format::kBf16;
    setup.q_format = setup.out_format = io;
    CudaFixture fixture(setup);
    fixture.set_numerics(Numerics::kFast);
    const Fixture::Result result = fixture.run(all_of(setup));
    ASSERT_EQ(fixture.variant(), variant);
    fixture.host().check(result, all_of(setup));
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(CudaAttentionDecode, OfEveryHeadDim) {
  for (const int32_t dim : {64, 128, 256}) {
    for (const int32_t kv_heads : {1, 2, 8}) {
      SCOPED_TRACE(concat(dim, " columns, ", kv_heads, " kv heads"));
      check_variant({.sequences = {{1, 1}, {1, 130}, {1, 75}, {0, 9}, {1, 700}, {1, 64}, {1, 65}},
                     .q_heads = 8,
                     .kv_heads = kv_heads,
                     .k_dim = dim,
                     .v_dim = dim,
                     .scale = 0.05f},
                    "decode");
    }
  }
}

TEST(CudaAttentionDecode, BlocksOfEverySize) {
  for (const int32_t block_size : {16, 32, 64, 128, 256}) {
    check_variant({.sequences = {{1, 83}, {1, 300}}, .block_size = block_size}, "decode");
  }
}

TEST(CudaAttentionDecode, FewQueriesOfASequence) {
  check_variant({.sequences = {{1, 83}, {3, 300}, {1, 40}, {8, 8}, {5, 77}, {4, 600}},
                 .q_heads = 15,
                 .kv_heads = 3},
                "decode");
  check_variant({.sequences = {{20, 83}, {1, 300}, {1, 40}}}, "decode");
}

TEST(CudaAttentionDecode, ManyHeadsOfAGroup) {
  check_variant({.sequences = {{1, 83}, {2, 300}}, .q_heads = 71, .kv_heads = 1}, "decode");
}

TEST(CudaAttentionDecode, MasksCapAndSinks) {
  check_variant({.sequences = {{5, 150}, {1, 100}}, .window = 33}, "decode");
  check_variant({.sequences = {{5, 150}, {1, 100}}, .window = 1}, "decode");
  check_variant({.sequences = {{5, 150}, {1, 100}}, .chunk = 40}, "decode");
  check_variant({.sequences = {{5, 150}, {1, 100}}, .soft_cap = 0.7f}, "decode");
  check_variant({.sequences = {{5, 150}, {1, 100}}, .window = 20, .sinks = true}, "decode");
  check_variant({.sequences = {{5, 150}, {7, 100, 20}}, .causal = false}, "decode");
  check_variant({.sequences = {{5, 40, 60}, {1, 30}}, .window = 21, .sinks = true}, "decode");
}

TEST(CudaAttentionDecode, SequencesWithoutKeysAreZero) {
  check_variant({.sequences = {{1, 0, 5}, {1, 1300}, {2, 0, 5}, {1, 40}, {1, 0, 0}}}, "decode");
  check_variant({.sequences = {{1, 0, 5}}}, "decode");
}

TEST(CudaAttentionDecode, UnmappedBlocksAreNaN) {
  Config setup{.sequences = {{4, 200}, {1, 300}}, .format = Format::kBf16, .window = 40};
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  fixture.host().unmap(0, 0, (196 - 39) / 16);
  fixture.host().check(fixture.run({0, 1}), {0, 1});
  EXPECT_EQ(fixture.variant(), "decode");
  fixture.host().unmap(0, 0, (196 - 39) / 16 + 1);
  const Fixture::Result result = fixture.run({0, 1});
  EXPECT_TRUE(std::isnan(result.out.get(0)));
  EXPECT_FALSE(std::isnan(result.out.get(4 * result.stride)));
}

const Config kLatent{.sequences = {{1, 1}, {1, 130}, {1, 75}, {0, 9}, {1, 700}, {1, 64}, {1, 65}},
                     .q_heads = 16,
                     .kv_heads = 1,
                     .k_dim = 0,
                     .v_dim = 576,
                     .scale = 0.04f,
                     .value_dim = 512};

// Hopper's kernel wants rows of queries at multiples of 32 bytes, and no cap.
void check_latent(Config setup) {
  check_variant(setup, "latent_decode");
  setup.q_padding = 8;
  const bool hopper = cuda_device().exec().has_sm90a() && setup.soft_cap == 0;
  check_variant(setup, hopper ? "latent_sm90" : "latent_decode");
}

TEST(CudaAttentionLatentDecode, EqualsSumsInDoublePrecision) {
  for (const int32_t block_size : {8, 16, 64, 256}) {
    Config setup = kLatent;
    setup.block_size = block_size;
    check_latent(setup);
  }
  for (const int32_t heads : {1, 5, 22, 128}) {
    Config setup = kLatent;
    setup.sequences = {{1, 83}, {3, 100}};
    setup.q_heads = heads;
    check_latent(setup);
  }
}

TEST(CudaAttentionLatentDecode, MasksCapSinksAndPadding) {
  Config setup = kLatent;
  setup.sequences = {{5, 150}, {1, 100}, {1, 0, 5}, {20, 20}};
  setup.sinks = true;
  setup.window = 33;
  check_latent(setup);
  setup.window = 0;
  setup.chunk = 40;
  check_latent(setup);
  setup.chunk = 0;
  setup.soft_cap = 0.7f;
  setup.causal = false;
  check_latent(setup);
  setup.sequences = {{1, 0, 5}};
  check_latent(setup);
}

TEST(CudaAttentionPrefill, OfEveryHeadDim) {
  for (const auto& [k_dim, v_dim] : {std::pair{64, 64}, {128, 128}, {192, 128}, {256, 256}}) {
    for (const int32_t kv_heads : {1, 2, 4}) {
      SCOPED_TRACE(concat(k_dim, " and ", v_dim, " columns, ", kv_heads, " kv heads"));
      check_variant({.sequences = {{67, 67}, {130, 300}, {33, 40}, {1, 1}, {0, 8}, {1, 200}},
                     .q_heads = 4,
                     .kv_heads = kv_heads,
                     .k_dim = k_dim,
                     .v_dim = v_dim,
                     .scale = 0.05f},
                    "prefill_mma");
    }
  }
}

TEST(CudaAttentionPrefill, BlocksOfEverySizeAndOddGroups) {
  for (const int32_t block_size : {8, 16, 256}) {
    check_variant({.sequences = {{30, 83}, {1, 300}, {40, 40}},
                   .q_heads = 15,
                   .kv_heads = 3,
                   .block_size = block_size},
                  "prefill_mma");
  }
}

TEST(CudaAttentionPrefill, MasksCapAndSinks) {
  check_variant({.sequences = {{50, 150}, {1, 100}}, .window = 33}, "prefill_mma");
  check_variant({.sequences = {{50, 150}, {1, 100}}, .window = 1}, "prefill_mma");
  check_variant({.sequences = {{50, 150}, {1, 100}}, .chunk = 40}, "prefill_mma");
  check_variant({.sequences = {{50, 150}, {1, 100}}, .soft_cap = 0.7f}, "prefill_mma");
  check_variant({.sequences = {{50, 150}, {9, 100}}, .window = 20, .sinks = true}, "prefill_mma");
  check_variant({.sequences = {{50, 150}, {70, 100, 20}}, .causal = false}, "prefill_mma");
  check_variant({.sequences = {{50, 40, 60}, {30, 0, 5}}, .window = 21, .sinks = true}, "prefill_mma");
}

}  // namespace
}  // namespace sluice
