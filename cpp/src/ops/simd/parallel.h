/// @file
/// Splits independent work over the threads of an engine.
#ifndef SLUICE_OPS_SIMD_PARALLEL_H_
#define SLUICE_OPS_SIMD_PARALLEL_H_

#include <cstdint>

#include "device/cpu.h"
#include "device/thread_pool.h"

namespace sluice {

/// Calls body(task, thread) for each task in [0, count), the lowest first, whoever is free taking
/// the next. At one time no two calls have the same `thread`, in [0, exec.num_threads): it names
/// scratch memory. What a body throws is thrown
/// here once all have run.
template <typename Body>
void parallel_tasks(const Exec& exec, int64_t count, const Body& body) {
  if (exec.pool != nullptr && exec.num_threads > 1) {
    exec.pool->run(count, body);
    return;
  }
  for (int64_t task = 0; task < count; ++task) body(task, 0);
}

/// Calls body(begin, end) so that the ranges cover [0, count). Which ranges these are depends on
/// the arguments and on exec.num_threads alone. With less than `grain` items per thread there are
/// fewer ranges, and a single one runs on the caller's thread: handing work over costs a few
/// microseconds. Exceptions as parallel_tasks.
template <typename Body>
void parallel_ranges(const Exec& exec, int64_t count, int64_t grain, const Body& body) {
  int64_t ranges = grain <= 0 ? count : count / grain;
  if (ranges > exec.num_threads) ranges = exec.num_threads;
  if (ranges <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  parallel_tasks(exec, ranges, [&](int64_t r, int /*thread*/) {
    body(count * r / ranges, count * (r + 1) / ranges);
  });
}

/// Items per thread below which a thread is not worth waking, for items of about `bytes` each.
constexpr int64_t grain_for_bytes(int64_t bytes) {
  return bytes <= 0 ? 1 : (int64_t{32} << 10) / bytes + 1;
}

}  // namespace sluice

#endif  // SLUICE_OPS_SIMD_PARALLEL_H_
