/// @file
/// Everything that a mixture of experts decides for a few tokens, in one launch: the router's product
/// (of a decision: float32, ops/grouped_gemm), router(), permute() and the counts of experts' tokens.
/// The results are those of the steps one by one, bit for bit.
#ifndef SLUICE_OPS_ROUTER_ROUTE_H_
#define SLUICE_OPS_ROUTER_ROUTE_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/gemm/weight.h"
#include "ops/permute/permute.h"
#include "ops/router/router.h"

namespace sluice {

struct RouteParams {
  const void* x = nullptr;             ///< [num_tokens, w.cols]
  Format x_format = Format::kUnknown;  ///< F32 or BF16, which counts as the F32 of the same value
  int64_t x_stride = 0;                ///< elements between tokens
  WeightView w{};                      ///< F32 [num_experts, w.cols], kRowMajor
  const float* bias = nullptr;         ///< [num_experts] or null
  RouterParams router;                 ///< its logits are memory for the product's results
  PermuteParams sorted;                ///< of the same tokens and experts
  int32_t* expert_counts = nullptr;    ///< [num_experts] rows of each are added to it; null: not
};

/// Whether there is a kernel for this: on CUDA with compute capability 9.0, for up to 16 tokens and
/// 256 experts.
bool route_fits(const Exec& exec, const RouteParams& params);

/// Throws UNSUPPORTED where route_fits() is false, INVALID_ARGUMENT for sizes that contradict each
/// other.
void route(const Exec& exec, const RouteParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_ROUTER_ROUTE_H_
