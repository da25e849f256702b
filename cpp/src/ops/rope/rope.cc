#include "ops/rope/rope.h"

#include <algorithm>
#include <cmath>

#include "ops/rope/rope_cuda.h"
#include "ops/rope/rope_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {

void rope_table(const Exec& exec, const RopeTableParams& p) {
  check_at_least("rope num_tokens", p.num_tokens, 0);
  SLUICE_CHECK_ARG(p.rotary_dim > 0 && p.rotary_dim % 2 == 0, "rotary_dim: ", p.rotary_dim,
                   " (expected: even, above 0)");
  check_at_least("position_dims", p.position_dims, 1);
  check_memory("rope positions", p.positions, p.num_tokens);
  check_memory("rope cos", p.cos, p.num_tokens);
  check_memory("rope sin", p.sin, p.num_tokens);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::rope_table(*exec.cuda, p);
  }
  const int32_t half = p.rotary_dim / 2;
  for (int32_t pair = 0; p.pair_dims != nullptr && pair < half; ++pair) {
    SLUICE_CHECK_ARG(p.pair_dims[pair] >= 0 && p.pair_dims[pair] < p.position_dims, "pair_dims[",
                     pair, "]: ", p.pair_dims[pair], " (expected: 0 to ", p.position_dims - 1, ")");
  }
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    const int32_t variant = p.variant[s * p.variant_stride];
    SLUICE_CHECK_ARG(variant >= 0 && variant < p.num_variants, "rope_variant[", s, "]: ", variant,
                     " (expected: 0 to ", p.num_variants - 1, ")");
    SLUICE_CHECK_ARG(p.query_start[s] >= 0 && p.query_start[s] <= p.query_start[s + 1] &&
                         p.query_start[s + 1] <= p.num_tokens,
                     "query_start[", s + 1, "]: ", p.query_start[s + 1],
                     " (expected: rising, at most ", p.num_tokens, ")");
  }
  const auto fill = [&](int64_t token, const RopeVariantView& variant) {
    const int32_t* position = p.positions + token * p.position_dims;
    float* cos = p.cos + token * half;
    float* sin = p.sin + token * half;
    for (int32_t pair = 0; pair < half; ++pair) {
      const int32_t dim = p.pair_dims == nullptr ? 0 : p.pair_dims[pair];
      const double angle = static_cast<double>(position[dim]) * variant.inv_freq[pair];
      cos[pair] = static_cast<float>(std::cos(angle) * variant.attention_scale);
      sin[pair] = static_cast<float>(std::sin(angle) * variant.attention_scale);
    }
  };
  if (p.num_sequences == 0) return;
  const int64_t first = p.query_start[0];
  const int32_t* ends = p.query_start + 1;
  // About 40 ns a sine: 32 tokens of 32 pairs are worth a thread.
  parallel_ranges(exec, p.query_start[p.num_sequences] - first, 1024 / half + 1,
                  [&](int64_t begin, int64_t end) {
                    int64_t s =
                        std::upper_bound(ends, ends + p.num_sequences, first + begin) - ends;
                    for (int64_t t = first + begin; t < first + end; ++t) {
                      while (ends[s] <= t) ++s;
                      fill(t, p.variants[p.variant[s * p.variant_stride]]);
                    }
                  });
}

void rope(const Exec& exec, const RopeParams& p) {
  check_compute_format("rope format", p.format);
  check_at_least("rope num_tokens", p.num_tokens, 0);
  check_at_least("rope num_heads", p.num_heads, 1);
  SLUICE_CHECK_ARG(p.rotary_dim > 0 && p.rotary_dim % 2 == 0 && p.rotary_begin >= 0 &&
                       p.rotary_begin + p.rotary_dim <= p.head_dim,
                   "rotary_dim: ", p.rotary_dim, " from column ", p.rotary_begin,
                   " (expected: even, inside head_dim ", p.head_dim, ")");
  check_stride("rope x_stride", p.x_stride, int64_t{p.num_heads} * p.head_dim, p.num_tokens);
  check_memory("rope x", p.x, p.num_tokens);
  check_memory("rope cos", p.cos, p.num_tokens);
  check_memory("rope sin", p.sin, p.num_tokens);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::rope(*exec.cuda, p);
  }
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, rope_rows);
  parallel_ranges(exec, p.num_tokens, grain_for_bytes(int64_t{p.num_heads} * p.rotary_dim * 8),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

}  // namespace sluice
