#include "runtime/random_values.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "ops/sampling/sampling.h"

namespace sluice {
namespace {

constexpr int kQuantiles = 1 << 16;
constexpr int kPerBlock = 8;  // numbers that one Philox block gives

// quantiles[i] = x with P(X <= x) = (i + 0.5) / 65536 for a normal X of standard deviation 1.
std::vector<float> make_quantiles() {
  std::vector<float> quantiles(kQuantiles);
  double x = 0;
  for (int i = kQuantiles / 2; i < kQuantiles; ++i) {
    const double above = (kQuantiles - i - 0.5) / kQuantiles;
    // Newton's method from the quantile before. P(X > x) is convex here, so no step goes too far.
    double step = 1;
    while (std::fabs(step) > 1e-9) {
      const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
      step = (std::erfc(x / std::numbers::sqrt2) / 2 - above) / density;
      x += step;
    }
    quantiles[i] = static_cast<float>(x);
    quantiles[kQuantiles - 1 - i] = -quantiles[i];
  }
  return quantiles;
}

}  // namespace

void normal_values(uint64_t seed, uint64_t place, uint64_t first, int64_t count, double std,
                   float* out) {
  static const std::vector<float> quantiles = make_quantiles();
  const float* table = quantiles.data();
  const auto scale = static_cast<float>(std);
  const uint64_t end = first + static_cast<uint64_t>(count);
  for (uint64_t at = first; at < end;) {
    const PhiloxBlock block = philox4x32_10(seed, at / kPerBlock, place);
    const uint64_t block_end = std::min(end, (at / kPerBlock + 1) * kPerBlock);
    for (; at < block_end; ++at) {
      const uint32_t word = block.x[at % kPerBlock / 2];
      *out++ = scale * table[at % 2 == 0 ? word & 0xffffu : word >> 16];
    }
  }
}

}  // namespace sluice
