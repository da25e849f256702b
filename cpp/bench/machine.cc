#include "machine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/checked.h"
#include "ops/gemm/panel_kernel.h"
#include "ops/simd/parallel.h"

namespace sluice::bench {
namespace {

Machine g_machine;

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double measure_read_bandwidth(const Exec& exec) {
  const int64_t count = (int64_t{512} << 20) / 8;
  Buffer buffer(count * 8, "bandwidth");
  auto* words = reinterpret_cast<uint64_t*>(buffer.data());
  for (int64_t i = 0; i < count; ++i) words[i] = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u;
  double best = 0;
  for (int round = 0; round < 9; ++round) {
    std::atomic<uint64_t> total = 0;
    const double seconds = seconds_of([&] {
      parallel_ranges(exec, count, 1, [&](int64_t begin, int64_t end) {
        uint64_t sum = 0;
        for (int64_t i = begin; i < end; ++i) sum += words[i];
        total += sum;
      });
    });
    benchmark::DoNotOptimize(total);
    best = std::max(best, static_cast<double>(count) * 8 / seconds);
  }
  return best;
}

double measure_flops(const Exec& exec, Format format) {
  const int64_t rows = 6, cols = 256, repeats = 20000;
  double best = 0;
  for (int round = 0; round < 7; ++round) {
    const double seconds = seconds_of([&] {
      parallel_tasks(exec, exec.num_threads, [&](int64_t /*task*/, int /*thread*/) {
        alignas(64) char w[64 * 256 * 4], x[6 * 256 * 4];
        alignas(64) float y[6 * 64];
        const int64_t values = format == Format::kBf16 ? 2 : 1;
        fill_random(format, w, 64 * cols, 1);
        fill_random(format, x, rows * cols, 2);
        const PanelParams p{{.num_rows = rows,
                             .x = x,
                             .x_format = format,
                             .x_stride = cols,
                             .w = {.format = format, .data = w, .rows = 64, .cols = cols},
                             .y = y,
                             .y_stride = 64}};
        const auto kernel = SLUICE_SELECT_ISA(exec.isa, gemm_units);
        for (int64_t i = 0; i < repeats / values; ++i) {
          kernel(p, 0, 4);
          benchmark::ClobberMemory();
        }
      });
    });
    const int64_t values = format == Format::kBf16 ? 2 : 1;
    best = std::max(best, 2.0 * static_cast<double>(rows * 64 * cols) *
                              static_cast<double>(repeats / values) * exec.num_threads / seconds);
  }
  return best;
}

}  // namespace

Settings& settings() {
  static Settings instance;
  return instance;
}

const Machine& machine() { return g_machine; }

void measure_machine() {
  const Exec& exec = settings().exec;
  g_machine.read_bandwidth = measure_read_bandwidth(exec);
  g_machine.f32_flops = measure_flops(exec, Format::kF32);
  g_machine.bf16_flops = measure_flops(exec, Format::kBf16);
}

void fill_random(Format format, void* data, int64_t count, uint64_t seed) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (int64_t i = 0; i < count; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    // Sign, an exponent near one, a random mantissa.
    const uint32_t bits = (static_cast<uint32_t>(state) & 0x80ffffffu) | 0x3e000000u;
    if (format == Format::kBf16) {
      static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits >> 16);
    } else {
      std::memcpy(static_cast<float*>(data) + i, &bits, 4);
    }
  }
}

Rotation::Rotation(Format format, int64_t bytes_each)
    : stride_(round_up(bytes_each, 64)),
      copies_(std::max<int64_t>(2, (int64_t{256} << 20) / stride_ + 1)),
      buffer_(stride_ * copies_, "operands") {
  fill_random(format, buffer_.data(), buffer_.size() / (format == Format::kBf16 ? 2 : 4), 7);
}

void* Rotation::next() {
  at_ = (at_ + 1) % copies_;
  return buffer_.data() + at_ * stride_;
}

void report_bytes(benchmark::State& state, double bytes) {
  const double total = bytes * static_cast<double>(state.iterations());
  state.counters["GB"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_limit"] =
      benchmark::Counter(total / machine().read_bandwidth, benchmark::Counter::kIsRate);
}

void report_flops(benchmark::State& state, double flops, Format format) {
  const double total = flops * static_cast<double>(state.iterations());
  const double peak = format == Format::kBf16 ? machine().bf16_flops : machine().f32_flops;
  state.counters["GFLOP"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(total / peak, benchmark::Counter::kIsRate);
}

}  // namespace sluice::bench
