/// @file
/// cuDNN, opened at run time (libcudnn.so.9), and one handle of it. Nothing links to it.
///
/// Where it is looked for, in this order: as the dynamic linker finds it (LD_LIBRARY_PATH, the
/// linker's cache), then in the folders $CUDA_PATH/lib64, $CUDA_PATH/lib and /usr/local/cuda/lib64.
/// In a build without cuDNN's headers there is none.
#ifndef SLUICE_OPS_ATTENTION_CUDNN_LIBRARY_H_
#define SLUICE_OPS_ATTENTION_CUDNN_LIBRARY_H_

#include <string>

#include "device/cuda.h"

namespace sluice {

/// What there is: the path opened and the version, or why it cannot be used (empty: usable).
struct CudnnInfo {
  std::string path;
  std::string version;  ///< "9.19.1"
  std::string problem;
};

/// Opens the library at the first call of the process, and never closes it. Never throws.
const CudnnInfo& cudnn_info();

/// The same of another place, a file or a folder (empty: cudnn_info()). Never throws.
CudnnInfo probe_cudnn(const std::string& path);

/// A handle on the device of an exec; of one thread at a time.
class CudnnHandle {
 public:
  /// @throws Error LIBRARY_MISSING with cudnn_info().problem, INTERNAL when no handle is given
  explicit CudnnHandle(const CudaExec& exec);
  ~CudnnHandle();
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;

  /// cudnnHandle_t. What runs with it is enqueued on the stream given last.
  void* get() const { return handle_; }
  void set_stream(void* stream);

 private:
  void* handle_ = nullptr;
  void* stream_ = nullptr;
};

}  // namespace sluice
#endif  // SLUICE_OPS_ATTENTION_CUDNN_LIBRARY_H_
