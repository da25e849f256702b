/// @file
/// Settings of each layer kind, as the model description gives them. Checked by model/spec.cc.
#ifndef SLUICE_LAYERS_SPEC_H_
#define SLUICE_LAYERS_SPEC_H_

#include <cstdint>
#include <optional>

#include "ops/activation/activation.h"
#include "ops/norm/norm.h"

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

  int64_t q_size() const { return int64_t{num_q_heads} * head_dim; }
  int64_t kv_size() const { return int64_t{num_kv_heads} * head_dim; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }
  bool qkv_bias() const { return q_bias || k_bias || v_bias; }
};

struct DenseSpec {
  int32_t intermediate_size = 0;
  ActivationSpec activation;
  bool gated = true;
  bool gate_up_bias = false;
  bool down_bias = false;
};

/// The generation head: hidden state to logits.
struct HeadSpec {
  bool tied = false;
  bool bias = false;
  float logit_soft_cap = 0;
  float logit_multiplier = 1;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_SPEC_H_
