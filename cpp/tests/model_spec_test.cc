// Model descriptions and options that are wrong or not built: each is refused by the field's path.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "base/error.h"
#include "device/cuda.h"
#include "model/options.h"
#include "model/spec.h"
#include "support/driver.h"

namespace sluice::test {
namespace {

Outcome decode(std::span<const uint8_t> spec, std::span<const uint8_t> options) {
  try {
    const ModelSpec model = decode_model_spec(spec);
    decode_engine_options(options, model, false);
    return {};
  } catch (const Error& error) {
    return {error.status(), error.text()};
  }
}

class ModelSpecTest : public ::testing::Test {
 protected:
  void expect_refused(const char* text, int32_t status,
                      const std::function<void(Sluice__Proto__ModelSpec*)>& change) {
    Fixture fixture("llama");
    change(fixture.spec());
    const Outcome outcome = decode(pack_message(fixture.spec()->base),
                                   pack_message(fixture.options(OptionValues())->base));
    EXPECT_EQ(outcome.status, status) << text << " / " << outcome.text;
    EXPECT_NE(outcome.text.find(text), std::string::npos) << outcome.text;
  }

  void expect_option_refused(const char* text, int32_t status,
                             const std::function<void(Sluice__Proto__EngineOptions*)>& change) {
    Fixture fixture("llama");
    Sluice__Proto__EngineOptions* options = fixture.options(OptionValues());
    change(options);
    const Outcome outcome = decode(pack_message(fixture.spec()->base), pack_message(options->base));
    EXPECT_EQ(outcome.status, status) << text << " / " << outcome.text;
    EXPECT_NE(outcome.text.find(text), std::string::npos) << outcome.text;
  }

  static constexpr int32_t kInvalid = SLUICE_STATUS_INVALID_ARGUMENT;
  static constexpr int32_t kUnsupported = SLUICE_STATUS_UNSUPPORTED;
};

TEST_F(ModelSpecTest, WhatIsNotBuiltIsNamed) {
  ProtoArena arena;
  auto* format = arena.make(sluice__proto__slot_format__init);
  expect_refused("slot_formats: not built", kUnsupported, [&](auto* spec) {
    spec->n_slot_formats = 1;
    spec->slot_formats = arena.array(std::vector{format});
  });
  expect_refused("layers[0].gqa.v_head_dim: not built", kUnsupported, [](auto* spec) {
    spec->layers[0]->gqa->has_v_head_dim = 1;
    spec->layers[0]->gqa->v_head_dim = 8;
  });
  expect_refused("kv_groups[0].chunk: not built", kUnsupported, [](auto* spec) {
    spec->kv_groups[0]->has_chunk = 1;
    spec->kv_groups[0]->chunk = 8;
  });
  expect_refused("position_dims: not built", kUnsupported, [](auto* spec) {
    spec->has_position_dims = 1;
    spec->position_dims = 3;
  });
}

TEST_F(ModelSpecTest, LayerKindsWithoutTheirSizes) {
  ProtoArena arena;
  auto* mla = arena.make(sluice__proto__mla_spec__init);
  auto* adaptive = arena.make(sluice__proto__adaptive_attention_spec__init);
  auto* moe = arena.make(sluice__proto__moe_spec__init);
  auto* compression = arena.make(sluice__proto__compression_spec__init);
  expect_refused("layers[2].mla.num_q_heads: absent", kInvalid, [&](auto* spec) {
    spec->layers[2]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA;
    spec->layers[2]->mla = mla;
  });
  expect_refused("layers[2].mla.kv_a_norm.has_bias: not built", kUnsupported, [&](auto* spec) {
    mla->has_num_q_heads = mla->has_kv_lora_rank = mla->has_qk_nope_head_dim = 1;
    mla->has_qk_rope_head_dim = mla->has_v_head_dim = mla->has_rope = mla->has_softmax_scale = 1;
    mla->num_q_heads = 2;
    mla->kv_lora_rank = mla->qk_nope_head_dim = mla->v_head_dim = 16;
    mla->qk_rope_head_dim = spec->ropes[0]->rotary_dim;
    mla->rope = 0;
    mla->softmax_scale = 0.1;
    auto* norm = arena.make(sluice__proto__norm_spec__init);
    *norm = *spec->layers[0]->attention_norm;
    norm->has_has_bias = norm->has_bias = 1;
    mla->kv_a_norm = norm;
    spec->layers[2]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA;
    spec->layers[2]->mla = mla;
  });
  expect_refused("layers[2].mla.kv_lora_rank: 1020 and qk_rope_head_dim", kUnsupported,
                 [&](auto* spec) {
                   mla->kv_a_norm = nullptr;
                   mla->kv_lora_rank = 1020;
                   spec->layers[2]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA;
                   spec->layers[2]->mla = mla;
                 });
  expect_refused("layers[0].adaptive.kind: absent", kInvalid, [&](auto* spec) {
    spec->layers[0]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE;
    spec->layers[0]->adaptive = adaptive;
  });
  expect_refused("layers[1].moe.num_experts: absent", kInvalid, [&](auto* spec) {
    spec->layers[1]->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
    spec->layers[1]->moe = moe;
  });
  expect_refused("compression.compressed_size: absent", kInvalid,
                 [&](auto* spec) { spec->compression = compression; });
}

TEST_F(ModelSpecTest, ValuesOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_refused("vocab_size: absent", kInvalid, [](auto* spec) { spec->has_vocab_size = 0; });
  expect_refused("vocab_size: 0", kInvalid, [](auto* spec) { spec->vocab_size = 0; });
  expect_refused("hidden_size: 4294967295", kInvalid,
                 [](auto* spec) { spec->hidden_size = UINT32_MAX; });
  expect_refused("layers: 0", kInvalid, [](auto* spec) { spec->n_layers = 0; });
  expect_refused("kv_groups: 0", kInvalid, [](auto* spec) { spec->n_kv_groups = 0; });
  expect_refused("heads: none", kInvalid, [](auto* spec) { spec->n_heads = 0; });
  expect_refused("heads[0].tied: true", kInvalid,
                 [](auto* spec) { spec->heads[0]->kind = SLUICE__PROTO__HEAD_KIND__VALUE; });
  expect_refused("final_norm: absent", kInvalid, [](auto* spec) { spec->final_norm = nullptr; });
  expect_refused("layers[1].attention: absent", kInvalid, [](auto* spec) {
    spec->layers[1]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION__NOT_SET;
  });
  expect_refused("layers[1].kv_group: 1", kInvalid, [](auto* spec) {
    spec->layers[1]->has_kv_group = 1;
    spec->layers[1]->kv_group = 1;
  });
  expect_refused("layers[0].gqa.num_kv_heads: 3", kInvalid,
                 [](auto* spec) { spec->layers[0]->gqa->num_kv_heads = 3; });
  expect_refused("layers[0].gqa.softmax_scale: nan", kInvalid,
                 [&](auto* spec) { spec->layers[0]->gqa->softmax_scale = nan; });
  expect_refused("layers[0].gqa.rope: 1", kInvalid,
                 [](auto* spec) { spec->layers[0]->gqa->rope = 1; });
  expect_refused("layers[0].gqa.head_dim: not built", kUnsupported,
                 [](auto* spec) { spec->layers[0]->gqa->head_dim = 512; });
  expect_refused("layers[0].attention_norm.eps: nan", kInvalid,
                 [&](auto* spec) { spec->layers[0]->attention_norm->eps = nan; });
  expect_refused("ropes[0].rotary_dim: 15", kInvalid,
                 [](auto* spec) { spec->ropes[0]->rotary_dim = 15; });
  expect_refused("ropes[0].rotary_dim: 65536 (expected: 2 to 1024)", kInvalid,
                 [](auto* spec) { spec->ropes[0]->rotary_dim = 65536; });
  expect_refused("ropes[0].variants[0].inv_freq: 7 values", kInvalid,
                 [](auto* spec) { spec->ropes[0]->variants[0]->n_inv_freq = 7; });
  expect_refused("ropes[0].variants[0].inv_freq[1]: nan", kInvalid,
                 [&](auto* spec) { spec->ropes[0]->variants[0]->inv_freq[1] = nan; });
  expect_refused("kv_groups[0].retention: 5", kInvalid, [](auto* spec) {
    spec->kv_groups[0]->has_retention = 1;
    spec->kv_groups[0]->retention = 5;
  });
  expect_refused("spec_version: 2", kUnsupported, [](auto* spec) { spec->spec_version = 2; });
}

TEST_F(ModelSpecTest, Options) {
  if (!kCudaBuilt) {
    expect_option_refused("backend: CUDA not built (built: CPU", kUnsupported,
                          [](auto* options) { options->backend = SLUICE__PROTO__BACKEND__CUDA; });
  }
  expect_option_refused("compute_format: F16 not built", kUnsupported, [](auto* options) {
    options->compute_format = SLUICE__PROTO__FORMAT__F16;
  });
  expect_option_refused("num_threads: 0", kInvalid,
                        [](auto* options) { options->num_threads = 0; });
  if (std::thread::hardware_concurrency() < 250) {
    expect_option_refused("num_threads: 1000 (expected: at most ", kInvalid,
                          [](auto* options) { options->num_threads = 1000; });
  }
  expect_option_refused("block_size: 12", kInvalid,
                        [](auto* options) { options->block_size = 12; });
  expect_option_refused("block_size: 2", kInvalid, [](auto* options) { options->block_size = 2; });
  expect_option_refused("block_size: 512", kInvalid,
                        [](auto* options) { options->block_size = 512; });
  expect_option_refused("num_blocks: 0 values", kInvalid,
                        [](auto* options) { options->n_num_blocks = 0; });
  expect_option_refused("num_blocks[0]: 18446744073709551615", kInvalid,
                        [](auto* options) { options->num_blocks[0] = UINT64_MAX; });
  expect_option_refused("max_sequences: absent", kInvalid,
                        [](auto* options) { options->has_max_sequences = 0; });
  expect_option_refused("max_step_tokens: 4294967295", kInvalid,
                        [](auto* options) { options->max_step_tokens = UINT32_MAX; });
  expect_option_refused("step_slots: 0", kInvalid, [](auto* options) {
    options->has_step_slots = 1;
    options->step_slots = 0;
  });
  expect_option_refused("max_draft_len: 64 (expected: 0 to 63)", kInvalid, [](auto* options) {
    options->has_max_draft_len = 1;
    options->max_draft_len = 64;
  });
  expect_option_refused("tensor_parallel_size: 1025 (expected: 1 to 1024)", kInvalid,
                        [](auto* options) { options->tensor_parallel_size = 1025; });
  expect_option_refused("pipeline_parallel_size: not built", kUnsupported, [](auto* options) {
    options->has_pipeline_parallel_size = 1;
    options->pipeline_parallel_size = 2;
  });
  expect_option_refused("expert_parallel_size: not built", kUnsupported, [](auto* options) {
    options->has_expert_parallel_size = 1;
    options->expert_parallel_size = 2;
  });
  uint32_t first_layer = 5;
  expect_option_refused("pipeline_layer_begin[0]: 5 (expected: 0 to 0)", kInvalid,
                        [&](auto* options) {
                          options->n_pipeline_layer_begin = 1;
                          options->pipeline_layer_begin = &first_layer;
                        });
  expect_option_refused("comm_timeout_micros: not built", kUnsupported, [](auto* options) {
    options->has_comm_timeout_micros = 1;
    options->comm_timeout_micros = 1000;
  });
  expect_option_refused("max_adapters: not built", kUnsupported, [](auto* options) {
    options->has_max_adapters = 1;
    options->max_adapters = 1;
  });
}

TEST_F(ModelSpecTest, UnknownFieldsAndValues) {
  Fixture fixture("llama");
  const auto options = pack_message(fixture.options(OptionValues())->base);
  auto spec = pack_message(fixture.spec()->base);
  // Field 200, varint 1, at the end of the outermost message.
  spec.insert(spec.end(), {0xc0, 0x0c, 0x01});
  Outcome outcome = decode(spec, options);
  EXPECT_EQ(outcome.status, kUnsupported);
  EXPECT_NE(outcome.text.find("ModelSpec: unknown field number 200"), std::string::npos)
      << outcome.text;
  fixture.spec()->layers[1]->attention_norm->kind = static_cast<Sluice__Proto__NormKind>(9);
  outcome = decode(pack_message(fixture.spec()->base), options);
  EXPECT_EQ(outcome.status, kUnsupported);
  EXPECT_NE(outcome.text.find("layers[1].attention_norm.kind: 9"), std::string::npos)
      << outcome.text;
  // An unknown field inside a nested message.
  Fixture other("llama");
  const std::vector<uint8_t> nested = {0x52, 0x03, 0xc0, 0x0c, 0x01};  // kv_groups { 200: 1 }
  spec = pack_message(other.spec()->base);
  spec.insert(spec.end(), nested.begin(), nested.end());
  outcome = decode(spec, options);
  EXPECT_EQ(outcome.status, kUnsupported);
  EXPECT_NE(outcome.text.find("kv_groups[1]: unknown field number 200"), std::string::npos)
      << outcome.text;
}

TEST_F(ModelSpecTest, TruncatedAndRandomBytes) {
  Fixture fixture("qwen2");
  const auto options = pack_message(fixture.options(OptionValues())->base);
  const auto spec = pack_message(fixture.spec()->base);
  ASSERT_EQ(decode(spec, options).status, SLUICE_STATUS_OK);
  for (size_t length = 0; length < spec.size(); length += 3) {
    EXPECT_NE(decode({spec.data(), length}, options).status, SLUICE_STATUS_INTERNAL) << length;
  }
  uint32_t state = 99;
  const auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 8; };
  for (int round = 0; round < 3000; ++round) {
    auto damaged = spec;
    for (int i = 0; i < 2; ++i) damaged[next() % damaged.size()] = static_cast<uint8_t>(next());
    EXPECT_NE(decode(damaged, options).status, SLUICE_STATUS_INTERNAL);
    auto damaged_options = options;
    damaged_options[next() % options.size()] = static_cast<uint8_t>(next());
    EXPECT_NE(decode(spec, damaged_options).status, SLUICE_STATUS_INTERNAL);
  }
}

// protobuf-c unpacks by recursion: a message that nests without end must not use up the stack.
TEST_F(ModelSpecTest, DeepNesting) {
  constexpr uint32_t kDepth = 100000;
  constexpr uint32_t kHeaderBytes = 5;  // WeightSource.scale (field 9) and a four-byte length
  std::vector<uint8_t> source;
  for (uint32_t inside = kDepth; inside-- > 0;) {
    const uint32_t length = inside * kHeaderBytes;
    source.push_back(0x4a);
    for (int shift = 0; shift < 21; shift += 7) {
      source.push_back(static_cast<uint8_t>((length >> shift) | 0x80));
    }
    source.push_back(static_cast<uint8_t>(length >> 21));
  }
  EXPECT_THROW(
      unpack<Sluice__Proto__WeightSource>(sluice__proto__weight_source__descriptor, source), Error);
}

// Every number of a spec set to extremes, through the descriptors: a typed error or an engine.
void set_extremes(ProtobufCMessage* message, const std::function<void(const std::string&)>& check) {
  auto* base = reinterpret_cast<uint8_t*>(message);
  for (unsigned f = 0; f < message->descriptor->n_fields; ++f) {
    const ProtobufCFieldDescriptor& field = message->descriptor->fields[f];
    uint8_t* place = base + field.offset;
    if (field.label == PROTOBUF_C_LABEL_REPEATED) {
      if (field.type != PROTOBUF_C_TYPE_MESSAGE) continue;
      size_t count = 0;
      ProtobufCMessage** list = nullptr;
      std::memcpy(&count, base + field.quantifier_offset, sizeof(count));
      std::memcpy(&list, place, sizeof(list));
      if (count > 0) set_extremes(list[0], check);
      continue;
    }
    const bool in_oneof = (field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (field.type == PROTOBUF_C_TYPE_MESSAGE) {
      uint32_t chosen = field.id;
      if (in_oneof) std::memcpy(&chosen, base + field.quantifier_offset, sizeof(chosen));
      ProtobufCMessage* inner = nullptr;
      std::memcpy(&inner, place, sizeof(inner));
      if (chosen == field.id && inner != nullptr) set_extremes(inner, check);
      continue;
    }
    if (field.type == PROTOBUF_C_TYPE_STRING || field.type == PROTOBUF_C_TYPE_BYTES) continue;
    const bool wide = field.type == PROTOBUF_C_TYPE_DOUBLE ||
                      field.type == PROTOBUF_C_TYPE_UINT64 || field.type == PROTOBUF_C_TYPE_INT64;
    const size_t size = wide ? 8 : 4;
    uint64_t saved = 0;
    std::memcpy(&saved, place, size);
    protobuf_c_boolean present = 0;
    std::memcpy(&present, base + field.quantifier_offset, sizeof(present));
    std::vector<uint64_t> values = {0, 1, 0x7fffffff, 0xffffffff, ~uint64_t{0}};
    if (field.type == PROTOBUF_C_TYPE_DOUBLE) {
      values.clear();
      for (double value :
           {0.0, -1.0, 1e308, -1e-308, std::nan(""), std::numeric_limits<double>::infinity()}) {
        uint64_t bits = 0;
        std::memcpy(&bits, &value, 8);
        values.push_back(bits);
      }
    }
    for (protobuf_c_boolean now : {1, 0}) {
      std::memcpy(base + field.quantifier_offset, &now, sizeof(now));
      for (uint64_t value : values) {
        if (field.type == PROTOBUF_C_TYPE_BOOL) value &= 1;
        std::memcpy(place, &value, size);
        check(std::string(message->descriptor->short_name) + "." + field.name);
        if (!now) break;
      }
    }
    std::memcpy(place, &saved, size);
    std::memcpy(base + field.quantifier_offset, &present, sizeof(present));
  }
}

TEST_F(ModelSpecTest, ExtremesOfEveryField) {
  Fixture fixture("qwen2");
  Sluice__Proto__EngineOptions* options = fixture.options(OptionValues());
  const auto check = [&](const std::string& field) {
    EngineHandle engine;
    const Outcome outcome = engine.create(*fixture.spec(), *options);
    EXPECT_NE(outcome.status, SLUICE_STATUS_INTERNAL) << field << ": " << outcome.text;
    if (outcome.status != SLUICE_STATUS_OK) {
      EXPECT_FALSE(outcome.text.empty()) << field;
    }
  };
  set_extremes(&fixture.spec()->base, check);
  set_extremes(&options->base, check);
}

}  // namespace
}  // namespace sluice::test
