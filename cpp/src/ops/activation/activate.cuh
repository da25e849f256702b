/// @file
/// The activations of activation.h for one value, for CUDA kernels. NaN passes through.
#ifndef SLUICE_OPS_ACTIVATION_ACTIVATE_CUH_
#define SLUICE_OPS_ACTIVATION_ACTIVATE_CUH_

#include "ops/activation/activation.h"

namespace sluice::cuda {

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/// Not gated, or the gate's half of a gated one; CLAMPED_SWIGLU is activate_gated's alone.
__device__ inline float activate(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return x * sigmoid(x);
    case ActivationKind::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case ActivationKind::kGeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case ActivationKind::kRelu:
      return x < 0.0f ? 0.0f : x;  // not fmaxf, which drops NaN
    case ActivationKind::kReluSquared:
      return x < 0.0f ? 0.0f : x * x;
    case ActivationKind::kQuickGelu:
      return x * sigmoid(1.702f * x);
    case ActivationKind::kClampedSwiglu:
      break;
    case ActivationKind::kSigmoid:
      return sigmoid(x);
  }
  return x;
}

/// y of a gated activation; alpha, beta and limit are CLAMPED_SWIGLU's.
__device__ inline float activate_gated(ActivationKind kind, float gate, float up, float alpha,
                                       float beta, float limit) {
  if (kind != ActivationKind::kClampedSwiglu) return activate(kind, gate) * up;
  const float g = gate > limit ? limit : gate;
  const float u = up > limit ? limit : up < -limit ? -limit : up;
  return g * sigmoid(alpha * g) * (u + beta);
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ACTIVATION_ACTIVATE_CUH_
