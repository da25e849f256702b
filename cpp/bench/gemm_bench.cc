#include "base/error.h"
#include "machine.h"
#include "ops/gemm/gemm.h"

namespace sluice::bench {
namespace {

void run_gemm(benchmark::State& state, Format format, Numerics numerics, int64_t rows,
              int64_t outputs, int64_t inputs) {
  const Exec& exec = settings().exec;
  Gemm gemm({.onednn_path = SLUICE_BENCH_ONEDNN_PATH,
             .numerics = numerics,
             .num_threads = exec.num_threads});
  const int64_t weight_bytes = packed_bytes(format, WeightLayout::kPanel64, outputs, inputs);
  Rotation weights(format, weight_bytes);
  Buffer x(format_bytes(format, rows * inputs), "x");
  Buffer y(format_bytes(Format::kF32, rows * outputs), "y");
  Buffer workspace(gemm.workspace_bytes(rows, outputs, inputs), "workspace");
  fill_random(format, x.data(), rows * inputs, 3);
  GemmParams p{.num_rows = rows,
               .x = x.data(),
               .x_format = format,
               .x_stride = inputs,
               .w = {.format = format, .rows = outputs, .cols = inputs},
               .y = y.data(),
               .y_stride = outputs};
  for (auto _ : state) {
    p.w.data = weights.next();
    gemm.run(exec, p, workspace.data(), workspace.size());
  }
  state.SetLabel(gemm.variant(exec, p));
  if (rows <= 8) {
    report_bytes(state, static_cast<double>(weight_bytes));
  } else {
    report_flops(state, 2.0 * static_cast<double>(rows * outputs * inputs), format);
  }
}

}  // namespace

void register_gemm() {
  struct Shape {
    int64_t outputs, inputs;
  };
  // The products of SmolLM2-135M (QKV, O, gate and up, down, head) and one of a larger model.
  const Shape shapes[] = {{960, 576},  {576, 576},   {3072, 576},
                          {576, 1536}, {49152, 576}, {4096, 4096}};
  for (const Format format : {Format::kBf16, Format::kF32}) {
    for (const int64_t rows : {1, 2, 4, 8, 16, 32, 128, 512}) {
      for (const Shape& shape : shapes) {
        if (shape.outputs > 10000 && rows > 16) continue;
        for (const Numerics numerics : {Numerics::kFast, Numerics::kBatchInvariant}) {
          if (rows < 32 && numerics == Numerics::kBatchInvariant) continue;  // the same kernel
          const std::string name = concat("gemm/", format_name(format), "/",
                                          numerics == Numerics::kFast ? "fast" : "invariant",
                                          "/rows:", rows, "/", shape.outputs, "x", shape.inputs);
          benchmark::RegisterBenchmark(name.c_str(), run_gemm, format, numerics, rows,
                                       shape.outputs, shape.inputs)
              ->UseRealTime();
        }
      }
    }
  }
}

}  // namespace sluice::bench
