/// @file
/// Random weights for measuring.
#ifndef SLUICE_OPS_RANDOM_VALUES_RANDOM_VALUES_H_
#define SLUICE_OPS_RANDOM_VALUES_RANDOM_VALUES_H_

#include <cstdint>
#include <span>

namespace sluice {

inline constexpr int kNormalQuantiles = 1 << 16;
inline constexpr int kNormalsPerBlock = 8;  ///< numbers that one Philox block gives

/// Numbers first .. first + count - 1 of the sequence that (seed, place) names: normal, standard
/// deviation `std`. Each depends on its index alone, so that a sequence may be cut anywhere.
///
/// Sixteen bits of Philox choose one of 65536 equally likely quantiles, so one call of it gives
/// eight numbers. None is beyond 4.33 standard deviations. Thread-safe.
void normal_values(uint64_t seed, uint64_t place, uint64_t first, int64_t count, double std,
                   float* out);

/// Those quantiles, of standard deviation 1, rising: [kNormalQuantiles].
std::span<const float> normal_quantiles();

}  // namespace sluice
#endif  // SLUICE_OPS_RANDOM_VALUES_RANDOM_VALUES_H_
