// The functions that cuDNN's headers declare are defined here: they call the opened library. So the
// headers' code needs no library to link to, and no symbol of cuDNN's is looked for by the linker.
#include "ops/attention/cudnn_library.h"

#include "base/error.h"

#ifdef SLUICE_CUDNN

#include <cudnn.h>
#include <dlfcn.h>
#include <nvrtc.h>

#include "device/cuda_library.h"

namespace sluice {
namespace {

#define SLUICE_CUDNN_FUNCTIONS(use)                                                              \
  use(GetVersion) use(GetErrorString) use(GetLastErrorString) use(Create) use(Destroy)           \
      use(SetStream) use(GetStream) use(BackendCreateDescriptor) use(BackendDestroyDescriptor)   \
          use(BackendFinalize) use(BackendSetAttribute) use(BackendGetAttribute)                 \
              use(BackendExecute)

struct Functions {
#define SLUICE_CUDNN_MEMBER(name) decltype(&cudnn##name) name = nullptr;
  SLUICE_CUDNN_FUNCTIONS(SLUICE_CUDNN_MEMBER)
#undef SLUICE_CUDNN_MEMBER
};

constexpr const char* kFile = "libcudnn.so.9";
// Paged keys beside ragged queries, keys of more than 128 columns, and none of the releases
// that give wrong attention.
constexpr size_t kOldest = 91002;
constexpr const char* kRemedy =
    "; remedy: install cuDNN 9 for CUDA 13 and put its folder in LD_LIBRARY_PATH; attention runs on "
    "its own kernels meanwhile";

// Never closed: the library keeps threads and state of its own until the process ends.
struct Library {
  Functions f;
  CudnnInfo info;

  explicit Library(const std::string& wanted) {
    const CudaLibrary opened = open_cuda_library(kFile, wanted);
    info.path = opened.path;
    if (opened.handle == nullptr) {
      info.problem = concat("cuDNN 9: not found (tried ", opened.reasons, kRemedy, ")");
      return;
    }
#define SLUICE_CUDNN_LOAD(name)                                                     \
  f.name = reinterpret_cast<decltype(f.name)>(dlsym(opened.handle, "cudnn" #name)); \
  if (f.name == nullptr && info.problem.empty()) {                                  \
    info.problem = concat(info.path, ": no cudnn" #name " (", kRemedy + 2, ")");    \
  }
    SLUICE_CUDNN_FUNCTIONS(SLUICE_CUDNN_LOAD)
#undef SLUICE_CUDNN_LOAD
    if (f.GetVersion == nullptr) return;
    const size_t number = f.GetVersion();
    info.version = concat(number / 10000, ".", number / 100 % 100, ".", number % 100);
    if (info.problem.empty() && number < kOldest) {
      info.problem = concat(info.path, ": version ", info.version, " (expected: 9.10.2 or later",
                            kRemedy, ")");
    }
  }
};

const Library& library() {
  static const Library* const opened = new Library("");  // outlives everything static
  return *opened;
}

const Functions& functions() {
  SLUICE_CHECK(library().info.problem.empty(), SLUICE_STATUS_LIBRARY_MISSING,
               library().info.problem);
  return library().f;
}

void check(cudnnStatus_t status, const char* call) {
  SLUICE_CHECK(status == CUDNN_STATUS_SUCCESS, SLUICE_STATUS_INTERNAL, "cudnn", call, ": ",
               functions().GetErrorString(status));
}

}  // namespace

const CudnnInfo& cudnn_info() { return library().info; }
CudnnInfo probe_cudnn(const std::string& path) {
  return path.empty() ? cudnn_info() : Library(path).info;
}

CudnnHandle::CudnnHandle(const CudaExec& exec) {
  cudnnHandle_t handle = nullptr;
  check(functions().Create(&handle), "Create");
  handle_ = handle;
  set_stream(exec.stream);
}

CudnnHandle::~CudnnHandle() { functions().Destroy(static_cast<cudnnHandle_t>(handle_)); }

void CudnnHandle::set_stream(void* stream) {
  if (stream == stream_) return;
  check(functions().SetStream(static_cast<cudnnHandle_t>(handle_),
                              static_cast<cudaStream_t>(stream)),
        "SetStream");
  stream_ = stream;
}

}  // namespace sluice

using sluice::functions;

extern "C" {

size_t cudnnGetVersion() { return functions().GetVersion(); }
const char* cudnnGetErrorString(cudnnStatus_t status) { return functions().GetErrorString(status); }
void cudnnGetLastErrorString(char* message, size_t max_size) {
  functions().GetLastErrorString(message, max_size);
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  return functions().GetStream(handle, stream);
}
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* descriptor) {
  return functions().BackendCreateDescriptor(type, descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return functions().BackendDestroyDescriptor(descriptor);
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return functions().BackendFinalize(descriptor);
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void* values) {
  return functions().BackendSetAttribute(descriptor, name, type, count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t requested,
                                       int64_t* count, void* values) {
  return functions().BackendGetAttribute(descriptor, name, type, requested, count, values);
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  return functions().BackendExecute(handle, plan, pack);
}

// The headers can compile kernels of their own for norms, which nobody here asks for.
nvrtcResult nvrtcCreateProgram(nvrtcProgram*, const char*, const char*, int, const char* const*,
                               const char* const*) {
  return NVRTC_ERROR_INTERNAL_ERROR;
}
nvrtcResult nvrtcDestroyProgram(nvrtcProgram*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcCompileProgram(nvrtcProgram, int, const char* const*) {
  return NVRTC_ERROR_INTERNAL_ERROR;
}
nvrtcResult nvrtcGetCUBIN(nvrtcProgram, char*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram, size_t*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetProgramLog(nvrtcProgram, char*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram, size_t*) { return NVRTC_ERROR_INTERNAL_ERROR; }

}  // extern "C"

#else  // SLUICE_CUDNN

namespace sluice {
namespace {

constexpr const char* kNotBuilt =
    "cuDNN: not used by this build of the library, which has been made without its headers (remedy: "
    "the linux-x86_64-cuda13 natives, or a build with the toolkit of cpp/cmake/cuda_toolkit.py)";

}  // namespace

const CudnnInfo& cudnn_info() {
  static const CudnnInfo* const info = new CudnnInfo{"libcudnn.so.9", "", kNotBuilt};
  return *info;
}
CudnnInfo probe_cudnn(const std::string& path) { return {path, "", kNotBuilt}; }
CudnnHandle::CudnnHandle(const CudaExec& /*exec*/) {
  SLUICE_FAIL(SLUICE_STATUS_LIBRARY_MISSING, kNotBuilt);
}
CudnnHandle::~CudnnHandle() = default;
void CudnnHandle::set_stream(void* stream) { stream_ = stream; }

}  // namespace sluice

#endif  // SLUICE_CUDNN
