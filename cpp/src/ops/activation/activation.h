/// @file
/// Activations of feed-forward layers, gated or not.
///
/// Gated: y = act(gate) * up; CLAMPED_SWIGLU: g = min(gate, limit), u = clamp(up, +-limit),
/// y = g * sigmoid(alpha g) * (u + beta). Not gated: y = act(x). Computed in float32.
#ifndef SLUICE_OPS_ACTIVATION_ACTIVATION_H_
#define SLUICE_OPS_ACTIVATION_ACTIVATION_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"

namespace sluice {

/// Numbers equal those of `Activation` in sluice.proto.
enum class ActivationKind : int32_t {
  kSilu = 1,
  kGelu = 2,  ///< exact, by erf
  kGeluTanh = 3,
  kRelu = 4,
  kReluSquared = 5,
  kQuickGelu = 6,      ///< x * sigmoid(1.702 x)
  kClampedSwiglu = 7,  ///< gated only
  kSigmoid = 8,
};

struct ActivationParams {
  ActivationKind kind = ActivationKind::kSilu;
  float alpha = 1.0f;  ///< CLAMPED_SWIGLU only
  float beta = 0.0f;   ///< CLAMPED_SWIGLU only
  float limit = 0.0f;  ///< CLAMPED_SWIGLU only, > 0

  int64_t num_rows = 0;
  int64_t cols = 0;          ///< columns of y
  const void* x = nullptr;   ///< [num_rows, cols]: gate when gated, else the input
  const void* up = nullptr;  ///< [num_rows, cols]; null: not gated. In a fused row: x + cols
  Format x_format = Format::kUnknown;  ///< of x and up: F32 or BF16
  int64_t x_stride = 0;                ///< elements between rows, of x and up
  void* y = nullptr;  ///< [num_rows, cols]; may be x when formats and strides agree
  Format y_format = Format::kUnknown;  ///< F32 or BF16
  int64_t y_stride = 0;
};

/// Throws INVALID_ARGUMENT or UNSUPPORTED, naming the field.
void activation(const Exec& exec, const ActivationParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_ACTIVATION_ACTIVATION_H_
