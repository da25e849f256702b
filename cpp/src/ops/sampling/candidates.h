/// @file
/// Chooses among tokens ordered by falling probability, without sorting the whole vocabulary.
#ifndef SLUICE_OPS_SAMPLING_CANDIDATES_H_
#define SLUICE_OPS_SAMPLING_CANDIDATES_H_

#include <cstdint>

namespace sluice {

struct Candidate {
  float logit;
  int32_t token;
};

struct CandidateFilter {
  int32_t top_k = 0;   ///< 0: off
  float top_p = 1.0f;  ///< 1: off
  float min_p = 0.0f;  ///< 0: off
  double u = 0.0;      ///< random number in [0, 1)
  double total = 0.0;  ///< sum of exp((x - max) * scale) over all tokens; not read when top_k > 0
};

/// The token that `filter` draws from logits x[0, n) whose largest is `max`; -inf is never drawn.
/// Looks at the tokens within a distance of the largest and widens it only while what they tell is
/// not enough: usually a few dozen are sorted. `scratch` holds n candidates.
int32_t choose_candidate(const float* x, int64_t n, float max, float scale,
                         const CandidateFilter& filter, Candidate* scratch);

/// The `count` <= n largest logits by falling value, equal ones by the lower token, to `out`.
void largest_candidates(const float* x, int64_t n, int32_t count, Candidate* out);

}  // namespace sluice

#endif  // SLUICE_OPS_SAMPLING_CANDIDATES_H_
