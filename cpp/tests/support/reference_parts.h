/// @file
/// Feed-forwards of the reference decoder (reference.h), in double precision.
#ifndef SLUICE_TESTS_SUPPORT_REFERENCE_PARTS_H_
#define SLUICE_TESTS_SUPPORT_REFERENCE_PARTS_H_

#include <span>
#include <vector>

#include "support/reference.h"

namespace sluice::test {

/// W x + bias; an empty bias is none.
std::vector<double> linear(std::span<const float> matrix, std::span<const float> bias,
                           const std::vector<double>& x);

double sigmoid(double x);

/// An activation of one number; aborts for CLAMPED_SWIGLU, which takes two.
double activate(const ActivationSpec& spec, double x);

/// Slots of a gated or plain feed-forward; each bias slot follows its matrix slot.
struct MlpSlots {
  int gate_up = 0;
  int down = 0;
  int num_experts = 0;  ///< 0: not an expert slot
  int expert = 0;
};

/// down(act(gate x) * up x), or down(act(up x)).
std::vector<double> mlp(const WeightValues& weights, const MlpSlots& slots,
                        const ActivationSpec& activation, bool gated, int layer,
                        const std::vector<double>& x);

/// A mixture of experts over the rows of one sequence at positions 0, 1, ...
Rows moe(const MoeSpec& spec, const WeightValues& weights, int layer, const Rows& x,
         MoeDecisions* decisions);

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_REFERENCE_PARTS_H_
