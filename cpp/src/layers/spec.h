/// @file
/// Settings of each layer kind, as the model description gives them. Checked by model/spec.cc.
#ifndef SLUICE_LAYERS_SPEC_H_
#define SLUICE_LAYERS_SPEC_H_

#include <cstdint>
#include <optional>

#include "ops/activation/activation.h"
#include "ops/adaptive_attention/pattern.h"
#include "ops/norm/norm.h"
#include "ops/router/router.h"

namespace sluice {

enum class NormScope {
  kWholeRow,           ///< over all columns
  kPerHead,            ///< over head_dim columns, one set of weights
  kPerHeadOwnWeights,  ///< over head_dim columns, weights for every head
};

struct NormSpec {
  NormKind kind = NormKind::kRmsNorm;
  double eps = 0;
  NormScope scope = NormScope::kWholeRow;
  float weight_offset = 0;
  bool has_weight = true;
  bool has_bias = false;
};

struct ActivationSpec {
  ActivationKind kind = ActivationKind::kSilu;
  float alpha = 1;
  float beta = 0;
  float limit = 0;
};

/// Multi-head, grouped-query and multi-query attention.
struct GqaSpec {
  int32_t num_q_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t rope = -1;  ///< index into ModelSpec.ropes; -1: none
  float softmax_scale = 0;
  float logit_soft_cap = 0;
  bool q_bias = false;
  bool k_bias = false;
  bool v_bias = false;
  bool o_bias = false;
  std::optional<NormSpec> q_norm;
  std::optional<NormSpec> k_norm;
  bool norm_after_rope = false;
  bool sinks = false;  ///< one learned logit per head joins the softmax
  float qkv_clamp = 0;       ///< projections are clamped to +-qkv_clamp; 0: off
  bool output_gate = false;  ///< sigmoid(gate(x)) multiplies the heads' output

  int64_t q_size() const { return int64_t{num_q_heads} * head_dim; }
  int64_t kv_size() const { return int64_t{num_kv_heads} * head_dim; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }
  bool qkv_bias() const { return q_bias || k_bias || v_bias; }
};

/// Multi-head latent attention: the cache keeps the latent and the rotary key.
struct MlaSpec {
  int32_t num_q_heads = 0;
  int32_t q_lora_rank = 0;  ///< 0: no query compression
  int32_t kv_lora_rank = 0;
  int32_t qk_nope_head_dim = 0;
  int32_t qk_rope_head_dim = 0;
  int32_t v_head_dim = 0;
  int32_t rope = -1;
  float softmax_scale = 0;
  std::optional<NormSpec> q_a_norm;
  std::optional<NormSpec> kv_a_norm;
  bool bias = false;  ///< on the down projections and the output

  int64_t qk_head_dim() const { return int64_t{qk_nope_head_dim} + qk_rope_head_dim; }
  int64_t q_size() const { return num_q_heads * qk_head_dim(); }
  int64_t o_size() const { return int64_t{num_q_heads} * v_head_dim; }
  int64_t latent_size() const { return int64_t{kv_lora_rank} + qk_rope_head_dim; }
};

/// Multi-head attention with learned relative positions and a sparsity pattern. Fields that a kind
/// does not use are 0.
struct AdaptiveSpec {
  AdaptiveKind kind = AdaptiveKind::kFull;
  int32_t num_q_heads = 0;
  int32_t head_dim = 0;
  float softmax_scale = 0;
  int32_t relative_positions = 0;
  bool qkv_bias = false;
  bool o_bias = false;
  bool sparse_gate = false;
  float sparse_gate_threshold = 0;
  int32_t window = 0;
  int32_t top_k = 0;
  float density_threshold = 0;
  int32_t sparse_block_size = 0;
  int32_t num_global_blocks = 0;
  int32_t num_local_blocks = 0;
  int32_t num_random_blocks = 0;
  uint64_t random_block_seed = 0;
  int32_t block_keep_percent = 0;

  int64_t q_size() const { return int64_t{num_q_heads} * head_dim; }
};

struct DenseSpec {
  int32_t intermediate_size = 0;
  ActivationSpec activation;
  bool gated = true;
  bool gate_up_bias = false;
  bool down_bias = false;
};

struct MoeSpec {
  int32_t num_experts = 0;
  int32_t num_experts_per_token = 0;
  int32_t expert_intermediate_size = 0;
  RouterScore router = RouterScore::kSoftmax;
  bool normalize_top_k = false;
  float normalize_epsilon = 0;
  float routed_scaling_factor = 1;
  bool router_bias = false;
  bool correction_bias = false;
  int32_t num_groups = 1;
  int32_t num_groups_per_token = 1;
  GroupScore group_score = GroupScore::kMax;
  int32_t router_hidden_size = 0;  ///< kNoisyNetwork
  int32_t expert_capacity = 0;     ///< accepted tokens per expert and window; 0: no limit
  int32_t capacity_window = 0;     ///< positions per window; 0: the whole sequence
  ActivationSpec activation;
  bool gated = true;
  bool gate_up_bias = false;
  bool down_bias = false;
  std::optional<DenseSpec> shared;
  bool shared_gate = false;
  bool scale_input = false;

  bool has_capacity() const { return expert_capacity > 0; }
};

/// h = norm(x + decoder(act(encoder(x)))), once, after the last layer.
struct CompressionSpec {
  int32_t compressed_size = 0;
  ActivationSpec activation;
  NormSpec norm;
  bool bias = true;
};

/// Numbers equal those of `HeadKind` in sluice.proto.
enum class HeadKind : int32_t {
  kGeneration = 1,
  kClassification = 2,
  kReasoning = 3,
  kValue = 4,
};

struct HeadSpec {
  HeadKind kind = HeadKind::kGeneration;
  bool tied = false;
  bool bias = false;
  int32_t num_labels = 0;     ///< kClassification
  ActivationSpec activation;  ///< kReasoning
  float logit_soft_cap = 0;
  float logit_multiplier = 1;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_SPEC_H_
