// Adaptive attention, kind by kind: 16 heads of 128, BF16, as in the shape "adaptive".
#include <numeric>
#include <string>

#include "base/checked.h"
#include "base/error.h"
#include "device.h"
#include "ops/adaptive_attention/adaptive_attention.h"

namespace sluice::bench {
namespace {

constexpr int32_t kHeads = 16, kDim = 128, kBlock = 64, kPositions = 128;

struct Kind {
  const char* name;
  AdaptivePattern pattern;
};

const Kind kKinds[] = {
    {"full", {.kind = AdaptiveKind::kFull}},
    {"sliding_window", {.kind = AdaptiveKind::kSlidingWindow, .window = 256}},
    {"topk", {.kind = AdaptiveKind::kTopK, .top_k = 32}},
    {"density", {.kind = AdaptiveKind::kDensity, .window = 64}},
    {"block_sparse",
     {.kind = AdaptiveKind::kBlockSparse,
      .sparse_block_size = 64,
      .num_global_blocks = 1,
      .num_local_blocks = 1,
      .num_random_blocks = 3}},
    {"block_topk",
     {.kind = AdaptiveKind::kBlockTopK, .sparse_block_size = 64, .block_keep_percent = 30}}};

// Keys that a query at the position must score, and whose values it must sum; of the density layer
// a tenth is dense.
std::pair<double, double> keys_of(const AdaptivePattern& p, int64_t position) {
  const auto all = static_cast<double>(position + 1);
  const auto least = [all](double keys) { return std::min(all, keys); };
  switch (p.kind) {
    case AdaptiveKind::kSlidingWindow:
      return {least(p.window), least(p.window)};
    case AdaptiveKind::kTopK:
      return {all, least(p.top_k)};
    case AdaptiveKind::kDensity: {
      const double near = least(p.window), keys = near + 0.1 * (all - near);
      return {keys, keys};
    }
    case AdaptiveKind::kBlockSparse:
      return {least(5 * p.sparse_block_size), least(5 * p.sparse_block_size)};
    case AdaptiveKind::kBlockTopK:
      return {all, least(0.01 * p.block_keep_percent * all + p.sparse_block_size)};
    default:
      return {all, all};
  }
}

void add_adaptive(const Kind& kind, int32_t sequences, int64_t queries, int64_t context) {
  add(concat("adaptive_", queries == 1 ? "decode/" : "prefill/", kind.name, "/b", sequences, "/",
             context),
      [=](benchmark::State& state) {
        const int64_t tokens = sequences * queries, width = kHeads * kDim;
        const int64_t blocks = ceil_div(context, int64_t{kBlock});
        const int64_t all_blocks = sequences * blocks, values = all_blocks * kBlock * width;
        Rotation q(Format::kF32, tokens * width, 1), k(Format::kBf16, values, 2);
        Rotation v(Format::kBf16, values, 3);
        std::vector<int32_t> positions, start{0}, table(static_cast<size_t>(all_blocks));
        for (int32_t s = 0; s < sequences; ++s) {
          for (int64_t t = context - queries; t < context; ++t) {
            positions.push_back(static_cast<int32_t>(t));
          }
          start.push_back(static_cast<int32_t>(positions.size()));
        }
        // Out of order, as after a while of serving.
        std::iota(table.rbegin(), table.rend(), 0);
        std::vector<uint8_t> dense(static_cast<size_t>(all_blocks * kBlock));
        for (size_t i = 0; i < dense.size(); ++i) dense[i] = (i * 7919 + 13) % 10 == 0;
        const Buffer device_positions = upload(positions), device_start = upload(start);
        const Buffer device_table = upload(table), device_dense = upload(dense);
        const std::vector<int32_t> length(static_cast<size_t>(sequences),
                                          static_cast<int32_t>(context));
        const Buffer lengths = upload(length);
        const Buffer bias = upload(std::vector<float>(kHeads * kPositions, 0.25f));
        const Buffer gate =
            upload(std::vector<float>(static_cast<size_t>(tokens * kHeads), 0.75f));
        const Buffer out = device_buffer(tokens * width * 2);
        const Exec ops = exec();
        const int64_t bytes = adaptive_attention_workspace_bytes(
            ops, kind.pattern, tokens, sequences, context, kHeads, kPositions, kDim, kDim);
        const Buffer workspace = device_buffer(bytes);
        double scored = 0, summed = 0;
        for (const int32_t position : positions) {
          const auto [scores, sums] = keys_of(kind.pattern, position);
          scored += scores;
          summed += sums;
        }
        const double row = 2.0 * static_cast<double>(width);
        const double moved =
            queries == 1 ? (scored + summed) * row : 2 * row * static_cast<double>(context);
        measure(state,
                {.bytes = moved + 6.0 * static_cast<double>(tokens * width),
                 .flops = 2.0 * (scored + summed) * static_cast<double>(width),
                 .kernel = {}},
                [&](int64_t i) {
                  AdaptiveAttentionParams p;
                  p.num_tokens = tokens;
                  p.q = q.at(i);
                  p.q_format = Format::kF32;
                  p.q_stride = width;
                  p.positions = reinterpret_cast<const int32_t*>(device_positions.data());
                  p.num_sequences = sequences;
                  p.query_start = reinterpret_cast<const int32_t*>(device_start.data());
                  p.context_len = reinterpret_cast<const int32_t*>(lengths.data());
                  p.block_tables = reinterpret_cast<const int32_t*>(device_table.data());
                  p.block_table_stride = blocks;
                  p.longest_context = context;
                  p.longest_query = queries;
                  p.kv = {.k = k.at(i),
                          .v = v.at(i),
                          .format = Format::kBf16,
                          .layout = KvLayout::kRows,
                          .num_blocks = all_blocks,
                          .block_size = kBlock,
                          .num_kv_heads = kHeads,
                          .k_dim = kDim,
                          .v_dim = kDim,
                          .k_block_stride = int64_t{kBlock} * width * 2,
                          .v_block_stride = int64_t{kBlock} * width * 2};
                  p.pattern = kind.pattern;
                  p.numerics = Numerics::kFast;
                  p.softmax_scale = 0.088f;
                  p.relative_position = reinterpret_cast<const float*>(bias.data());
                  p.relative_positions = kPositions;
                  p.dense = reinterpret_cast<const uint8_t*>(device_dense.data());
                  p.gate = reinterpret_cast<const float*>(gate.data());
                  p.out = out.data();
                  p.out_format = Format::kBf16;
                  p.out_stride = width;
                  adaptive_attention(ops, p, workspace.data(), bytes);
                });
      });
}

}  // namespace

void register_adaptive() {
  for (const Kind& kind : kKinds) {
    add_adaptive(kind, 1, 4096, 4096);
    add_adaptive(kind, 64, 1, 1024);
    add_adaptive(kind, 64, 1, 4096);
  }
}

}  // namespace sluice::bench
