#include "ops/rope/rope_kernel.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

template <bool kBf16>
SLUICE_INLINE float load_one(const void* row, int64_t i) {
  if constexpr (kBf16) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(row)[i]) << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
  } else {
    return static_cast<const float*>(row)[i];
  }
}

// Halves: pair p is columns p and p + half.
template <bool kBf16>
SLUICE_INLINE void turn_halves(void* x, int64_t half, const float* cos, const float* sin) {
  for (int64_t p = 0; p < half; p += kLanes) {
    const int n = half - p < kLanes ? static_cast<int>(half - p) : kLanes;
    const Vec c = load_n(cos + p, n);
    const Vec s = load_n(sin + p, n);
    const Vec a = load_row_n<kBf16>(x, p, n);
    const Vec b = load_row_n<kBf16>(x, p + half, n);
    store_row_n<kBf16>(x, p, sub(mul(a, c), mul(b, s)), n);
    store_row_n<kBf16>(x, p + half, add(mul(b, c), mul(a, s)), n);
  }
}

// Interleaved: pair p is columns 2p and 2p + 1. Rare among checkpoints; one pair at a time, rounded
// once when the 16 results of a group are stored.
template <bool kBf16>
SLUICE_INLINE void turn_interleaved(void* x, int64_t half, const float* cos, const float* sin) {
  for (int64_t p = 0; p < half; p += kLanes / 2) {
    const int n = half - p < kLanes / 2 ? static_cast<int>(half - p) : kLanes / 2;
    float out[kLanes];
    for (int i = 0; i < n; ++i) {
      const float a = load_one<kBf16>(x, 2 * (p + i));
      const float b = load_one<kBf16>(x, 2 * (p + i) + 1);
      out[2 * i] = a * cos[p + i] - b * sin[p + i];
      out[2 * i + 1] = b * cos[p + i] + a * sin[p + i];
    }
    store_row_n<kBf16>(x, 2 * p, load_n(out, 2 * n), 2 * n);
  }
}

template <bool kBf16>
void rows_of(const RopeParams& p, int64_t begin, int64_t end) {
  const int64_t half = p.rotary_dim / 2;
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t h = 0; h < p.num_heads; ++h) {
      void* x = static_cast<char*>(p.x) +
                (t * p.x_stride + h * p.head_dim + p.rotary_begin) * (kBf16 ? 2 : 4);
      if (p.interleaved) {
        turn_interleaved<kBf16>(x, half, p.cos + t * half, p.sin + t * half);
      } else {
        turn_halves<kBf16>(x, half, p.cos + t * half, p.sin + t * half);
      }
    }
  }
}

}  // namespace

void rope_rows(const RopeParams& p, int64_t begin, int64_t end) {
  if (p.format == Format::kBf16) {
    rows_of<true>(p, begin, end);
  } else {
    rows_of<false>(p, begin, end);
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
