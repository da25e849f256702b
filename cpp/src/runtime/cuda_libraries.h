/// @file
/// The libraries that the CUDA backend opens when it uses them: which this machine has.
#ifndef SLUICE_RUNTIME_CUDA_LIBRARIES_H_
#define SLUICE_RUNTIME_CUDA_LIBRARIES_H_

#include <string>
#include <vector>

namespace sluice {

/// One library. `problem`: why it cannot be used; empty when it can.
struct CudaLibraryInfo {
  std::string name;     ///< "cuBLASLt", "cuDNN", "NCCL"
  std::string version;  ///< "13.1.1"
  std::string path;     ///< the file, or what was looked for
  std::string problem;
};

/// One of them by its name, at `path` (empty: where the next looks). Never throws for a library that
/// is missing. @throws Error INVALID_ARGUMENT for a name that is none of theirs
CudaLibraryInfo probe_cuda_library(const std::string& name, const std::string& path);

/// Opens each by its name on the system's search path (LD_LIBRARY_PATH, ld.so.cache), cuBLASLt and
/// cuDNN also where ops/gemm/cublaslt.h and ops/attention/cudnn_library.h say, and asks for its version. Never throws. Empty in a build without CUDA.
std::vector<CudaLibraryInfo> probe_cuda_libraries();

}  // namespace sluice
#endif  // SLUICE_RUNTIME_CUDA_LIBRARIES_H_
