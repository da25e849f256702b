/// @file
/// Which experts a token goes to, and with what weight.
///
/// Scores of a token's experts from its logits z, all in float32:
/// - SOFTMAX: softmax(z) over all experts
/// - SIGMOID: sigmoid(z)
/// - TOPK_SOFTMAX: z itself; the chosen experts' weights are the softmax over the chosen alone
/// - NOISY_NETWORK: softmax(softmax(z) + noise), `noise` a stored vector
///
/// The experts with the k largest choice = score (+ correction_bias) are chosen. With groups
/// (experts [g * E / G, (g + 1) * E / G) are group g) only experts of the best groups can be: an
/// expert of another group is never chosen, whatever the scores are. (Of the published definitions
/// one sets those scores to 0 and has softmax scores, which are above 0; the other sets them to
/// -inf.) A group's score is its largest choice, or the sum of its two largest.
///
/// weight = score, without the correction bias; with `normalize` divided by (sum of the chosen
/// scores + normalize_epsilon); then times scaling_factor. Chosen experts are ordered by falling
/// weight. Equal scores, groups and weights: the lower index comes first. NaN is below every
/// number, so bad logits give valid indices and NaN weights.
///
/// A token's result depends on nothing but its own logits.
#ifndef SLUICE_OPS_ROUTER_ROUTER_H_
#define SLUICE_OPS_ROUTER_ROUTER_H_

#include <cstdint>

#include "device/cpu.h"

namespace sluice {

/// Numbers equal those of `RouterScore` in sluice.proto.
enum class RouterScore : int32_t {
  kSoftmax = 1,
  kSigmoid = 2,
  kTopKSoftmax = 3,
  kNoisyNetwork = 4,
};

/// Numbers equal those of `GroupScore` in sluice.proto.
enum class GroupScore : int32_t {
  kMax = 1,
  kTop2Sum = 2,
};

/// Most experts that a token can go to, and most groups that it can choose.
inline constexpr int32_t kMaxExpertsPerToken = 64;

struct RouterParams {
  RouterScore score = RouterScore::kSoftmax;
  int64_t num_tokens = 0;                  ///< 0 does nothing
  int32_t num_experts = 0;                 ///< E
  int32_t num_experts_per_token = 0;       ///< k, 1 to min(E, kMaxExpertsPerToken)
  float* logits = nullptr;                 ///< [num_tokens, E], dense; overwritten with the scores
  const float* noise = nullptr;            ///< [E], NOISY_NETWORK only
  const float* correction_bias = nullptr;  ///< [E], takes part in the choice only; or null
  bool normalize = false;
  float normalize_epsilon = 0;
  float scaling_factor = 1;
  int32_t num_groups = 1;                     ///< G, a divisor of E; 1: no groups
  int32_t num_groups_per_token = 1;           ///< 1 to G; its experts are k at least
  GroupScore group_score = GroupScore::kMax;  ///< TOP2_SUM: groups have two experts at least

  int32_t* experts = nullptr;  ///< [num_tokens, k] result
  float* weights = nullptr;    ///< [num_tokens, k] result
};

/// Throws INVALID_ARGUMENT or UNSUPPORTED (on CUDA also for more than 2048 experts), naming the
/// field.
void router(const Exec& exec, const RouterParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_ROUTER_ROUTER_H_
