// Times of every op beside the limits of this machine, which the same run measures first.
//   ops_bench [--threads=N] [--isa=NAME] [Google Benchmark's own options]
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "machine.h"

int main(int argc, char** argv) {
  using namespace sluice;
  using namespace sluice::bench;
  try {
    settings().exec = {detect_isa(), cpu_info().num_cores};
    int kept = 1;
    for (int i = 1; i < argc; ++i) {
      if (std::strncmp(argv[i], "--threads=", 10) == 0) {
        settings().exec.num_threads = std::atoi(argv[i] + 10);
        SLUICE_CHECK_ARG(settings().exec.num_threads > 0, "--threads: ", argv[i] + 10,
                         " (expected: 1 or more)");
      } else if (std::strncmp(argv[i], "--isa=", 6) == 0) {
        settings().exec.isa = select_isa(argv[i] + 6);
      } else {
        argv[kept++] = argv[i];
      }
    }
    argc = kept;
    settings().pool = std::make_unique<ThreadPool>(settings().exec.num_threads);
    settings().exec.pool = settings().pool.get();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    measure_machine();
    benchmark::AddCustomContext("processor", cpu_info().name);
    benchmark::AddCustomContext("isa", std::string(isa_name(settings().exec.isa)));
    benchmark::AddCustomContext("threads", concat(settings().exec.num_threads));
    benchmark::AddCustomContext("read_bandwidth_GB/s", concat(machine().read_bandwidth * 1e-9));
    benchmark::AddCustomContext("bf16_GFLOP/s", concat(machine().bf16_flops * 1e-9));
    benchmark::AddCustomContext("f32_GFLOP/s", concat(machine().f32_flops * 1e-9));
    register_gemm();
    register_attention();
    register_adaptive();
    register_mla();
    register_moe();
    register_rows();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
