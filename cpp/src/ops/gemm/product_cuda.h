/// @file
/// Our matrix products on CUDA: one parameter set for the dense, the batched and the grouped op.
///
/// Order of sums. The inputs are cut into slices (64 of them for F32, 256 for BF16); each slice's
/// sum starts at zero and rises in a fixed order inside the slice, and the slices' sums are added
/// in rising order. Every kernel here keeps that order, so an output's bits depend on nothing but
/// its row, its weights and the format: not on the kernel, the number of rows, or where the row
/// stands. F32 multiplies in float32 (no TF32); BF16 multiplies on the matrix units (mma.sync
/// m16n8k16) and adds in float32. Kernels that add otherwise (cuBLASLt, wgmma, bf16_one_row) are not for
/// BATCH_INVARIANT.
#ifndef SLUICE_OPS_GEMM_PRODUCT_CUDA_H_
#define SLUICE_OPS_GEMM_PRODUCT_CUDA_H_

#include <cstdint>

#include "base/format.h"
#include "device/cuda.h"
#include "ops/activation/activation.h"
#include "ops/gemm/batched_gemm.h"
#include "ops/gemm/gemm.h"
#include "ops/grouped_gemm/grouped_gemm.h"

namespace sluice::cuda {

/// For each group g and each of its rows r:
/// y_g[r] = activation(alpha * (row_scale[r] * (x_g[row_index[r]] W_g^T) + bias_g)) (+ y_g[r]).
/// Row r of group g is the row offsets[g] + r of y, row_index and row_scale. Strides in elements;
/// pointers are device memory. Passed to kernels by value.
struct Product {
  int32_t num_groups = 1;
  const int32_t* offsets = nullptr;  ///< [num_groups + 1]; null: max_rows rows in each group
  int64_t max_rows = 0;              ///< offsets: of all groups, at least; else of each group
  Format format = Format::kUnknown;  ///< of x and w
  Format y_format = Format::kF32;
  bool fast = false;  ///< kernels with another order of sums may run too
  const void* x = nullptr;
  int64_t x_stride = 0, x_group_stride = 0;
  const int32_t* row_index = nullptr;
  const float* row_scale = nullptr;
  const void* w = nullptr;
  int64_t w_group_stride = 0;
  int64_t weight_rows = 0, cols = 0;
  const float* bias = nullptr;
  int64_t bias_group_stride = 0;
  float alpha = 1.0f;
  bool accumulate = false;
  bool activates = false, gated = false;
  ActivationKind activation = ActivationKind::kSilu;
  float activation_alpha = 1.0f, activation_beta = 0.0f, activation_limit = 0.0f;
  /// Shares nothing with the kernel before it in the stream: kBf16Stream and kBf16OneRow run beside
  /// that one.
  bool beside = false;
  void* y = nullptr;
  int64_t y_stride = 0, y_group_stride = 0;
};

/// Outputs of a row.
inline int64_t outputs_of(const Product& p) { return p.gated ? p.weight_rows / 2 : p.weight_rows; }

Product product_of(const GemmParams& params);
Product product_of(const BatchedGemmParams& params);
Product product_of(const GroupedGemmParams& params);

/// The kernels, best first where they overlap. A tuned one is one more entry here and one more case
/// in choose_kernel().
enum class ProductKernel {
  kF32Stream,   ///< product_f32_stream.cu: few rows or few outputs
  kF32Tile,     ///< product_f32.cu: 64 x 64 tiles
  kBf16OneRow,  ///< product_one_row.cu: one row, or few in all; not for BATCH_INVARIANT
  kBf16Stream,  ///< product_stream.cu: few rows in a group, weights held in registers
  kBf16Wgmma,   ///< product_sm90.cu: Hopper's warpgroup products; not for BATCH_INVARIANT
  kBf16Tile,    ///< product_tile.cu: mma tiles, a ring of stages filled by cp.async
};

/// What product() takes. By host-side numbers alone: sizes, formats, addresses.
ProductKernel choose_kernel(const CudaExec& exec, const Product& p);
/// e.g. "bf16_tile"; constant text, for traces and benchmarks.
const char* kernel_name(ProductKernel kernel);

/// Enqueues the product. Parameters are checked by the ops.
void product(const CudaExec& exec, const Product& p);
/// The same with a kernel of the caller's choice; for tests and benchmarks.
/// @throws Error UNSUPPORTED when the kernel does not take the product
void product(const CudaExec& exec, const Product& p, ProductKernel kernel);

// The launchers behind them, one file each.
void product_f32_stream(const CudaExec& exec, const Product& p);
void product_f32_tile(const CudaExec& exec, const Product& p);
void product_bf16_stream(const CudaExec& exec, const Product& p);
void product_bf16_tile(const CudaExec& exec, const Product& p);
/// Whether product_one_row() can run the product at all.
bool product_one_row_fits(const Product& p);
void product_one_row(const CudaExec& exec, const Product& p);
/// Whether product_sm90() can run the product at all.
bool product_sm90_fits(const CudaExec& exec, const Product& p);
void product_sm90(const CudaExec& exec, const Product& p);

/// y = alpha * bias (+ y): what cuBLASLt's product is added to where its own end lacks the bias.
void write_bias(const CudaExec& exec, const GemmParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_GEMM_PRODUCT_CUDA_H_
