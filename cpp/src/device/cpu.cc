#include "device/cpu.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
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

// The number that a file of a cgroup holds; -1 when there is none: "max", or no such file.
int64_t read_bytes(const std::string& path) {
  std::ifstream file(path);
  int64_t bytes = -1;
  return file >> bytes ? bytes : -1;
}

// Cached pages of files by a cgroup's memory.stat; 0 when it does not tell.
int64_t file_bytes(const std::string& path, const std::string& prefix) {
  std::ifstream file(path);
  std::string name;
  int64_t bytes = 0;
  int64_t total = 0;
  while (file >> name >> bytes) {
    if (name == prefix + "inactive_file" || name == prefix + "active_file") total += bytes;
  }
  return total;
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

int64_t cgroup_memory_free(const std::string& proc, const std::string& mount) {
  int64_t least = -1;
  std::ifstream file(proc + "/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    // "0::/path" for v2, "5:cpu,memory:/path" for a v1 hierarchy.
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = concat(",", line.substr(first + 1, second - first - 1), ",");
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(",memory,") == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    // A limit of any ancestor holds. In a container the path may be the host's, which is not
    // mounted: what is missing has no limit, and the root of the mount is looked at in any case.
    while (true) {
      if (path == "/") path.clear();
      const std::string folder = concat(mount, unified ? "" : "/memory", path, "/memory.");
      const int64_t limit = read_bytes(folder + (unified ? "max" : "limit_in_bytes"));
      const int64_t used = read_bytes(folder + (unified ? "current" : "usage_in_bytes"));
      // Pages of files that the system gives back when memory is wanted count as used there.
      const int64_t reclaimable = file_bytes(folder + "stat", unified ? "" : "total_");
      if (limit >= 0 && used >= 0) {
        const int64_t free = std::max<int64_t>(0, limit - std::max<int64_t>(0, used - reclaimable));
        least = least < 0 ? free : std::min(least, free);
      }
      if (path.empty() || path[0] != '/') break;
      path.resize(path.find_last_of('/'));
    }
  }
  return least;
}

int64_t host_memory_free() {
  const int64_t host = meminfo_bytes("MemAvailable:");
  const int64_t group = cgroup_memory_free("/proc", "/sys/fs/cgroup");
  return group < 0 ? host : host < 0 ? group : std::min(host, group);
}

int num_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  // A machine with more cores than the set has room for.
  return std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

CpuInfo cpu_info() {
  CpuInfo info;
  info.num_cores = num_cores();
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
