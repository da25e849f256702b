/// @file
/// CUDA devices: which there are, where ops run on them, memory, streams, events and graphs.
///
/// No header of CUDA's here: everything above includes this one in every build. In a build without
/// CUDA (kCudaBuilt false) the functions that need a device throw UNSUPPORTED.
///
/// Errors: every call of CUDA goes through cuda_check (device/cuda_check.h). A fault that CUDA will
/// not forget (an illegal address, say) is DEVICE_LOST: the engine that met it fails, and since
/// every engine of the process shares the device's context, so do the others on that device.
#ifndef SLUICE_DEVICE_CUDA_H_
#define SLUICE_DEVICE_CUDA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/buffer.h"
#include "device/kernel_log.h"

namespace sluice {

#ifdef SLUICE_CUDA
inline constexpr bool kCudaBuilt = true;
#else
inline constexpr bool kCudaBuilt = false;
#endif

/// Where CUDA ops run. A value; Exec points to one. The current device of the calling thread is
/// `device`.
struct CudaExec {
  int device = 0;
  void* stream = nullptr;  ///< cudaStream_t; ops only enqueue on it
  int num_sms = 1;
  int capability = 0;           ///< 90 for compute capability 9.0
  int64_t max_shared_bytes = 0; ///< of one block, opted in
  int64_t l2_bytes = 0;
  KernelLog* kernels = nullptr;  ///< of what ops launch; null: nobody wants to know

  /// Whether kernels compiled for sm_90a run.
  bool has_sm90a() const { return capability == 90; }

  /// For the launcher of an op that has a choice of kernels, beside the launch.
  void note(const char* op, const char* variant) const {
    if (kernels != nullptr) kernels->note(op, variant);
  }
};

/// What a machine has; for SystemInfo. `problem`: why no device, or one that is left out, can be used.
struct CudaDeviceInfo {
  int index = 0;
  std::string name;
  int64_t memory_bytes = 0;
  int64_t memory_free_bytes = 0;
  int capability = 0;
};
struct CudaInfo {
  std::string problem;
  std::string driver;   ///< newest CUDA version that the driver knows, "13.0"
  std::string runtime;  ///< CUDA version of this build, "13.0"
  std::vector<CudaDeviceInfo> devices;
};

/// Never throws. Without a driver, without a device, or with a driver that is too old: `problem`
/// says so with its remedy.
CudaInfo cuda_info();

/// What ops need to know of a device, without a stream; takes no memory of it. @throws Error
/// UNSUPPORTED, INVALID_ARGUMENT for an index that there is not
CudaExec cuda_describe(int index);

/// A device in use: its stream and what ops need to know of it.
class CudaDevice {
 public:
  /// Makes the device current and creates a stream. @throws Error UNSUPPORTED, INVALID_ARGUMENT for
  /// an index that there is not, DEVICE_LOST
  explicit CudaDevice(int index);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  /// With a stream and a log of its own.
  const CudaExec& exec() const { return exec_; }
  const KernelLog& kernels() const { return *kernels_; }

  /// For the thread that is going to use it: makes the device current.
  void make_current() const;
  /// Waits until everything on the stream is done. @throws Error DEVICE_LOST
  void synchronize() const;

 private:
  CudaExec exec_;
  std::unique_ptr<KernelLog> kernels_ = std::make_unique<KernelLog>();
};

/// Bytes of device memory that are free. @throws Error
int64_t cuda_memory_free(int device);

/// Zeroed memory of kind kPinned or kDevice. @throws Error
std::byte* cuda_allocate(int64_t bytes, std::string_view purpose, MemorySpace space);
void cuda_free(std::byte* data, MemorySpace space) noexcept;

/// Copies in stream order, in either direction or on the device; the host side should be pinned.
void cuda_copy(const CudaExec& exec, void* to, const void* from, int64_t bytes);
/// The same for rows: `row_bytes` bytes of each, their starts `to_pitch` and `from_pitch` bytes apart,
/// both at least row_bytes.
void cuda_copy_rows(const CudaExec& exec, void* to, int64_t to_pitch, const void* from,
                    int64_t from_pitch, int64_t row_bytes, int64_t num_rows);
/// Fills bytes in stream order.
void cuda_fill(const CudaExec& exec, void* to, int byte, int64_t bytes);

/// A point on a stream. Move-only.
class CudaEvent {
 public:
  explicit CudaEvent(bool timed = false);
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept;
  CudaEvent& operator=(CudaEvent&& other) noexcept;

  void record(const CudaExec& exec);
  /// Whether everything before the last record() is done. @throws Error DEVICE_LOST
  bool done() const;
  /// Waits for that. @throws Error DEVICE_LOST
  void wait() const;
  /// Milliseconds from `start` to this; both timed and done.
  float millis_since(const CudaEvent& start) const;

 private:
  void* event_ = nullptr;
};

/// Work of a stream, recorded once and launched many times. Move-only.
class CudaGraph {
 public:
  CudaGraph() = default;
  ~CudaGraph();
  CudaGraph(CudaGraph&& other) noexcept;
  CudaGraph& operator=(CudaGraph&& other) noexcept;

  /// From begin_capture() to end_capture() what is enqueued on the stream is recorded, not run. An
  /// exception between them must be followed by cancel_capture().
  static void begin_capture(const CudaExec& exec);
  /// The graph, ready on the device. @throws Error OUT_OF_DEVICE_MEMORY
  static CudaGraph end_capture(const CudaExec& exec);
  static void cancel_capture(const CudaExec& exec) noexcept;

  explicit operator bool() const { return exec_ != nullptr; }
  void launch(const CudaExec& exec) const;
  int64_t num_nodes() const { return num_nodes_; }

 private:
  void* exec_ = nullptr;
  int64_t num_nodes_ = 0;
};

}  // namespace sluice
#endif  // SLUICE_DEVICE_CUDA_H_
