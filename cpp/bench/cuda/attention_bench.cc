// Attention over a paged cache: prefill by heads and lengths, grouped-query and latent decode.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include "base/error.h"
#include "device.h"
#include "ops/attention/attention.h"
#include "ops/attention/attention_cuda.h"
#include "ops/attention/attention_variants.h"
#include "ops/attention/cudnn_attention.h"

namespace sluice::bench {
namespace {

constexpr int32_t kBlockSize = 64;

struct Shape {
  int32_t num_sequences = 1;
  int64_t query_len = 1;    // of each sequence, its last positions
  int64_t context_len = 1;  // of each
  int32_t num_q_heads = 1;
  int32_t num_kv_heads = 1;
  int32_t k_dim = 0;      // 0: the values are the keys
  int32_t v_dim = 0;
  int32_t value_dim = 0;  // with k_dim 0
};

int64_t padded(int32_t dim) { return (dim + 15) / 16 * 16; }

// With a kernel, that one and not what the op would choose.
void run(benchmark::State& state, const Shape& s, Work work,
         const cuda::AttentionVariant* kernel = nullptr) {
  const int64_t blocks_each = (s.context_len + kBlockSize - 1) / kBlockSize;
  const int64_t blocks = blocks_each * s.num_sequences;
  const int64_t tokens = s.num_sequences * s.query_len;
  const int32_t key_cols = s.k_dim > 0 ? s.k_dim : s.v_dim;
  const int32_t value_cols = s.k_dim > 0 ? s.v_dim : s.value_dim;
  const int64_t row_values = kBlockSize * s.num_kv_heads;
  Rotation k(Format::kBf16, std::max<int64_t>(1, blocks * row_values * padded(s.k_dim)), 1);
  Rotation v(Format::kBf16, blocks * row_values * padded(s.v_dim), 2);
  Rotation q(Format::kBf16, tokens * s.num_q_heads * key_cols, 3);
  Buffer out = device_buffer(tokens * s.num_q_heads * value_cols * 2);

  std::vector<int32_t> positions(static_cast<size_t>(tokens)), starts, contexts, tables;
  for (int64_t t = 0; t < tokens; ++t) {
    positions[static_cast<size_t>(t)] =
        static_cast<int32_t>(s.context_len - s.query_len + t % s.query_len);
  }
  for (int32_t i = 0; i <= s.num_sequences; ++i) {
    starts.push_back(static_cast<int32_t>(i * s.query_len));
  }
  contexts.assign(static_cast<size_t>(s.num_sequences), static_cast<int32_t>(s.context_len));
  // Blocks of a sequence lie scattered, as in a pool that has been used for a while.
  for (int64_t b = 0; b < blocks; ++b) tables.push_back(static_cast<int32_t>(b * 7919 % blocks));
  if (std::gcd(int64_t{7919}, blocks) != 1) std::iota(tables.begin(), tables.end(), 0);
  Buffer d_positions = upload(positions), d_starts = upload(starts), d_contexts = upload(contexts),
         d_tables = upload(tables);
  const Exec ops = exec();
  Buffer workspace = device_buffer(attention_workspace_bytes(
      ops, tokens, s.num_sequences, s.context_len, s.num_q_heads, key_cols, value_cols));

  std::unique_ptr<CudnnAttention> cudnn;
  auto params = [&](int64_t i) {
    AttentionParams p;
    p.num_tokens = tokens;
    p.num_q_heads = s.num_q_heads;
    p.q = q.at(i);
    p.q_format = Format::kBf16;
    p.q_stride = static_cast<int64_t>(s.num_q_heads) * key_cols;
    p.positions = reinterpret_cast<const int32_t*>(d_positions.data());
    p.num_sequences = s.num_sequences;
    p.query_start = reinterpret_cast<const int32_t*>(d_starts.data());
    p.context_len = reinterpret_cast<const int32_t*>(d_contexts.data());
    p.block_tables = reinterpret_cast<const int32_t*>(d_tables.data());
    p.block_table_stride = blocks_each;
    p.longest_context = s.context_len;
    p.longest_query = s.query_len;
    p.queries_last = true;
    p.cudnn = cudnn.get();
    p.kv = {.k = s.k_dim > 0 ? k.at(i) : nullptr,
            .v = v.at(i),
            .format = Format::kBf16,
            .layout = KvLayout::kRows,
            .num_blocks = blocks,
            .block_size = kBlockSize,
            .num_kv_heads = s.num_kv_heads,
            .k_dim = s.k_dim,
            .v_dim = s.v_dim,
            .k_block_stride =
                s.k_dim > 0 ? kv_block_bytes(Format::kBf16, kBlockSize, s.num_kv_heads, s.k_dim) : 0,
            .v_block_stride = kv_block_bytes(Format::kBf16, kBlockSize, s.num_kv_heads, s.v_dim)};
    p.value_dim = s.value_dim;
    p.softmax_scale = 1.0f / std::sqrt(static_cast<float>(key_cols));
    p.numerics = Numerics::kFast;
    p.out = out.data();
    p.out_format = Format::kBf16;
    p.out_stride = static_cast<int64_t>(s.num_q_heads) * value_cols;
    return p;
  };
  const AttentionParams call = params(0);
  if (cudnn_info().problem.empty() &&
      (kernel == &cuda::kCudnnAttention || (s.query_len > 1 && cuda::cudnn_is_faster(call)))) {
    cudnn = std::make_unique<CudnnAttention>(*ops.cuda, s.num_sequences, s.context_len);
    cudnn->want({s.num_q_heads, call.softmax_scale, call.kv});
    cudnn->start(kernel != nullptr);
  }
  if (kernel == &cuda::kCudnnAttention &&
      (cudnn == nullptr || cudnn->find(params(0)) == nullptr)) {
    const std::string& why = cudnn == nullptr ? cudnn_info().problem : cudnn->problem();
    state.SkipWithError(why.c_str());
    return;
  }
  work.kernel =
      kernel != nullptr ? kernel->name : cuda::attention_variant(*ops.cuda, params(0)).name;
  measure(state, work, [&](int64_t i) {
    if (kernel != nullptr) {
      kernel->run(*ops.cuda, params(i), workspace.data(), workspace.size());
    } else {
      attention(ops, params(i), workspace.data(), workspace.size());
    }
  });
}

void add_prefill(const std::string& kind, int32_t heads, int32_t kv_heads, int32_t k_dim,
                 int32_t v_dim, int64_t length, int32_t sequences = 1) {
  std::string name = concat("prefill_", kind, "/h", heads, "_kv", kv_heads, "/s", length);
  if (sequences > 1) name += concat("x", sequences);
  const auto body = [=](benchmark::State& state, const cuda::AttentionVariant* kernel) {
    // Causal: half the square.
    const double flops = static_cast<double>(k_dim + v_dim) * heads * static_cast<double>(length) *
                         static_cast<double>(length) * sequences;
    const double bytes = 2.0 * static_cast<double>(length) * sequences *
                         (heads * (k_dim + v_dim) + kv_heads * (k_dim + v_dim));
    run(state,
        {.num_sequences = sequences, .query_len = length, .context_len = length, .num_q_heads = heads,
         .num_kv_heads = kv_heads, .k_dim = k_dim, .v_dim = v_dim},
        {.bytes = bytes, .flops = flops, .kernel = {}}, kernel);
  };
  add(name, [=](benchmark::State& state) { body(state, nullptr); });
  for (const cuda::AttentionVariant* kernel :
       {&cuda::kPrefillSm90Attention, &cuda::kCudnnAttention}) {
    add(concat("by_kernel/", name, "/", kernel->name),
        [=](benchmark::State& state) { body(state, kernel); });
  }
}

void add_gqa_decode(int32_t heads, int32_t kv_heads, int32_t dim, int32_t batch, int64_t length) {
  add(concat("decode_gqa/h", heads, "_kv", kv_heads, "_d", dim, "/b", batch, "_s", length),
      [=](benchmark::State& state) {
        const double kv = 2.0 * batch * static_cast<double>(length) * 2 * kv_heads * dim;
        const double flops = 4.0 * batch * static_cast<double>(length) * heads * dim;
        run(state,
            {.num_sequences = batch, .query_len = 1, .context_len = length, .num_q_heads = heads,
             .num_kv_heads = kv_heads, .k_dim = dim, .v_dim = dim},
            {.bytes = kv, .flops = flops, .kernel = {}});
      });
}

void add_mla_decode(int32_t heads, int32_t batch, int64_t length) {
  add(concat("decode_mla/h", heads, "/b", batch, "_s", length), [=](benchmark::State& state) {
    const double kv = 2.0 * batch * static_cast<double>(length) * 576;
    const double flops = 2.0 * batch * static_cast<double>(length) * heads * (576 + 512);
    run(state,
        {.num_sequences = batch, .query_len = 1, .context_len = length, .num_q_heads = heads,
         .num_kv_heads = 1, .k_dim = 0, .v_dim = 576, .value_dim = 512},
        {.bytes = kv, .flops = flops, .kernel = {}});
  });
}

}  // namespace

void register_attention() {
  for (const int64_t length : {1024, 2048, 4096, 16384}) {
    add_prefill("d128", 64, 8, 128, 128, length);
  }
  add_prefill("d128", 32, 8, 128, 128, 1024, 4);  // short prompts beside each other
  for (const int64_t length : {4096, 16384}) add_prefill("d64", 64, 8, 64, 64, length);
  for (const int64_t length : {2048, 4096, 8192}) {
    add_prefill("192_128", 128, 128, 192, 128, length);
  }
  for (const int64_t length : {1024, 4096}) add_prefill("192_128", 16, 16, 192, 128, length);
  add_prefill("192_128", 16, 16, 192, 128, 1024, 4);
  add_gqa_decode(32, 8, 128, 1, 1024);
  add_gqa_decode(32, 8, 128, 1, 8192);
  add_gqa_decode(32, 8, 128, 16, 4096);
  add_gqa_decode(32, 8, 128, 64, 4096);  // 1.07 GB of keys and values
  add_gqa_decode(32, 4, 128, 64, 4096);
  add_gqa_decode(32, 32, 128, 32, 2048);
  add_gqa_decode(64, 8, 64, 64, 4096);
  add_mla_decode(16, 1, 1024);
  add_mla_decode(16, 32, 4096);
  add_mla_decode(16, 128, 4096);
  add_mla_decode(16, 64, 1024);
  for (const int32_t batch : {1, 32, 128}) add_mla_decode(128, batch, 4096);
}

}  // namespace sluice::bench
