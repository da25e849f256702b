// A mixture-of-experts layer beside what reading its weights and multiplying by them must take.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "layers/moe.h"
#include "layers/observer.h"
#include "machine.h"

namespace sluice::bench {
namespace {

// DeepSeek-V2-Lite: 64 experts of 1408, 6 for a token, 2 shared ones as one of 2816.
constexpr int64_t kHidden = 2048, kInner = 1408, kShared = 2816;
constexpr int32_t kExperts = 64, kPerToken = 6;

// Random matrices in panels; padding is nothing here, every size is a multiple of 64.
class Matrices {
 public:
  Matrices(Format format, int64_t count, int64_t rows, int64_t cols, uint64_t seed)
      : bytes_each_(packed_bytes(format, WeightLayout::kPanel64, rows, cols)),
        buffer_(bytes_each_ * count, "weights"),
        view_{.format = format, .data = buffer_.data(), .rows = rows, .cols = cols} {
    fill_random(format, buffer_.data(), count * rows * cols, seed);
  }
  const WeightView& view() const { return view_; }
  int64_t bytes_each() const { return bytes_each_; }

 private:
  int64_t bytes_each_;
  Buffer buffer_;
  WeightView view_;
};

// Counts the experts that a step uses.
class ExpertsUsed : public TensorObserver {
 public:
  bool wants(const std::string& name) const override { return name == "router_idx_0"; }
  void keep(const std::string& /*name*/, const TensorRows& rows) override {
    const auto* experts = static_cast<const int32_t*>(rows.data);
    std::vector<bool> used(kExperts);
    for (int64_t i = 0; i < rows.num_rows * rows.cols; ++i) used[experts[i]] = true;
    count = std::count(used.begin(), used.end(), true);
  }
  int64_t count = 0;
};

MoeSpec make_spec() {
  MoeSpec spec;
  spec.num_experts = kExperts;
  spec.num_experts_per_token = kPerToken;
  spec.expert_intermediate_size = kInner;
  spec.shared.emplace();
  spec.shared->intermediate_size = kShared;
  return spec;
}

void run_moe(benchmark::State& state, Format format, int64_t tokens) {
  const Exec& exec = settings().exec;
  Gemm gemm({.onednn_path = SLUICE_BENCH_ONEDNN_PATH, .numerics = Numerics::kBatchInvariant});
  const Matrices router(Format::kF32, 1, kExperts, kHidden, 1);
  const Matrices gate_up(format, kExperts, 2 * kInner, kHidden, 2);
  const Matrices down(format, kExperts, kHidden, kInner, 3);
  const Matrices shared_gate_up(format, 1, 2 * kShared, kHidden, 4);
  const Matrices shared_down(format, 1, kHidden, kShared, 5);
  MoeWeights weights;
  weights.router = router.view();
  weights.gate_up = {gate_up.view(), gate_up.bytes_each()};
  weights.down = {down.view(), down.bytes_each()};
  weights.shared.gate_up = shared_gate_up.view();
  weights.shared.down = shared_down.view();
  const MoeLayer layer(make_spec(), 0, weights);

  // Other tokens, so other experts, in each run: a step never finds them in a cache.
  constexpr int64_t kInputs = 16;
  Buffer x(format_bytes(format, kInputs * tokens * kHidden), "x");
  fill_random(format, x.data(), kInputs * tokens * kHidden, 6);
  Buffer residual(tokens * kHidden * 4, "residual");
  LayerTimes times;
  Arena measure;
  const LayerContext sizes{exec, gemm, measure, times, format};
  Arena workspace(layer.workspace_bytes(sizes, {.max_tokens = tokens}), "workspace");
  LayerContext context{exec, gemm, workspace, times, format};
  context.layer = 0;
  StepBatch batch;
  batch.num_tokens = tokens;
  int64_t at = 0;
  const auto run = [&] {
    layer.run(context, batch, {}, x.data() + format_bytes(format, at * tokens * kHidden),
              {reinterpret_cast<float*>(residual.data()), 0.001f});
    at = (at + 1) % kInputs;
  };
  // Not timed: the experts that each input takes.
  ExpertsUsed observer;
  context.observer = &observer;
  double used = 0;
  for (int64_t i = 0; i < kInputs; ++i) {
    run();
    used += static_cast<double>(observer.count) / kInputs;
  }
  context.observer = nullptr;
  for (auto _ : state) run();

  const double bytes = used * static_cast<double>(gate_up.bytes_each() + down.bytes_each()) +
                       static_cast<double>(shared_gate_up.bytes_each() + shared_down.bytes_each() +
                                           router.bytes_each());
  const double flops = 6.0 * kHidden * static_cast<double>(tokens * (kPerToken * kInner + kShared));
  const double memory_floor = bytes / machine().read_bandwidth;
  const double arithmetic_floor =
      flops / (format == Format::kBf16 ? machine().bf16_flops : machine().f32_flops);
  const double runs = static_cast<double>(state.iterations());
  state.counters["experts"] = used;
  state.counters["memory_floor_ms"] = 1e3 * memory_floor;
  state.counters["arithmetic_floor_ms"] = 1e3 * arithmetic_floor;
  // The larger floor over the time: 1 is as fast as this machine can.
  state.counters["of_floor"] = benchmark::Counter(std::max(memory_floor, arithmetic_floor) * runs,
                                                  benchmark::Counter::kIsRate);
}

}  // namespace

void register_moe() {
  for (const Format format : {Format::kBf16, Format::kF32}) {
    for (const int64_t tokens : {1, 32, 512}) {
      const std::string name = concat("moe/", format_name(format), "/tokens:", tokens);
      benchmark::RegisterBenchmark(name.c_str(), run_moe, format, tokens)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace sluice::bench
