// Feed-forward kinds of a ModelSpec.
#include <algorithm>

#include "model/spec_decode.h"

namespace sluice {

static_assert(static_cast<int>(RouterScore::kNoisyNetwork) ==
              SLUICE__PROTO__ROUTER_SCORE__ROUTER_NOISY_NETWORK);
static_assert(static_cast<int>(GroupScore::kTop2Sum) == SLUICE__PROTO__GROUP_SCORE__GROUP_TOP2_SUM);

DenseSpec decode_dense(const Sluice__Proto__DenseSpec& dense, const FieldReader& fields) {
  DenseSpec spec;
  spec.intermediate_size = static_cast<int32_t>(fields.required(
      "intermediate_size", dense.has_intermediate_size, dense.intermediate_size, 1, kMaxWidth));
  spec.activation = decode_activation(dense.activation, fields);
  spec.gated = dense.gated;
  SLUICE_CHECK_ARG(spec.gated || spec.activation.kind != ActivationKind::kClampedSwiglu,
                   fields.name("gated"), ": false (expected: true, CLAMPED_SWIGLU has a gate)");
  spec.gate_up_bias = dense.gate_up_bias;
  spec.down_bias = dense.down_bias;
  return spec;
}

namespace {

void decode_groups(const Sluice__Proto__MoeSpec& moe, const FieldReader& fields, MoeSpec* spec) {
  spec->num_groups =
      static_cast<int32_t>(fields.integer("num_groups", moe.num_groups, 1, spec->num_experts));
  SLUICE_CHECK_ARG(spec->num_experts % spec->num_groups == 0, fields.name("num_groups"), ": ",
                   spec->num_groups, " (expected: a divisor of num_experts, ", spec->num_experts,
                   ")");
  spec->num_groups_per_token =
      static_cast<int32_t>(fields.integer("num_groups_per_token", moe.num_groups_per_token, 1,
                                          std::min(spec->num_groups, kMaxExpertsPerToken)));
  if (spec->num_groups == 1) return;
  fields.require("group_score", moe.has_group_score);
  spec->group_score = static_cast<GroupScore>(moe.group_score);
  const int32_t group_size = spec->num_experts / spec->num_groups;
  SLUICE_CHECK_ARG(spec->group_score != GroupScore::kTop2Sum || group_size >= 2,
                   fields.name("num_groups"), ": ", spec->num_groups, " of ", group_size,
                   " expert each (expected: groups of two or more for GROUP_TOP2_SUM)");
  SLUICE_CHECK_ARG(int64_t{spec->num_groups_per_token} * group_size >= spec->num_experts_per_token,
                   fields.name("num_groups_per_token"), ": ", spec->num_groups_per_token,
                   " groups of ", group_size,
                   " experts (expected: at least num_experts_per_token, ",
                   spec->num_experts_per_token, ", experts in them)");
}

}  // namespace

MoeSpec decode_moe(const Sluice__Proto__MoeSpec& moe, const FieldReader& fields) {
  MoeSpec spec;
  spec.num_experts = static_cast<int32_t>(
      fields.required("num_experts", moe.has_num_experts, moe.num_experts, 1, kMaxExperts));
  spec.num_experts_per_token = static_cast<int32_t>(fields.required(
      "num_experts_per_token", moe.has_num_experts_per_token, moe.num_experts_per_token, 1,
      std::min(spec.num_experts, kMaxExpertsPerToken)));
  spec.expert_intermediate_size = static_cast<int32_t>(
      fields.required("expert_intermediate_size", moe.has_expert_intermediate_size,
                      moe.expert_intermediate_size, 1, kMaxWidth));
  fields.require("router", moe.has_router);
  spec.router = static_cast<RouterScore>(moe.router);
  spec.normalize_top_k = moe.normalize_top_k;
  spec.normalize_epsilon =
      static_cast<float>(fields.not_negative("normalize_epsilon", moe.normalize_epsilon));
  spec.routed_scaling_factor =
      static_cast<float>(fields.finite("routed_scaling_factor", moe.routed_scaling_factor));
  spec.router_bias = moe.router_bias;
  spec.correction_bias = moe.correction_bias;
  SLUICE_CHECK_ARG(!spec.correction_bias || spec.router == RouterScore::kSigmoid,
                   fields.name("correction_bias"),
                   ": true (expected: false, only ROUTER_SIGMOID has one)");
  decode_groups(moe, fields, &spec);
  SLUICE_CHECK_ARG(spec.num_groups == 1 || spec.router == RouterScore::kSoftmax ||
                       spec.router == RouterScore::kSigmoid,
                   fields.name("num_groups"), ": ", spec.num_groups,
                   " (expected: 1, only ROUTER_SOFTMAX and ROUTER_SIGMOID have groups)");
  if (spec.router == RouterScore::kNoisyNetwork) {
    spec.router_hidden_size = static_cast<int32_t>(fields.required(
        "router_hidden_size", moe.has_router_hidden_size, moe.router_hidden_size, 1, kMaxWidth));
  } else {
    SLUICE_CHECK_ARG(!moe.has_router_hidden_size, fields.name("router_hidden_size"), ": ",
                     moe.router_hidden_size,
                     " (expected: absent, only ROUTER_NOISY_NETWORK has one)");
  }
  spec.expert_capacity =
      static_cast<int32_t>(fields.integer("expert_capacity", moe.expert_capacity, 0, kMaxContext));
  spec.capacity_window =
      static_cast<int32_t>(fields.integer("capacity_window", moe.capacity_window, 0, kMaxContext));
  spec.activation = decode_activation(moe.activation, fields);
  spec.gated = moe.gated;
  SLUICE_CHECK_ARG(spec.gated || spec.activation.kind != ActivationKind::kClampedSwiglu,
                   fields.name("gated"), ": false (expected: true, CLAMPED_SWIGLU has a gate)");
  spec.gate_up_bias = moe.gate_up_bias;
  spec.down_bias = moe.down_bias;
  if (moe.shared != nullptr) spec.shared = decode_dense(*moe.shared, fields.child("shared"));
  spec.shared_gate = moe.shared_gate;
  SLUICE_CHECK_ARG(!spec.shared_gate || spec.shared, fields.name("shared_gate"),
                   ": true (expected: false, there is no shared expert)");
  spec.scale_input = moe.scale_input;
  return spec;
}

}  // namespace sluice
