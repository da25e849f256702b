#include "device/cpu.h"

#include <sched.h>

#include <array>
#include <fstream>

#include "base/error.h"

namespace sluice {
namespace {

constexpr std::array<Isa, 4> kIsas{Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

// Value in kB of a line of /proc/meminfo, as bytes; -1 when absent.
int64_t meminfo_bytes(std::string_view key) {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  int64_t kilobytes = 0;
  while (file >> name >> kilobytes) {
    std::getline(file, unit);
    if (name == key) return kilobytes * 1024;
  }
  return -1;
}

}  // namespace

Isa detect_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::kPortable;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return Isa::kAvx2;
  }
  return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512;
#else
  return Isa::kPortable;
#endif
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kPortable: return "portable";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx512Bf16: return "avx512_bf16";
  }
  SLUICE_FAIL(SLUICE_STATUS_INTERNAL, "isa: ", static_cast<int>(isa));
}

Isa select_isa(std::string_view name) {
  const Isa best = detect_isa();
  if (name.empty()) return best;
  for (const Isa isa : kIsas) {
    if (isa_name(isa) != name) continue;
    SLUICE_CHECK(isa <= best, SLUICE_STATUS_UNSUPPORTED, "isa: ", name,
                 " (expected: at most ", isa_name(best), " on this processor)");
    return isa;
  }
  SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, "isa: ", name,
              " (expected: portable, avx2, avx512 or avx512_bf16)");
}

int64_t host_memory_free() { return meminfo_bytes("MemAvailable:"); }

CpuInfo cpu_info() {
  CpuInfo info;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) info.num_cores = CPU_COUNT(&set);
  info.memory_bytes = meminfo_bytes("MemTotal:");
  info.memory_free_bytes = host_memory_free();
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) info.name = line.substr(colon + 2);
    break;
  }
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) info.features.push_back("avx2");
  if (__builtin_cpu_supports("fma")) info.features.push_back("fma");
  if (__builtin_cpu_supports("avx512f")) info.features.push_back("avx512f");
  if (__builtin_cpu_supports("avx512bw")) info.features.push_back("avx512bw");
  if (__builtin_cpu_supports("avx512dq")) info.features.push_back("avx512dq");
  if (__builtin_cpu_supports("avx512vl")) info.features.push_back("avx512vl");
  if (__builtin_cpu_supports("avx512vnni")) info.features.push_back("avx512_vnni");
  if (__builtin_cpu_supports("avx512bf16")) info.features.push_back("avx512_bf16");
#endif
  return info;
}

}  // namespace sluice
