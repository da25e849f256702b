/// @file
/// Frequencies of every RoPE variant, and the angles of a step's tokens.
#ifndef SLUICE_RUNTIME_ROPE_STATE_H_
#define SLUICE_RUNTIME_ROPE_STATE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "layers/context.h"
#include "model/spec.h"
#include "ops/rope/rope.h"
#include "runtime/step_view.h"

namespace sluice {

/// One RoPE with its variants, where ops run.
struct RopeTable {
  int32_t rotary_dim = 0;
  bool interleaved = false;
  const RopeVariantView* variants = nullptr;  ///< [num_variants]
  int32_t num_variants = 0;
};

/// Angles of a step's tokens for one RoPE, in arena memory.
/// @param variant  that of sequence s at s * variant_stride
RopeAngles make_angles(const Exec& exec, const StepBatch& batch, const RopeTable& rope,
                       const int32_t* variant, int64_t variant_stride, Arena& workspace);

/// Static variants as the model gives them, dynamic ones as step messages rewrite them. One thread
/// at a time.
class RopeState {
 public:
  explicit RopeState(const std::vector<RopeSpec>& ropes);

  /// Runs the RoPE updates of a checked step.
  void apply(const StepInput& step);

  /// Bytes that a state of these takes, dynamic variants included.
  static int64_t bytes(const std::vector<RopeSpec>& ropes);

  /// Arena bytes of make_angles().
  static int64_t workspace_bytes(const std::vector<RopeSpec>& ropes, int64_t max_tokens);

  /// Angles of the step's tokens for each RoPE, in arena memory. Valid until the next call.
  /// @param rope_variant  [num_sequences, ropes]
  std::span<const RopeAngles> make_angles(const Exec& exec, const StepBatch& batch,
                                          const int32_t* rope_variant, Arena& workspace);

 private:
  struct Rope {
    int32_t rotary_dim = 0;
    bool interleaved = false;
    std::vector<double> inv_freq;           // [variants, rotary_dim / 2]
    std::vector<RopeVariantView> variants;  // into inv_freq
  };
  std::vector<Rope> ropes_;
  std::vector<RopeAngles> angles_;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_ROPE_STATE_H_
