/// @file
/// What the op benchmarks share: the machine's limits, measured in the same process, and data that
/// rotates past the caches.
#ifndef SLUICE_BENCH_MACHINE_H_
#define SLUICE_BENCH_MACHINE_H_

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>

#include "base/format.h"
#include "device/buffer.h"
#include "device/cpu.h"
#include "device/thread_pool.h"

namespace sluice::bench {

/// Threads of every measurement: the processor's cores, or what --threads says.
struct Settings {
  Exec exec;
  std::unique_ptr<ThreadPool> pool;  ///< of exec
};
Settings& settings();

/// Limits of the machine with settings().exec, measured once by measure_machine().
struct Machine {
  double read_bandwidth = 0;  ///< bytes a second, all threads reading their own half of 512 MiB
  double bf16_flops = 0;  ///< of the product's register tile on operands in the first-level cache
  double f32_flops = 0;
};
const Machine& machine();
void measure_machine();

/// Fills memory with finite random values of a format: never zeros, which some processors multiply
/// or move faster.
void fill_random(Format format, void* data, int64_t count, uint64_t seed);

/// Copies of an operand, together larger than any cache; next() walks through them.
class Rotation {
 public:
  Rotation(Format format, int64_t bytes_each);
  void* next();

 private:
  int64_t stride_;
  int64_t copies_;
  int64_t at_ = 0;
  Buffer buffer_;
};

/// Reports GB a second and the share of the machine's read bandwidth.
void report_bytes(benchmark::State& state, double bytes);

/// Reports GFLOP a second and the share of the machine's peak in the format.
void report_flops(benchmark::State& state, double flops, Format format);

void register_gemm();
void register_attention();
void register_adaptive();
void register_mla();
void register_moe();
void register_rows();

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_MACHINE_H_
