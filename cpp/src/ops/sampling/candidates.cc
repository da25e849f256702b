#include "ops/sampling/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/// Tokens with a logit of at least `bound` (and above -inf), in order of preference.
int64_t collect(const float* x, int64_t n, float bound, Candidate* out) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] >= bound && x[i] > -kInfinity) out[count++] = {x[i], static_cast<int32_t>(i)};
  }
  std::sort(out, out + count, before);
  return count;
}

/// A sorted prefix of the candidates; `complete` when there are no others.
struct Prefix {
  const Candidate* candidates;
  int64_t size;
  bool complete;
  float max;
  float scale;

  double weight(int64_t i) const { return std::exp((candidates[i].logit - max) * scale); }
};

/// The drawn token, or -1 when the prefix is too short to tell.
int32_t draw(const Prefix& prefix, const CandidateFilter& f) {
  int64_t end = prefix.size;  // of the kept candidates, as far as the prefix shows
  bool ended = prefix.complete;
  double total = f.total;
  if (f.top_k > 0) {
    if (f.top_k <= end) {
      end = f.top_k;
      ended = true;
    }
    if (!ended) return -1;
    total = 0.0;
    for (int64_t i = 0; i < end; ++i) total += prefix.weight(i);
  }
  bool cut = false;  // total no longer is the sum of what is kept
  if (f.top_p < 1.0f) {
    double sum = 0.0;
    int64_t i = 0;
    while (i < end && sum < f.top_p * total) sum += prefix.weight(i++);
    if (sum < f.top_p * total && !ended) return -1;
    end = std::max<int64_t>(i, 1);
    ended = true;
    cut = true;
  }
  if (f.min_p > 0.0f) {
    int64_t i = 0;
    while (i < end && prefix.weight(i) >= f.min_p) ++i;
    if (i == end && !ended) return -1;
    end = std::max<int64_t>(i, 1);
    ended = true;
    cut = true;
  }
  if (cut) {
    total = 0.0;
    for (int64_t i = 0; i < end; ++i) total += prefix.weight(i);
  }
  double sum = 0.0;
  for (int64_t i = 0; i < end; ++i) {
    sum += prefix.weight(i);
    if (sum > f.u * total) return prefix.candidates[i].token;
  }
  // Rounding can leave the sum a hair below a total that was added in another order.
  return ended ? prefix.candidates[end - 1].token : -1;
}

}  // namespace

int32_t choose_candidate(const float* x, int64_t n, float max, float scale,
                         const CandidateFilter& filter, Candidate* scratch) {
  for (const float distance : {4.0f, 10.0f, 20.0f, kInfinity}) {
    const int64_t count = collect(x, n, max - distance / scale, scratch);
    const Prefix prefix{scratch, count, distance == kInfinity, max, scale};
    const int32_t token = draw(prefix, filter);
    if (token >= 0) return token;
  }
  return -1;  // unreachable: the last distance takes every token
}

void largest_candidates(const float* x, int64_t n, int32_t count, Candidate* out) {
  if (count <= 0) return;
  // A heap whose front is the least of the kept ones; most logits fail the first comparison.
  for (int64_t i = 0; i < count; ++i) out[i] = {x[i], static_cast<int32_t>(i)};
  std::make_heap(out, out + count, before);
  for (int64_t i = count; i < n; ++i) {
    if (x[i] <= out[0].logit) continue;  // an equal one with a higher token ranks behind
    std::pop_heap(out, out + count, before);
    out[count - 1] = {x[i], static_cast<int32_t>(i)};
    std::push_heap(out, out + count, before);
  }
  std::sort_heap(out, out + count, before);
}

}  // namespace sluice
