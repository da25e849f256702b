/// @file
/// Dense matrix product with a weight: y = alpha * (x W^T + bias) (+ y).
///
/// Accumulates in float32. FAST: 32 rows and more go through oneDNN; fewer (decode) through a
/// kernel of ours that reads the same packed weights as one stream per panel, since such a product
/// is bound by the memory's bandwidth and oneDNN's one-row path reaches 78 % of it.
/// BATCH_INVARIANT: every row goes through our kernel, whose sums do not depend on the number of
/// rows; on 2 Zen 4 cores it is as fast as oneDNN for many rows too (200 GFLOP/s a core at bf16,
/// 100 at float32).
///
/// On CUDA (GemmOptions.cuda_device) FAST takes cuBLASLt for more rows than our kernels are the
/// fastest for, and ours (ops/gemm/product_cuda.h) below; BATCH_INVARIANT takes ours always.
/// Nothing is allocated or read by the host, so a product may be captured in a graph; where
/// cuBLASLt takes it, the same product must have run once before (cublaslt.h).
#ifndef SLUICE_OPS_GEMM_GEMM_H_
#define SLUICE_OPS_GEMM_GEMM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/gemm/weight.h"

namespace sluice {

/// What results may depend on; numbers equal those of `Numerics` in sluice.proto.
enum class Numerics : int32_t {
  kFast = 1,            ///< the fastest kernel for the number of rows
  kBatchInvariant = 2,  ///< a row's bits do not depend on how many rows are computed with it
};

struct GemmParams {
  int64_t num_rows = 0;     ///< M; 0 does nothing
  const void* x = nullptr;  ///< [num_rows, w.cols]; format of x equals w.format
  Format x_format = Format::kUnknown;
  int64_t x_stride = 0;            ///< elements between rows, >= w.cols
  WeightView w{};                  ///< [w.rows, w.cols], layout kPanel64, CUDA: kRowMajor
  const float* bias = nullptr;     ///< [w.rows] or null
  float alpha = 1.0f;              ///< multiplies product and bias (a residual multiplier)
  bool accumulate = false;         ///< adds to y instead of overwriting it; y_format F32 only
  void* y = nullptr;               ///< [num_rows, w.rows]; must not overlap x
  Format y_format = Format::kF32;  ///< F32, or BF16 when x is BF16
  int64_t y_stride = 0;            ///< elements between rows, >= w.rows
};

struct GemmOptions {
  /// Not negative: the products run on that CUDA device, and oneDNN is not opened.
  int32_t cuda_device = -1;
  /// File or folder of cuBLASLt; empty: the search of ops/gemm/cublaslt.h.
  std::string cublaslt_path{};
  std::string onednn_path{};  ///< file to open; empty: "libdnnl.so.3" on the system's search path
  Numerics numerics = Numerics::kFast;
  int32_t num_threads = 1;            ///< oneDNN takes up to as many of an Exec's threads
  int32_t max_cached_products = 512;  ///< compiled or chosen products kept, least recently used leave
};

struct GemmStats {
  int64_t products_compiled = 0;  ///< oneDNN primitives built, cuBLASLt algorithms chosen
  int64_t compile_micros = 0;     ///< time that took
  int64_t rows_onednn = 0;        ///< rows computed by each path
  int64_t rows_cublaslt = 0;
  int64_t rows_native = 0;       ///< by our kernels, of the CPU or CUDA
};

/// The products of one engine: the opened oneDNN and its compiled products. Not thread-safe: one
/// thread calls at a time; the threads of its Exec work inside.
class Gemm {
 public:
  /// Opens oneDNN or, for FAST products on CUDA, cuBLASLt. Throws LIBRARY_MISSING, naming the file, the loader's reason and the remedy,
  /// when it cannot be opened, lacks a function, or is older than 3.0.
  explicit Gemm(const GemmOptions& options);
  ~Gemm();
  Gemm(Gemm&&) noexcept;
  Gemm& operator=(Gemm&&) noexcept;

  /// Bytes of workspace that any product needs with up to max_rows rows of up to max_rows_of_weight
  /// outputs and max_cols inputs.
  int64_t workspace_bytes(int64_t max_rows, int64_t max_weight_rows, int64_t max_cols) const;

  /// Computes the product. `workspace` is 64-byte aligned, at least workspace_bytes() long, and
  /// free again on return; with less, rows that oneDNN would have taken go through our kernel.
  /// Throws INVALID_ARGUMENT for sizes or strides out of range, UNSUPPORTED for formats or layouts
  /// without a kernel.
  void run(const Exec& exec, const GemmParams& params, void* workspace, int64_t workspace_bytes);

  /// Which kernel `num_rows` rows would take: "onednn", "panel_avx512_bf16", "cublaslt",
  /// "bf16_stream", ...
  /// Constant text.
  const char* variant(const Exec& exec, const GemmParams& params) const;

  /// e.g. "3.11.0"; empty where it is not used.
  std::string onednn_version() const;
  std::string cublaslt_version() const;
  GemmStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Path tried, version, and why it cannot be used (empty: usable), for SystemInfo. Never throws for
/// a missing library.
struct OneDnnInfo {
  std::string path;
  std::string version;
  std::string problem;
};
OneDnnInfo probe_onednn(const std::string& path);

}  // namespace sluice

#endif  // SLUICE_OPS_GEMM_GEMM_H_
