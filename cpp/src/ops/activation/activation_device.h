/// @file
/// One value of activation.h, for the kernels that end in an activation. For .cu sources only.
#ifndef SLUICE_OPS_ACTIVATION_ACTIVATION_DEVICE_H_
#define SLUICE_OPS_ACTIVATION_ACTIVATION_DEVICE_H_

#include <cuda_runtime.h>

#include "ops/activation/activation.h"

namespace sluice::cuda {

/// Within 4 ulp. Where exp(-x) is beyond 2^126 the quotient is 0: a difference below 2^-126.
__device__ inline float sigmoid_of(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }

/// act(x) of every kind but CLAMPED_SWIGLU. NaN stays NaN.
__device__ inline float activate(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return x * sigmoid_of(x);
    case ActivationKind::kGelu:
      return 0.5f * x * erfcf(x * -0.70710678118654752f);  // 1 + erf, without its cancellation
    case ActivationKind::kGeluTanh:
      // (1 + tanh(u)) / 2 is sigmoid(2 u), again without the cancellation.
      return x * sigmoid_of(1.59576912160573073f * fmaf(0.044715f, x * x * x, x));
    case ActivationKind::kRelu:
      return x < 0.0f ? 0.0f : x;
    case ActivationKind::kReluSquared:
      return x < 0.0f ? 0.0f : x * x;
    case ActivationKind::kQuickGelu:
      return x * sigmoid_of(1.702f * x);
    case ActivationKind::kClampedSwiglu:
      break;  // gated only
    case ActivationKind::kSigmoid:
      return sigmoid_of(x);
  }
  return x;
}

/// act(gate) * up, CLAMPED_SWIGLU as activation.h says. NaN stays NaN.
__device__ inline float activate_gated(ActivationKind kind, float alpha, float beta, float limit,
                                       float gate, float up) {
  if (kind != ActivationKind::kClampedSwiglu) return activate(kind, gate) * up;
  const float g = gate > limit ? limit : gate;
  const float u = up > limit ? limit : up < -limit ? -limit : up;
  return g * sigmoid_of(alpha * g) * (u + beta);
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ACTIVATION_ACTIVATION_DEVICE_H_
