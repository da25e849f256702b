/// @file
/// Splits independent rows over OpenMP threads, always into the same contiguous ranges.
#ifndef SLUICE_OPS_SIMD_PARALLEL_H_
#define SLUICE_OPS_SIMD_PARALLEL_H_

#include <cstdint>

#include "device/cpu.h"

namespace sluice {

/// Calls body(begin, end) so that the ranges cover [0, count). With less than `grain` items per
/// thread there are fewer ranges, and a single one runs on the caller's thread alone: waking a team
/// costs a few microseconds. `body` must not throw.
///
/// A team always has exec.num_threads threads, also when fewer of them have a range: libgomp ends
/// the threads that a smaller team leaves over and makes new ones for the next larger team, which
/// costs a hundred times what the idle ones cost here. Every other parallel region keeps to this.
template <typename Body>
void parallel_ranges(const Exec& exec, int64_t count, int64_t grain, const Body& body) {
  int64_t ranges = grain <= 0 ? count : count / grain;
  if (ranges > exec.num_threads) ranges = exec.num_threads;
  if (ranges <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(exec.num_threads)
  for (int64_t r = 0; r < ranges; ++r) {
    body(count * r / ranges, count * (r + 1) / ranges);
  }
}

/// Items per thread below which a thread is not worth waking, for items of about `bytes` each.
constexpr int64_t grain_for_bytes(int64_t bytes) {
  return bytes <= 0 ? 1 : (int64_t{32} << 10) / bytes + 1;
}

}  // namespace sluice

#endif  // SLUICE_OPS_SIMD_PARALLEL_H_
