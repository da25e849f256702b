// Each pass reads the row once; a row of 50,000 logits lies in the second-level cache.
#include "ops/sampling/sampling_kernel.h"
#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {

float row_max(const float* x, int64_t n, bool* finite) {
  const float infinity = __builtin_inff();
  Vec largest = splat(-infinity);
  uint32_t bad = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec v = load(x + i);
    bad |= ~mask_bits(less(abs(v), splat(infinity))) & 0xffffu;
    largest = blend(less(largest, v), largest, v);
  }
  float result = reduce_max(largest);
  bool all_finite = bad == 0;
  for (; i < n; ++i) {
    all_finite = all_finite && __builtin_isfinite(x[i]);
    if (x[i] > result) result = x[i];
  }
  *finite = all_finite;
  return result;
}

int64_t first_equal(const float* x, int64_t n, float value) {
  const Vec wanted = splat(value);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const uint32_t hits = mask_bits(equal(load(x + i), wanted));
    if (hits != 0) return i + __builtin_ctz(hits);
  }
  for (; i < n; ++i) {
    if (x[i] == value) return i;
  }
  return n;
}

double sum_exp(const float* x, int64_t n, float max, float scale) {
  const Vec m = splat(max);
  const Vec s = splat(scale);
  double total = 0.0;
  int64_t i = 0;
  while (i + kLanes <= n) {
    const int64_t run = i + 1024 < n ? i + 1024 : n;
    Vec sum = zero();
    for (; i + kLanes <= run; i += kLanes) sum = add(sum, exp(mul(sub(load(x + i), m), s)));
    total += static_cast<double>(reduce_add(sum));
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const Vec e = exp(mul(sub(load_n(x + i, rest), m), s));
    total += static_cast<double>(reduce_add(blend(first_n(rest), zero(), e)));
  }
  return total;
}

int64_t count_above(const float* x, int64_t n, float value) {
  const Vec bound = splat(value);
  int64_t count = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    count += __builtin_popcount(mask_bits(less(bound, load(x + i))));
  }
  for (; i < n; ++i) count += x[i] > value;
  return count;
}

void forbid(float* x, int64_t n, const uint32_t* allowed) {
  const Vec never = splat(-__builtin_inff());
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const uint32_t bits = allowed[i / 32];
    if (bits == 0xffffffffu) continue;
    store(x + i, blend(mask_of(bits & 0xffffu), never, load(x + i)));
    store(x + i + kLanes, blend(mask_of(bits >> 16), never, load(x + i + kLanes)));
  }
  for (; i < n; ++i) {
    if (((allowed[i / 32] >> (i % 32)) & 1u) == 0) x[i] = -__builtin_inff();
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
