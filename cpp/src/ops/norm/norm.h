/// @file
/// RMSNorm and LayerNorm of rows or heads, with the residual sum in front of it.
///
/// RMS_NORM: y = (offset + w) * x / sqrt(mean(x^2) + eps)
/// LAYER_NORM: y = (offset + w) * (x - mean) / sqrt(var + eps) + b, biased variance
/// Sums in float32 over 16 fixed lanes; a row never depends on another. Bound by the cache.
#ifndef SLUICE_OPS_NORM_NORM_H_
#define SLUICE_OPS_NORM_NORM_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"

namespace sluice {

/// Numbers equal those of `NormKind` in sluice.proto.
enum class NormKind : int32_t { kRmsNorm = 1, kLayerNorm = 2 };

struct NormParams {
  NormKind kind = NormKind::kRmsNorm;
  double eps = 0;
  const float* weight =
      nullptr;  ///< [cols] (or [num_heads, cols], see weight_head_stride); null: ones
  const float* bias = nullptr;  ///< the same shape as weight; null: none
  float weight_offset = 0.0f;   ///< added to the weight (1 for zero-centred weights)

  int64_t num_rows = 0;            ///< tokens
  int32_t num_heads = 1;           ///< norms per row, over adjacent groups of cols columns
  int64_t cols = 0;                ///< columns of one norm (hidden_size, or head_dim)
  int64_t weight_head_stride = 0;  ///< 0: heads share the weight; cols: each head has its own

  const void* x = nullptr;             ///< [num_rows, num_heads, cols]
  Format x_format = Format::kUnknown;  ///< F32 or BF16
  int64_t x_stride = 0;                ///< elements between rows
  void* y = nullptr;                   ///< [num_rows, num_heads, cols]; may be x when formats agree
  Format y_format = Format::kUnknown;  ///< F32 or BF16
  int64_t y_stride = 0;

  /// When not null: residual += residual_multiplier * x comes first, and the norm is of the sum.
  /// num_heads must be 1.
  float* residual = nullptr;  ///< [num_rows, cols]
  int64_t residual_stride = 0;
  float residual_multiplier = 1.0f;
};

/// Throws INVALID_ARGUMENT or UNSUPPORTED, naming the field.
void norm(const Exec& exec, const NormParams& params);

/// residual[r, c] += multiplier * x[r, c]: the sum alone, where no norm follows.
struct ResidualAddParams {
  int64_t num_rows = 0;
  int64_t cols = 0;
  const void* x = nullptr;
  Format x_format = Format::kUnknown;  ///< F32 or BF16
  int64_t x_stride = 0;
  float* residual = nullptr;
  int64_t residual_stride = 0;
  float multiplier = 1.0f;
};
void residual_add(const Exec& exec, const ResidualAddParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_NORM_NORM_H_
