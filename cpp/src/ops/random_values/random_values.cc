#include "ops/random_values/random_values.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "ops/sampling/philox.h"

namespace sluice {
namespace {

// quantiles[i] = x with P(X <= x) = (i + 0.5) / 65536 for a normal X of standard deviation 1.
std::vector<float> make_quantiles() {
  std::vector<float> quantiles(kNormalQuantiles);
  double x = 0;
  for (int i = kNormalQuantiles / 2; i < kNormalQuantiles; ++i) {
    const double above = (kNormalQuantiles - i - 0.5) / kNormalQuantiles;
    // Newton's method from the quantile before. P(X > x) is convex here, so no step goes too far.
    double step = 1;
    while (std::fabs(step) > 1e-9) {
      const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
      step = (std::erfc(x / std::numbers::sqrt2) / 2 - above) / density;
      x += step;
    }
    quantiles[i] = static_cast<float>(x);
    quantiles[kNormalQuantiles - 1 - i] = -quantiles[i];
  }
  return quantiles;
}

}  // namespace

std::span<const float> normal_quantiles() {
  static const std::vector<float> quantiles = make_quantiles();
  return quantiles;
}

void normal_values(uint64_t seed, uint64_t place, uint64_t first, int64_t count, double std,
                   float* out) {
  const float* table = normal_quantiles().data();
  const auto scale = static_cast<float>(std);
  const uint64_t end = first + static_cast<uint64_t>(count);
  for (uint64_t at = first; at < end;) {
    const PhiloxBlock block = philox4x32_10(seed, at / kNormalsPerBlock, place);
    const uint64_t block_end = std::min(end, (at / kNormalsPerBlock + 1) * kNormalsPerBlock);
    for (; at < block_end; ++at) {
      const uint32_t word = block.x[at % kNormalsPerBlock / 2];
      *out++ = scale * table[at % 2 == 0 ? word & 0xffffu : word >> 16];
    }
  }
}

}  // namespace sluice
