/// @file
/// Errors of CUDA's runtime as Errors. For the sources that include CUDA's headers.
#ifndef SLUICE_DEVICE_CUDA_CHECK_H_
#define SLUICE_DEVICE_CUDA_CHECK_H_

#include <cuda_runtime.h>

#include "base/error.h"
#include "device/cuda.h"

namespace sluice {

/// Throws the Error for a failed call: OUT_OF_DEVICE_MEMORY, UNSUPPORTED for a missing or old
/// driver, DEVICE_LOST for faults that stick, INTERNAL for the rest.
[[noreturn]] void throw_cuda_error(cudaError_t error, std::string_view what, const char* file,
                                   int line);

}  // namespace sluice

/// Throws unless a call of CUDA's runtime succeeds. `what` (text) names the op and its shape; it is
/// built only on failure.
#define SLUICE_CUDA_CHECK(call, ...)                                                             \
  do {                                                                                           \
    const cudaError_t sluice_cuda_error_ = (call);                                               \
    if (sluice_cuda_error_ != cudaSuccess) [[unlikely]] {                                        \
      ::sluice::throw_cuda_error(sluice_cuda_error_, ::sluice::concat(__VA_ARGS__), __FILE__,    \
                                 __LINE__);                                                      \
    }                                                                                            \
  } while (false)

#endif  // SLUICE_DEVICE_CUDA_CHECK_H_
