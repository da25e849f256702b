/// @file
/// The processor: which instruction set the kernels use, and with how many threads.
#ifndef SLUICE_DEVICE_CPU_H_
#define SLUICE_DEVICE_CPU_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// Kernel families, from the least to the most demanding.
enum class Isa {
  kPortable = 0,    ///< what the compiler makes of plain C++
  kAvx2 = 1,        ///< AVX2, FMA, F16C
  kAvx512 = 2,      ///< AVX-512 F, BW, DQ, VL
  kAvx512Bf16 = 3,  ///< the same with bf16 dot products
};

/// The best family that this processor and operating system support.
Isa detect_isa();

/// "portable", "avx2", "avx512", "avx512_bf16".
std::string_view isa_name(Isa isa);

/// The named family (EngineOptions.isa); empty: detect_isa(). Throws INVALID_ARGUMENT for another
/// name and UNSUPPORTED for one that this processor lacks.
Isa select_isa(std::string_view name);

/// What an op needs to know of where it runs. A value; passed to every op.
struct Exec {
  Isa isa = Isa::kPortable;
  int num_threads = 1;  ///< > 0; OpenMP threads of a parallel region. Results never depend on it
};

/// Facts for SystemInfo. `features` lists what matters to kernels, by the names of /proc/cpuinfo.
struct CpuInfo {
  std::string name;
  std::vector<std::string> features;
  int num_cores = 1;
  int64_t memory_bytes = 0;
  int64_t memory_free_bytes = 0;  ///< MemAvailable
};
CpuInfo cpu_info();

/// Bytes of memory that can still be had without swapping; -1 when the system does not tell.
int64_t host_memory_free();

}  // namespace sluice

#endif  // SLUICE_DEVICE_CPU_H_
