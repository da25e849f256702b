// Bytes of KV cache per token at the sizes of published models, as EngineInfo reports them: the
// table of docs/memory.md. Widths that leave no trace in the cache are small, and so are the
// feed-forwards.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/driver.h"

namespace sluice::test {
namespace {

constexpr uint32_t kBlockSize = 16;

struct Row {
  const char* model;
  uint32_t layers;
  std::function<void(Fixture*, Sluice__Proto__LayerSpec*)> attention;
  uint64_t values;  // numbers per token of one layer
};

auto gqa(uint32_t q_heads, uint32_t kv_heads, uint32_t head_dim) {
  return [=](Fixture*, Sluice__Proto__LayerSpec* layer) {
    layer->gqa->num_q_heads = q_heads;
    layer->gqa->num_kv_heads = kv_heads;
    layer->gqa->head_dim = head_dim;
  };
}

auto mla(uint32_t heads, uint32_t q_rank) {
  return [=](Fixture* fixture, Sluice__Proto__LayerSpec* layer) {
    auto* spec = fixture->arena().make(sluice__proto__mla_spec__init);
    spec->has_num_q_heads = spec->has_q_lora_rank = spec->has_kv_lora_rank = 1;
    spec->has_qk_nope_head_dim = spec->has_qk_rope_head_dim = spec->has_v_head_dim = 1;
    spec->has_rope = spec->has_softmax_scale = 1;
    spec->num_q_heads = heads;
    spec->q_lora_rank = q_rank;
    spec->kv_lora_rank = 512;
    spec->qk_nope_head_dim = spec->v_head_dim = 128;
    spec->qk_rope_head_dim = 64;
    spec->rope = 0;
    spec->softmax_scale = 0.07;
    spec->kv_a_norm = layer->attention_norm;
    layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA;
    layer->mla = spec;
  };
}

class Planner {
 public:
  explicit Planner(const Row& row) {
    auto* spec = fixture_.spec();
    // 32 frequencies: the rotary 64 columns of latent attention, or the first ones of a head.
    auto* rope = spec->ropes[0];
    rope->rotary_dim = 64;
    rope->variants[0]->n_inv_freq = 32;
    rope->variants[0]->inv_freq = fixture_.arena().array(std::vector<double>(32, 0.5));
    std::vector<Sluice__Proto__LayerSpec*> layers;
    for (uint32_t l = 0; l < row.layers; ++l) {
      auto* layer = fixture_.arena().make(sluice__proto__layer_spec__init);
      *layer = *spec->layers[0];
      layer->gqa = fixture_.arena().make(sluice__proto__gqa_spec__init);
      *layer->gqa = *spec->layers[0]->gqa;
      row.attention(&fixture_, layer);
      layers.push_back(layer);
    }
    spec->n_layers = layers.size();
    spec->layers = fixture_.arena().array(layers);
  }

  Fixture& fixture() { return fixture_; }

  auto plan(Sluice__Proto__Format kv_format) {
    OptionValues values;
    values.block_size = kBlockSize;
    values.kv_format = kv_format;
    auto* options = fixture_.options(values);
    options->n_num_blocks = 0;
    const auto spec = pack_message(fixture_.spec()->base);
    const auto packed = pack_message(options->base);
    const int32_t device = 0;
    sluice_error error = {};
    int64_t size = 0;
    std::vector<uint8_t> buffer(1 << 16);
    EXPECT_EQ(sluice_engine_plan(spec.data(), static_cast<int64_t>(spec.size()), packed.data(),
                                 static_cast<int64_t>(packed.size()), &device, 1, 0, 1, 0, 0,
                                 buffer.data(), static_cast<int64_t>(buffer.size()), &size, &error),
              SLUICE_STATUS_OK)
        << error.text;
    buffer.resize(static_cast<size_t>(size));
    return unpack<Sluice__Proto__EngineInfo>(sluice__proto__engine_info__descriptor, buffer);
  }

 private:
  Fixture fixture_{"llama"};
};

const Row kRows[] = {
    {"Llama 3.1 8B", 32, gqa(32, 8, 128), 2 * 8 * 128},
    {"Mixtral 8x7B", 32, gqa(32, 8, 128), 2 * 8 * 128},
    {"Qwen3 30B A3B", 48, gqa(32, 4, 128), 2 * 4 * 128},
    {"DeepSeekMoE 16B", 28, gqa(16, 16, 128), 2 * 16 * 128},
    {"DeepSeek V2 Lite", 27, mla(16, 0), 512 + 64},
    {"DeepSeek V2", 60, mla(128, 1536), 512 + 64},
    {"DeepSeek V3", 61, mla(128, 1536), 512 + 64},
    {"gpt-oss 120B", 36, gqa(64, 8, 64), 2 * 8 * 64},
};

TEST(KvBytesTest, OfATokenAtPublishedSizes) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.model);
    Planner planner(row);
    for (const auto& [format, bytes] :
         {std::pair{SLUICE__PROTO__FORMAT__F32, 4u}, {SLUICE__PROTO__FORMAT__BF16, 2u}}) {
      const auto info = planner.plan(format);
      ASSERT_EQ(info->n_kv_groups, 1u);
      EXPECT_EQ(info->kv_groups[0]->num_layers, row.layers);
      EXPECT_EQ(info->kv_groups[0]->bytes_per_block, kBlockSize * row.layers * row.values * bytes);
      EXPECT_EQ(info->kv_groups[0]->n_side_channels, 0u);
    }
  }
}

// One token of one latent layer: 2304 bytes in float32, 1152 in bfloat16.
TEST(KvBytesTest, OfALatent) {
  Planner planner({"one layer", 1, mla(128, 1536), 576});
  EXPECT_EQ(planner.plan(SLUICE__PROTO__FORMAT__F32)->kv_groups[0]->bytes_per_block,
            kBlockSize * 2304u);
  EXPECT_EQ(planner.plan(SLUICE__PROTO__FORMAT__BF16)->kv_groups[0]->bytes_per_block,
            kBlockSize * 1152u);
}

// Every other layer has a window: blocks of its group are given back behind it.
TEST(KvBytesTest, OfAlternatingWindows) {
  Planner planner({"gpt-oss 20B", 24, gqa(64, 8, 64), 2 * 8 * 64});
  auto* spec = planner.fixture().spec();
  auto* narrow = planner.fixture().arena().make(sluice__proto__kv_group_spec__init);
  narrow->has_window = narrow->has_retention = 1;
  narrow->window = narrow->retention = 128;
  spec->n_kv_groups = 2;
  spec->kv_groups = planner.fixture().arena().array(std::vector{spec->kv_groups[0], narrow});
  for (size_t l = 0; l < spec->n_layers; l += 2) {
    spec->layers[l]->has_kv_group = 1;
    spec->layers[l]->kv_group = 1;
  }
  const auto info = planner.plan(SLUICE__PROTO__FORMAT__BF16);
  ASSERT_EQ(info->n_kv_groups, 2u);
  for (int g = 0; g < 2; ++g) {
    EXPECT_EQ(info->kv_groups[g]->num_layers, 12u);
    EXPECT_EQ(info->kv_groups[g]->bytes_per_block, kBlockSize * 12u * 1024 * 2);
  }
  EXPECT_EQ(info->kv_groups[1]->window, 128u);
}

// What positions leave beside keys and values: a byte where density decides, and the chosen experts
// of a token where they have a capacity.
TEST(KvBytesTest, OfSideChannels) {
  Planner planner({"adaptive", 6,
                   [](Fixture* fixture, Sluice__Proto__LayerSpec* layer) {
                     auto* spec =
                         fixture->arena().make(sluice__proto__adaptive_attention_spec__init);
                     spec->has_kind = spec->has_num_q_heads = spec->has_head_dim = 1;
                     spec->has_softmax_scale = spec->has_relative_positions = spec->has_window = 1;
                     spec->has_density_threshold = 1;
                     spec->kind = SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY;
                     spec->num_q_heads = 12;
                     spec->head_dim = 64;
                     spec->softmax_scale = 0.125;
                     spec->relative_positions = 128;
                     spec->window = 64;
                     spec->density_threshold = 0.5;
                     layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE;
                     layer->adaptive = spec;
                     auto* moe = fixture->arena().make(sluice__proto__moe_spec__init);
                     moe->has_num_experts = moe->has_num_experts_per_token = 1;
                     moe->has_expert_intermediate_size = moe->has_router = 1;
                     moe->has_expert_capacity = moe->has_capacity_window = 1;
                     moe->num_experts = 8;
                     moe->num_experts_per_token = 2;
                     moe->expert_intermediate_size = 16;
                     moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
                     moe->expert_capacity = 5;
                     moe->capacity_window = 16;
                     moe->activation = layer->dense->activation;
                     layer->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
                     layer->moe = moe;
                   },
                   2 * 12 * 64});
  const auto info = planner.plan(SLUICE__PROTO__FORMAT__BF16);
  const auto& group = *info->kv_groups[0];
  ASSERT_EQ(group.n_side_channels, 2u);
  uint64_t channels = 0;
  for (size_t i = 0; i < 2; ++i) {
    const auto& channel = *group.side_channels[i];
    EXPECT_EQ(channel.num_layers, 6u);
    const bool density = std::string(channel.name) == "density";
    EXPECT_EQ(channel.values_per_token, density ? 1u : 2u);
    EXPECT_EQ(channel.format, density ? SLUICE__PROTO__FORMAT__U8 : SLUICE__PROTO__FORMAT__U16);
    // A block's share starts at a multiple of 64 bytes.
    channels += 6 * (density ? 64u : 4 * kBlockSize);
  }
  EXPECT_EQ(group.bytes_per_block, 6u * kBlockSize * 1536 * 2 + channels);
}

}  // namespace
}  // namespace sluice::test
