/// @file
/// Expert capacity: in a window of positions each expert accepts the first `capacity` tokens, in
/// position order, that chose it; later choices are dropped.
///
/// The count needs no counters that live between steps: every position leaves the experts that it
/// chose in a side channel of its KV slot, and a choice is dropped when `capacity` or more earlier
/// positions of the window hold the expert. Dropped choices count as well: they can only follow
/// `capacity` others. So chunks, forks, shared prefixes and positions that are fed again all give
/// what one whole pass gives.
#ifndef SLUICE_OPS_EXPERT_CAPACITY_EXPERT_CAPACITY_H_
#define SLUICE_OPS_EXPERT_CAPACITY_EXPERT_CAPACITY_H_

#include <cstdint>

#include "device/cpu.h"

namespace sluice {

struct ExpertCapacityParams {
  int64_t num_tokens = 0;             ///< 0 does nothing
  int32_t num_experts = 0;            ///< 1 to 65536
  int32_t num_experts_per_token = 0;  ///< k
  int32_t capacity = 0;               ///< accepted tokens per expert and window, > 0
  int32_t window = 0;                 ///< positions per window; 0: the whole sequence is one
  const int32_t* experts = nullptr;   ///< [num_tokens, k], below num_experts

  // Sequences: disjoint, in order, covering all tokens; positions are consecutive in a sequence.
  int32_t num_sequences = 0;
  const int32_t* query_start = nullptr;   ///< [num_sequences + 1]
  const int32_t* positions = nullptr;     ///< [num_tokens]
  int64_t position_stride = 1;            ///< elements between tokens' positions
  const int32_t* kv_slots = nullptr;      ///< [num_tokens] slot of each token
  int64_t kv_slot_stride = 1;             ///< elements between tokens' slots
  const int32_t* block_tables = nullptr;  ///< row r: block of positions [i * block_size, ...) at i
  int64_t block_table_stride = 0;         ///< elements between rows
  const int32_t* table_rows = nullptr;    ///< [num_sequences] row of each; null: row s
  int32_t block_size = 0;                 ///< positions per block
  int64_t num_blocks = 0;

  uint16_t* channel = nullptr;  ///< [num_blocks * block_size, k] experts that a slot's token chose
  uint8_t* kept = nullptr;      ///< [num_tokens, k] result: 1 accepted, 0 dropped
};

/// 0 on CUDA.
int64_t expert_capacity_workspace_bytes(const Exec& exec, int32_t num_experts);

/// Writes the tokens' choices to the channel, all of them before any is read, then counts. Reads
/// only the channel of earlier positions of the tokens' windows. Sequences are split over threads.
/// Throws INVALID_ARGUMENT, naming the field, also for a block of such a position outside
/// [0, num_blocks). CUDA cannot throw for what arrays hold: it keeps nothing of a token with a slot
/// outside the cache (-1: padding), counts nothing of a block outside it, and throws UNSUPPORTED for
/// more than 8192 experts.
void expert_capacity(const Exec& exec, const ExpertCapacityParams& params, void* workspace,
                     int64_t workspace_bytes);

}  // namespace sluice

#endif  // SLUICE_OPS_EXPERT_CAPACITY_EXPERT_CAPACITY_H_
