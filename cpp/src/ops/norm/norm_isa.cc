// Rows stay in the first-level cache between the passes, so each is bound by instructions, and
// reading a row twice costs less than keeping it.
#include "ops/norm/norm_kernel.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

/// Calls body(column, lanes) for each group of 16 columns; lanes is 16 but in the last one.
template <typename Body>
SLUICE_INLINE void for_columns(int64_t cols, const Body& body) {
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) body(c, kLanes);
  if (c < cols) body(c, static_cast<int>(cols - c));
}

template <bool kBf16>
SLUICE_INLINE Vec load_lanes(const void* row, int64_t c, int n) {
  return n == kLanes ? load_row<kBf16>(row, c) : load_row_n<kBf16>(row, c, n);
}

template <bool kBf16>
SLUICE_INLINE void store_lanes(void* row, int64_t c, Vec value, int n) {
  if (n == kLanes) {
    store_row<kBf16>(row, c, value);
  } else {
    store_row_n<kBf16>(row, c, value, n);
  }
}

template <bool kBf16>
SLUICE_INLINE void add_residual(const void* x, float* residual, float multiplier, int64_t cols) {
  const Vec m = splat(multiplier);
  for_columns(cols, [&](int64_t c, int n) {
    const Vec sum = fma(m, load_lanes<kBf16>(x, c, n), load_lanes<false>(residual, c, n));
    store_lanes<false>(residual, c, sum, n);
  });
}

template <bool kBf16In, bool kBf16Out>
SLUICE_INLINE void norm_one(const NormParams& p, const void* x, void* y, const float* weight,
                            const float* bias) {
  const float scale = 1.0f / static_cast<float>(p.cols);
  float mean = 0.0f;
  if (p.kind == NormKind::kLayerNorm) {
    Vec sum = zero();
    for_columns(p.cols, [&](int64_t c, int n) { sum = add(sum, load_lanes<kBf16In>(x, c, n)); });
    mean = reduce_add(sum) * scale;
  }
  Vec squares = zero();
  for_columns(p.cols, [&](int64_t c, int n) {
    Vec d = sub(load_lanes<kBf16In>(x, c, n), splat(mean));
    if (n < kLanes) d = blend(first_n(n), zero(), d);
    squares = fma(d, d, squares);
  });
  const float variance = reduce_add(squares) * scale;
  const Vec inverse = splat(1.0f / __builtin_sqrtf(variance + static_cast<float>(p.eps)));
  for_columns(p.cols, [&](int64_t c, int n) {
    Vec d = mul(sub(load_lanes<kBf16In>(x, c, n), splat(mean)), inverse);
    if (weight != nullptr) {
      d = mul(d, add(splat(p.weight_offset), load_lanes<false>(weight, c, n)));
    }
    if (bias != nullptr) d = add(d, load_lanes<false>(bias, c, n));
    store_lanes<kBf16Out>(y, c, d, n);
  });
}

template <bool kBf16>
SLUICE_INLINE const void* at(const void* base, int64_t index) {
  return static_cast<const char*>(base) + index * (kBf16 ? 2 : 4);
}

template <bool kBf16In, bool kBf16Out>
void rows_of(const NormParams& p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const void* x = at<kBf16In>(p.x, row * p.x_stride);
    void* y = const_cast<void*>(at<kBf16Out>(p.y, row * p.y_stride));
    if (p.residual != nullptr) {
      float* residual = p.residual + row * p.residual_stride;
      add_residual<kBf16In>(x, residual, p.residual_multiplier, p.cols);
      norm_one<false, kBf16Out>(p, residual, y, p.weight, p.bias);
      continue;
    }
    for (int64_t head = 0; head < p.num_heads; ++head) {
      const int64_t w = head * p.weight_head_stride;
      norm_one<kBf16In, kBf16Out>(
          p, at<kBf16In>(x, head * p.cols), const_cast<void*>(at<kBf16Out>(y, head * p.cols)),
          p.weight == nullptr ? nullptr : p.weight + w, p.bias == nullptr ? nullptr : p.bias + w);
    }
  }
}

}  // namespace

void norm_rows(const NormParams& p, int64_t begin, int64_t end) {
  const bool in = p.x_format == Format::kBf16;
  const bool out = p.y_format == Format::kBf16;
  if (in) {
    out ? rows_of<true, true>(p, begin, end) : rows_of<true, false>(p, begin, end);
  } else {
    out ? rows_of<false, true>(p, begin, end) : rows_of<false, false>(p, begin, end);
  }
}

void residual_add_rows(const ResidualAddParams& p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    float* residual = p.residual + row * p.residual_stride;
    if (p.x_format == Format::kBf16) {
      add_residual<true>(at<true>(p.x, row * p.x_stride), residual, p.multiplier, p.cols);
    } else {
      add_residual<false>(at<false>(p.x, row * p.x_stride), residual, p.multiplier, p.cols);
    }
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
