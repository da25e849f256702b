/// @file
/// cuBLASLt, opened at run time: the only place that knows its interface. FAST dense products on
/// CUDA use it; see gemm.h.
///
/// Where it is looked for: GemmOptions.cublaslt_path, a file or a folder, when set, and nowhere
/// else then. Otherwise, in this order, libcublasLt.so.13 as the dynamic linker finds it
/// (LD_LIBRARY_PATH, the linker's cache), then in the folders $CUDA_PATH/lib64, $CUDA_PATH/lib and
/// /usr/local/cuda/lib64.
#ifndef SLUICE_OPS_GEMM_CUBLASLT_H_
#define SLUICE_OPS_GEMM_CUBLASLT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "device/cuda.h"
#include "ops/gemm/gemm.h"

namespace sluice {

/// An opened library with its handle on one device. One thread at a time.
///
/// Before a product is captured in a graph, the same product (sizes, strides, formats) must have run
/// once: then its algorithm is chosen and its code loaded, and nothing is allocated.
class CublasLt {
 public:
  /// Split sums of large products want so much; more does not help on Hopper.
  static constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
  /// The library refuses a workspace that begins elsewhere.
  static constexpr int64_t kWorkspaceAlignment = 256;

  /// @throws Error LIBRARY_MISSING with every place tried, the loader's reasons and the remedy;
  ///     INTERNAL when the library refuses a handle
  CublasLt(const std::string& path, int32_t device, int32_t max_cached_products);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  const std::string& path() const;     ///< what was opened
  const std::string& version() const;  ///< "13.1.0"

  /// Enqueues the product. False, with nothing enqueued, when the library has no algorithm for it.
  /// BF16 inputs with F32 or BF16 results, or F32 throughout; sums in float32, never TF32. A bias
  /// that its own end cannot add (BF16 results, or alpha other than 1) is written to y before, in
  /// y's format, and the product added to it.
  /// @param workspace  device memory, free again in stream order. With kWorkspaceBytes and
  ///     kWorkspaceAlignment more, products of one shape get the same algorithm wherever it lies;
  ///     less may cost speed
  bool run(const CudaExec& exec, const GemmParams& params, void* workspace,
           int64_t workspace_bytes);

  /// Algorithms chosen since creation (each takes the host tens of microseconds), and how long.
  int64_t products_chosen() const;
  int64_t choosing_micros() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// For SystemInfo: the path opened, the version, and why it cannot be used (empty: usable). Never
/// throws; opens no device.
struct CublasLtInfo {
  std::string path;
  std::string version;
  std::string problem;
};
CublasLtInfo probe_cublaslt(const std::string& path);

}  // namespace sluice

#endif  // SLUICE_OPS_GEMM_CUBLASLT_H_
