#include "ops/gemm/cublaslt.h"

#include "base/error.h"

#ifdef SLUICE_CUDA

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <list>

#include "device/buffer.h"
#include "device/cuda_check.h"
#include "device/cuda_library.h"
#include "ops/gemm/product_cuda.h"

namespace sluice {
namespace {

#define SLUICE_CUBLASLT_FUNCTIONS(use)                                                      \
  use(GetVersion) use(Create) use(Destroy) use(Matmul) use(MatmulAlgoGetHeuristic)          \
      use(MatmulDescCreate) use(MatmulDescDestroy) use(MatmulDescSetAttribute)              \
          use(MatrixLayoutCreate) use(MatrixLayoutDestroy) use(MatmulPreferenceCreate)      \
              use(MatmulPreferenceDestroy) use(MatmulPreferenceSetAttribute)

struct Functions {
#define SLUICE_CUBLASLT_MEMBER(name) decltype(&cublasLt##name) name = nullptr;
  SLUICE_CUBLASLT_FUNCTIONS(SLUICE_CUBLASLT_MEMBER)
#undef SLUICE_CUBLASLT_MEMBER
};

constexpr const char* kFile = "libcublasLt.so.13";
constexpr size_t kOldest = 130000;

// Never closed: the library keeps threads and state of its own until the process ends.
struct Library {
  Functions f;
  std::string path, version;

  explicit Library(const std::string& wanted) {
    const CudaLibrary opened = open_cuda_library(kFile, wanted);
    path = opened.path;
    if (opened.handle == nullptr) {
      SLUICE_FAIL(SLUICE_STATUS_LIBRARY_MISSING,
                  "cuBLASLt 13: not found (tried ", opened.reasons,
                  "; remedy: install NVIDIA's cuBLAS for CUDA 13 and put its folder in "
                  "LD_LIBRARY_PATH, or name it by the option cublaslt_path)");
    }
#define SLUICE_CUBLASLT_LOAD(name)                                                             \
  f.name = reinterpret_cast<decltype(f.name)>(dlsym(opened.handle, "cublasLt" #name));         \
  SLUICE_CHECK(f.name != nullptr, SLUICE_STATUS_LIBRARY_MISSING, path, ": no cublasLt" #name,  \
               " (remedy: cuBLAS for CUDA 13, by LD_LIBRARY_PATH or the option "               \
               "cublaslt_path)");
    SLUICE_CUBLASLT_FUNCTIONS(SLUICE_CUBLASLT_LOAD)
#undef SLUICE_CUBLASLT_LOAD
    const size_t number = f.GetVersion();
    version = concat(number / 10000, ".", number / 100 % 100, ".", number % 100);
    SLUICE_CHECK(number >= kOldest, SLUICE_STATUS_LIBRARY_MISSING, path, ": version ", version,
                 " (expected: 13.0.0 or later; remedy: cuBLAS for CUDA 13, by LD_LIBRARY_PATH or "
                 "the option cublaslt_path)");
  }
};

void check(cublasStatus_t status, const char* call) {
  SLUICE_CHECK(status == CUBLAS_STATUS_SUCCESS, SLUICE_STATUS_INTERNAL, "cublasLt", call,
               ": status ", static_cast<int>(status));
}

// What an algorithm depends on. The number of rows is taken as it is: the best algorithm changes
// with it in steps that only the library knows. Alignments count up to what arenas give, so that a
// shape's algorithm, and with it the bits, do not depend on where its rows happen to lie.
struct Key {
  int64_t num_rows = 0, weight_rows = 0, cols = 0, x_stride = 0, y_stride = 0, workspace = 0;
  int x_alignment = 0, w_alignment = 0, y_alignment = 0;
  Format format = Format::kUnknown, y_format = Format::kUnknown;
  bool bias = false;
  bool operator==(const Key&) const = default;
};

int alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  return static_cast<int>(std::min<uintptr_t>(address & (~address + 1), kBufferAlignment));
}

cudaDataType_t data_type(Format format) {
  return format == Format::kBf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// A product with its algorithm. The library's matrices are column by column: there W^T is the
// first operand [cols, weight_rows], x the second [cols, num_rows], y [weight_rows, num_rows].
struct Chosen {
  Key key;
  const Functions* f;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algo{};
  bool usable = false;

  Chosen(const Key& k, const Functions& functions) : key(k), f(&functions) {}
  ~Chosen() {
    if (desc != nullptr) f->MatmulDescDestroy(desc);
    for (cublasLtMatrixLayout_t layout : {w, x, y}) {
      if (layout != nullptr) f->MatrixLayoutDestroy(layout);
    }
  }
  Chosen(const Chosen&) = delete;
  Chosen& operator=(const Chosen&) = delete;

  void set(cublasLtMatmulDescAttributes_t attribute, const void* value, size_t size) {
    check(f->MatmulDescSetAttribute(desc, attribute, value, size), "MatmulDescSetAttribute");
  }

  void choose(cublasLtHandle_t handle) {
    check(f->MatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "MatmulDescCreate");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed));
    if (key.bias) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
    }
    const auto layout = [&](cublasLtMatrixLayout_t* out, Format format, int64_t rows, int64_t cols,
                            int64_t stride) {
      check(f->MatrixLayoutCreate(out, data_type(format), static_cast<uint64_t>(rows),
                                  static_cast<uint64_t>(cols), std::max(stride, rows)),
            "MatrixLayoutCreate");
    };
    layout(&w, key.format, key.cols, key.weight_rows, key.cols);
    layout(&x, key.format, key.cols, key.num_rows, key.x_stride);
    layout(&y, key.y_format, key.weight_rows, key.num_rows, key.y_stride);
    cublasLtMatmulPreference_t preference = nullptr;
    check(f->MatmulPreferenceCreate(&preference), "MatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      f->MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(key.workspace));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(key.w_alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(key.x_alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(key.y_alignment));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(key.y_alignment));
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const cublasStatus_t status =
        f->MatmulAlgoGetHeuristic(handle, desc, w, x, y, y, preference, 1, &result, &found);
    f->MatmulPreferenceDestroy(preference);
    usable = status == CUBLAS_STATUS_SUCCESS && found > 0;
    if (usable) algo = result.algo;
  }
};

}  // namespace

struct CublasLt::State {
  Library library;
  cublasLtHandle_t handle = nullptr;
  size_t max_cached;
  std::list<Chosen> cache;  // most recently used first
  int64_t chosen = 0, micros = 0;

  State(const std::string& path, int32_t device, int32_t max_cached_products)
      : library(path), max_cached(static_cast<size_t>(max_cached_products)) {
    SLUICE_CUDA_CHECK(cudaSetDevice(device), "device ", device);
    check(library.f.Create(&handle), "Create");
  }
  ~State() {
    cache.clear();
    library.f.Destroy(handle);
  }

  Chosen& find(const Key& key) {
    for (auto it = cache.begin(); it != cache.end(); ++it) {
      if (it->key == key) {
        cache.splice(cache.begin(), cache, it);
        return *it;
      }
    }
    const auto start = std::chrono::steady_clock::now();
    cache.emplace_front(key, library.f).choose(handle);
    ++chosen;
    micros += std::chrono::duration_cast<std::chrono::microseconds>(
                  std::chrono::steady_clock::now() - start)
                  .count();
    if (cache.size() > max_cached) cache.pop_back();
    return cache.front();
  }
};

CublasLt::CublasLt(const std::string& path, int32_t device, int32_t max_cached_products)
    : state_(std::make_unique<State>(path, device, max_cached_products)) {}
CublasLt::~CublasLt() = default;

const std::string& CublasLt::path() const { return state_->library.path; }
const std::string& CublasLt::version() const { return state_->library.version; }
int64_t CublasLt::products_chosen() const { return state_->chosen; }
int64_t CublasLt::choosing_micros() const { return state_->micros; }

bool CublasLt::run(const CudaExec& exec, const GemmParams& p, void* workspace,
                   int64_t workspace_bytes) {
  if (p.num_rows == 0) return true;
  const auto address = reinterpret_cast<uintptr_t>(workspace);
  const int64_t skipped =
      (kWorkspaceAlignment - static_cast<int64_t>(address % kWorkspaceAlignment)) %
      kWorkspaceAlignment;
  workspace = static_cast<std::byte*>(workspace) + skipped;
  workspace_bytes = std::max<int64_t>(0, workspace_bytes - skipped);
  const bool own_bias = p.bias != nullptr && p.y_format == Format::kF32 && p.alpha == 1.0f;
  const Key key{.num_rows = p.num_rows,
                .weight_rows = p.w.rows,
                .cols = p.w.cols,
                .x_stride = p.x_stride,
                .y_stride = p.y_stride,
                .workspace = std::min(workspace_bytes, kWorkspaceBytes),
                .x_alignment = alignment_of(p.x),
                .w_alignment = alignment_of(p.w.data),
                .y_alignment = alignment_of(p.y),
                .format = p.w.format,
                .y_format = p.y_format,
                .bias = own_bias};
  Chosen& chosen = state_->find(key);
  if (!chosen.usable) return false;
  bool adds = p.accumulate;
  if (own_bias) {
    chosen.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof(p.bias));
  } else if (p.bias != nullptr) {
    cuda::write_bias(exec, p);
    adds = true;
  }
  const float beta = adds ? 1.0f : 0.0f;
  const cublasStatus_t status = state_->library.f.Matmul(
      state_->handle, chosen.desc, &p.alpha, p.w.data, chosen.w, p.x, chosen.x, &beta, p.y,
      chosen.y, p.y, chosen.y, &chosen.algo, workspace, static_cast<size_t>(key.workspace),
      static_cast<cudaStream_t>(exec.stream));
  SLUICE_CHECK(status == CUBLAS_STATUS_SUCCESS, SLUICE_STATUS_INTERNAL,
               "cublasLtMatmul: status ", static_cast<int>(status), " for ", p.num_rows, " x ",
               p.w.rows, " x ", p.w.cols, " ", format_name(p.w.format), " to ",
               format_name(p.y_format));
  SLUICE_CUDA_CHECK(cudaGetLastError(), "cublasLtMatmul");
  exec.note("gemm", "cublaslt");
  return true;
}

CublasLtInfo probe_cublaslt(const std::string& path) {
  CublasLtInfo info;
  info.path = path.empty() ? kFile : path;
  try {
    const Library library(path);
    info.path = library.path;
    info.version = library.version;
  } catch (const Error& error) {
    info.problem = error.text();
  }
  return info;
}

}  // namespace sluice

#else  // SLUICE_CUDA

namespace sluice {
namespace {

constexpr const char* kNotBuilt =
    "cuBLASLt: not used by this build of the library (remedy: the linux-x86_64-cuda13 natives)";

}  // namespace

struct CublasLt::State {
  std::string none;
};
CublasLt::CublasLt(const std::string& /*path*/, int32_t /*device*/, int32_t /*max*/) {
  SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, kNotBuilt);
}
CublasLt::~CublasLt() = default;
const std::string& CublasLt::path() const { return state_->none; }
const std::string& CublasLt::version() const { return state_->none; }
int64_t CublasLt::products_chosen() const { return 0; }
int64_t CublasLt::choosing_micros() const { return 0; }
bool CublasLt::run(const CudaExec& /*exec*/, const GemmParams& /*params*/, void* /*workspace*/,
                   int64_t /*workspace_bytes*/) {
  SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, kNotBuilt);
}
CublasLtInfo probe_cublaslt(const std::string& path) { return {path, "", kNotBuilt}; }

}  // namespace sluice

#endif  // SLUICE_CUDA
