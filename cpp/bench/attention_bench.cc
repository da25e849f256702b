#include <numeric>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "machine.h"
#include "ops/attention/attention.h"

namespace sluice::bench {
namespace {

struct Shape {
  int32_t q_heads, kv_heads, dim;
};

// `queries` last tokens of one sequence of `context` tokens, as one layer of many: the cache
// rotates.
void run_attention(benchmark::State& state, Format format, Shape shape, int64_t queries,
                   int64_t context) {
  const Exec& exec = settings().exec;
  const int32_t block_size = 16;
  const int64_t blocks = ceil_div(context, block_size);
  const int64_t block_bytes = kv_block_bytes(format, block_size, shape.kv_heads, shape.dim);
  Rotation caches(format, 2 * blocks * block_bytes);
  const int64_t q_stride = int64_t{shape.q_heads} * shape.dim;
  Buffer q(format_bytes(format, queries * q_stride), "q");
  Buffer out(format_bytes(format, queries * q_stride), "out");
  fill_random(format, q.data(), queries * q_stride, 3);
  const int64_t bytes =
      attention_workspace_bytes(exec, queries, 1, context, shape.q_heads, shape.dim, shape.dim);
  Buffer workspace(bytes, "workspace");
  std::vector<int32_t> positions(static_cast<size_t>(queries)), table(static_cast<size_t>(blocks));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(context - queries));
  // Blocks out of order, as after a while of serving.
  for (int64_t i = 0; i < blocks; ++i) {
    table[static_cast<size_t>(i)] = static_cast<int32_t>(blocks - 1 - i);
  }
  const int32_t start[] = {0, static_cast<int32_t>(queries)};
  const int32_t context_len = static_cast<int32_t>(context);
  AttentionParams p{.num_tokens = queries,
                    .num_q_heads = shape.q_heads,
                    .q = q.data(),
                    .q_format = format,
                    .q_stride = q_stride,
                    .positions = positions.data(),
                    .num_sequences = 1,
                    .query_start = start,
                    .context_len = &context_len,
                    .block_tables = table.data(),
                    .block_table_stride = blocks,
                    .kv = {.format = format,
                           .num_blocks = blocks,
                           .block_size = block_size,
                           .num_kv_heads = shape.kv_heads,
                           .k_dim = shape.dim,
                           .v_dim = shape.dim,
                           .k_block_stride = block_bytes,
                           .v_block_stride = block_bytes},
                    .softmax_scale = 0.125f,
                    .out = out.data(),
                    .out_format = format,
                    .out_stride = q_stride};
  for (auto _ : state) {
    p.kv.k = caches.next();
    p.kv.v = static_cast<char*>(p.kv.k) + blocks * block_bytes;
    attention(exec, p, workspace.data(), bytes);
  }
  if (queries == 1) {
    report_bytes(state, static_cast<double>(2 * context * shape.kv_heads * shape.dim *
                                            format_bytes(format, 1)));
  } else {
    // Only what the causal mask lets through counts.
    const double pairs = static_cast<double>(queries) * static_cast<double>(context - queries) +
                         static_cast<double>(queries) * static_cast<double>(queries + 1) / 2;
    report_flops(state, 4.0 * pairs * shape.dim * shape.q_heads, format);
  }
}

}  // namespace

void register_attention() {
  for (const Format format : {Format::kBf16, Format::kF32}) {
    for (const Shape& shape : {Shape{9, 3, 64}, Shape{32, 8, 128}}) {
      struct Case {
        int64_t queries, context;
      };
      for (const Case& c :
           {Case{512, 512}, Case{512, 2048}, Case{1, 128}, Case{1, 512}, Case{1, 4096}}) {
        const std::string name =
            concat("attention/", format_name(format), "/heads:", shape.q_heads, ":", shape.kv_heads,
                   "x", shape.dim, "/queries:", c.queries, "/context:", c.context);
        benchmark::RegisterBenchmark(name.c_str(), run_attention, format, shape, c.queries,
                                     c.context)
            ->UseRealTime();
      }
    }
  }
}

}  // namespace sluice::bench
