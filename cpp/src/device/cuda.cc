#include "device/cuda.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

#ifdef SLUICE_CUDA

#include "device/cuda_check.h"

namespace sluice {
namespace {

cudaStream_t stream_of(const CudaExec& exec) { return static_cast<cudaStream_t>(exec.stream); }

std::string version_text(int version) {
  return concat(version / 1000, ".", version % 1000 / 10);
}

// Every later call on the context gives the same error.
bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
      return true;
    default:
      return false;
  }
}

// The context is the process's: no engine, old or new, gets a device back from such a fault.
constexpr const char* kLost =
    " (this process cannot use the device any more, engines on the CPU can go on; remedy: restart "
    "the process)";

std::string driver_remedy(cudaError_t error) {
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) return "no NVIDIA driver (remedy: install one for CUDA 13, 580 or later)";
    return concat("the NVIDIA driver knows CUDA ", version_text(driver),
                  " (expected: 13.0 or later; remedy: driver 580 or later)");
  }
  if (error == cudaErrorNoDevice) return "no NVIDIA GPU in this machine";
  return concat(cudaGetErrorName(error), ": ", cudaGetErrorString(error));
}

bool is_driver_problem(cudaError_t error) {
  return error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice ||
         error == cudaErrorSystemDriverMismatch || error == cudaErrorStubLibrary ||
         error == cudaErrorDevicesUnavailable;
}

}  // namespace

void throw_cuda_error(cudaError_t error, std::string_view what, const char* file, int line) {
  cudaGetLastError();  // forgets what can be forgotten
  if (is_driver_problem(error)) {
    throw Error(SLUICE_STATUS_UNSUPPORTED, concat(what, ": ", driver_remedy(error)), file, line);
  }
  sluice_status status = SLUICE_STATUS_INTERNAL;
  if (error == cudaErrorMemoryAllocation) status = SLUICE_STATUS_OUT_OF_DEVICE_MEMORY;
  if (is_sticky(error)) status = SLUICE_STATUS_DEVICE_LOST;
  throw Error(status,
              concat(what, ": CUDA ", cudaGetErrorName(error), ": ", cudaGetErrorString(error),
                     is_sticky(error) ? kLost : ""),
              file, line);
}

CudaInfo cuda_info() {
  CudaInfo info;
  info.runtime = version_text(CUDART_VERSION);
  int driver = 0, count = 0;
  cudaDriverGetVersion(&driver);
  if (driver != 0) info.driver = version_text(driver);
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    info.problem = driver_remedy(error);
    return info;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    CudaDeviceInfo device;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) {
      cudaGetLastError();
      continue;
    }
    device.index = i;
    device.name = properties.name;
    device.capability = properties.major * 10 + properties.minor;
    device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
    int current = 0;
    size_t free = 0, total = 0;
    cudaGetDevice(&current);
    cudaError_t found = cudaSetDevice(i);
    if (found == cudaSuccess) found = cudaMemGetInfo(&free, &total);
    cudaSetDevice(current);
    cudaGetLastError();
    if (is_sticky(found)) {
      info.problem = concat("device ", i, ": CUDA ", cudaGetErrorName(found), " met before", kLost);
      continue;
    }
    if (found == cudaSuccess) device.memory_free_bytes = static_cast<int64_t>(free);
    info.devices.push_back(device);
  }
  if (info.devices.empty() && info.problem.empty()) info.problem = "no NVIDIA GPU in this machine";
  return info;
}

CudaExec cuda_describe(int index) {
  CudaExec exec;
  int count = 0;
  SLUICE_CUDA_CHECK(cudaGetDeviceCount(&count), "CUDA");
  SLUICE_CHECK_ARG(index >= 0 && index < count, "device: ", index, " (expected: 0 to ", count - 1,
                   ")");
  exec.device = index;
  cudaDeviceProp properties{};
  SLUICE_CUDA_CHECK(cudaGetDeviceProperties(&properties, index), "device ", index);
  exec.num_sms = properties.multiProcessorCount;
  exec.capability = properties.major * 10 + properties.minor;
  exec.max_shared_bytes = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  exec.l2_bytes = properties.l2CacheSize;
  SLUICE_CHECK(exec.capability >= 80, SLUICE_STATUS_UNSUPPORTED, "device ", index, ": ",
               properties.name, ", compute capability ", properties.major, ".", properties.minor,
               " (expected: 8.0 or later)");
  return exec;
}

CudaDevice::CudaDevice(int index) : exec_(cuda_describe(index)) {
  make_current();
  cudaStream_t stream = nullptr;
  SLUICE_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  exec_.stream = stream;
  exec_.kernels = kernels_.get();
}

CudaDevice::~CudaDevice() {
  if (exec_.stream == nullptr) return;
  cudaSetDevice(exec_.device);
  cudaStreamSynchronize(stream_of(exec_));
  cudaStreamDestroy(stream_of(exec_));
}

void CudaDevice::make_current() const {
  SLUICE_CUDA_CHECK(cudaSetDevice(exec_.device), "device ", exec_.device);
}

void CudaDevice::synchronize() const {
  SLUICE_CUDA_CHECK(cudaStreamSynchronize(stream_of(exec_)), "stream of device ", exec_.device);
}

int64_t cuda_memory_free(int device) {
  SLUICE_CUDA_CHECK(cudaSetDevice(device), "device ", device);
  size_t free = 0, total = 0;
  SLUICE_CUDA_CHECK(cudaMemGetInfo(&free, &total), "device ", device);
  return static_cast<int64_t>(free);
}

std::byte* cuda_allocate(int64_t bytes, std::string_view purpose, MemorySpace space) {
  void* data = nullptr;
  SLUICE_CUDA_CHECK(cudaSetDevice(space.device), "device ", space.device);
  if (space.kind == MemoryKind::kPinned) {
    const cudaError_t error =
        cudaHostAlloc(&data, static_cast<size_t>(bytes), cudaHostAllocPortable | cudaHostAllocMapped);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw Error(SLUICE_STATUS_OUT_OF_HOST_MEMORY,
                  concat(purpose, ": ", bytes, " bytes of page-locked memory were refused"),
                  __FILE__, __LINE__)
          .with_bytes(bytes, -1);
    }
    SLUICE_CUDA_CHECK(error, purpose, ": ", bytes, " bytes");
    std::fill_n(static_cast<std::byte*>(data), bytes, std::byte{0});
    return static_cast<std::byte*>(data);
  }
  const int64_t free = cuda_memory_free(space.device);
  const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(SLUICE_STATUS_OUT_OF_DEVICE_MEMORY,
                concat(purpose, ": ", bytes, " bytes (expected: at most the ", free,
                       " bytes that device ", space.device, " has free)"),
                __FILE__, __LINE__)
        .with_bytes(bytes, free);
  }
  SLUICE_CUDA_CHECK(error, purpose, ": ", bytes, " bytes");
  SLUICE_CUDA_CHECK(cudaMemset(data, 0, static_cast<size_t>(bytes)), purpose);
  SLUICE_CUDA_CHECK(cudaDeviceSynchronize(), purpose);
  return static_cast<std::byte*>(data);
}

void cuda_free(std::byte* data, MemorySpace space) noexcept {
  cudaSetDevice(space.device);
  if (space.kind == MemoryKind::kPinned) {
    cudaFreeHost(data);
  } else {
    cudaFree(data);
  }
}

void cuda_copy(const CudaExec& exec, void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  SLUICE_CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault,
                                    stream_of(exec)),
                    "copy of ", bytes, " bytes");
}

void cuda_copy_rows(const CudaExec& exec, void* to, int64_t to_pitch, const void* from,
                    int64_t from_pitch, int64_t row_bytes, int64_t num_rows) {
  if (row_bytes == 0 || num_rows == 0) return;
  if (num_rows == 1 || (to_pitch == row_bytes && from_pitch == row_bytes)) {
    return cuda_copy(exec, to, from, row_bytes * num_rows);
  }
  SLUICE_CUDA_CHECK(
      cudaMemcpy2DAsync(to, static_cast<size_t>(to_pitch), from, static_cast<size_t>(from_pitch),
                        static_cast<size_t>(row_bytes), static_cast<size_t>(num_rows),
                        cudaMemcpyDefault, stream_of(exec)),
      "copy of ", num_rows, " rows of ", row_bytes, " bytes");
}

void cuda_fill(const CudaExec& exec, void* to, int byte, int64_t bytes) {
  if (bytes == 0) return;
  SLUICE_CUDA_CHECK(cudaMemsetAsync(to, byte, static_cast<size_t>(bytes), stream_of(exec)),
                    "fill of ", bytes, " bytes");
}

CudaEvent::CudaEvent(bool timed) {
  cudaEvent_t event = nullptr;
  SLUICE_CUDA_CHECK(
      cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming), "event");
  event_ = event;
}

CudaEvent::~CudaEvent() {
  if (event_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(event_));
}

void CudaEvent::record(const CudaExec& exec) {
  SLUICE_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(event_), stream_of(exec)), "event");
}

bool CudaEvent::done() const {
  const cudaError_t error = cudaEventQuery(static_cast<cudaEvent_t>(event_));
  if (error == cudaErrorNotReady) return false;
  SLUICE_CUDA_CHECK(error, "event");
  return true;
}

void CudaEvent::wait() const {
  SLUICE_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(event_)), "event");
}

float CudaEvent::millis_since(const CudaEvent& start) const {
  float millis = 0;
  SLUICE_CUDA_CHECK(cudaEventElapsedTime(&millis, static_cast<cudaEvent_t>(start.event_),
                                         static_cast<cudaEvent_t>(event_)),
                    "event");
  return millis;
}

CudaGraph::~CudaGraph() {
  if (exec_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(exec_));
}

void CudaGraph::begin_capture(const CudaExec& exec) {
  SLUICE_CUDA_CHECK(cudaStreamBeginCapture(stream_of(exec), cudaStreamCaptureModeThreadLocal),
                    "graph capture");
}

CudaGraph CudaGraph::end_capture(const CudaExec& exec) {
  cudaGraph_t graph = nullptr;
  SLUICE_CUDA_CHECK(cudaStreamEndCapture(stream_of(exec), &graph), "graph capture");
  size_t nodes = 0;
  cudaGraphGetNodes(graph, nullptr, &nodes);
  cudaGraphExec_t made = nullptr;
  cudaError_t error = cudaGraphInstantiate(&made, graph, 0);
  cudaGraphDestroy(graph);
  CudaGraph out;
  out.exec_ = made;
  out.num_nodes_ = static_cast<int64_t>(nodes);
  // Now rather than at the first launch, which cannot be done without.
  if (error == cudaSuccess) error = cudaGraphUpload(made, stream_of(exec));
  SLUICE_CUDA_CHECK(error, "graph of ", nodes, " nodes");
  return out;
}

void CudaGraph::cancel_capture(const CudaExec& exec) noexcept {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_of(exec), &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void CudaGraph::launch(const CudaExec& exec) const {
  SLUICE_CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(exec_), stream_of(exec)),
                    "graph of ", num_nodes_, " nodes");
}

}  // namespace sluice

#else  // SLUICE_CUDA

namespace sluice {
namespace {

constexpr const char* kNotBuilt =
    "CUDA: not in this build of the library (remedy: the linux-x86_64-cuda13 natives)";

[[noreturn]] void refuse() { SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, kNotBuilt); }

}  // namespace

CudaInfo cuda_info() {
  CudaInfo info;
  info.problem = kNotBuilt;
  return info;
}

CudaExec cuda_describe(int /*index*/) { refuse(); }
CudaDevice::CudaDevice(int /*index*/) { refuse(); }
CudaDevice::~CudaDevice() = default;
void CudaDevice::make_current() const { refuse(); }
void CudaDevice::synchronize() const { refuse(); }
int64_t cuda_memory_free(int /*device*/) { refuse(); }
std::byte* cuda_allocate(int64_t /*bytes*/, std::string_view /*purpose*/, MemorySpace /*space*/) {
  refuse();
}
void cuda_free(std::byte* /*data*/, MemorySpace /*space*/) noexcept {}
void cuda_copy(const CudaExec& /*exec*/, void* /*to*/, const void* /*from*/, int64_t /*bytes*/) {
  refuse();
}
void cuda_copy_rows(const CudaExec& /*exec*/, void* /*to*/, int64_t /*to_pitch*/,
                    const void* /*from*/, int64_t /*from_pitch*/, int64_t /*row_bytes*/,
                    int64_t /*num_rows*/) {
  refuse();
}
void cuda_fill(const CudaExec& /*exec*/, void* /*to*/, int /*byte*/, int64_t /*bytes*/) {
  refuse();
}
CudaEvent::CudaEvent(bool /*timed*/) { refuse(); }
CudaEvent::~CudaEvent() = default;
void CudaEvent::record(const CudaExec& /*exec*/) { refuse(); }
bool CudaEvent::done() const { refuse(); }
void CudaEvent::wait() const { refuse(); }
float CudaEvent::millis_since(const CudaEvent& /*start*/) const { refuse(); }
CudaGraph::~CudaGraph() = default;
void CudaGraph::begin_capture(const CudaExec& /*exec*/) { refuse(); }
CudaGraph CudaGraph::end_capture(const CudaExec& /*exec*/) { refuse(); }
void CudaGraph::cancel_capture(const CudaExec& /*exec*/) noexcept {}
void CudaGraph::launch(const CudaExec& /*exec*/) const { refuse(); }

}  // namespace sluice

#endif  // SLUICE_CUDA

namespace sluice {

CudaEvent::CudaEvent(CudaEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

CudaEvent& CudaEvent::operator=(CudaEvent&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}

CudaGraph::CudaGraph(CudaGraph&& other) noexcept
    : exec_(std::exchange(other.exec_, nullptr)), num_nodes_(other.num_nodes_) {}

CudaGraph& CudaGraph::operator=(CudaGraph&& other) noexcept {
  std::swap(exec_, other.exec_);
  std::swap(num_nodes_, other.num_nodes_);
  return *this;
}

}  // namespace sluice
