#include "ops/activation/activation_kernel.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

SLUICE_INLINE Vec apply(ActivationKind kind, Vec x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return mul(x, sigmoid(x));
    case ActivationKind::kGelu:
      return mul(mul(splat(0.5f), x), add(splat(1.0f), erf(mul(x, splat(0.70710678118654752f)))));
    case ActivationKind::kGeluTanh: {
      const Vec cube = mul(mul(x, x), x);
      const Vec inner = mul(splat(0.79788456080286536f), fma(splat(0.044715f), cube, x));
      return mul(mul(splat(0.5f), x), add(splat(1.0f), tanh(inner)));
    }
    case ActivationKind::kRelu:
      return max(zero(), x);
    case ActivationKind::kReluSquared: {
      const Vec positive = max(zero(), x);
      return mul(positive, positive);
    }
    case ActivationKind::kQuickGelu:
      return mul(x, sigmoid(mul(splat(1.702f), x)));
    case ActivationKind::kClampedSwiglu:
      break;  // gated only, see below
    case ActivationKind::kSigmoid:
      return sigmoid(x);
  }
  return x;
}

// The formats are asked per 16 columns, not by templates: an exponential costs far more than a
// branch that always goes the same way.
SLUICE_INLINE Vec read(bool bf16, const void* row, int64_t c, int n) {
  if (n == kLanes) return bf16 ? load_row<true>(row, c) : load_row<false>(row, c);
  return bf16 ? load_row_n<true>(row, c, n) : load_row_n<false>(row, c, n);
}

SLUICE_INLINE void write(bool bf16, void* row, int64_t c, Vec value, int n) {
  if (n == kLanes) {
    bf16 ? store_row<true>(row, c, value) : store_row<false>(row, c, value);
  } else {
    bf16 ? store_row_n<true>(row, c, value, n) : store_row_n<false>(row, c, value, n);
  }
}

}  // namespace

void activation_rows(const ActivationParams& p, int64_t begin, int64_t end) {
  const bool in = p.x_format == Format::kBf16, out = p.y_format == Format::kBf16;
  for (int64_t row = begin; row < end; ++row) {
    const char* x = static_cast<const char*>(p.x) + row * p.x_stride * (in ? 2 : 4);
    const char* up = p.up == nullptr
                         ? nullptr
                         : static_cast<const char*>(p.up) + row * p.x_stride * (in ? 2 : 4);
    char* y = static_cast<char*>(p.y) + row * p.y_stride * (out ? 2 : 4);
    for (int64_t c = 0; c < p.cols; c += kLanes) {
      const int n = p.cols - c < kLanes ? static_cast<int>(p.cols - c) : kLanes;
      Vec g = read(in, x, c, n);
      if (p.kind == ActivationKind::kClampedSwiglu) {
        const Vec limit = splat(p.limit);
        g = min(limit, g);
        const Vec u = max(sub(zero(), limit), min(limit, read(in, up, c, n)));
        g = mul(mul(g, sigmoid(mul(splat(p.alpha), g))), add(u, splat(p.beta)));
      } else {
        g = apply(p.kind, g);
        if (up != nullptr) g = mul(g, read(in, up, c, n));
      }
      write(out, y, c, g, n);
    }
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
