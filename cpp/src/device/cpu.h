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

class ThreadPool;
struct CudaExec;

/// What an op needs to know of where it runs. A value; passed to every op.
struct Exec {
  Isa isa = Isa::kPortable;
  int num_threads = 1;         ///< > 0; work is split for so many. Results never depend on it
  ThreadPool* pool = nullptr;  ///< of num_threads threads; nullptr: all on the caller's thread
  /// Set: ops run there, all their pointers are device memory, they return before their work is
  /// done, and what they read may not be changed by the host until it is; see device/cuda.h.
  const CudaExec* cuda = nullptr;
};

/// Facts for SystemInfo. `features` lists what matters to kernels, by the names of /proc/cpuinfo.
struct CpuInfo {
  std::string name;
  std::vector<std::string> features;
  int num_cores = 1;
  int64_t memory_bytes = 0;
  int64_t memory_free_bytes = 0;  ///< host_memory_free()
};
CpuInfo cpu_info();

/// Logical cores that this process may run on.
int num_cores();

/// Bytes of memory that this process can still have without swapping, or being killed by the limit
/// of a control group that it is in; -1 when the system does not tell.
int64_t host_memory_free();

/// Bytes that the limits of the process's control groups (v2 and v1) leave it; -1 without a limit.
/// @param proc   where procfs is mounted
/// @param mount  where the control groups are mounted
int64_t cgroup_memory_free(const std::string& proc, const std::string& mount);

}  // namespace sluice

#endif  // SLUICE_DEVICE_CPU_H_
