// Attention of prompts by cuDNN, against sums in double precision; and that it is taken where it is
// the faster.
#include <cmath>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "ops/attention/attention_cuda_fixture.h"

namespace sluice {
namespace {

using namespace sluice::testing;

// Whoever has no cuDNN cannot test it; machines of tests/gpu have it.
#define SLUICE_NEEDS_CUDNN()                                                                  \
  if (!cuda_device().exec().has_sm90a()) GTEST_SKIP() << "needs compute capability 9.0";      \
  ASSERT_EQ(cudnn_info().problem, "")

Config config_of(std::vector<Sequence> sequences, int32_t k_dim, int32_t v_dim, int32_t block_size) {
  return {.sequences = std::move(sequences),
          .q_heads = 4,
          .kv_heads = 2,
          .k_dim = k_dim,
          .v_dim = v_dim,
          .block_size = block_size,
          .format = Format::kBf16,
          .out_format = Format::kBf16,
          .scale = 0.07f,
          .q_padding = 8,
          .out_padding = 0};
}

// The plans for a fixture's calls.
std::unique_ptr<CudnnAttention> plans_for(const CudaFixture& fixture, const Config& c) {
  auto plans = std::make_unique<CudnnAttention>(
      cuda_device().exec(), static_cast<int32_t>(c.sequences.size()), 1024);
  plans->want({c.q_heads, c.scale, fixture.cache()});
  plans->start(true);
  EXPECT_EQ(plans->problem(), "");
  return plans;
}

std::vector<size_t> all_of(const Config& c) {
  std::vector<size_t> which;
  for (size_t i = 0; i < c.sequences.size(); ++i) which.push_back(i);
  return which;
}

void check_sums(int32_t k_dim, int32_t v_dim, int32_t block_size, Format q) {
  SCOPED_TRACE(concat(k_dim, " ", v_dim, " blocks of ", block_size, " ", format_name(q)));
  Config setup = config_of({{130, 200}, {1, 1}, {64, 64}, {3, 300}, {140, 140}, {40, 41}}, k_dim,
                           v_dim, block_size);
  setup.q_format = q;
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  const auto plans = plans_for(fixture, setup);
  fixture.set_cudnn(plans.get());
  fixture.host().check(fixture.run(all_of(setup)), all_of(setup));
}

// Lengths from 1 on, prefixes, and NaN in every place of the cache that is not theirs.
TEST(Cudnn, AgreesWithSums) {
  SLUICE_NEEDS_CUDNN();
  check_sums(64, 64, 64, Format::kF32);
  check_sums(128, 128, 64, Format::kBf16);
  check_sums(192, 128, 64, Format::kF32);
  for (const int32_t block_size : {16, 256}) check_sums(128, 128, block_size, Format::kF32);
}

TEST(Cudnn, QueriesThatAreDenseAreReadWhereTheyAre) {
  SLUICE_NEEDS_CUDNN();
  Config setup = config_of({{100, 100}, {33, 200}}, 128, 128, 64);
  setup.q_format = Format::kBf16;
  setup.q_padding = 0;
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  const auto plans = plans_for(fixture, setup);
  fixture.set_cudnn(plans.get());
  fixture.host().check(fixture.run({0, 1}), {0, 1});
}

TEST(Cudnn, SequencesWithoutKeysAreZero) {
  SLUICE_NEEDS_CUDNN();
  const Config setup =
      config_of({{150, 200}, {40, 0, 5}, {130, 130}, {20, 0, 300}, {64, 90}}, 128, 128, 64);
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  const auto plans = plans_for(fixture, setup);
  fixture.set_cudnn(plans.get());
  fixture.host().check(fixture.run(all_of(setup)), all_of(setup));
}

TEST(Cudnn, ABlockOutsideTheCacheGivesNanToItsSequenceAlone) {
  SLUICE_NEEDS_CUDNN();
  const Config setup = config_of({{50, 90}, {70, 200}, {64, 64}}, 128, 128, 64);
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  const auto plans = plans_for(fixture, setup);
  fixture.set_cudnn(plans.get());
  fixture.host().unmap(1, 1, 2);
  const Fixture::Result result = fixture.run({0, 1, 2});
  for (int64_t t = 50; t < 120; ++t) {
    for (int64_t d = 0; d < result.stride; ++d) {
      ASSERT_TRUE(std::isnan(result.out.get(t * result.stride + d))) << "token " << t;
    }
  }
  const Fixture::Result rest = fixture.run({0, 2});
  fixture.host().check(rest, {0, 2});
  for (int64_t t = 0; t < 50; ++t) {
    for (int64_t d = 0; d < result.stride; ++d) {
      ASSERT_EQ(result.out.get(t * result.stride + d), rest.out.get(t * rest.stride + d));
    }
  }
}

// In the same bounds a sequence's bits do not depend on the others.
TEST(Cudnn, RowsOfABoundAreIndependent) {
  SLUICE_NEEDS_CUDNN();
  const Config setup = config_of({{90, 700}, {200, 800}, {256, 256}, {17, 900}}, 128, 128, 64);
  CudaFixture fixture(setup);
  fixture.set_numerics(Numerics::kFast);
  const auto plans = plans_for(fixture, setup);
  fixture.set_cudnn(plans.get());
  const Fixture::Result together = fixture.run({0, 1, 2, 3});
  int64_t token = 0;
  for (size_t s = 0; s < 4; ++s) {
    const Fixture::Result alone = fixture.run({s});
    for (int64_t t = 0; t < setup.sequences[s].queries; ++t, ++token) {
      for (int64_t d = 0; d < alone.stride; ++d) {
        ASSERT_EQ(alone.out.get(t * alone.stride + d), together.out.get(token * alone.stride + d))
            << "sequence " << s << " token " << t;
      }
    }
  }
}

TEST(Cudnn, TakesWhatItCanAlone) {
  SLUICE_NEEDS_CUDNN();
  const Config setup = config_of({{300, 300}, {300, 300}}, 128, 128, 64);
  CudaFixture fixture(setup);
  const auto plans = plans_for(fixture, setup);
  const CudaExec& exec = cuda_device().exec();
  const Fixture::Batch batch = fixture.host().batch({0, 1});
  AttentionParams good = fixture.host().params(batch);
  good.kv = fixture.cache();
  good.cudnn = plans.get();
  good.numerics = Numerics::kFast;
  good.queries_last = true;
  good.longest_query = 300;
  good.q = good.out = fixture.cache().k;  // aligned, and never read here
  EXPECT_TRUE(cuda::cudnn_runs(exec, good));
  EXPECT_NE(plans->find(good), nullptr);
  const auto refused = [&](const std::function<void(AttentionParams&)>& change) {
    AttentionParams p = good;
    change(p);
    return !cuda::cudnn_runs(exec, p) &&
           std::strcmp(cuda::attention_variant(exec, p).name, "cudnn") != 0;
  };
  float lse = 0;
  EXPECT_TRUE(refused([](auto& p) { p.cudnn = nullptr; }));
  EXPECT_TRUE(refused([](auto& p) { p.numerics = Numerics::kBatchInvariant; }));
  EXPECT_TRUE(refused([](auto& p) { p.queries_last = false; }));
  EXPECT_TRUE(refused([](auto& p) { p.longest_query = 0; }));
  EXPECT_TRUE(refused([](auto& p) { p.window = 100; }));
  EXPECT_TRUE(refused([](auto& p) { p.soft_cap = 30; }));
  EXPECT_TRUE(refused([](auto& p) { p.causal = false; }));
  EXPECT_TRUE(refused([&](auto& p) { p.lse = &lse; }));
  EXPECT_TRUE(refused([&](auto& p) { p.sinks = &lse; }));
  EXPECT_TRUE(refused([](auto& p) { p.out_format = Format::kF32; }));
  EXPECT_TRUE(refused([](auto& p) { p.kv.k_dim = p.kv.v_dim = 96; }));
  AttentionParams other = good;
  other.softmax_scale = 0.5f;  // no layer of this kind was announced
  EXPECT_EQ(plans->find(other), nullptr);
}

TEST(Cudnn, MissingLibraryIsNamedWithTheRemedy) {
  const CudnnInfo info = probe_cudnn("/nonexistent/libcudnn.so.9");
  EXPECT_NE(info.problem.find("/nonexistent/libcudnn.so.9"), std::string::npos);
  EXPECT_NE(info.problem.find("remedy"), std::string::npos);
  EXPECT_EQ(info.version, "");
  EXPECT_EQ(cudnn_info().version.substr(0, 2), "9.");
}

// One shape of prompts, on random data.
struct Prompts {
  int32_t sequences, tokens, prefix, q_heads, kv_heads, k_dim, v_dim;
  Format q = Format::kBf16;
};

class Timing {
 public:
  explicit Timing(const Prompts& s)
      : k_(bytes(int64_t{s.sequences} * pages(s) * 64 * s.kv_heads * s.k_dim, 1)),
        v_(bytes(int64_t{s.sequences} * pages(s) * 64 * s.kv_heads * s.v_dim, 2)),
        q_(bytes(int64_t{s.sequences} * s.tokens * s.q_heads * s.k_dim, 3, s.q)),
        out_(int64_t{s.sequences} * s.tokens * s.q_heads * s.v_dim * 2),
        positions_(array(int64_t{s.sequences} * s.tokens,
                         [&](int64_t i) { return s.prefix + i % s.tokens; })),
        start_(array(s.sequences + 1, [&](int64_t i) { return i * s.tokens; })),
        context_(array(s.sequences, [&](int64_t) { return s.prefix + s.tokens; })),
        tables_(array(s.sequences * pages(s), [](int64_t i) { return i; })) {
    params.num_tokens = int64_t{s.sequences} * s.tokens;
    params.num_q_heads = s.q_heads;
    params.q = q_.data();
    params.q_format = s.q;
    params.out_format = Format::kBf16;
    params.q_stride = int64_t{s.q_heads} * s.k_dim;
    params.positions = positions_.get();
    params.num_sequences = s.sequences;
    params.query_start = start_.get();
    params.context_len = context_.get();
    params.block_tables = tables_.get();
    params.block_table_stride = pages(s);
    params.longest_context = s.prefix + s.tokens;
    params.longest_query = s.tokens;
    params.queries_last = true;
    params.kv = {.k = k_.data(),
                 .v = v_.data(),
                 .format = Format::kBf16,
                 .layout = KvLayout::kRows,
                 .num_blocks = s.sequences * pages(s),
                 .block_size = 64,
                 .num_kv_heads = s.kv_heads,
                 .k_dim = s.k_dim,
                 .v_dim = s.v_dim,
                 .k_block_stride = kv_block_bytes(Format::kBf16, 64, s.kv_heads, s.k_dim),
                 .v_block_stride = kv_block_bytes(Format::kBf16, 64, s.kv_heads, s.v_dim)};
    params.softmax_scale = 0.08f;
    params.numerics = Numerics::kFast;
    params.out = out_.data();
    params.out_stride = int64_t{s.q_heads} * s.v_dim;
    workspace_ = Buffer(attention_workspace_bytes(cuda_exec(), params.num_tokens, s.sequences,
                                                  params.longest_context, s.q_heads, s.k_dim,
                                                  s.v_dim),
                        "workspace", nullptr, {MemoryKind::kDevice, 0});
  }

  // Microseconds of a call, median of nine times ten.
  double micros(const cuda::AttentionVariant& variant) const {
    const CudaExec& exec = cuda_device().exec();
    std::vector<double> times;
    for (int i = 0; i < 10; ++i) {
      CudaEvent begin(true), end(true);
      begin.record(exec);
      for (int j = 0; j < 10; ++j) variant.run(exec, params, workspace_.data(), workspace_.size());
      end.record(exec);
      end.wait();
      if (i > 0) times.push_back(end.millis_since(begin) * 100.0);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  AttentionParams params;

 private:
  static int64_t pages(const Prompts& s) { return ceil_div(s.prefix + s.tokens, 64); }
  static DeviceBytes bytes(int64_t count, uint64_t seed, Format format = Format::kBf16) {
    return on_device(Values::random(format, count, seed), count);
  }
  static DeviceArray<int32_t> array(int64_t count, const std::function<int64_t(int64_t)>& value) {
    std::vector<int32_t> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<int32_t>(value(i)));
    return DeviceArray<int32_t>(values);
  }

  DeviceBytes k_, v_, q_, out_;
  DeviceArray<int32_t> positions_, start_, context_, tables_;
  Buffer workspace_;
};

// The choice is by rule, from measurements: here both are measured again. What is taken may lose by
// no more than times differ from run to run. Shapes between are told and not judged.
TEST(Cudnn, SpeedDecidesWhoIsTaken) {
  SLUICE_NEEDS_CUDNN();
  constexpr double kMargin = 1.12;
  struct Case {
    Prompts prompts;
    bool judged;
  };
  constexpr Case kCases[] = {
      {{64, 64, 0, 32, 8, 128, 128}, true},
      {{64, 64, 0, 32, 8, 128, 128, Format::kF32}, true},
      {{16, 256, 0, 32, 8, 128, 128}, true},
      {{1, 1024, 0, 32, 8, 128, 128}, true},
      {{1, 4096, 0, 32, 8, 128, 128}, true},
      {{1, 512, 3584, 32, 8, 128, 128}, true},
      {{8, 512, 0, 32, 8, 128, 128}, true},
      {{16, 256, 0, 32, 8, 128, 128, Format::kF32}, true},
      {{4, 1024, 0, 32, 8, 128, 128}, true},
      {{4, 1024, 0, 32, 8, 128, 128, Format::kF32}, false},
      {{2, 2048, 0, 32, 8, 128, 128}, false},
      {{4, 1024, 0, 16, 16, 192, 128}, false},
      {{4, 1024, 0, 16, 16, 192, 128, Format::kF32}, false},
      {{4, 1024, 0, 64, 8, 64, 64}, false},
  };
  int taken = 0;
  for (const auto& [s, judged] : kCases) {
    Timing timing(s);
    CudnnAttention plans(cuda_device().exec(), s.sequences, timing.params.longest_context);
    plans.want({s.q_heads, timing.params.softmax_scale, timing.params.kv});
    plans.start(true);
    ASSERT_EQ(plans.problem(), "");
    timing.params.cudnn = &plans;
    const double theirs = timing.micros(cuda::kCudnnAttention);
    const double own = timing.micros(cuda::kPrefillSm90Attention);
    const std::string name = cuda::attention_variant(cuda_device().exec(), timing.params).name;
    const std::string what =
        concat(s.sequences, " x ", s.tokens, " behind ", s.prefix, ", ", s.q_heads, " heads of ",
               s.k_dim, " on ", s.kv_heads, ", ", format_name(s.q), " queries: cudnn ",
               static_cast<int>(theirs), " us, own ", static_cast<int>(own), " us, taken ", name);
    std::printf("%s\n", what.c_str());
    if (!judged) continue;
    taken += name == "cudnn" ? 1 : 0;
    EXPECT_LE(name == "cudnn" ? theirs : own, kMargin * std::min(own, theirs)) << what;
  }
  EXPECT_EQ(taken, 6);
}

}  // namespace
}  // namespace sluice
