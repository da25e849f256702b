#include "ops/activation/activation_kernel.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

SLUICE_INLINE Vec apply(ActivationKind kind, Vec x) {
  switch (kind) {
    case ActivationKind::kSilu: return mul(x, sigmoid(x));
    case ActivationKind::kGelu:
      return mul(mul(splat(0.5f), x), add(splat(1.0f), erf(mul(x, splat(0.70710678118654752f)))));
    case ActivationKind::kGeluTanh: {
      const Vec cube = mul(mul(x, x), x);
      const Vec inner = mul(splat(0.79788456080286536f), fma(splat(0.044715f), cube, x));
      return mul(mul(splat(0.5f), x), add(splat(1.0f), tanh(inner)));
    }
    case ActivationKind::kRelu: return max(zero(), x);
    case ActivationKind::kReluSquared: {
      const Vec positive = max(zero(), x);
      return mul(positive, positive);
    }
    case ActivationKind::kQuickGelu: return mul(x, sigmoid(mul(splat(1.702f), x)));
    case ActivationKind::kClampedSwiglu: break;  // gated only, see below
    case ActivationKind::kSigmoid: return sigmoid(x);
  }
  return x;
}

template <bool kBf16In, bool kBf16Out, bool kGated>
void rows_of(const ActivationParams& p, int64_t begin, int64_t end) {
  constexpr int64_t kInBytes = kBf16In ? 2 : 4;
  constexpr int64_t kOutBytes = kBf16Out ? 2 : 4;
  for (int64_t row = begin; row < end; ++row) {
    const void* x = static_cast<const char*>(p.x) + row * p.x_stride * kInBytes;
    const void* up = static_cast<const char*>(p.up) + (kGated ? row * p.x_stride * kInBytes : 0);
    void* y = static_cast<char*>(p.y) + row * p.y_stride * kOutBytes;
    for (int64_t c = 0; c < p.cols; c += kLanes) {
      const int n = p.cols - c < kLanes ? static_cast<int>(p.cols - c) : kLanes;
      const auto read = [&](const void* from) __attribute__((always_inline)) {
        return n == kLanes ? load_row<kBf16In>(from, c) : load_row_n<kBf16In>(from, c, n);
      };
      Vec g = read(x);
      if (kGated && p.kind == ActivationKind::kClampedSwiglu) {
        const Vec limit = splat(p.limit);
        g = min(limit, g);
        const Vec u = max(sub(zero(), limit), min(limit, read(up)));
        g = mul(mul(g, sigmoid(mul(splat(p.alpha), g))), add(u, splat(p.beta)));
      } else {
        g = apply(p.kind, g);
        if (kGated) g = mul(g, read(up));
      }
      if (n == kLanes) {
        store_row<kBf16Out>(y, c, g);
      } else {
        store_row_n<kBf16Out>(y, c, g, n);
      }
    }
  }
}

template <bool kBf16In, bool kBf16Out>
SLUICE_INLINE void gated_or_not(const ActivationParams& p, int64_t begin, int64_t end) {
  if (p.up != nullptr) {
    rows_of<kBf16In, kBf16Out, true>(p, begin, end);
  } else {
    rows_of<kBf16In, kBf16Out, false>(p, begin, end);
  }
}

}  // namespace

void activation_rows(const ActivationParams& p, int64_t begin, int64_t end) {
  const bool in = p.x_format == Format::kBf16;
  const bool out = p.y_format == Format::kBf16;
  if (in) {
    out ? gated_or_not<true, true>(p, begin, end) : gated_or_not<true, false>(p, begin, end);
  } else {
    out ? gated_or_not<false, true>(p, begin, end) : gated_or_not<false, false>(p, begin, end);
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
