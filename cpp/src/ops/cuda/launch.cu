#include "ops/cuda/launch.h"

#include <map>
#include <utility>

namespace sluice::cuda {

void allow_most_shared(const void* kernel, int64_t bytes, const char* what) {
  int device = 0;
  SLUICE_CUDA_CHECK(cudaGetDevice(&device), what);
  // Of this thread: an engine launches from one, and nothing needs a lock.
  thread_local std::map<std::pair<const void*, int>, int64_t> limits;
  int64_t& limit = limits[{kernel, device}];
  if (limit == 0) {
    cudaFuncAttributes attributes{};
    SLUICE_CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel), what);
    int most = 0;
    SLUICE_CUDA_CHECK(
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), what);
    const int64_t dynamic = most - static_cast<int64_t>(attributes.sharedSizeBytes);
    SLUICE_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(dynamic)),
                      what, ": ", dynamic, " bytes of shared memory");
    limit = dynamic;
  }
  SLUICE_CHECK_INTERNAL(bytes <= limit, what, ": ", bytes,
                        " bytes of shared memory (expected: at most ", limit, ")");
}

}  // namespace sluice::cuda
