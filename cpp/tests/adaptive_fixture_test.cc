// Which keys the attention layers of the adaptive fixtures keep: the op's float32 scores must
// decide as the reference in double did. Each layer is given the residual stream that the fixture
// records.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "device/buffer.h"
#include "ops/adaptive_attention/adaptive_attention.h"
#include "ops/kv_write/kv_write.h"
#include "support/safetensors.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr int32_t kHeads = 4, kDim = 16, kHidden = 64, kDistances = 16, kBlock = 8;

struct Fixture {
  const char* name;
  std::vector<AdaptivePattern> layers;
};

// As config.json says.
const Fixture kFixtures[] = {
    {"adaptive_moe",
     {{.kind = AdaptiveKind::kFull}, {.kind = AdaptiveKind::kTopK, .top_k = 6, .layer = 1}}},
    {"adaptive_moe_sparse",
     {{.kind = AdaptiveKind::kSlidingWindow, .window = 6},
      {.kind = AdaptiveKind::kBlockSparse,
       .sparse_block_size = 4,
       .num_global_blocks = 1,
       .num_local_blocks = 2,
       .num_random_blocks = 2,
       .random_block_seed = 2024,
       .layer = 1},
      {.kind = AdaptiveKind::kBlockTopK,
       .sparse_block_size = 4,
       .layer = 2,
       .block_keep_percent = 30},
      {.kind = AdaptiveKind::kDensity, .window = 4, .layer = 3}}},
};

std::vector<double> linear(const std::vector<float>& w, const std::vector<float>& bias,
                           const std::vector<double>& x) {
  std::vector<double> y(bias.begin(), bias.end());
  for (size_t r = 0; r < y.size(); ++r) {
    for (size_t c = 0; c < x.size(); ++c) y[r] += double{w[r * x.size() + c]} * x[c];
  }
  return y;
}

// Rows of RMSNorm(x, norm1) of a layer.
std::vector<std::vector<double>> inputs(const Safetensors& weights, const Safetensors& expected,
                                        int layer) {
  const std::vector<int32_t> ids = expected.ids("input_ids_0");
  const std::vector<float> embedding = weights.floats("embed_tokens.weight");
  std::vector<float> stream;
  if (layer > 0) stream = expected.floats("hidden_0_" + std::to_string(layer - 1));
  const auto norm = weights.floats("layers." + std::to_string(layer) + ".norm1.weight");
  std::vector<std::vector<double>> rows;
  for (size_t t = 0; t < ids.size(); ++t) {
    const float* x = layer > 0 ? stream.data() + t * kHidden
                               : embedding.data() + static_cast<size_t>(ids[t]) * kHidden;
    double square = 0;
    for (int c = 0; c < kHidden; ++c) square += double{x[c]} * x[c] / kHidden;
    rows.emplace_back();
    for (size_t c = 0; c < kHidden; ++c) {
      rows.back().push_back(norm[c] * double{x[c]} / std::sqrt(square + 1e-6));
    }
  }
  return rows;
}

void check_layer(const Fixture& fixture, int layer, const Safetensors& weights,
                 const Safetensors& expected, const std::string& masks) {
  const AdaptivePattern& pattern = fixture.layers[static_cast<size_t>(layer)];
  const auto rows = inputs(weights, expected, layer);
  const std::string at = "layers." + std::to_string(layer) + ".attention.";
  const auto w = weights.floats(at + "to_qkv.weight"), b = weights.floats(at + "to_qkv.bias");
  const auto positions_bias = weights.floats(at + "relative_position");
  const int64_t tokens = static_cast<int64_t>(rows.size()), blocks = (tokens + kBlock - 1) / kBlock;
  std::vector<float> qkv;
  std::vector<int32_t> positions, table;
  std::vector<uint8_t> dense(static_cast<size_t>(blocks * kBlock));
  for (size_t t = 0; t < rows.size(); ++t) {
    for (const double value : linear(w, b, rows[t])) qkv.push_back(static_cast<float>(value));
    positions.push_back(static_cast<int32_t>(t));
    if (pattern.kind == AdaptiveKind::kDensity) {
      const double logit = linear(weights.floats(at + "density.weight"),
                                  weights.floats(at + "density.bias"), rows[t])[0];
      dense[t] = logit >= 0;  // a sigmoid of at least 0.5
    }
  }
  for (int32_t i = 0; i < blocks; ++i) table.push_back(i);
  KvCacheView cache{.format = Format::kF32,
                    .num_blocks = blocks,
                    .block_size = kBlock,
                    .num_kv_heads = kHeads,
                    .k_dim = kDim,
                    .v_dim = kDim,
                    .k_block_stride = kv_block_bytes(Format::kF32, kBlock, kHeads, kDim),
                    .v_block_stride = kv_block_bytes(Format::kF32, kBlock, kHeads, kDim)};
  Buffer k(blocks * cache.k_block_stride, "k"), v(blocks * cache.v_block_stride, "v");
  cache.k = k.data();
  cache.v = v.data();
  const Exec exec{detect_isa(), 1};
  kv_write(exec, {.num_tokens = tokens,
                  .k = qkv.data() + kHidden,
                  .v = qkv.data() + 2 * kHidden,
                  .format = Format::kF32,
                  .k_stride = 3 * kHidden,
                  .v_stride = 3 * kHidden,
                  .slots = positions.data(),
                  .cache = cache});
  const int32_t start[] = {0, static_cast<int32_t>(tokens)};
  const int32_t context = static_cast<int32_t>(tokens);
  const int32_t planes = adaptive_keep_planes(pattern.kind, kHeads);
  std::vector<float> out(static_cast<size_t>(tokens * kHidden));
  std::vector<uint8_t> keep(static_cast<size_t>(tokens * planes * tokens));
  const int64_t bytes =
      adaptive_attention_workspace_bytes(exec, pattern, tokens, 1, tokens, kHeads, kDistances, kDim,
                                         kDim);
  Buffer workspace(bytes, "workspace");
  adaptive_attention(exec,
                     {.num_tokens = tokens,
                      .q = qkv.data(),
                      .q_format = Format::kF32,
                      .q_stride = 3 * kHidden,
                      .positions = positions.data(),
                      .num_sequences = 1,
                      .query_start = start,
                      .context_len = &context,
                      .block_tables = table.data(),
                      .block_table_stride = blocks,
                      .kv = cache,
                      .pattern = pattern,
                      .softmax_scale = 0.25f,
                      .relative_position = positions_bias.data(),
                      .relative_positions = kDistances,
                      .dense = dense.data(),
                      .out = out.data(),
                      .out_format = Format::kF32,
                      .out_stride = kHidden,
                      .keep = keep.data(),
                      .keep_stride = tokens},
                     workspace.data(), bytes);
  const FileTensor& wanted = expected.tensors().at("attention_keep_0_" + std::to_string(layer));
  ASSERT_EQ(wanted.shape,
            (std::vector<uint64_t>{static_cast<uint64_t>(planes), static_cast<uint64_t>(tokens),
                                   static_cast<uint64_t>(tokens)}));
  for (int64_t h = 0; h < planes; ++h) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t j = 0; j < tokens; ++j) {
        const auto from = static_cast<size_t>((h * tokens + t) * tokens + j);
        ASSERT_EQ(keep[static_cast<size_t>((t * planes + h) * tokens + j)],
                  static_cast<uint8_t>(masks[wanted.offset + from]))
            << "head " << h << " query " << t << " key " << j;
      }
    }
  }
}

TEST(AdaptiveFixtureTest, KeepsTheKeysOfTheReference) {
  for (const Fixture& fixture : kFixtures) {
    const std::string folder =
        settings().golden_dir + "/fixtures/" + fixture.name + "/";
    const Safetensors weights(folder + "model.safetensors");
    const Safetensors expected(folder + "expected.safetensors");
    const std::string masks = read_file(folder + "expected.safetensors");
    for (size_t l = 0; l < fixture.layers.size(); ++l) {
      SCOPED_TRACE(std::string(fixture.name) + " layer " + std::to_string(l));
      check_layer(fixture, static_cast<int>(l), weights, expected, masks);
    }
  }
}

}  // namespace
}  // namespace sluice::test
