#include "device.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"

namespace sluice::bench {
namespace {

Limits g_limits;

constexpr int kRounds = 7;
constexpr double kLongMillis = 1.0;
constexpr double kWarmMillis = 50;

// Median milliseconds of one of `count` launches that a graph holds.
double graph_millis(const std::function<void(int64_t)>& launch, int64_t count) {
  const CudaExec& cuda = device().exec();
  CudaGraph graph;
  CudaGraph::begin_capture(cuda);
  try {
    for (int64_t i = 0; i < count; ++i) launch(i);
    graph = CudaGraph::end_capture(cuda);
  } catch (...) {
    CudaGraph::cancel_capture(cuda);
    throw;
  }
  std::vector<double> times;
  graph.launch(cuda);  // warm-up
  for (int round = 0; round < kRounds; ++round) {
    CudaEvent begin(true), end(true);
    begin.record(cuda);
    graph.launch(cuda);
    end.record(cuda);
    end.wait();
    times.push_back(end.millis_since(begin) / static_cast<double>(count));
  }
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return times[kRounds / 2];
}

double eager_millis(const std::function<void(int64_t)>& launch, int64_t i) {
  const CudaExec& cuda = device().exec();
  CudaEvent begin(true), end(true);
  begin.record(cuda);
  launch(i);
  end.record(cuda);
  end.wait();
  return end.millis_since(begin);
}

// Least milliseconds of a launch that takes about one: a limit is what the device can do, and under
// long products its clocks fall. Not in a graph: a copy of a graph's own takes a slower engine.
double least_millis(const std::function<void(int64_t)>& launch) {
  int64_t i = 0;
  for (double warm = 0; warm < kWarmMillis;) warm += eager_millis(launch, i++);
  double least = eager_millis(launch, i++);
  for (int round = 0; round < 20; ++round) least = std::min(least, eager_millis(launch, i++));
  return least;
}

}  // namespace

CudaDevice& device() {
  static CudaDevice device(0);
  return device;
}

Exec exec() {
  Exec exec;
  exec.cuda = &device().exec();
  return exec;
}

Gemm& fast_gemm() {
  GemmOptions options;
  options.cuda_device = 0;
  static Gemm gemm(options);
  return gemm;
}

const Limits& limits() { return g_limits; }

void measure_copy() {
  constexpr int64_t kBytes = int64_t{4} << 30;
  Buffer from = device_buffer(kBytes), to = device_buffer(kBytes);
  fill_random(Format::kF32, from.data(), kBytes / 4, 1);
  const double millis = least_millis(
      [&](int64_t) { cuda_copy(device().exec(), to.data(), from.data(), kBytes); });
  g_limits.copy_bandwidth = 2.0 * kBytes / (millis * 1e-3);
}

void measure_products() {
  constexpr int64_t kSize = 8192;
  Rotation x(Format::kBf16, kSize * kSize, 2), w(Format::kBf16, kSize * kSize, 3);
  Buffer y = device_buffer(kSize * kSize * 2);
  Buffer workspace = device_buffer(
      std::max<int64_t>(64, fast_gemm().workspace_bytes(kSize, kSize, kSize)));
  auto product = [&](int64_t i) {
    fast_gemm().run(exec(),
                    {.num_rows = kSize, .x = x.at(i), .x_format = Format::kBf16, .x_stride = kSize,
                     .w = {.format = Format::kBf16, .layout = WeightLayout::kRowMajor,
                           .data = w.at(i), .rows = kSize, .cols = kSize},
                     .y = y.data(), .y_format = Format::kBf16, .y_stride = kSize},
                    workspace.data(), workspace.size());
  };
  g_limits.bf16_flops = 2.0 * std::pow(kSize, 3) / (least_millis(product) * 1e-3);
}

Buffer device_buffer(int64_t bytes) {
  return Buffer(std::max<int64_t>(bytes, 256), "bench", nullptr, {MemoryKind::kDevice, 0});
}

Rotation::Rotation(Format format, int64_t count, uint64_t seed, float scale)
    : stride_((format_bytes(format, count) + 255) / 256 * 256),
      copies_(std::clamp<int64_t>(4 * device().exec().l2_bytes / stride_ + 1, 2, 64)),
      buffer_(device_buffer(stride_ * copies_)) {
  for (int64_t i = 0; i < copies_; ++i) {
    fill_random(format, at(i), count, seed + static_cast<uint64_t>(i) * 7919, scale);
  }
}

void* Rotation::at(int64_t i) const { return buffer_.data() + i % copies_ * stride_; }

void measure(benchmark::State& state, const Work& work,
             const std::function<void(int64_t)>& launch) {
  launch(0);  // handles are made and modules loaded outside of any capture
  device().synchronize();
  const double once = eager_millis(launch, 1);
  for (auto _ : state) {
    double millis = once;
    // What takes longer than a second is not made to wait for seven graphs of it.
    if (once < 1000) {
      const int64_t count =
          once < kLongMillis ? std::clamp<int64_t>(static_cast<int64_t>(4.0 / once), 20, 200)
                             : std::max<int64_t>(1, static_cast<int64_t>(20.0 / once));
      millis = graph_millis(launch, count);
    }
    state.SetIterationTime(millis * 1e-3);
    const double floor = std::max(work.bytes / limits().copy_bandwidth,
                                  limits().bf16_flops > 0 ? work.flops / limits().bf16_flops : 0.0);
    state.counters["us"] = millis * 1e3;
    state.counters["floor_us"] = floor * 1e6;
    state.counters["share"] = floor / (millis * 1e-3);
    if (work.bytes > 0) state.counters["GB/s"] = work.bytes / (millis * 1e-3) * 1e-9;
    if (work.flops > 0) state.counters["TFLOP/s"] = work.flops / (millis * 1e-3) * 1e-12;
  }
  state.SetLabel(work.kernel);
}

void add(const std::string& name, std::function<void(benchmark::State&)> body) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [body = std::move(body)](benchmark::State& state) {
                                 try {
                                   body(state);
                                 } catch (const Error& error) {
                                   state.SkipWithError(error.what());
                                 }
                               })
      ->Iterations(1)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace sluice::bench
