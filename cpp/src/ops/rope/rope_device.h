/// @file
/// Turning pairs, for the kernels that rotate. For .cu sources only.
#ifndef SLUICE_OPS_ROPE_ROPE_DEVICE_H_
#define SLUICE_OPS_ROPE_ROPE_DEVICE_H_

#include "ops/cuda/vector.h"

namespace sluice::cuda {

/// Turns the n pairs p, p + 1, ... of a head, in place. `x`: the first column that turns; `half`:
/// rotary_dim / 2; cos and sin: of pair 0.
template <int n, typename T>
__device__ inline void turn_pairs(T* x, int p, int half, bool interleaved, const float* cos,
                                  const float* sin) {
  float c[n], s[n], a[n], b[n];
  load_values(cos + p, c);
  load_values(sin + p, s);
  if (!interleaved) {
    load_values(x + p, a);
    load_values(x + half + p, b);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float first = a[i] * c[i] - b[i] * s[i];
      b[i] = b[i] * c[i] + a[i] * s[i];
      a[i] = first;
    }
    store_values(x + p, a);
    store_values(x + half + p, b);
    return;
  }
  if constexpr (n == 1) {
    a[0] = load(x + 2 * p);
    b[0] = load(x + 2 * p + 1);
    store(x + 2 * p, a[0] * c[0] - b[0] * s[0]);
    store(x + 2 * p + 1, b[0] * c[0] + a[0] * s[0]);
  } else {
    float v[2 * n];
    load_values(x + 2 * p, v);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float first = v[2 * i] * c[i] - v[2 * i + 1] * s[i];
      v[2 * i + 1] = v[2 * i + 1] * c[i] + v[2 * i] * s[i];
      v[2 * i] = first;
    }
    store_values(x + 2 * p, v);
  }
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ROPE_ROPE_DEVICE_H_
