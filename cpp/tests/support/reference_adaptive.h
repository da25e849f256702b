/// @file
/// Adaptive attention of the reference decoder (reference.h), in double precision.
#ifndef SLUICE_TESTS_SUPPORT_REFERENCE_ADAPTIVE_H_
#define SLUICE_TESTS_SUPPORT_REFERENCE_ADAPTIVE_H_

#include <vector>

#include "support/reference.h"

namespace sluice::test {

/// Which keys the queries of a layer keep: [heads][queries][keys].
using KeepMasks = std::vector<std::vector<std::vector<bool>>>;

/// Attention with its projections over the rows of one sequence at positions 0, 1, ...
/// @param layer  number of the layer in the model
/// @param keep   set, unless it is nullptr
Rows adaptive_attention(const AdaptiveSpec& spec, const WeightValues& weights, int layer,
                        const Rows& x, KeepMasks* keep);

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_REFERENCE_ADAPTIVE_H_
