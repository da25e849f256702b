#include "ops/permute/unpermute_kernel.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {

void unpermute_tokens(const UnpermuteParams& p, int64_t begin, int64_t end) {
  const int32_t k = p.num_experts_per_token;
  for (int64_t t = begin; t < end; ++t) {
    const int32_t* choice_rows = p.choice_rows + t * k;
    int32_t found = 0;
    for (int32_t i = 0; i < k; ++i) found += choice_rows[i] >= 0 ? 1 : 0;
    if (found == 0) continue;
    float* y = p.y + t * p.y_stride;
    for (int64_t c = 0; c < p.cols; c += kLanes) {
      const int n = p.cols - c < kLanes ? static_cast<int>(p.cols - c) : kLanes;
      Vec sum = zero();
      for (int32_t i = 0; i < k; ++i) {
        if (choice_rows[i] < 0) continue;
        const float weight = p.weights == nullptr ? 1.0f : p.weights[t * k + i];
        sum = fma(splat(weight), load_n(p.rows + choice_rows[i] * p.row_stride + c, n), sum);
      }
      store_n(y + c, fma(splat(p.multiplier), sum, load_n(y + c, n)), n);
    }
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
