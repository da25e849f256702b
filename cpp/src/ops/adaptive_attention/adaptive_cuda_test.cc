// CUDA against the definition in double, with the CPU's fixture: its caches hold NaN wherever no
// query may look, so what should be skipped shows when it is read.
#include <cmath>

#include "base/error.h"
#include "ops/adaptive_attention/adaptive_fixture.h"
#include "ops/adaptive_attention/adaptive_patterns.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

/// Keys or values [num_blocks] in the layout of the CPU, in that of CUDA.
std::vector<std::byte> as_rows(const KvCacheView& kv, bool keys) {
  const int64_t dims = ((keys ? kv.k_dim : kv.v_dim) + 15) / 16 * 16;
  const int64_t stride = keys ? kv.k_block_stride : kv.v_block_stride;
  const int64_t word = format_bytes(kv.format, 1), size = kv.block_size;
  const int64_t lanes = std::min<int64_t>(size, 16), pair = kv.format == Format::kBf16 ? 2 : 1;
  const auto* from = static_cast<const std::byte*>(keys ? kv.k : kv.v);
  std::vector<std::byte> out(static_cast<size_t>(kv.num_blocks * stride));
  std::memcpy(out.data(), from, out.size());
  for (int64_t b = 0; b < kv.num_blocks; ++b) {
    for (int64_t h = 0; h < kv.num_kv_heads; ++h) {
      const int64_t base = b * stride + h * size * dims * word;
      for (int64_t o = 0; o < size; ++o) {
        for (int64_t d = 0; d < dims; ++d) {
          const int64_t at = keys ? ((o / lanes * (dims / pair) + d / pair) * lanes + o % lanes) *
                                            pair + d % pair
                                  : (o / pair * dims + d) * pair + o % pair;
          std::memcpy(out.data() + base + (o * dims + d) * word, from + base + at * word,
                      static_cast<size_t>(word));
        }
      }
    }
  }
  return out;
}

class CudaFixture : public AdaptiveFixture {
 public:
  using AdaptiveFixture::AdaptiveFixture;

  int64_t longest_query = 0;

  void attend_on(const Exec& exec, const AdaptiveAttentionParams& host, int64_t longest) override {
    if (exec.cuda == nullptr) return AdaptiveFixture::attend_on(exec, host, longest);
    const int64_t heads = host.kv.num_kv_heads, tokens = host.num_tokens;
    const int64_t planes = adaptive_keep_planes(host.pattern.kind, host.kv.num_kv_heads);
    const auto bytes = [](const void* from, int64_t size) { return DeviceBytes(from, size); };
    const auto ints = [&](const int32_t* from, int64_t count) { return bytes(from, 4 * count); };
    const DeviceBytes q = bytes(host.q, format_bytes(host.q_format, tokens * host.q_stride));
    const DeviceBytes positions = ints(host.positions, tokens * host.position_stride);
    const DeviceBytes start = ints(host.query_start, host.num_sequences + 1);
    const DeviceBytes context = ints(host.context_len, host.num_sequences);
    const int64_t table_rows = static_cast<int64_t>(setup().sequences.size());
    const DeviceBytes tables = ints(host.block_tables, table_rows * host.block_table_stride);
    const DeviceBytes rows = ints(host.table_rows, host.num_sequences);
    const auto k = as_rows(host.kv, true), v = as_rows(host.kv, false);
    const DeviceBytes device_k = bytes(k.data(), static_cast<int64_t>(k.size()));
    const DeviceBytes device_v = bytes(v.data(), static_cast<int64_t>(v.size()));
    const DeviceBytes bias = bytes(host.relative_position, heads * host.relative_positions * 4);
    const DeviceBytes dense = bytes(host.dense, host.kv.num_blocks * host.kv.block_size);
    DeviceBytes gate(tokens * heads * 4);
    if (host.gate != nullptr) gate.upload(host.gate);
    const int64_t out_bytes = format_bytes(host.out_format, tokens * host.out_stride);
    const DeviceBytes out(out_bytes);  // poisoned with NaN, as the host's
    const DeviceBytes keep(tokens * planes * host.keep_stride);
    DeviceBytes replay(std::max<int64_t>(tokens * planes * host.replay_stride, 1));
    if (host.replay != nullptr) replay.upload(host.replay);
    AdaptiveAttentionParams p = host;
    p.q = q.data();
    p.positions = static_cast<const int32_t*>(positions.data());
    p.query_start = static_cast<const int32_t*>(start.data());
    p.context_len = static_cast<const int32_t*>(context.data());
    p.block_tables = static_cast<const int32_t*>(tables.data());
    p.table_rows = static_cast<const int32_t*>(rows.data());
    p.longest_query = longest_query;
    p.numerics = Numerics::kFast;  // of both kernels: of single queries, of others
    p.kv.layout = KvLayout::kRows;
    p.kv.k = device_k.data();
    p.kv.v = device_v.data();
    p.relative_position = static_cast<const float*>(bias.data());
    p.dense = static_cast<const uint8_t*>(dense.data());
    p.gate = host.gate == nullptr ? nullptr : static_cast<const float*>(gate.data());
    p.out = out.data();
    p.keep = host.keep == nullptr ? nullptr : static_cast<uint8_t*>(keep.data());
    p.replay = host.replay == nullptr ? nullptr : static_cast<const uint8_t*>(replay.data());
    const int64_t size = adaptive_attention_workspace_bytes(
        exec, p.pattern, tokens, p.num_sequences, longest, p.kv.num_kv_heads, p.relative_positions,
        p.kv.k_dim, p.kv.v_dim);
    const DeviceBytes workspace(size);
    adaptive_attention(exec, p, workspace.data(), size);
    out.download(host.out);
    if (host.keep != nullptr) keep.download(host.keep);
  }
};

void check_everywhere(AdaptiveConfig setup) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    SCOPED_TRACE(format_name(format));
    setup.format = format;
    CudaFixture fixture(setup);
    const std::vector<size_t> which = all_of(setup);
    const AdaptiveFixture::Result traced = fixture.run(cuda_exec(), which, true);
    fixture.check(traced, which);
    if (::testing::Test::HasFatalFailure()) return;
    // Without a trace closed gates skip their work, and nothing else changes.
    const AdaptiveFixture::Result plain = fixture.run(cuda_exec(), which, false);
    expect_same_bits(plain, traced, 0, setup.heads * setup.v_dim);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

class CudaAdaptiveAttention : public ::testing::TestWithParam<NamedPattern> {};

TEST_P(CudaAdaptiveAttention, EqualsTheDefinition) {
  check_everywhere({.sequences = {{37, 37}, {1, 1}, {1, 130}, {50, 210}, {1, 64}, {3, 65}},
                    .pattern = GetParam().pattern});
}

TEST_P(CudaAdaptiveAttention, BlocksOfEverySize) {
  for (const int32_t block_size : {4, 8, 32, 256}) {
    SCOPED_TRACE(block_size);
    check_everywhere({.sequences = {{9, 83}, {1, 9}, {2, 300}},
                      .pattern = GetParam().pattern,
                      .heads = 2,
                      .block_size = block_size});
  }
}

TEST_P(CudaAdaptiveAttention, RelativePositionsAndHeadSizes) {
  for (const int32_t relative_positions : {1, 17, 500}) {
    SCOPED_TRACE(relative_positions);
    check_everywhere({.sequences = {{7, 100}, {1, 70}},
                      .pattern = GetParam().pattern,
                      .heads = 2,
                      .k_dim = 8,
                      .v_dim = 8,
                      .relative_positions = relative_positions});
  }
  for (const int32_t dim : {33, 64, 128, 256}) {
    SCOPED_TRACE(dim);
    check_everywhere({.sequences = {{5, 90}, {1, 80}, {70, 70}},
                      .pattern = GetParam().pattern,
                      .heads = 1,
                      .k_dim = dim,
                      .v_dim = dim,
                      .gate = false});
  }
}

// Heads of 64 and 128, which have kernels of their own for BF16: rows and keys on both sides of the
// borders of tiles, several sequences in a tile, and chunks.
TEST_P(CudaAdaptiveAttention, HeadsOfTunedSizes) {
  for (const int32_t dim : {64, 128}) {
    SCOPED_TRACE(dim);
    const AdaptiveConfig setup{
        .sequences = {{3, 3}, {150, 400}, {1, 333}, {20, 90}, {64, 64}, {2, 700}, {65, 129}},
        .pattern = GetParam().pattern,
        .heads = 2,
        .k_dim = dim,
        .v_dim = dim,
        .block_size = dim == 64 ? 8 : 64,
        .relative_positions = dim == 64 ? 1500 : 40};
    check_everywhere(setup);
    if (HasFatalFailure()) return;
    AdaptiveConfig narrow = setup;
    narrow.format = Format::kBf16;
    CudaFixture fixture(narrow);
    const AdaptiveFixture::Result together =
        fixture.run(cuda_exec(), {0, 1, 2, 3, 4, 5, 6}, false);
    for (int64_t begin = 0; begin < 150; begin += 50) {
      expect_same_bits(fixture.run(cuda_exec(), {1}, false, begin, begin + 50), together, 3 + begin,
                       2 * dim);
    }
    expect_same_bits(fixture.run(cuda_exec(), {3}, false), together, 154, 2 * dim);
    if (HasFatalFailure()) return;
  }
}

// Contexts of several spans, one of so many keys that spans grow.
TEST_P(CudaAdaptiveAttention, LongContexts) {
  check_everywhere({.sequences = {{1, 1700}, {20, 1300}, {1, 512}, {1, 513}},
                    .pattern = GetParam().pattern,
                    .heads = 2,
                    .k_dim = 16,
                    .v_dim = 16});
  check_everywhere({.sequences = {{1, 17000}},
                    .pattern = GetParam().pattern,
                    .heads = 1,
                    .k_dim = 4,
                    .v_dim = 4,
                    .gate = false});
}

// A decoding step says that it is one, and starts no tiles.
TEST_P(CudaAdaptiveAttention, DecodingStep) {
  CudaFixture fixture({.sequences = {{1, 300}, {1, 5}, {1, 900}}, .pattern = GetParam().pattern});
  const AdaptiveFixture::Result before = fixture.run(cuda_exec(), {0, 1, 2}, true);
  fixture.longest_query = 1;
  const AdaptiveFixture::Result result = fixture.run(cuda_exec(), {0, 1, 2}, true);
  fixture.check(result, {0, 1, 2});
  expect_same_bits(result, before, 0, 3 * 24);
}

// Bits must not depend on the batch or, but for a query that is alone, on where chunks begin.
TEST_P(CudaAdaptiveAttention, BitsDependOnTheRowAlone) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    SCOPED_TRACE(format_name(format));
    const AdaptiveConfig setup{.sequences = {{70, 400}, {1, 333}, {33, 33}},
                               .pattern = GetParam().pattern,
                               .heads = 2,
                               .format = format};
    CudaFixture fixture(setup);
    const AdaptiveFixture::Result together = fixture.run(cuda_exec(), {0, 1, 2}, false);
    const int64_t values = setup.heads * setup.v_dim;
    expect_same_bits(fixture.run(cuda_exec(), {1}, false), together, 70, values);
    expect_same_bits(fixture.run(cuda_exec(), {2}, false), together, 71, values);
    for (int64_t begin = 0; begin < 70; begin += 23) {
      const int64_t end = std::min<int64_t>(begin + 23, 70);
      if (end - begin == 1) continue;
      expect_same_bits(fixture.run(cuda_exec(), {0}, false, begin, end), together, begin, values);
    }
    if (HasFatalFailure()) return;
  }
}

TEST_P(CudaAdaptiveAttention, ReplayedMasks) {
  const AdaptiveConfig setup{.sequences = {{260, 420}, {1, 90}, {5, 5}},
                             .pattern = GetParam().pattern};
  CudaFixture fixture(setup);
  const AdaptiveFixture::Result first = fixture.run(cuda_exec(), {0, 1, 2}, true);
  // The pattern asks for other keys now; only the masks know those that are in the cache.
  AdaptivePattern& pattern = fixture.setup().pattern;
  pattern.window += 20;
  pattern.top_k += 3;
  pattern.num_random_blocks += 2;
  pattern.block_keep_percent = 60;
  const AdaptiveFixture::Result again =
      fixture.run(cuda_exec(), {0, 1, 2}, true, 0, -1, &first);
  fixture.setup().pattern = setup.pattern;
  ASSERT_EQ(again.keep, first.keep);
  fixture.check(again, {0, 1, 2});
}

// The same masks as the CPU's, key by key: scores are sums in another order, so a pattern that
// selects may differ where two lie within rounding; there are none among these.
TEST_P(CudaAdaptiveAttention, MasksAreTheCpus) {
  CudaFixture fixture({.sequences = {{40, 150}, {1, 200}}, .pattern = GetParam().pattern});
  const AdaptiveFixture::Result cpu = fixture.run(exec_of(detect_isa(), 2), {0, 1}, true);
  const AdaptiveFixture::Result gpu = fixture.run(cuda_exec(), {0, 1}, true);
  EXPECT_EQ(gpu.keep, cpu.keep);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CudaAdaptiveAttention, ::testing::ValuesIn(kPatterns),
                         [](const auto& each) { return std::string(each.param.name); });

// All keys alike and one bias for all distances: the lower index wins everywhere.
TEST(CudaAdaptiveTies, TheLowerIndexWins) {
  for (const AdaptivePattern& pattern :
       {AdaptivePattern{.kind = AdaptiveKind::kTopK, .top_k = 3},
        AdaptivePattern{.kind = AdaptiveKind::kTopK, .top_k = 40},
        AdaptivePattern{.kind = AdaptiveKind::kBlockTopK,
                        .sparse_block_size = 9,
                        .block_keep_percent = 30}}) {
    CudaFixture fixture({.sequences = {{30, 300}, {1, 250}},
                         .pattern = pattern,
                         .relative_positions = 1,
                         .equal_keys = true});
    const AdaptiveFixture::Result cpu = fixture.run(exec_of(detect_isa(), 2), {0, 1}, true);
    const AdaptiveFixture::Result gpu = fixture.run(cuda_exec(), {0, 1}, true);
    EXPECT_EQ(gpu.keep, cpu.keep);
  }
}

TEST(CudaAdaptiveDensity, FromNoneToAll) {
  for (const double density : {0.0, 0.01, 0.6, 1.0}) {
    for (const int32_t window : {1, 25, 100}) {
      SCOPED_TRACE(concat("density ", density, " window ", window));
      check_everywhere({.sequences = {{60, 290}, {2, 200}, {1, 700}},
                        .pattern = {.kind = AdaptiveKind::kDensity, .window = window},
                        .heads = 2,
                        .density = density});
    }
  }
}

// Tokens select their keys some at a time.
TEST(CudaAdaptiveLongContext, ScoresOfFewRowsAtATime) {
  for (const auto& [context, queries] : {std::pair{9000, 700}, {210000, 40}}) {
    for (const AdaptivePattern& pattern :
         {AdaptivePattern{.kind = AdaptiveKind::kTopK, .top_k = 100},
          AdaptivePattern{.kind = AdaptiveKind::kTopK, .top_k = 150000},
          AdaptivePattern{.kind = AdaptiveKind::kBlockTopK,
                          .sparse_block_size = 48,
                          .block_keep_percent = 4}}) {
      CudaFixture fixture({.sequences = {{queries, context}},
                           .pattern = pattern,
                           .heads = 1,
                           .k_dim = 4,
                           .v_dim = 4,
                           .block_size = 256,
                           .gate = false});
      const AdaptiveFixture::Result all = fixture.run(cuda_exec(), {0}, false);
      // A few at the end, against the definition; the others by their bits.
      const AdaptiveFixture::Result few =
          fixture.run(cuda_exec(), {0}, false, queries - 4, queries);
      expect_same_bits(few, all, queries - 4, 4);
      CudaFixture last({.sequences = {{2, context}},
                        .pattern = pattern,
                        .heads = 1,
                        .k_dim = 4,
                        .v_dim = 4,
                        .block_size = 256,
                        .gate = false});
      last.check(last.run(cuda_exec(), {0}, true), {0});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(CudaAdaptiveFaults, SizesAreNamed) {
  AdaptiveAttentionParams p;
  p.num_tokens = 1;
  EXPECT_THROW(adaptive_attention(cuda_exec(), p, &p, 1 << 20), Error);
}

}  // namespace
}  // namespace sluice
