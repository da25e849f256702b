#include "ops/expert_capacity/expert_capacity.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/expert_capacity/expert_capacity_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// Work that is worth a thread, in bytes of choices.
constexpr int64_t kShareBytes = int64_t{32} << 10;

const int32_t* table_of(const ExpertCapacityParams& p, int32_t sequence) {
  const int64_t row = p.table_rows == nullptr ? sequence : p.table_rows[sequence];
  return p.block_tables + row * p.block_table_stride;
}

int64_t first_position(const ExpertCapacityParams& p, int32_t sequence) {
  return p.positions[p.query_start[sequence] * p.position_stride];
}

int64_t window_begin(const ExpertCapacityParams& p, int64_t position) {
  return p.window == 0 ? 0 : position / p.window * p.window;
}

void check_params(const ExpertCapacityParams& p) {
  check_at_least("expert_capacity num_tokens", p.num_tokens, 0);
  SLUICE_CHECK_ARG(p.num_experts >= 1 && p.num_experts <= 65536, "num_experts: ", p.num_experts,
                   " (expected: 1 to 65536)");
  check_at_least("num_experts_per_token", p.num_experts_per_token, 1);
  check_at_least("expert_capacity", p.capacity, 1);
  check_at_least("capacity_window", p.window, 0);
  check_at_least("expert_capacity block_size", p.block_size, 1);
  check_memory("expert_capacity experts", p.experts, p.num_tokens);
  check_memory("expert_capacity positions", p.positions, p.num_tokens);
  check_memory("expert_capacity kv_slots", p.kv_slots, p.num_tokens);
  check_memory("expert_capacity channel", p.channel, p.num_tokens);
  check_memory("expert_capacity kept", p.kept, p.num_tokens);
  check_memory("expert_capacity query_start", p.query_start, p.num_sequences);
  check_memory("expert_capacity block_tables", p.block_tables, p.num_sequences);
}

// What only the host can read.
void check_arrays(const ExpertCapacityParams& p) {
  const int64_t slots = checked_mul(p.num_blocks, p.block_size);
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const int32_t slot = p.kv_slots[t * p.kv_slot_stride];
    SLUICE_CHECK_ARG(slot >= 0 && slot < slots, "kv slot of token ", t, ": ", slot,
                     " (expected: 0 to ", slots - 1, ")");
  }
  for (int64_t i = 0; i < p.num_tokens * p.num_experts_per_token; ++i) {
    SLUICE_CHECK_ARG(p.experts[i] >= 0 && p.experts[i] < p.num_experts, "experts[", i,
                     "]: ", p.experts[i], " (expected: 0 to ", p.num_experts - 1, ")");
  }
}

void check_blocks(const ExpertCapacityParams& p, int32_t sequence) {
  const int64_t position = first_position(p, sequence);
  const int64_t begin = window_begin(p, position);
  if (begin == position) return;
  const int32_t* table = table_of(p, sequence);
  for (int64_t i = begin / p.block_size; i <= (position - 1) / p.block_size; ++i) {
    SLUICE_CHECK_ARG(table[i] >= 0 && table[i] < p.num_blocks, "block table of sequence ", sequence,
                     " at ", i, ": ", table[i], " (expected: 0 to ", p.num_blocks - 1, ")");
  }
}

// Adds the choices of positions [begin, end) of a sequence.
void count_earlier(const ExpertCapacityParams& p, const int32_t* table, int64_t begin, int64_t end,
                   int32_t* counts) {
  const int64_t k = p.num_experts_per_token;
  while (begin < end) {
    const int64_t block_end = std::min(end, (begin / p.block_size + 1) * p.block_size);
    const uint16_t* chosen =
        p.channel +
        (table[begin / p.block_size] * int64_t{p.block_size} + begin % p.block_size) * k;
    for (int64_t i = 0; i < (block_end - begin) * k; ++i) {
      // What no step has written names no expert of ours.
      if (chosen[i] < p.num_experts) ++counts[chosen[i]];
    }
    begin = block_end;
  }
}

void count_sequence(const ExpertCapacityParams& p, int32_t sequence, int32_t* counts) {
  const int32_t first = p.query_start[sequence];
  const int32_t end = p.query_start[sequence + 1];
  if (first == end) return;
  const int64_t k = p.num_experts_per_token;
  const int64_t position = first_position(p, sequence);
  std::fill_n(counts, p.num_experts, 0);
  count_earlier(p, table_of(p, sequence), window_begin(p, position), position, counts);
  for (int64_t t = first; t < end; ++t) {
    const int64_t at = p.positions[t * p.position_stride];
    if (t > first && window_begin(p, at) == at) std::fill_n(counts, p.num_experts, 0);
    const int32_t* chosen = p.experts + t * k;
    for (int64_t i = 0; i < k; ++i) p.kept[t * k + i] = counts[chosen[i]] < p.capacity ? 1 : 0;
    for (int64_t i = 0; i < k; ++i) ++counts[chosen[i]];
  }
}

}  // namespace

int64_t expert_capacity_workspace_bytes(const Exec& exec, int32_t num_experts) {
  if (exec.cuda != nullptr) return 0;
  return exec.num_threads * round_up(int64_t{num_experts} * 4, 64);
}

void expert_capacity(const Exec& exec, const ExpertCapacityParams& p, void* workspace,
                     int64_t workspace_bytes) {
  check_params(p);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::expert_capacity(*exec.cuda, p);
  }
  check_arrays(p);
  if (p.num_tokens == 0) return;
  const int64_t needed = expert_capacity_workspace_bytes(exec, p.num_experts);
  SLUICE_CHECK_ARG(workspace != nullptr && workspace_bytes >= needed,
                   "expert_capacity workspace: ", workspace_bytes, " bytes (expected: at least ",
                   needed, ")");
  const int64_t k = p.num_experts_per_token;
  int64_t earlier = 0;
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    if (p.query_start[s] == p.query_start[s + 1]) continue;
    check_blocks(p, s);
    earlier += first_position(p, s) - window_begin(p, first_position(p, s));
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    uint16_t* out = p.channel + p.kv_slots[t * p.kv_slot_stride] * k;
    for (int64_t i = 0; i < k; ++i) out[i] = static_cast<uint16_t>(p.experts[t * k + i]);
  }
  const int64_t stride = needed / exec.num_threads;
  const int64_t bytes = (earlier + p.num_tokens) * k * 4;
  const int64_t shares = std::clamp<int64_t>(
      std::min<int64_t>(bytes / kShareBytes, p.num_sequences), 1, exec.num_threads);
  parallel_ranges(exec, shares, 1, [&](int64_t share, int64_t /*end*/) {
    auto* counts = reinterpret_cast<int32_t*>(static_cast<char*>(workspace) + share * stride);
    const int64_t end = p.num_sequences * (share + 1) / shares;
    for (int64_t s = p.num_sequences * share / shares; s < end; ++s) {
      count_sequence(p, static_cast<int32_t>(s), counts);
    }
  });
}

}  // namespace sluice
