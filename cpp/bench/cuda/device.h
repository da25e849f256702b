/// @file
/// What the CUDA benches share: the device, its limits measured in the same process, random operands
/// that rotate past the L2, and how a launch is timed.
#ifndef SLUICE_BENCH_CUDA_DEVICE_H_
#define SLUICE_BENCH_CUDA_DEVICE_H_

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/format.h"
#include "device/buffer.h"
#include "device/cpu.h"
#include "device/cuda.h"
#include "ops/gemm/gemm.h"

namespace sluice::bench {

/// Device 0.
CudaDevice& device();
/// An Exec whose ops run there.
Exec exec();
/// The products of FAST: cuBLASLt and our own.
Gemm& fast_gemm();

/// Limits of the device, measured by the two below.
struct Limits {
  double copy_bandwidth = 0;  ///< bytes a second, read and written, of a copy of 4 GB
  double bf16_flops = 0;      ///< of cuBLASLt's product of 8192^3 on random data; 0: not measured
};
const Limits& limits();
void measure_copy();
/// @throws Error where there is no cuBLASLt
void measure_products();

/// Finite random values, about normal times `scale`; never zeros, which are multiplied faster.
/// Enqueued.
void fill_random(Format format, void* data, int64_t count, uint64_t seed, float scale = 1.0f);

/// Device memory.
Buffer device_buffer(int64_t bytes);
template <typename T>
Buffer upload(const std::vector<T>& from) {
  const auto bytes = static_cast<int64_t>(from.size() * sizeof(T));
  Buffer to = device_buffer(bytes);
  cuda_copy(device().exec(), to.data(), from.data(), bytes);
  device().synchronize();
  return to;
}

/// Copies of a random operand, together several times the L2, so that no launch finds the last one's
/// there.
class Rotation {
 public:
  Rotation(Format format, int64_t count, uint64_t seed, float scale = 1.0f);
  void* at(int64_t i) const;
  int64_t copies() const { return copies_; }

 private:
  int64_t stride_;
  int64_t copies_;
  Buffer buffer_;
};

/// What a launch must do at least; its floor is the larger of bytes / copy bandwidth and
/// FLOP / rate of a matrix product.
struct Work {
  double bytes = 0;
  double flops = 0;
  std::string kernel;  ///< the variant that runs
};

/// Times launch(i), i = 0, 1, ...: launches are captured in a graph (20 at least where one takes less
/// than 1 ms), the graph runs 7 times, and the median counts. For a benchmark with Iterations(1) and
/// UseManualTime(). Reports us, floor_us, share (floor / time), GB/s and TFLOP/s.
void measure(benchmark::State& state, const Work& work, const std::function<void(int64_t)>& launch);

/// Registers a bench that is measured once.
void add(const std::string& name, std::function<void(benchmark::State&)> body);

void register_attention();
void register_gemm();
void register_load();
void register_adaptive();
void register_moe();
void register_expert_layers();
void register_rows();

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_CUDA_DEVICE_H_
