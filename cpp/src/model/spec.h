/// @file
/// ModelSpec of sluice.proto as plain structs: complete, checked, and nothing in it that this build
/// cannot run.
#ifndef SLUICE_MODEL_SPEC_H_
#define SLUICE_MODEL_SPEC_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/format.h"
#include "layers/spec.h"

namespace sluice {

/// One set of rotary frequencies.
struct RopeVariant {
  std::vector<double> inv_freq;  ///< [rotary_dim / 2]
  double attention_scale = 1;
};

struct RopeSpec {
  int32_t rotary_dim = 0;
  bool interleaved = false;
  std::vector<RopeVariant> variants;
  int32_t num_dynamic_variants = 0;
};

struct KvGroupSpec {
  int32_t window = 0;     ///< a query sees keys at a distance below it; 0: every key
  int32_t retention = 0;  ///< positions at this distance or more may be freed; 0: never
};

struct LayerSpec {
  std::optional<NormSpec> attention_norm;
  std::optional<NormSpec> post_attention_norm;
  std::optional<NormSpec> feed_forward_norm;
  std::optional<NormSpec> post_feed_forward_norm;
  bool parallel_residual = false;
  double residual_multiplier = 1;
  int32_t kv_group = 0;
  std::variant<GqaSpec, MlaSpec, AdaptiveSpec> attention;
  std::variant<DenseSpec, MoeSpec> feed_forward;
};

struct ModelSpec {
  std::string architecture;
  int32_t vocab_size = 0;
  int32_t hidden_size = 0;
  int32_t max_context_len = 0;
  double embedding_multiplier = 1;
  std::optional<NormSpec> embedding_norm;
  std::vector<RopeSpec> ropes;
  std::vector<KvGroupSpec> kv_groups;
  std::vector<LayerSpec> layers;
  std::optional<NormSpec> final_norm;          ///< absent only with compression
  std::optional<CompressionSpec> compression;  ///< ends the model in the final norm's place
  std::vector<HeadSpec> heads;                 ///< their order is the numbering

  /// Largest number of experts of a layer; 0: no layer has any.
  int32_t max_num_experts() const;

  /// How many positions back, its own included, a token of the group's layers sees keys or counts
  /// choices of experts; 0: to the start of the sequence.
  int64_t reach(int32_t kv_group) const;
};

/// Decodes and checks a serialised ModelSpec.
///
/// @throws Error INVALID_ARGUMENT for bytes that are no message, a missing required field or a
///         value out of range; UNSUPPORTED, with the field's path, for what this build has no code
///         for. Paths look like `layers[3].gqa.head_dim`.
ModelSpec decode_model_spec(std::span<const uint8_t> bytes);

}  // namespace sluice
#endif  // SLUICE_MODEL_SPEC_H_
