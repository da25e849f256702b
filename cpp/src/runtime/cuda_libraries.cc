#include "runtime/cuda_libraries.h"

#include <dlfcn.h>
#include <link.h>

#include "base/error.h"
#include "device/cuda.h"
#include "ops/attention/cudnn_library.h"
#include "ops/gemm/cublaslt.h"

namespace sluice {
namespace {

constexpr const char* kCublasLt = "cuBLASLt";
constexpr const char* kCudnn = "cuDNN";
constexpr const char* kNccl = "NCCL";

CudaLibraryInfo probe_nccl(const std::string& path) {
  CudaLibraryInfo info;
  info.name = kNccl;
  info.path = path.empty() ? "libnccl.so.2" : path;
  void* library = dlopen(info.path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    const char* error = dlerror();
    info.problem = error == nullptr ? std::string("not found") : std::string(error);
    return info;
  }
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr) info.path = map->l_name;
  int number = 0;
  void* symbol = dlsym(library, "ncclGetVersion");
  if (symbol == nullptr) {
    info.problem = concat(info.path, ": has no ncclGetVersion");
  } else if (reinterpret_cast<int (*)(int*)>(symbol)(&number) == 0) {
    info.version = concat(number / 10000, ".", number / 100 % 100, ".", number % 100);
  }
  dlclose(library);
  return info;
}

}  // namespace

// Where ops look for them, not only where the linker does.
CudaLibraryInfo probe_cuda_library(const std::string& name, const std::string& path) {
  if (name == kCublasLt) {
    const CublasLtInfo found = probe_cublaslt(path);
    return {kCublasLt, found.version, found.path, found.problem};
  }
  if (name == kCudnn) {
    const CudnnInfo found = probe_cudnn(path);
    return {kCudnn, found.version, found.path, found.problem};
  }
  if (name == kNccl) return probe_nccl(path);
  SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, "name: ", name, " (expected: oneDNN, ", kCublasLt,
              ", ", kCudnn, ", ", kNccl, ")");
}

std::vector<CudaLibraryInfo> probe_cuda_libraries() {
  std::vector<CudaLibraryInfo> found;
  if constexpr (kCudaBuilt) {
    for (const char* name : {kCublasLt, kCudnn, kNccl}) found.push_back(probe_cuda_library(name, ""));
  }
  return found;
}

}  // namespace sluice
