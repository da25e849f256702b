#include "ops/permute/permute.h"

#include "ops/permute/permute_cuda.h"
#include "ops/permute/unpermute_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {

void permute(const Exec& exec, const PermuteParams& p) {
  check_at_least("permute num_tokens", p.num_tokens, 0);
  check_at_least("num_experts", p.num_experts, 1);
  check_at_least("num_experts_per_token", p.num_experts_per_token, 1);
  check_memory("expert_offsets", p.expert_offsets, p.num_experts + 1);
  check_memory("permute experts", p.experts, p.num_tokens);
  check_memory("row_tokens", p.row_tokens, p.num_tokens);
  check_memory("row_choices", p.row_choices, p.num_tokens);
  check_memory("choice_rows", p.choice_rows, p.num_tokens);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::permute(*exec.cuda, p);
  }
  const int64_t choices = p.num_tokens * p.num_experts_per_token;
  const auto kept = [&](int64_t choice) {
    if (p.kept != nullptr && p.kept[choice] == 0) return false;
    return p.token_slots == nullptr ||
           p.token_slots[choice / p.num_experts_per_token * p.token_slot_stride] >= 0;
  };
  int32_t* offsets = p.expert_offsets;
  for (int32_t e = 0; e <= p.num_experts; ++e) offsets[e] = 0;
  // Histogram, one place up: after the scan offsets[e + 1] is where expert e + 1 begins.
  for (int64_t c = 0; c < choices; ++c) {
    SLUICE_CHECK_ARG(p.experts[c] >= 0 && p.experts[c] < p.num_experts, "experts[", c,
                     "]: ", p.experts[c], " (expected: 0 to ", p.num_experts - 1, ")");
    if (kept(c)) ++offsets[p.experts[c] + 1];
  }
  for (int32_t e = 0; e < p.num_experts; ++e) offsets[e + 1] += offsets[e];
  // Scatter with the offsets as cursors, which leaves each at the next expert's begin.
  for (int64_t c = 0; c < choices; ++c) {
    if (!kept(c)) {
      p.choice_rows[c] = -1;
      continue;
    }
    const int32_t row = offsets[p.experts[c]]++;
    p.row_tokens[row] = static_cast<int32_t>(c / p.num_experts_per_token);
    p.row_choices[row] = static_cast<int32_t>(c);
    p.choice_rows[c] = row;
  }
  for (int32_t e = p.num_experts; e > 0; --e) offsets[e] = offsets[e - 1];
  offsets[0] = 0;
}

void unpermute(const Exec& exec, const UnpermuteParams& p) {
  check_at_least("unpermute num_tokens", p.num_tokens, 0);
  check_at_least("num_experts_per_token", p.num_experts_per_token, 1);
  check_at_least("unpermute cols", p.cols, 1);
  check_at_least("unpermute row_stride", p.row_stride, p.cols);
  check_stride("unpermute y_stride", p.y_stride, p.cols, p.num_tokens);
  check_memory("choice_rows", p.choice_rows, p.num_tokens);
  check_memory("unpermute rows", p.rows, p.num_tokens);
  check_memory("unpermute y", p.y, p.num_tokens);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::unpermute(*exec.cuda, p);
  }
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, unpermute_tokens);
  parallel_ranges(exec, p.num_tokens,
                  grain_for_bytes(p.cols * 4 * (int64_t{p.num_experts_per_token} + 2)),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

}  // namespace sluice
