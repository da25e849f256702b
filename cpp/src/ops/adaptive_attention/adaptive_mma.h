/// @file
/// Adaptive attention's tiles on the tensor cores. For .cu sources only.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_MMA_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_MMA_H_

#include "ops/adaptive_attention/adaptive_device.h"

namespace sluice::cuda {

/// Whether they serve: BF16 caches, heads of 64 or 128.
bool mma_fits(const CudaExec& exec, const AdaptiveAttentionParams& params);

// As launch_tiles() and launch_scores().
void launch_mma_tiles(const CudaExec& exec, const AdaptiveAttentionParams& params,
                      const Draws& draws);
void launch_mma_scores(const CudaExec& exec, const AdaptiveAttentionParams& params,
                       const Selection& rows, int64_t longest);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_MMA_H_
