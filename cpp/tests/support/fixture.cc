#include "support/fixture.h"

#include <cmath>
#include <cstdlib>
#include <numbers>

#include "support/settings.h"

namespace sluice::test {
namespace {

std::string folder(const std::string& name) {
  return settings().golden_dir + "/fixtures/" + name;
}

// The frequencies of rope_scaling "llama3": long waves are stretched, middle ones blended.
double llama3_frequency(const std::string& config, double frequency) {
  const double factor = json_number(config, "factor", 1);
  const double low = json_number(config, "low_freq_factor", 1);
  const double high = json_number(config, "high_freq_factor", 4);
  const double old_len = json_number(config, "original_max_position_embeddings", 8192);
  const double wave = 2 * std::numbers::pi / frequency;
  if (wave < old_len / high) return frequency;
  if (wave > old_len / low) return frequency / factor;
  const double smooth = (old_len / wave - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

Sluice__Proto__Format format_of(const std::string& dtype) {
  if (dtype == "F32") return SLUICE__PROTO__FORMAT__F32;
  if (dtype == "BF16") return SLUICE__PROTO__FORMAT__BF16;
  std::abort();
}

}  // namespace

Settings& settings() {
  static Settings settings{SLUICE__PROTO__BACKEND__CPU, SLUICE_TEST_GOLDEN_DIR};
  return settings;
}

Fixture::Fixture(const std::string& name)
    : name_(name),
      config_(read_file(folder(name) + "/config.json")),
      weights_(folder(name) + "/model.safetensors"),
      expected_(folder(name) + "/expected.safetensors") {
  make_spec();
  make_transfers();
}

Sluice__Proto__NormSpec* Fixture::make_norm() {
  auto* norm = arena_.make(sluice__proto__norm_spec__init);
  norm->has_kind = 1;
  norm->kind = SLUICE__PROTO__NORM_KIND__RMS_NORM;
  norm->has_eps = 1;
  norm->eps = json_number(config_, "rms_norm_eps", 1e-6);
  return norm;
}

void Fixture::make_rope(int head_dim) {
  const double theta = json_number(config_, "rope_theta", 10000);
  std::vector<double> inv_freq;
  for (int i = 0; i < head_dim / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * i / head_dim);
    inv_freq.push_back(name_ == "llama3_rope" ? llama3_frequency(config_, frequency) : frequency);
  }
  auto* variant = arena_.make(sluice__proto__rope_variant__init);
  variant->n_inv_freq = inv_freq.size();
  variant->inv_freq = arena_.array(inv_freq);
  auto* rope = arena_.make(sluice__proto__rope_spec__init);
  rope->has_rotary_dim = 1;
  rope->rotary_dim = static_cast<uint32_t>(head_dim);
  rope->n_variants = 1;
  rope->variants = arena_.array(std::vector{variant});
  spec_->n_ropes = 1;
  spec_->ropes = arena_.array(std::vector{rope});
}

Sluice__Proto__LayerSpec* Fixture::make_layer(int head_dim) {
  auto* gqa = arena_.make(sluice__proto__gqa_spec__init);
  const bool bias = name_ == "qwen2";
  gqa->has_num_q_heads = gqa->has_num_kv_heads = gqa->has_head_dim = 1;
  gqa->num_q_heads = static_cast<uint32_t>(json_number(config_, "num_attention_heads", 0));
  gqa->num_kv_heads =
      static_cast<uint32_t>(json_number(config_, "num_key_value_heads", gqa->num_q_heads));
  gqa->head_dim = static_cast<uint32_t>(head_dim);
  gqa->has_rope = 1;
  gqa->rope = 0;
  gqa->has_softmax_scale = 1;
  gqa->softmax_scale = 1 / std::sqrt(static_cast<double>(head_dim));
  gqa->has_q_bias = gqa->has_k_bias = gqa->has_v_bias = 1;
  gqa->q_bias = gqa->k_bias = gqa->v_bias = bias;

  auto* activation = arena_.make(sluice__proto__activation_spec__init);
  activation->has_kind = 1;
  activation->kind = SLUICE__PROTO__ACTIVATION__SILU;
  auto* dense = arena_.make(sluice__proto__dense_spec__init);
  dense->has_intermediate_size = 1;
  dense->intermediate_size = static_cast<uint32_t>(json_number(config_, "intermediate_size", 0));
  dense->activation = activation;

  auto* layer = arena_.make(sluice__proto__layer_spec__init);
  layer->attention_norm = make_norm();
  layer->feed_forward_norm = make_norm();
  layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_GQA;
  layer->gqa = gqa;
  layer->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_DENSE;
  layer->dense = dense;
  return layer;
}

void Fixture::make_spec() {
  spec_ = arena_.make(sluice__proto__model_spec__init);
  spec_->has_spec_version = 1;
  spec_->spec_version = 1;
  spec_->architecture = arena_.text(name_);
  spec_->has_vocab_size = spec_->has_hidden_size = spec_->has_max_context_len = 1;
  spec_->vocab_size = static_cast<uint32_t>(json_number(config_, "vocab_size", 0));
  spec_->hidden_size = static_cast<uint32_t>(json_number(config_, "hidden_size", 0));
  spec_->max_context_len =
      static_cast<uint32_t>(json_number(config_, "max_position_embeddings", 0));
  const int heads = static_cast<int>(json_number(config_, "num_attention_heads", 1));
  const int head_dim =
      static_cast<int>(json_number(config_, "head_dim", spec_->hidden_size / heads));
  make_rope(head_dim);
  auto* group = arena_.make(sluice__proto__kv_group_spec__init);
  if (name_ == "mistral") {
    group->has_window = 1;
    group->window = static_cast<uint32_t>(json_number(config_, "sliding_window", 0));
    group->has_retention = 1;
    group->retention = group->window;
  }
  spec_->n_kv_groups = 1;
  spec_->kv_groups = arena_.array(std::vector{group});
  std::vector<Sluice__Proto__LayerSpec*> layers;
  const int num_layers = static_cast<int>(json_number(config_, "num_hidden_layers", 0));
  for (int l = 0; l < num_layers; ++l) layers.push_back(make_layer(head_dim));
  spec_->n_layers = layers.size();
  spec_->layers = arena_.array(layers);
  spec_->final_norm = make_norm();
  auto* head = arena_.make(sluice__proto__head_spec__init);
  head->has_kind = 1;
  head->kind = SLUICE__PROTO__HEAD_KIND__GENERATION;
  head->has_tied = 1;
  head->tied = !weights_.has("lm_head.weight");
  spec_->n_heads = 1;
  spec_->heads = arena_.array(std::vector{head});
}

Sluice__Proto__EngineOptions* Fixture::options(const OptionValues& values) {
  auto* options = arena_.make(sluice__proto__engine_options__init);
  options->has_options_version = 1;
  options->options_version = 1;
  options->has_backend = 1;
  options->backend = settings().backend;
  options->has_compute_format = options->has_kv_format = options->has_numerics = 1;
  options->compute_format = values.compute_format;
  options->kv_format = values.kv_format;
  options->numerics = values.numerics;
  options->has_num_threads = options->has_block_size = 1;
  options->num_threads = values.num_threads;
  options->has_tensor_parallel_size = 1;
  options->tensor_parallel_size = values.tensor_parallel_size;
  options->block_size = values.block_size;
  options->n_num_blocks = spec_->n_kv_groups;
  options->num_blocks = arena_.array(std::vector<uint64_t>(spec_->n_kv_groups, values.num_blocks));
  options->has_max_sequences = options->has_max_context_len = 1;
  options->max_sequences = values.max_sequences;
  options->max_context_len = values.max_context_len;
  options->has_max_step_tokens = options->has_max_step_outputs = 1;
  options->max_step_tokens = values.max_step_tokens;
  options->max_step_outputs = values.max_step_outputs;
  options->has_max_step_masks = options->has_max_step_hidden_rows = 1;
  options->max_step_masks = values.max_step_masks;
  options->has_max_draft_len = 1;
  options->max_draft_len = values.max_draft_len;
  options->max_step_hidden_rows = 4;
  options->onednn_path = arena_.text(SLUICE_TEST_ONEDNN_PATH);
  if (!values.isa.empty()) options->isa = arena_.text(values.isa);
  if (!values.fault_name.empty()) {
    auto* fault = arena_.make(sluice__proto__fault_point__init);
    fault->name = arena_.text(values.fault_name);
    fault->has_count = fault->has_status = 1;
    fault->count = values.fault_count;
    fault->status = values.fault_status;
    options->n_faults = 1;
    options->faults = arena_.array(std::vector{fault});
  }
  return options;
}

Sluice__Proto__WeightTransfer* Fixture::transfer(Sluice__Proto__Slot slot, int layer,
                                                 Sluice__Proto__Part part,
                                                 const std::string& tensor) {
  const FileTensor& from = weights_.tensors().at(tensor);
  auto* destination = arena_.make(sluice__proto__weight_destination__init);
  destination->has_layer = destination->has_slot = destination->has_part = 1;
  destination->layer = layer;
  destination->slot = slot;
  destination->part = part;
  auto* source = arena_.make(sluice__proto__weight_source__init);
  source->has_file = source->has_offset = source->has_bytes = source->has_format = 1;
  source->file = 0;
  source->offset = from.offset;
  source->bytes = from.bytes;
  source->format = format_of(from.dtype);
  source->n_shape = from.shape.size();
  source->shape = arena_.array(from.shape);
  auto* made = arena_.make(sluice__proto__weight_transfer__init);
  made->destination = destination;
  made->source = source;
  made->name = arena_.text(tensor);
  return made;
}

void Fixture::make_transfers() {
  std::vector<Sluice__Proto__WeightTransfer*> list;
  const auto add = [&](Sluice__Proto__Slot slot, int layer, Sluice__Proto__Part part,
                       const std::string& tensor) {
    if (weights_.has(tensor)) list.push_back(transfer(slot, layer, part, tensor));
  };
  const auto whole = SLUICE__PROTO__PART__WHOLE;
  add(SLUICE__PROTO__SLOT__EMBED_TOKENS, -1, whole, "model.embed_tokens.weight");
  for (int l = 0; l < num_layers(); ++l) {
    const std::string at = "model.layers." + std::to_string(l) + ".";
    add(SLUICE__PROTO__SLOT__ATTENTION_NORM, l, whole, at + "input_layernorm.weight");
    add(SLUICE__PROTO__SLOT__FEED_FORWARD_NORM, l, whole, at + "post_attention_layernorm.weight");
    const std::pair<const char*, Sluice__Proto__Part> projections[] = {
        {"q", SLUICE__PROTO__PART__PART_Q},
        {"k", SLUICE__PROTO__PART__PART_K},
        {"v", SLUICE__PROTO__PART__PART_V}};
    for (const auto& [letter, part] : projections) {
      const std::string name = at + "self_attn." + letter + "_proj.";
      add(SLUICE__PROTO__SLOT__QKV, l, part, name + "weight");
      add(SLUICE__PROTO__SLOT__QKV_BIAS, l, part, name + "bias");
    }
    add(SLUICE__PROTO__SLOT__O, l, whole, at + "self_attn.o_proj.weight");
    add(SLUICE__PROTO__SLOT__GATE_UP, l, SLUICE__PROTO__PART__PART_GATE,
        at + "mlp.gate_proj.weight");
    add(SLUICE__PROTO__SLOT__GATE_UP, l, SLUICE__PROTO__PART__PART_UP, at + "mlp.up_proj.weight");
    add(SLUICE__PROTO__SLOT__DOWN, l, whole, at + "mlp.down_proj.weight");
  }
  add(SLUICE__PROTO__SLOT__FINAL_NORM, -1, whole, "model.norm.weight");
  add(SLUICE__PROTO__SLOT__HEAD, -1, whole, "lm_head.weight");
  transfers_ = arena_.make(sluice__proto__weight_transfer_list__init);
  transfers_->n_files = 1;
  transfers_->files = arena_.array(std::vector{arena_.text(weights_.path())});
  transfers_->n_transfers = list.size();
  transfers_->transfers = arena_.array(list);
}

}  // namespace sluice::test
