/// @file
/// Dense weight matrices [rows, cols] (rows are outputs) as the matrix products read them.
#ifndef SLUICE_OPS_GEMM_WEIGHT_H_
#define SLUICE_OPS_GEMM_WEIGHT_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"

namespace sluice {

enum class WeightLayout : int32_t {
  /// Row after row, dense.
  kRowMajor = 0,
  /// Panels of kPanelRows rows: rows 64p .. 64p+63 form panel p. F32: a panel is [cols16][64],
  /// column
  /// after column, cols16 = cols rounded up to 16. BF16: [cols32 / 2][64][2], pairs of columns,
  /// cols32
  /// = cols rounded up to 32. Missing rows and columns are zero. oneDNN calls the two layouts
  /// BA16a64b and BA16a64b2a, so one copy of the weights serves oneDNN and the one-row kernel, and
  /// a
  /// product reads each panel as one stream.
  kPanel64 = 1,
};

inline constexpr int64_t kPanelRows = 64;

/// How a backend's products want the matrices of a model.
struct WeightPacking {
  WeightLayout layout = WeightLayout::kPanel64;
  int64_t alignment = 64;  ///< bytes, of every matrix's start, also inside a stack of them
};
inline constexpr WeightPacking kCpuPacking = {WeightLayout::kPanel64, 64};
inline constexpr WeightPacking kCudaPacking = {WeightLayout::kRowMajor, 256};

/// A weight matrix in memory that somebody else owns. A value.
struct WeightView {
  Format format = Format::kUnknown;  ///< F32 or BF16 (quantized formats: not built yet)
  WeightLayout layout = WeightLayout::kPanel64;
  void* data = nullptr;  ///< aligned as its packing says; packed_bytes() long; CUDA: of the device
  const void* scales = nullptr;       ///< quantized formats only
  const void* zero_points = nullptr;  ///< quantized formats only
  int64_t rows = 0;                   ///< N, outputs
  int64_t cols = 0;                   ///< K, inputs
};

/// The layout that products read: kPanel64 on the CPU, kRowMajor on CUDA, where every matrix should
/// start at a multiple of 256 bytes: 16 are needed for the kernels that load vectors.
WeightLayout product_layout(const Exec& exec);

/// Throws UNSUPPORTED for another layout; `field` is named.
void check_product_layout(const char* field, const Exec& exec, WeightLayout layout);

/// Bytes of a matrix in its layout, padding included. Throws UNSUPPORTED for a format other than
/// F32 and BF16.
int64_t packed_bytes(Format format, WeightLayout layout, int64_t rows, int64_t cols);

/// Zeroes the whole matrix: what the padding needs, once, before the first pack_rows. Memory fresh
/// from a Buffer is zero already.
void clear_weight(const WeightView& weight);

/// Writes a rectangle of the matrix from dense or strided values:
/// weight[row_begin + r, col_begin + c] = source[r * row_stride + c * col_stride].
/// A transposed source is one with row_stride 1. Rounds to nearest even when the weight is BF16.
/// Parts (Q, K, V or gate, up) are filled part by part with their first row as row_begin. Different
/// rectangles may be written by different threads at once, also inside one panel.
/// Throws INVALID_ARGUMENT for a rectangle that leaves the matrix, UNSUPPORTED for other formats.
struct PackParams {
  WeightView weight{};
  const void* source = nullptr;
  Format source_format = Format::kF32;  ///< F32 or BF16
  int64_t row_stride = 0;               ///< elements
  int64_t col_stride = 1;               ///< elements
  int64_t row_begin = 0;
  int64_t num_rows = 0;
  int64_t col_begin = 0;
  int64_t num_cols = 0;
};
void pack_rows(const PackParams& params);

/// Reads a piece of one row back: out[c] = weight[row, col_begin + c], exact. Unchecked.
void unpack_row_columns(const WeightView& weight, int64_t row, int64_t col_begin, int64_t num_cols,
                        float* out);

/// Reads rows back: out[r, c] = weight[row_begin + r, c], exact, float32, out_stride in elements.
void unpack_rows(const WeightView& weight, int64_t row_begin, int64_t num_rows, float* out,
                 int64_t out_stride);

}  // namespace sluice

#endif  // SLUICE_OPS_GEMM_WEIGHT_H_
