/// @file
/// Random weights for measuring.
#ifndef SLUICE_RUNTIME_RANDOM_VALUES_H_
#define SLUICE_RUNTIME_RANDOM_VALUES_H_

#include <cstdint>

namespace sluice {

/// Numbers first .. first + count - 1 of the sequence that (seed, place) names: normal, standard
/// deviation `std`. Each depends on its index alone, so that a sequence may be cut anywhere.
///
/// Sixteen bits of Philox choose one of 65536 equally likely quantiles, so one call of it gives
/// eight numbers. None is beyond 4.33 standard deviations. Thread-safe.
void normal_values(uint64_t seed, uint64_t place, uint64_t first, int64_t count, double std,
                   float* out);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_RANDOM_VALUES_H_
