// Products: dense ones of decode and prefill, and those of experts with SwiGLU done in them.
#include <algorithm>
#include <optional>
#include <random>
#include <string>

#include "base/error.h"
#include "device.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/product_cuda.h"
#include "ops/grouped_gemm/grouped_gemm.h"

namespace sluice::bench {
namespace {

void add_dense(const std::string& kind, int64_t rows, int64_t outputs, int64_t inputs) {
  add(concat("gemm_", kind, "/m", rows), [=](benchmark::State& state) {
    Rotation w(Format::kBf16, outputs * inputs, 1, 0.02f);
    Rotation x(Format::kBf16, rows * inputs, 2);
    Buffer y = device_buffer(rows * outputs * 2);
    Gemm& gemm = fast_gemm();
    Buffer workspace =
        device_buffer(std::max<int64_t>(64, gemm.workspace_bytes(rows, outputs, inputs)));
    const Exec ops = exec();
    auto params = [&](int64_t i) {
      return GemmParams{.num_rows = rows,
                        .x = x.at(i),
                        .x_format = Format::kBf16,
                        .x_stride = inputs,
                        .w = {.format = Format::kBf16, .layout = WeightLayout::kRowMajor,
                              .data = w.at(i), .rows = outputs, .cols = inputs},
                        .y = y.data(),
                        .y_format = Format::kBf16,
                        .y_stride = outputs};
    };
    measure(state,
            {.bytes = 2.0 * static_cast<double>(outputs * inputs + rows * (inputs + outputs)),
             .flops = 2.0 * static_cast<double>(rows) * static_cast<double>(outputs * inputs),
             .kernel = gemm.variant(ops, params(0))},
            [&](int64_t i) { gemm.run(ops, params(i), workspace.data(), workspace.size()); });
  });
}

struct Experts {
  const char* name;
  int64_t hidden;
  int64_t intermediate;
  int32_t num_experts;
  int32_t per_token;
};

// Rows of each expert when every token goes to `per_token` different ones, chosen evenly.
std::vector<int32_t> expert_offsets(const Experts& e, int64_t tokens) {
  std::mt19937_64 random(17);
  std::vector<int32_t> counts(static_cast<size_t>(e.num_experts)), order(counts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int32_t k = 0; k < e.per_token; ++k) {
      const auto other = static_cast<size_t>(k) + random() % (order.size() - static_cast<size_t>(k));
      std::swap(order[static_cast<size_t>(k)], order[other]);
      ++counts[static_cast<size_t>(order[static_cast<size_t>(k)])];
    }
  }
  std::vector<int32_t> offsets{0};
  for (const int32_t count : counts) offsets.push_back(offsets.back() + count);
  return offsets;
}

// up: gate and up in one product with SwiGLU, rows gathered from the tokens; else down. With a kernel,
// that one and not what the op would choose.
void add_grouped(const Experts& e, int64_t tokens, bool up,
                 std::optional<cuda::ProductKernel> kernel = std::nullopt) {
  std::string name = concat("grouped_", e.name, up ? "_up" : "_down", "/t", tokens);
  if (kernel) name = concat("by_kernel/", name, "/", cuda::kernel_name(*kernel));
  add(name, [=](benchmark::State& state) {
    const int64_t rows = tokens * e.per_token;
    const int64_t inputs = up ? e.hidden : e.intermediate;
    const int64_t outputs = up ? 2 * e.intermediate : e.hidden;
    const int64_t results = up ? e.intermediate : e.hidden;
    const std::vector<int32_t> offsets = expert_offsets(e, tokens);
    int64_t touched = 0;
    for (size_t i = 0; i + 1 < offsets.size(); ++i) touched += offsets[i + 1] > offsets[i] ? 1 : 0;
    const int64_t expert_bytes = (outputs * inputs * 2 + 255) / 256 * 256;
    Rotation w(Format::kBf16, e.num_experts * expert_bytes / 2, 1, 0.02f);
    Rotation x(Format::kBf16, (up ? tokens : rows) * inputs, 2);
    std::vector<int32_t> index(static_cast<size_t>(rows));
    for (int64_t r = 0; r < rows; ++r) index[static_cast<size_t>(r)] = static_cast<int32_t>(r % tokens);
    Buffer d_offsets = upload(offsets), d_index = upload(index);
    Buffer y = device_buffer(rows * results * 4);
    const Exec ops = exec();
    auto params = [&](int64_t i) {
      GroupedGemmParams p;
      p.num_experts = e.num_experts;
      p.expert_offsets = reinterpret_cast<const int32_t*>(d_offsets.data());
      p.max_rows = rows;
      p.x = x.at(i);
      p.x_format = Format::kBf16;
      p.x_stride = inputs;
      p.row_index = up ? reinterpret_cast<const int32_t*>(d_index.data()) : nullptr;
      p.w = {.format = Format::kBf16, .layout = WeightLayout::kRowMajor, .data = w.at(i),
             .rows = outputs, .cols = inputs};
      p.expert_bytes = expert_bytes;
      if (up) p.activation = GroupedActivation{};
      p.y = y.data();
      p.y_format = up ? Format::kBf16 : Format::kF32;
      p.y_stride = results;
      p.numerics = Numerics::kFast;
      return p;
    };
    const double moved = 2.0 * static_cast<double>(touched * outputs * inputs) +
                         2.0 * static_cast<double>((up ? tokens : rows) * inputs) +
                         (up ? 2.0 : 4.0) * static_cast<double>(rows * results);
    measure(state,
            {.bytes = moved,
             .flops = 2.0 * static_cast<double>(rows) * static_cast<double>(outputs * inputs),
             .kernel = cuda::kernel_name(kernel.value_or(
                 cuda::choose_kernel(*ops.cuda, cuda::product_of(params(0)))))},
            [&](int64_t i) {
              if (kernel) {
                cuda::product(*ops.cuda, cuda::product_of(params(i)), *kernel);
              } else {
                grouped_gemm(ops, params(i));
              }
            });
  });
}

}  // namespace

void register_gemm() {
  add_dense("8192x8192", 8192, 8192, 8192);
  for (const int64_t rows : {1, 8, 64, 4096}) {
    add_dense("2048x2048", rows, 2048, 2048);      // an output projection of V2-Lite
    add_dense("6144x4096", rows, 6144, 4096);      // queries, keys and values of Llama-3-8B
    add_dense("28672x4096", rows, 28672, 4096);    // its gate and up
    add_dense("102400x2048", rows, 102400, 2048);  // V2-Lite's vocabulary
  }
  constexpr Experts kV2Lite{"v2lite", 2048, 1408, 64, 6};
  constexpr Experts kQwen{"qwen30b", 2048, 768, 128, 8};
  constexpr Experts kMixtral{"mixtral", 4096, 14336, 8, 2};
  for (const bool up : {true, false}) {
    for (const int64_t tokens : {1, 8, 64, 128, 1024, 4096}) {
      add_grouped(kV2Lite, tokens, up);
      add_grouped(kQwen, tokens, up);
      add_grouped(kMixtral, tokens, up);
    }
  }
  // Where one kernel takes over from another.
  using Kernel = cuda::ProductKernel;
  for (const Experts& experts : {kV2Lite, kQwen, kMixtral}) {
    for (const bool up : {true, false}) {
      for (const int64_t tokens : {1, 4, 8, 16, 32, 64, 128, 256, 512}) {
        for (const Kernel kernel : {Kernel::kBf16Stream, Kernel::kBf16Tile, Kernel::kBf16Wgmma}) {
          add_grouped(experts, tokens, up, kernel);
        }
      }
    }
  }
}

}  // namespace sluice::bench
