/// @file
/// Libraries of NVIDIA's that are opened at run time.
#ifndef SLUICE_DEVICE_CUDA_LIBRARY_H_
#define SLUICE_DEVICE_CUDA_LIBRARY_H_

#include <string>

namespace sluice {

/// What opening found.
struct CudaLibrary {
  void* handle = nullptr;  ///< of dlopen; null: not found. Never closed: such a library keeps
                           ///< threads and state of its own until the process ends.
  std::string path;        ///< the file opened, else the last place tried
  std::string reasons;     ///< "PLACE: why; ..." of the places that failed
};

/// Opens a library. Never throws for a missing one.
/// @param file  its name, "libcudnn.so.9"
/// @param path  a file or a folder that is looked at alone; empty: as the dynamic linker finds it
///   (LD_LIBRARY_PATH, the linker's cache), then $CUDA_PATH/lib64, $CUDA_PATH/lib and
///   /usr/local/cuda/lib64
CudaLibrary open_cuda_library(const std::string& file, const std::string& path);

}  // namespace sluice
#endif  // SLUICE_DEVICE_CUDA_LIBRARY_H_
