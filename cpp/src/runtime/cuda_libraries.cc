#include "runtime/cuda_libraries.h"

#include <dlfcn.h>
#include <link.h>

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "device/cuda.h"
#include "ops/gemm/cublaslt.h"

namespace sluice {
namespace {

// Both pack a version as major * 10000 + minor * 100 + patch.
struct Candidate {
  const char* name;
  const char* file;
  const char* symbol;
  bool by_pointer;  // int f(int*), else size_t f()
};

constexpr const char* kCublasLt = "cuBLASLt";
constexpr Candidate kCandidates[] = {
    {"cuDNN", "libcudnn.so.9", "cudnnGetVersion", false},
    {"NCCL", "libnccl.so.2", "ncclGetVersion", true},
};

std::string version_of(const Candidate& candidate, void* symbol) {
  int64_t version = 0;
  if (candidate.by_pointer) {
    int value = 0;
    if (reinterpret_cast<int (*)(int*)>(symbol)(&value) != 0) return {};
    version = value;
  } else {
    version = static_cast<int64_t>(reinterpret_cast<size_t (*)()>(symbol)());
  }
  return concat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

CudaLibraryInfo probe(const Candidate& candidate, const std::string& path) {
  CudaLibraryInfo info;
  info.name = candidate.name;
  info.path = path.empty() ? candidate.file : path;
  void* library = dlopen(info.path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    const char* error = dlerror();
    info.problem = error == nullptr ? std::string("not found") : std::string(error);
    return info;
  }
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr) info.path = map->l_name;
  if (void* symbol = dlsym(library, candidate.symbol); symbol != nullptr) {
    info.version = version_of(candidate, symbol);
  } else {
    info.problem = concat(info.path, ": has no ", candidate.symbol);
  }
  dlclose(library);
  return info;
}

}  // namespace

CudaLibraryInfo probe_cuda_library(const std::string& name, const std::string& path) {
  if (name == kCublasLt) {
    // Where products look for it, not only where the linker does.
    const CublasLtInfo cublaslt = probe_cublaslt(path);
    return {kCublasLt, cublaslt.version, cublaslt.path, cublaslt.problem};
  }
  std::string known = kCublasLt;
  for (const Candidate& candidate : kCandidates) {
    if (name == candidate.name) return probe(candidate, path);
    known += concat(", ", candidate.name);
  }
  SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, "name: ", name, " (expected: oneDNN, ", known, ")");
}

std::vector<CudaLibraryInfo> probe_cuda_libraries() {
  std::vector<CudaLibraryInfo> found;
  if constexpr (kCudaBuilt) {
    found.push_back(probe_cuda_library(kCublasLt, ""));
    for (const Candidate& candidate : kCandidates) found.push_back(probe(candidate, ""));
  }
  return found;
}

}  // namespace sluice
