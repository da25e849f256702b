// One latent attention layer at the sizes of DeepSeek V2 Lite, in both of its forms.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/checked.h"
#include "layers/mla.h"
#include "machine.h"

namespace sluice::bench {
namespace {

constexpr int64_t kHidden = 2048;
constexpr int32_t kBlockSize = 16;

MlaSpec lite() {
  MlaSpec spec;
  spec.num_q_heads = 16;
  spec.kv_lora_rank = 512;
  spec.qk_nope_head_dim = spec.v_head_dim = 128;
  spec.qk_rope_head_dim = 64;
  spec.rope = 0;
  spec.softmax_scale = 0.07f;
  return spec;
}

// A packed matrix of random values, with room behind it.
struct Matrix {
  Matrix(Format format, int64_t rows, int64_t cols, int64_t behind = 0)
      : memory(packed_bytes(format, WeightLayout::kPanel64, rows, cols) + behind, "weights") {
    view.format = format;
    view.layout = WeightLayout::kPanel64;
    view.data = memory.data();
    view.rows = rows;
    view.cols = cols;
    std::vector<float> row(static_cast<size_t>(cols));
    for (int64_t r = 0; r < rows; ++r) {
      fill_random(Format::kF32, row.data(), cols, static_cast<uint64_t>(r) + 1);
      const float scale = 1.0f / std::sqrt(static_cast<float>(cols));
      for (float& value : row) value *= scale;
      PackParams pack;
      pack.weight = view;
      pack.source = row.data();
      pack.row_stride = cols;
      pack.row_begin = r;
      pack.num_rows = 1;
      pack.num_cols = cols;
      pack_rows(pack);
    }
  }
  Buffer memory;
  WeightView view;
};

// `queries` last tokens of one sequence of `context` tokens whose other rows are in the cache.
void run_layer(benchmark::State& state, Format format, bool decompressed, int64_t queries,
               int64_t context) {
  const MlaSpec spec = lite();
  const Exec& exec = settings().exec;
  Matrix q_b(format, spec.q_size(), kHidden), kv_a(format, spec.latent_size(), kHidden);
  Matrix kv_b(format, 16 * 256, spec.kv_lora_rank, absorbed_bytes(spec, format));
  Matrix o(format, kHidden, spec.o_size());
  absorb_weights(exec, spec, kv_b.view);
  MlaWeights weights;
  weights.q_b = q_b.view;
  weights.kv_a = kv_a.view;
  weights.kv_b = kv_b.view;
  weights.absorbed = absorbed_weights(spec, kv_b.view);
  weights.o = o.view;
  const MlaLayer layer(spec, 0, 0, weights);

  Gemm gemm({.onednn_path = SLUICE_BENCH_ONEDNN_PATH});
  LayerTimes times;
  Arena none;
  // The products are those of FAST for both forms; only the choice between the forms differs.
  const Numerics numerics = decompressed ? Numerics::kFast : Numerics::kBatchInvariant;
  const BatchLimits limits{queries, 1, context};
  const LayerContext sizing{exec, gemm, none, times, format, numerics};
  Arena arena(layer.workspace_bytes(sizing, limits), "workspace");
  LayerContext layer_context{exec, gemm, arena, times, format, numerics};
  const int64_t pairs = queries * (context - queries) + queries * (queries + 1) / 2;
  if (layer.decompresses(queries, context, pairs) != decompressed && decompressed) {
    state.SkipWithError("the arithmetic is against the decompressed form");
    return;
  }

  const int64_t blocks = ceil_div(context, kBlockSize);
  KvCacheView kv;
  kv.format = format;
  kv.num_blocks = blocks;
  kv.block_size = kBlockSize;
  kv.num_kv_heads = 1;
  kv.v_dim = static_cast<int32_t>(spec.latent_size());
  kv.v_block_stride = kv_block_bytes(format, kBlockSize, 1, kv.v_dim);
  Rotation caches(format, blocks * kv.v_block_stride);
  std::vector<int32_t> table(static_cast<size_t>(blocks)), slots, positions;
  for (int64_t i = 0; i < blocks; ++i) {
    table[static_cast<size_t>(i)] = static_cast<int32_t>(blocks - 1 - i);
  }
  for (int64_t p = context - queries; p < context; ++p) {
    positions.push_back(static_cast<int32_t>(p));
    slots.push_back(table[static_cast<size_t>(p / kBlockSize)] * kBlockSize +
                    static_cast<int32_t>(p % kBlockSize));
  }
  const std::vector<float> cosine(static_cast<size_t>(queries * 32), 0.8f);
  const std::vector<float> sine(static_cast<size_t>(queries * 32), 0.6f);
  const RopeAngles angles{64, true, cosine.data(), sine.data()};
  const int32_t start[] = {0, static_cast<int32_t>(queries)};
  const auto context_len = static_cast<int32_t>(context);
  const int32_t seq_slot = 0;
  const int32_t* const tables[] = {table.data()};
  StepBatch batch;
  batch.num_tokens = queries;
  batch.num_sequences = 1;
  batch.positions = positions.data();
  batch.query_start = start;
  batch.context_len = &context_len;
  batch.seq_slots = &seq_slot;
  batch.kv_slots = slots.data();
  batch.block_tables = tables;
  batch.block_table_stride = blocks;
  batch.ropes = {&angles, 1};
  Buffer x(format_bytes(format, queries * kHidden), "x"), residual(queries * kHidden * 4, "y");
  fill_random(format, x.data(), queries * kHidden, 5);
  // Once untimed: the system maps the workspace, oneDNN compiles its products.
  kv.v = caches.next();
  layer.run(layer_context, batch, kv, {}, x.data(),
            {reinterpret_cast<float*>(residual.data()), 1e-3f});
  for (auto _ : state) {
    kv.v = caches.next();
    layer.run(layer_context, batch, kv, {}, x.data(),
              {reinterpret_cast<float*>(residual.data()), 1e-3f});
  }
  const double heads = spec.num_q_heads;
  const double expand = 512.0 * 256;
  const double projections = static_cast<double>(queries) * kHidden * (3072 + 576 + 2048);
  const double attention =
      decompressed ? static_cast<double>(pairs) * 320 + static_cast<double>(context) * expand
                   : static_cast<double>(pairs) * 1088 + static_cast<double>(queries) * expand;
  if (queries == 1) {
    // Weights, both copies of KV_B among them, and the context's rows.
    const double values =
        kHidden * (3072.0 + 576 + 2048) + heads * expand + static_cast<double>(context) * 576;
    report_bytes(state, values * static_cast<double>(format_bytes(format, 1)));
  } else {
    report_flops(state, 2 * (projections + heads * attention), format);
  }
}

}  // namespace

void register_mla() {
  struct Case {
    int64_t queries, context;
  };
  for (const Format format : {Format::kBf16, Format::kF32}) {
    for (const Case& c : {Case{1, 128}, Case{1, 1024}, Case{1, 4096}, Case{64, 64}, Case{512, 512},
                          Case{512, 2048}}) {
      for (const bool decompressed : {false, true}) {
        if (decompressed && c.queries == 1) continue;
        const std::string name =
            concat("mla/", format_name(format), decompressed ? "/decompressed" : "/absorbed",
                   "/queries:", c.queries, "/context:", c.context);
        benchmark::RegisterBenchmark(name.c_str(), run_layer, format, decompressed, c.queries,
                                     c.context)
            ->UseRealTime();
      }
    }
  }
}

}  // namespace sluice::bench
