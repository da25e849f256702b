#include "ops/router/route.h"

#include "ops/router/route_cuda.h"
#include "ops/simd/check.h"

namespace sluice {

bool route_fits(const Exec& exec, const RouteParams& p) {
  if constexpr (kCudaBuilt) {
    const auto whole = [](const void* data, int64_t stride, int64_t values) {
      return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % values == 0;
    };
    return exec.cuda != nullptr && exec.cuda->has_sm90a() &&
           p.router.num_tokens <= cuda::kMaxRouteTokens &&
           p.router.num_experts <= cuda::kMaxRouteExperts && p.w.format == Format::kF32 &&
           p.w.layout == WeightLayout::kRowMajor && whole(p.w.data, p.w.cols, 8) &&
           whole(p.x, p.x_stride, 8);
  }
  return false;
}

void route(const Exec& exec, const RouteParams& p) {
  check_compute_format("route x_format", p.x_format);
  SLUICE_CHECK(route_fits(exec, p), SLUICE_STATUS_UNSUPPORTED, "route: ", p.router.num_tokens,
               " tokens, ", p.router.num_experts, " experts, ", p.w.cols,
               " columns (expected: on CUDA 9.0, up to 16 tokens and 256 experts, rows of multiples "
               "of 8 values)");
  SLUICE_CHECK_ARG(p.w.rows == p.router.num_experts && p.sorted.num_experts == p.w.rows &&
                       p.sorted.num_tokens == p.router.num_tokens &&
                       p.sorted.num_experts_per_token == p.router.num_experts_per_token,
                   "route: ", p.w.rows, " rows of weights, ", p.router.num_experts, " and ",
                   p.sorted.num_experts, " experts, ", p.router.num_tokens, " and ",
                   p.sorted.num_tokens, " tokens (expected: the same)");
  check_memory("route x", p.x, p.router.num_tokens);
  check_memory("route logits", p.router.logits, p.router.num_tokens);
  check_memory("route experts", p.router.experts, p.router.num_tokens);
  check_memory("route weights", p.router.weights, p.router.num_tokens);
  check_memory("route expert_offsets", p.sorted.expert_offsets, p.w.rows);
  check_memory("route row_tokens", p.sorted.row_tokens, p.router.num_tokens);
  check_memory("route row_choices", p.sorted.row_choices, p.router.num_tokens);
  check_memory("route choice_rows", p.sorted.choice_rows, p.router.num_tokens);
  if (p.router.num_tokens == 0) return;
  if constexpr (kCudaBuilt) {
    exec.cuda->note("router", "route_sm90");
    cuda::route(*exec.cuda, p);
  }
}

}  // namespace sluice
