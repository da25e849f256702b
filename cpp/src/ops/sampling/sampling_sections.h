/// @file
/// The output sections of a step that sampling writes.
#ifndef SLUICE_OPS_SAMPLING_SAMPLING_SECTIONS_H_
#define SLUICE_OPS_SAMPLING_SAMPLING_SECTIONS_H_

#include <cstdint>

namespace sluice {

/// Of R output rows, each with a token for itself and one for each of D drafts at most, and N top
/// tokens of each of these.
struct SamplingSections {
  int32_t* accepted_count = nullptr;  ///< [R]
  int32_t* tokens = nullptr;          ///< [R, 1 + D]
  float* logprob = nullptr;           ///< [R, 1 + D]
  int32_t* rank = nullptr;            ///< [R, 1 + D]
  float* target_logprob = nullptr;    ///< [targets]
  int32_t* target_rank = nullptr;     ///< [targets]
  int32_t* top_token = nullptr;       ///< [R, 1 + D, N]; may be null when N is 0
  float* top_logprob = nullptr;       ///< [R, 1 + D, N]; the same
  int32_t* finite = nullptr;          ///< [R]
};

}  // namespace sluice

#endif  // SLUICE_OPS_SAMPLING_SAMPLING_SECTIONS_H_
