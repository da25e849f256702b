// The ops that are bound by memory or the caches: norm, RoPE, activation, KV write, embedding,
// sampling, weight decoding. Bytes are those that must be read and written once.
#include <vector>

#include "base/error.h"
#include "machine.h"
#include "ops/activation/activation.h"
#include "ops/embedding/embedding.h"
#include "ops/kv_write/kv_write.h"
#include "ops/norm/norm.h"
#include "ops/rope/rope.h"
#include "ops/sampling/sampling.h"
#include "quant/decode.h"

namespace sluice::bench {
namespace {

constexpr int64_t kHidden = 576, kIntermediate = 1536, kHeadDim = 64;
constexpr int32_t kVocab = 49152;

void run_norm(benchmark::State& state, int64_t rows) {
  Rotation x(Format::kF32, rows * kHidden * 4);
  Buffer residual(rows * kHidden * 4, "residual"), y(rows * kHidden * 2, "y"), w(kHidden * 4, "w");
  fill_random(Format::kF32, residual.data(), rows * kHidden, 1);
  fill_random(Format::kF32, w.data(), kHidden, 2);
  NormParams p{.eps = 1e-5,
               .weight = reinterpret_cast<float*>(w.data()),
               .num_rows = rows,
               .cols = kHidden,
               .x_format = Format::kF32,
               .x_stride = kHidden,
               .y = y.data(),
               .y_format = Format::kBf16,
               .y_stride = kHidden,
               .residual = reinterpret_cast<float*>(residual.data()),
               .residual_stride = kHidden};
  for (auto _ : state) {
    p.x = x.next();
    norm(settings().exec, p);
  }
  report_bytes(state, static_cast<double>(rows * kHidden * (4 + 8 + 2)));
}

void run_rope(benchmark::State& state, int64_t rows) {
  Rotation x(Format::kBf16, rows * 12 * kHeadDim * 2);
  std::vector<float> cos(static_cast<size_t>(rows * 32), 0.6f), sin(cos.size(), 0.8f);
  RopeParams p{.num_tokens = rows,
               .num_heads = 12,
               .head_dim = kHeadDim,
               .rotary_dim = kHeadDim,
               .format = Format::kBf16,
               .x_stride = 12 * kHeadDim,
               .cos = cos.data(),
               .sin = sin.data()};
  for (auto _ : state) {
    p.x = x.next();
    rope(settings().exec, p);
  }
  report_bytes(state, static_cast<double>(rows * 12 * kHeadDim * 4));
}

void run_activation(benchmark::State& state, ActivationKind kind, int64_t rows) {
  Rotation x(Format::kBf16, rows * 2 * kIntermediate * 2);
  Buffer y(rows * kIntermediate * 2, "y");
  ActivationParams p{.kind = kind,
                     .num_rows = rows,
                     .cols = kIntermediate,
                     .x_format = Format::kBf16,
                     .x_stride = 2 * kIntermediate,
                     .y = y.data(),
                     .y_format = Format::kBf16,
                     .y_stride = kIntermediate};
  for (auto _ : state) {
    p.x = x.next();
    p.up = static_cast<const char*>(p.x) + kIntermediate * 2;
    activation(settings().exec, p);
  }
  report_bytes(state, static_cast<double>(rows * kIntermediate * 6));
}

void run_kv_write(benchmark::State& state, int64_t rows) {
  KvCacheView c{.format = Format::kBf16,
                .num_blocks = rows / 16 + 1,
                .block_size = 16,
                .num_kv_heads = 3,
                .k_dim = 64,
                .v_dim = 64};
  c.k_block_stride = c.v_block_stride = kv_block_bytes(c.format, 16, 3, 64);
  Rotation caches(Format::kBf16, 2 * c.num_blocks * c.k_block_stride);
  Buffer kv(rows * 2 * 192 * 2, "kv");
  fill_random(Format::kBf16, kv.data(), rows * 384, 1);
  std::vector<int32_t> slots;
  for (int64_t t = 0; t < rows; ++t) slots.push_back(static_cast<int32_t>(t));
  KvWriteParams p{.num_tokens = rows,
                  .k = kv.data(),
                  .v = kv.data() + 192 * 2,
                  .format = Format::kBf16,
                  .k_stride = 384,
                  .v_stride = 384,
                  .slots = slots.data()};
  for (auto _ : state) {
    c.k = caches.next();
    c.v = static_cast<char*>(c.k) + c.num_blocks * c.k_block_stride;
    p.cache = c;
    kv_write(settings().exec, p);
  }
  report_bytes(state, static_cast<double>(rows * 384 * 4));
}

void run_embedding(benchmark::State& state, int64_t rows) {
  const int64_t bytes = packed_bytes(Format::kBf16, WeightLayout::kPanel64, kVocab, kHidden);
  Rotation tables(Format::kBf16, bytes);
  Buffer y(rows * kHidden * 4, "y");
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < rows; ++t) ids.push_back(static_cast<int32_t>(t * 7919 % kVocab));
  EmbeddingParams p{.num_tokens = rows,
                    .ids = ids.data(),
                    .table = {.format = Format::kBf16, .rows = kVocab, .cols = kHidden},
                    .y = y.data(),
                    .y_format = Format::kF32,
                    .y_stride = kHidden};
  for (auto _ : state) {
    p.table.data = tables.next();
    embedding(settings().exec, p);
  }
  report_bytes(state, static_cast<double>(rows * kHidden * 6));
}

void run_sampling(benchmark::State& state, float temperature, float top_p, int32_t top_k) {
  Rotation logits(Format::kF32, kVocab * 4);
  sluice_output_row row{};
  row.kind = SLUICE_OUTPUT_SAMPLE;
  row.temperature = temperature;
  row.top_p = top_p;
  row.top_k = top_k;
  row.repetition_penalty = 1.0f;
  row.mask_index = -1;
  const sluice_output_row* rows[] = {&row};
  int32_t accepted = 0, token = 0, rank = 0, finite = 0;
  float logprob = 0;
  const int64_t bytes = sampling_workspace_bytes(settings().exec, kVocab);
  Buffer workspace(bytes, "workspace");
  SamplingParams p;
  p.num_rows = 1;
  p.vocab_size = kVocab;
  p.logits_stride = kVocab;
  p.rows = rows;
  p.accepted_count = &accepted;
  p.tokens = &token;
  p.logprob = &logprob;
  p.rank = &rank;
  p.finite = &finite;
  for (auto _ : state) {
    p.logits = static_cast<float*>(logits.next());
    ++row.draw_position;
    sampling(settings().exec, p, workspace.data(), bytes);
  }
  report_bytes(state, static_cast<double>(kVocab) * 4);
}

void run_decode(benchmark::State& state, Format format) {
  const int64_t values = int64_t{1} << 18;
  const int64_t bytes = format_bytes(format, values);
  Rotation blocks(Format::kBf16, bytes);
  std::vector<Bf16> out(static_cast<size_t>(values));
  for (auto _ : state) {
    decode_values(format, blocks.next(), values, out.data());
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<double>(bytes + values * 2));
}

}  // namespace

void register_rows() {
  const auto add = [](const std::string& name, auto function, auto... args) {
    benchmark::RegisterBenchmark(name.c_str(), function, args...)->UseRealTime();
  };
  for (const int64_t rows : {int64_t{1}, int64_t{512}}) {
    add(concat("norm/rms+residual/rows:", rows), run_norm, rows);
    add(concat("rope/halves/rows:", rows), run_rope, rows);
    add(concat("activation/silu/rows:", rows), run_activation, ActivationKind::kSilu, rows);
    add(concat("activation/gelu/rows:", rows), run_activation, ActivationKind::kGelu, rows);
    add(concat("kv_write/rows:", rows), run_kv_write, rows);
    add(concat("embedding/packed/rows:", rows), run_embedding, rows);
  }
  add("sampling/greedy", run_sampling, 0.0f, 1.0f, 0);
  add("sampling/temperature", run_sampling, 1.0f, 1.0f, 0);
  add("sampling/top_p", run_sampling, 1.0f, 0.9f, 0);
  add("sampling/top_k", run_sampling, 1.0f, 1.0f, 40);
  for (const Format format : {Format::kBf16, Format::kQ8_0, Format::kQ4_0, Format::kQ4_1,
                              Format::kQ5_1, Format::kQ4_K, Format::kQ5_K, Format::kQ6_K}) {
    add(concat("decode/", format_name(format)), run_decode, format);
  }
}

}  // namespace sluice::bench
