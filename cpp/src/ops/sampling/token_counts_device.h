/// @file
/// Device functions over TokenCountsView. For .cu sources only.
#ifndef SLUICE_OPS_SAMPLING_TOKEN_COUNTS_DEVICE_H_
#define SLUICE_OPS_SAMPLING_TOKEN_COUNTS_DEVICE_H_

#include <climits>
#include <cstdint>

#include "ops/sampling/token_counts_cuda.h"

namespace sluice::cuda {

__device__ inline TokenCount* table_of(const TokenCountsView& view, int32_t seq_slot) {
  return view.places + seq_slot * view.capacity;
}

__device__ inline uint32_t first_place(const TokenCountsView& view, int32_t token) {
  return static_cast<uint32_t>(token) * 2654435761u & static_cast<uint32_t>(view.capacity - 1);
}

/// The token's place; null when it has none.
__device__ inline TokenCount* find_place(const TokenCountsView& view, TokenCount* table,
                                         int32_t token) {
  const auto mask = static_cast<uint32_t>(view.capacity - 1);
  uint32_t at = first_place(view, token);
  for (int64_t probe = 0; probe < view.capacity; ++probe, at = (at + 1) & mask) {
    const int32_t there = table[at].token;
    if (there == token) return table + at;
    if (there == -1) return nullptr;
  }
  return nullptr;
}

/// The same, made if need be; threads may do so at the same time. Null: the table is full.
__device__ inline TokenCount* make_place(const TokenCountsView& view, TokenCount* table,
                                         int32_t token) {
  const auto mask = static_cast<uint32_t>(view.capacity - 1);
  uint32_t at = first_place(view, token);
  for (int64_t probe = 0; probe < view.capacity; ++probe, at = (at + 1) & mask) {
    const int32_t there = atomicCAS(&table[at].token, -1, token);
    if (there == -1 || there == token) return table + at;
  }
  return nullptr;
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_SAMPLING_TOKEN_COUNTS_DEVICE_H_
