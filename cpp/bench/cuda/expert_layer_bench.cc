// A whole layer of experts, from the router's product to the sum of what the experts and the shared
// experts give: beside what reading the weights of the experts that tokens chose must take, and
// multiplying by them.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.h"
#include "device.h"
#include "layers/moe.h"
#include "layers/observer.h"

namespace sluice::bench {
namespace {

struct Shape {
  const char* name;
  int64_t hidden;
  int32_t intermediate;
  int32_t num_experts;
  int32_t per_token;
  int32_t shared;  // columns of the shared experts as one; 0: none
  bool normalize;
};

// Matrices of one kind, random, in several copies that take turns.
class Matrices {
 public:
  Matrices(Format format, int64_t count, int64_t rows, int64_t cols, uint64_t seed)
      : format_(format), rows_(rows), cols_(cols),
        values_(format, count * rows * cols, seed, 1.0f / std::sqrt(static_cast<float>(cols))) {
    SLUICE_CHECK_INTERNAL(bytes_each() % 256 == 0, "matrix of ", bytes_each(), " bytes");
  }
  int64_t bytes_each() const { return format_bytes(format_, rows_ * cols_); }
  int64_t copies() const { return values_.copies(); }
  WeightView at(int64_t i) const {
    return {.format = format_, .layout = WeightLayout::kRowMajor, .data = values_.at(i),
            .rows = rows_, .cols = cols_};
  }

 private:
  Format format_;
  int64_t rows_, cols_;
  Rotation values_;
};

// Counts the experts that the tokens of a step chose.
class ExpertsUsed : public TensorObserver {
 public:
  explicit ExpertsUsed(int32_t num_experts) : num_experts_(num_experts) {}
  bool wants(const std::string& name) const override { return name == "router_idx_0"; }
  void keep(const std::string& /*name*/, const TensorRows& rows) override {
    std::vector<int32_t> experts(static_cast<size_t>(rows.num_rows * rows.cols));
    cuda_copy(device().exec(), experts.data(), rows.data,
              static_cast<int64_t>(experts.size() * sizeof(int32_t)));
    device().synchronize();
    std::vector<bool> used(static_cast<size_t>(num_experts_));
    for (const int32_t expert : experts) used[static_cast<size_t>(expert)] = true;
    count += static_cast<double>(std::count(used.begin(), used.end(), true));
  }
  double count = 0;

 private:
  int32_t num_experts_;
};

void add_layer(const Shape& s, int64_t tokens) {
  add(concat("experts_", s.name, "/t", tokens), [=](benchmark::State& state) {
    MoeSpec spec;
    spec.num_experts = s.num_experts;
    spec.num_experts_per_token = s.per_token;
    spec.expert_intermediate_size = s.intermediate;
    spec.normalize_top_k = s.normalize;
    if (s.shared > 0) spec.shared.emplace().intermediate_size = s.shared;
    const Matrices router(Format::kF32, 1, s.num_experts, s.hidden, 1);
    const Matrices gate_up(Format::kBf16, s.num_experts, 2 * s.intermediate, s.hidden, 2);
    const Matrices down(Format::kBf16, s.num_experts, s.hidden, s.intermediate, 3);
    const int64_t shared = std::max(s.shared, 64);
    const Matrices shared_gate_up(Format::kBf16, 1, 2 * shared, s.hidden, 4);
    const Matrices shared_down(Format::kBf16, 1, s.hidden, shared, 5);
    const auto layer = [&](int64_t i) {
      MoeWeights weights;
      weights.router = router.at(i);
      weights.gate_up = {gate_up.at(i), gate_up.bytes_each()};
      weights.down = {down.at(i), down.bytes_each()};
      if (s.shared > 0) {
        weights.shared.gate_up = shared_gate_up.at(i);
        weights.shared.down = shared_down.at(i);
      }
      return MoeLayer(spec, 0, weights);
    };
    // Other tokens in each launch, so other experts.
    constexpr int64_t kInputs = 16;
    const int64_t values = tokens * s.hidden;
    Buffer x = device_buffer(kInputs * values * 2), residual = device_buffer(values * 4);
    fill_random(Format::kBf16, x.data(), kInputs * values, 6);
    fill_random(Format::kF32, residual.data(), values, 7);
    std::vector<int32_t> slots(static_cast<size_t>(tokens));
    std::iota(slots.begin(), slots.end(), 0);
    const Buffer kv_slots = upload(slots);
    StepBatch batch;  // without `host`, as in a captured step
    batch.num_tokens = tokens;
    batch.kv_slots = reinterpret_cast<const int32_t*>(kv_slots.data());

    const Exec ops = exec();
    LayerTimes times;
    Arena none;
    const LayerContext sizes{ops, fast_gemm(), none, times, Format::kBf16, Numerics::kFast};
    Arena workspace(layer(0).workspace_bytes(sizes, {.max_tokens = tokens}), "bench", nullptr,
                    {MemoryKind::kDevice, 0});
    LayerContext context{ops, fast_gemm(), workspace, times, Format::kBf16, Numerics::kFast};
    context.layer = 0;
    const auto run = [&](int64_t i) {
      layer(i).run(context, batch, {}, x.data() + i % kInputs * values * 2,
                   {reinterpret_cast<float*>(residual.data()), 1e-3f});
    };
    ExpertsUsed used(s.num_experts);
    context.observer = &used;
    for (int64_t i = 0; i < kInputs; ++i) run(i);
    context.observer = nullptr;
    const double touched = used.count / static_cast<double>(kInputs);
    double bytes = touched * static_cast<double>(gate_up.bytes_each() + down.bytes_each()) +
                   static_cast<double>(router.bytes_each());
    if (s.shared > 0) {
      bytes += static_cast<double>(shared_gate_up.bytes_each() + shared_down.bytes_each());
    }
    bytes += static_cast<double>(values) * (2 + 8);  // x read, the residual read and written
    const double flops = 6.0 * static_cast<double>(values) *
                         (static_cast<double>(s.per_token) * s.intermediate + s.shared);
    measure(state, {.bytes = bytes, .flops = flops,
                    .kernel = concat(std::round(touched * 10) / 10, " experts")},
            run);
  });
}

}  // namespace

void register_expert_layers() {
  constexpr Shape kV2Lite{"v2lite", 2048, 1408, 64, 6, 2816, false};
  constexpr Shape kQwen{"qwen30b", 2048, 768, 128, 8, 0, true};
  constexpr Shape kMixtral{"mixtral", 4096, 14336, 8, 2, 0, true};
  for (const Shape& shape : {kV2Lite, kQwen, kMixtral}) {
    for (const int64_t tokens : {1, 8, 32, 64, 128, 1024, 4096}) add_layer(shape, tokens);
  }
}

}  // namespace sluice::bench
