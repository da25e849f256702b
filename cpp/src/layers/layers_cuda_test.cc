// Layers on CUDA: the forms of latent attention against each other, and what a captured step gives
// against the same step enqueued.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "layers/mla.h"
#include "layers/moe.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr int32_t kBlockSize = 16;

// Matrices of random values on the device, one behind the other.
class Weights {
 public:
  Weights(Format format, int64_t count, int64_t rows, int64_t cols, uint64_t seed)
      : Weights(format, count, rows, cols,
                Values::random(Format::kF32, count * rows * cols, seed,
                               1.0f / std::sqrt(static_cast<float>(cols)))) {}
  Weights(Format format, int64_t count, int64_t rows, int64_t cols, const Values& values)
      : stride_(round_up(format_bytes(format, rows * cols), 256)), values_(values) {
    std::vector<char> bytes(static_cast<size_t>(count * stride_));
    for (int64_t m = 0; m < count; ++m) {
      Values one(format, rows * cols);
      for (int64_t i = 0; i < rows * cols; ++i) one.set(i, values.get(m * rows * cols + i));
      std::memcpy(bytes.data() + m * stride_, one.data(), format_bytes(format, rows * cols));
    }
    memory_ = std::make_unique<DeviceBytes>(bytes.data(), count * stride_);
    view_.format = format;
    view_.layout = WeightLayout::kRowMajor;
    view_.data = memory_->data();
    view_.rows = rows;
    view_.cols = cols;
  }
  const WeightView& view() const { return view_; }
  int64_t stride() const { return stride_; }
  const Values& values() const { return values_; }

 private:
  int64_t stride_;
  Values values_;
  std::unique_ptr<DeviceBytes> memory_;
  WeightView view_;
};

// A latent attention layer with its weights.
class Latent {
 public:
  Latent(Format format, int32_t heads, int32_t rank, int32_t nope, int32_t rope, int32_t v,
         int64_t hidden)
      : spec_(make_spec(heads, rank, nope, rope, v)),
        q_b_(format, 1, spec_.q_size(), hidden, 1),
        kv_a_(format, 1, spec_.latent_size(), hidden, 2),
        kv_b_(format, 1, int64_t{heads} * (nope + v), rank, 3),
        uk_(format, heads, rank, nope, part(true)),
        uv_(format, heads, v, rank, part(false)),
        o_(format, 1, hidden, spec_.o_size(), 4),
        norm_(std::vector<float>(static_cast<size_t>(rank), 0.9f)) {
    weights_.q_b = q_b_.view();
    weights_.kv_a = kv_a_.view();
    weights_.kv_a_norm.weight = norm_.get();
    weights_.kv_b = kv_b_.view();
    weights_.absorbed.uk = {uk_.view(), heads, uk_.stride()};
    weights_.absorbed.uv = {uv_.view(), heads, uv_.stride()};
    weights_.o = o_.view();
    layer_ = std::make_unique<MlaLayer>(spec_, 0, 0, weights_);
  }
  const MlaSpec& spec() const { return spec_; }
  const MlaLayer& layer() const { return *layer_; }

 private:
  static MlaSpec make_spec(int32_t heads, int32_t rank, int32_t nope, int32_t rope, int32_t v) {
    MlaSpec spec;
    spec.num_q_heads = heads;
    spec.kv_lora_rank = rank;
    spec.qk_nope_head_dim = nope;
    spec.qk_rope_head_dim = rope;
    spec.v_head_dim = v;
    spec.rope = 0;
    spec.softmax_scale = 1.0f / std::sqrt(static_cast<float>(nope + rope));
    spec.kv_a_norm.emplace();
    spec.kv_a_norm->eps = 1e-6;
    return spec;
  }
  // The key rows transposed, or the value rows, head by head.
  Values part(bool keys) const {
    const int64_t rank = spec_.kv_lora_rank, nope = spec_.qk_nope_head_dim, v = spec_.v_head_dim;
    const int64_t size = keys ? nope : v;
    Values out(Format::kF32, spec_.num_q_heads * size * rank);
    for (int64_t h = 0; h < spec_.num_q_heads; ++h) {
      for (int64_t i = 0; i < size; ++i) {
        for (int64_t r = 0; r < rank; ++r) {
          const int64_t row = h * (nope + v) + (keys ? i : nope + i);
          const int64_t to = keys ? r * nope + i : i * rank + r;
          out.set(h * size * rank + to, kv_b_.values().get(row * rank + r));
        }
      }
    }
    return out;
  }

  MlaSpec spec_;
  Weights q_b_, kv_a_, kv_b_, uk_, uv_, o_;
  DeviceArray<float> norm_;
  MlaWeights weights_;
  std::unique_ptr<MlaLayer> layer_;
};

struct Sequence {
  int32_t prefix;
  int32_t tokens;
};

// The arrays of a step on the host and on the device; sequence s has seq_slot s and its blocks from
// the top of the cache down.
struct Step {
  Step(const std::vector<Sequence>& sequences, int32_t rotary_dim, int64_t padding = 0) {
    int64_t blocks = 0;
    for (const Sequence& s : sequences) {
      stride = std::max(stride, ceil_div(s.prefix + s.tokens, kBlockSize));
      blocks += ceil_div(s.prefix + s.tokens, kBlockSize);
    }
    num_blocks = blocks;
    host_start.push_back(0);
    for (const Sequence& s : sequences) {
      std::vector<int32_t> table(static_cast<size_t>(stride), -1);
      for (int64_t i = 0; i < ceil_div(s.prefix + s.tokens, kBlockSize); ++i) {
        table[static_cast<size_t>(i)] = static_cast<int32_t>(--blocks);
      }
      for (int32_t p = s.prefix; p < s.prefix + s.tokens; ++p) {
        host_positions.push_back(p);
        slots.push_back(table[static_cast<size_t>(p / kBlockSize)] * kBlockSize + p % kBlockSize);
      }
      host_start.push_back(static_cast<int32_t>(host_positions.size()));
      host_context.push_back(s.prefix + s.tokens);
      tables.insert(tables.end(), table.begin(), table.end());
      longest_query = std::max<int64_t>(longest_query, s.tokens);
      longest_context = std::max<int64_t>(longest_context, s.prefix + s.tokens);
    }
    for (int64_t i = 0; i < padding; ++i) {  // sequences of one token that see nothing
      host_positions.push_back(0);
      slots.push_back(-1);
      host_start.push_back(host_start.back() + 1);
      host_context.push_back(0);
      tables.insert(tables.end(), static_cast<size_t>(stride), -1);
    }
    seq_slots.resize(host_context.size());
    std::iota(seq_slots.begin(), seq_slots.end(), 0);
    positions = std::make_unique<DeviceArray<int32_t>>(host_positions);
    start = std::make_unique<DeviceArray<int32_t>>(host_start);
    context = std::make_unique<DeviceArray<int32_t>>(host_context);
    device_slots = std::make_unique<DeviceArray<int32_t>>(slots);
    device_seq_slots = std::make_unique<DeviceArray<int32_t>>(seq_slots);
    device_tables = std::make_unique<DeviceArray<int32_t>>(tables);
    table_starts[0] = device_tables->get();
    std::vector<float> angles;
    for (size_t i = 0; i < host_positions.size() * static_cast<size_t>(rotary_dim / 2); ++i) {
      angles.push_back(0.1f * static_cast<float>(i % 977));
    }
    std::vector<float> turn = angles;
    std::transform(angles.begin(), angles.end(), turn.begin(), [](float a) { return std::cos(a); });
    cos = std::make_unique<DeviceArray<float>>(turn);
    std::transform(angles.begin(), angles.end(), turn.begin(), [](float a) { return std::sin(a); });
    sin = std::make_unique<DeviceArray<float>>(turn);
    rope = {rotary_dim, true, cos->get(), sin->get()};
    host = {host_positions.data(), host_start.data(), host_context.data()};
  }

  int64_t tokens() const { return static_cast<int64_t>(host_positions.size()); }
  StepBatch batch(bool captured) const {
    StepBatch out;
    out.num_tokens = tokens();
    out.num_sequences = static_cast<int32_t>(host_context.size());
    out.positions = positions->get();
    out.query_start = start->get();
    out.context_len = context->get();
    out.seq_slots = device_seq_slots->get();
    out.kv_slots = device_slots->get();
    out.block_tables = table_starts;
    out.block_table_stride = stride;
    out.ropes = {&rope, 1};
    out.host = captured ? nullptr : &host;
    out.longest_context = longest_context;
    out.longest_query = longest_query;
    return out;
  }

  int64_t stride = 0, num_blocks = 0, longest_query = 1, longest_context = 1;
  std::vector<int32_t> host_positions, host_start, host_context, slots, seq_slots, tables;
  std::unique_ptr<DeviceArray<int32_t>> positions, start, context, device_slots, device_seq_slots,
      device_tables;
  const int32_t* table_starts[1];
  std::unique_ptr<DeviceArray<float>> cos, sin;
  RopeAngles rope;
  HostBatch host;
};

// Where layers run, with memory for what `layer` takes.
struct Runner {
  explicit Runner(Format format, Numerics numerics = Numerics::kBatchInvariant)
      : gemm(options()),
        context{exec, gemm, arena, times, format, numerics} {}
  template <typename Layer>
  void reserve(const Layer& layer, const BatchLimits& limits) {
    arena = Arena(layer.workspace_bytes(context, limits), "workspace", nullptr,
                  {MemoryKind::kDevice, 0});
  }
  static GemmOptions options() {
    GemmOptions out;
    out.cuda_device = 0;
    out.numerics = Numerics::kBatchInvariant;
    return out;
  }
  Exec exec = cuda_exec();
  Gemm gemm;
  Arena arena;
  LayerTimes times;
  LayerContext context;
};

// A cache of random rows: the prefixes.
class Cache {
 public:
  Cache(Format format, int64_t num_blocks, int32_t dim)
      : values_(Values::random(format, num_blocks * kBlockSize * dim, 9, 0.8f)),
        memory_(on_device(values_, num_blocks * kBlockSize * dim)) {
    view_.v = memory_.data();
    view_.format = format;
    view_.layout = KvLayout::kRows;
    view_.num_blocks = num_blocks;
    view_.block_size = kBlockSize;
    view_.num_kv_heads = 1;
    view_.v_dim = dim;
    view_.v_block_stride = kv_block_bytes(format, kBlockSize, 1, dim);
  }
  const KvCacheView& view() const { return view_; }
  void reset() { memory_.upload(values_.data()); }

 private:
  Values values_;
  DeviceBytes memory_;
  KvCacheView view_;
};

constexpr int64_t kHidden = 128;

Values run_latent(const Latent& latent, const Step& step, Cache& cache, Format format,
                  Numerics numerics) {
  Runner runner(format, numerics);
  runner.reserve(latent.layer(), {step.tokens(), static_cast<int32_t>(step.host_context.size()),
                                  step.longest_context});
  const Values x = Values::random(format, step.tokens() * kHidden, 10);
  const DeviceBytes device_x = on_device(x, step.tokens() * kHidden);
  Values zero(Format::kF32, step.tokens() * kHidden);
  for (int64_t i = 0; i < step.tokens() * kHidden; ++i) zero.set(i, 0);
  const DeviceBytes residual = on_device(zero, step.tokens() * kHidden);
  cache.reset();
  latent.layer().run(runner.context, step.batch(false), cache.view(), {}, device_x.data(),
                     {static_cast<float*>(residual.data()), 1});
  return on_host(residual, Format::kF32, step.tokens() * kHidden);
}

void expect_forms_agree(Format format, const Latent& latent, const std::vector<Sequence>& sequences,
                        double tolerance) {
  const Step step(sequences, latent.spec().qk_rope_head_dim);
  Cache cache(format, step.num_blocks, static_cast<int32_t>(latent.spec().latent_size()));
  const Values absorbed = run_latent(latent, step, cache, format, Numerics::kBatchInvariant);
  const Values fast = run_latent(latent, step, cache, format, Numerics::kFast);
  double norm = 0, error = 0;
  for (int64_t i = 0; i < step.tokens() * kHidden; ++i) {
    ASSERT_TRUE(std::isfinite(absorbed.get(i))) << i;
    norm += std::pow(absorbed.get(i), 2);
    error += std::pow(fast.get(i) - absorbed.get(i), 2);
  }
  EXPECT_LT(std::sqrt(error / norm), tolerance);
  EXPECT_FALSE(fast == absorbed) << "the decompressed form has not run";
}

TEST(CudaLatent, FormsAgree) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    SCOPED_TRACE(format_name(format));
    const double tolerance = format == Format::kF32 ? 1e-5 : 2e-2;
    const Latent small(format, 4, 64, 24, 16, 40, kHidden);
    const Latent lite(format, 16, 512, 128, 64, 128, kHidden);
    // Decodes, chunks behind prefixes that end inside a block, whole prompts.
    for (const Latent* latent : {&small, &lite}) {
      expect_forms_agree(format, *latent, {{129, 1}, {70, 25}, {0, 200}, {5, 1}, {0, 64}},
                         tolerance);
      expect_forms_agree(format, *latent, {{0, 77}}, tolerance);
    }
  }
}

// Keys of more than one piece, put together by their log-sum-exps.
TEST(CudaLatent, FormsAgreeOverPieces) {
  const Latent latent(Format::kF32, 2, 32, 16, 16, 16, kHidden);
  expect_forms_agree(Format::kF32, latent, {{33000, 20}, {65530, 40}}, 1e-5);
}

// Steps of the same shape give by one graph what they give enqueued one by one.
template <typename Run>
int64_t expect_graph_is_eager(const DeviceBytes& residual, int64_t count, const Run& run) {
  const CudaExec& exec = cuda_device().exec();
  cuda_fill(exec, residual.data(), 0, count * 4);
  run(false);
  const Values eager = on_host(residual, Format::kF32, count);
  CudaGraph::begin_capture(exec);
  run(true);
  const CudaGraph graph = CudaGraph::end_capture(exec);
  for (int repeat = 0; repeat < 2; ++repeat) {
    cuda_fill(exec, residual.data(), 0, count * 4);
    graph.launch(exec);
    EXPECT_TRUE(on_host(residual, Format::kF32, count) == eager);
  }
  for (int64_t i = 0; i < count; ++i) EXPECT_TRUE(std::isfinite(eager.get(i)));
  return graph.num_nodes();
}

TEST(CudaLatent, DecodeIsCaptured) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Numerics numerics : {Numerics::kFast, Numerics::kBatchInvariant}) {
      const Latent latent(format, 16, 512, 128, 64, 128, kHidden);
      const Step step({{129, 1}, {700, 1}, {0, 1}}, 64, 1);
      Cache cache(format, step.num_blocks, 576);
      Runner runner(format, numerics);
      runner.reserve(latent.layer(), {4, 4, 1024});
      const DeviceBytes x = on_device(Values::random(format, 4 * kHidden, 11), 4 * kHidden);
      const DeviceBytes residual(4 * kHidden * 4);
      const int64_t nodes = expect_graph_is_eager(residual, 4 * kHidden, [&](bool captured) {
        latent.layer().run(runner.context, step.batch(captured), cache.view(), {}, x.data(),
                           {static_cast<float*>(residual.data()), 1});
      });
      std::printf("latent attention, %s: %lld nodes\n", std::string(format_name(format)).c_str(),
                  static_cast<long long>(nodes));
    }
  }
}

TEST(CudaExperts, DecodeIsCaptured) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    MoeSpec spec;
    spec.num_experts = 16;
    spec.num_experts_per_token = 3;
    spec.expert_intermediate_size = 96;
    spec.shared.emplace();
    spec.shared->intermediate_size = 160;
    const Weights router(Format::kF32, 1, 16, kHidden, 1), gate_up(format, 16, 192, kHidden, 2);
    const Weights down(format, 16, kHidden, 96, 3), shared_up(format, 1, 320, kHidden, 4);
    const Weights shared_down(format, 1, kHidden, 160, 5), gate(Format::kF32, 1, 1, kHidden, 6);
    MoeWeights weights;
    weights.router = router.view();
    weights.gate_up = {gate_up.view(), gate_up.stride()};
    weights.down = {down.view(), down.stride()};
    weights.shared.gate_up = shared_up.view();
    weights.shared.down = shared_down.view();
    weights.shared_gate = gate.view();
    for (const bool scaled : {false, true}) {
      spec.scale_input = spec.shared_gate = scaled;
      const MoeLayer layer(spec, 0, weights);
      const Step step({{3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}}, 16);
      Runner runner(format);
      runner.reserve(layer, {5, 5, 64});
      const DeviceArray<int32_t> counts(std::vector<int32_t>(16, 0));
      runner.context.expert_counts = counts.get();
      const DeviceBytes x = on_device(Values::random(format, 5 * kHidden, 12), 5 * kHidden);
      const DeviceBytes residual(5 * kHidden * 4);
      const int64_t nodes = expect_graph_is_eager(residual, 5 * kHidden, [&](bool captured) {
        layer.run(runner.context, step.batch(captured), {}, x.data(),
                  {static_cast<float*>(residual.data()), 1});
      });
      const std::vector<int32_t> counted = counts.host();
      EXPECT_EQ(std::accumulate(counted.begin(), counted.end(), 0), 3 * 5 * 3);  // three runs
      std::printf("experts, %s%s: %lld nodes\n", std::string(format_name(format)).c_str(),
                  scaled ? ", scaled and gated" : "", static_cast<long long>(nodes));
    }
  }
}

}  // namespace
}  // namespace sluice
