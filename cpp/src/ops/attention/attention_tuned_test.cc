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

// Real sizes: contexts of many blocks and shares, against the plain kernel on the same data.
struct Real {
  const char* variant;
  std::vector<Sequence> sequences;
  int32_t q_heads, kv_heads, k_dim, v_dim, value_dim;
};

void compare_with_plain(const Real& real) {
  SCOPED_TRACE(concat(real.variant, ", ", real.q_heads, " heads"));
  constexpr int32_t kBlock = 16;
  std::vector<int32_t> start{0}, context, positions, tables;
  int32_t longest = 0;
  for (const Sequence& s : real.sequences) {
    for (int32_t t = 0; t < s.queries; ++t) positions.push_back(s.context - s.queries + t);
    start.push_back(static_cast<int32_t>(positions.size()));
    context.push_back(s.context);
    longest = std::max(longest, s.context);
  }
  const int64_t stride = ceil_div(longest, kBlock);
  int32_t blocks = 0;
  for (const Sequence& s : real.sequences) {
    for (int64_t b = 0; b < stride; ++b) {
      tables.push_back(b < ceil_div(s.context, kBlock) ? blocks++ : 0x7fffff00);
    }
  }
  // Any order but theirs.
  for (int32_t& block : tables) {
    if (block < blocks) block = blocks - 1 - block;
  }
  const int64_t tokens = start.back();
  const int32_t keys = real.k_dim == 0 ? real.v_dim : real.k_dim;
  const int32_t values = real.k_dim == 0 ? real.value_dim : real.v_dim;
  AttentionParams p;
  p.kv.format = Format::kBf16;
  p.kv.layout = KvLayout::kRows;
  p.kv.num_blocks = blocks;
  p.kv.block_size = kBlock;
  p.kv.num_kv_heads = real.kv_heads;
  p.kv.k_dim = real.k_dim;
  p.kv.v_dim = real.v_dim;
  p.kv.k_block_stride = kv_block_bytes(Format::kBf16, kBlock, real.kv_heads, real.k_dim);
  p.kv.v_block_stride = kv_block_bytes(Format::kBf16, kBlock, real.kv_heads, real.v_dim);
  const auto random = [](Format format, int64_t count, uint64_t seed) {
    return on_device(Values::random(format, count, seed), count);
  };
  const DeviceBytes k = random(Format::kBf16, blocks * p.kv.k_block_stride / 2, 1);
  const DeviceBytes v = random(Format::kBf16, blocks * p.kv.v_block_stride / 2, 2);
  p.q_stride = int64_t{real.q_heads} * keys + 2;  // not what the bulk copies of Hopper can take
  const DeviceBytes q = random(Format::kF32, tokens * p.q_stride, 3);
  const DeviceArray<int32_t> device_start(start), device_context(context);
  const DeviceArray<int32_t> device_positions(positions), device_tables(tables);
  p.num_tokens = tokens;
  p.num_q_heads = real.q_heads;
  p.q = q.data();
  p.q_format = Format::kF32;
  p.positions = device_positions.get();
  p.num_sequences = static_cast<int32_t>(context.size());
  p.query_start = device_start.get();
  p.context_len = device_context.get();
  p.block_tables = device_tables.get();
  p.block_table_stride = stride;
  p.longest_context = longest;
  p.kv.k = real.k_dim == 0 ? nullptr : k.data();
  p.kv.v = v.data();
  p.value_dim = real.value_dim;
  p.softmax_scale = 2.0f / std::sqrt(static_cast<float>(keys));
  p.out_format = Format::kF32;
  p.out_stride = int64_t{real.q_heads} * values;
  const DeviceBytes workspace(attention_workspace_bytes(cuda_exec(), tokens, p.num_sequences,
                                                        longest, real.q_heads, keys, values));
  const auto run = [&](Numerics numerics, const char* variant) {
    const DeviceBytes out(tokens * p.out_stride * 4);
    p.out = out.data();
    p.numerics = numerics;
    EXPECT_STREQ(cuda::attention_variant(*cuda_exec().cuda, p).name, variant);
    attention(cuda_exec(), p, workspace.data(), workspace.size());
    return on_host(out, Format::kF32, tokens * p.out_stride);
  };
  const Values tuned = run(Numerics::kFast, real.variant);
  const Values plain = run(Numerics::kBatchInvariant, "plain");
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < tokens * p.out_stride; ++i) {
    const double d = tuned.get(i) - plain.get(i);
    difference += d * d;
    norm += double{plain.get(i)} * plain.get(i);
  }
  // The tuned kernels round weights to bf16, the plain one does not.
  EXPECT_LT(std::sqrt(difference / norm), 0x1p-8);
}

TEST(CudaAttentionLarge, RealSizesEqualThePlainKernel) {
  const std::vector<Sequence> decode = {{1, 4096}, {1, 1}, {2, 1000}, {1, 17}, {1, 2500}};
  const std::vector<Sequence> prefill = {{1000, 3000}, {1, 2000}, {300, 300}, {3, 700}};
  compare_with_plain({"decode", decode, 32, 8, 128, 128, 0});
  compare_with_plain({"decode", decode, 64, 8, 64, 64, 0});
  compare_with_plain({"decode", decode, 16, 8, 256, 256, 0});
  compare_with_plain({"decode", {{1, 20000}}, 16, 16, 128, 128, 0});
  compare_with_plain({"latent_decode", decode, 16, 1, 0, 576, 512});
  compare_with_plain({"latent_decode", {{1, 20000}}, 128, 1, 0, 576, 512});
  compare_with_plain({"prefill_mma", prefill, 32, 8, 128, 128, 0});
  compare_with_plain({"prefill_mma", prefill, 16, 16, 192, 128, 0});
  compare_with_plain({"prefill_mma", prefill, 64, 8, 64, 64, 0});
  compare_with_plain({"prefill_mma", prefill, 16, 8, 256, 256, 0});
}

}  // namespace
}  // namespace sluice
