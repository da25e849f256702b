// Times of every CUDA op beside the limits of the device, which the same run measures first.
//   cuda_bench [Google Benchmark's own options]
#include <cstdio>

#include "base/error.h"
#include "device.h"

int main(int argc, char** argv) {
  using namespace sluice;
  using namespace sluice::bench;
  try {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    const CudaInfo info = cuda_info();
    SLUICE_CHECK(info.problem.empty(), SLUICE_STATUS_UNSUPPORTED, "cuda_bench: ", info.problem);
    measure_copy();
    try {
      measure_products();
    } catch (const Error& error) {
      // The rows that move bytes are worth having; the others' floors then lack a term, visibly.
      std::fprintf(stderr, "rate of products not measured, floors are of bytes alone: %s\n",
                   error.what());
    }
    benchmark::AddCustomContext("device", info.devices.front().name);
    benchmark::AddCustomContext("copy_GB/s", concat(limits().copy_bandwidth * 1e-9));
    benchmark::AddCustomContext("bf16_TFLOP/s", concat(limits().bf16_flops * 1e-12));
    register_attention();
    register_gemm();
    register_adaptive();
    register_moe();
    register_expert_layers();
    register_rows();
    register_load();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
