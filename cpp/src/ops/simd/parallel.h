/// @file
/// Splits independent rows over OpenMP threads, always into the same contiguous ranges.
#ifndef SLUICE_OPS_SIMD_PARALLEL_H_
#define SLUICE_OPS_SIMD_PARALLEL_H_

#include <cstdint>

#include "device/cpu.h"

namespace sluice {

/// Calls body(begin, end) so that the ranges cover [0, count). Below `grain` items per thread fewer
/// threads work, since waking one costs about 2 microseconds. `body` must not throw.
template <typename Body>
void parallel_ranges(const Exec& exec, int64_t count, int64_t grain, const Body& body) {
  int64_t threads = grain <= 0 ? count : count / grain;
  if (threads > exec.num_threads) threads = exec.num_threads;
  if (threads <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(threads))
  for (int64_t t = 0; t < threads; ++t) {
    body(count * t / threads, count * (t + 1) / threads);
  }
}

/// Items per thread below which a thread is not worth waking, for items of about `bytes` each.
constexpr int64_t grain_for_bytes(int64_t bytes) {
  return bytes <= 0 ? 1 : (int64_t{32} << 10) / bytes + 1;
}

}  // namespace sluice

#endif  // SLUICE_OPS_SIMD_PARALLEL_H_
