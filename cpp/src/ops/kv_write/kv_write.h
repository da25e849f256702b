/// @file
/// Writes keys and values of new positions into the paged cache, reads values back, and moves whole
/// blocks.
#ifndef SLUICE_OPS_KV_WRITE_KV_WRITE_H_
#define SLUICE_OPS_KV_WRITE_KV_WRITE_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/kv_write/kv_cache.h"

namespace sluice {

/// Formats are converted to the cache's (round to nearest even). Bound by latency, not bandwidth.
struct KvWriteParams {
  int64_t num_tokens = 0;
  const void* k = nullptr;  ///< [num_tokens, num_kv_heads, k_dim], heads dense inside a token;
                            ///< unused with k_dim 0
  const void* v = nullptr;  ///< [num_tokens, num_kv_heads, v_dim], heads dense inside a token
  Format format = Format::kUnknown;  ///< of k and v: F32 or BF16
  int64_t k_stride = 0;              ///< elements between tokens (a fused QKV row, or dense)
  int64_t v_stride = 0;
  const int32_t* slots = nullptr;  ///< [num_tokens]: block * block_size + offset; -1: not kept
  int64_t slot_stride = 1;         ///< elements between tokens' slots (num kv groups of the step)
  KvCacheView cache{};
};

/// Throws INVALID_ARGUMENT for a slot outside [-1, num_blocks * block_size). Two tokens must not
/// share a slot.
void kv_write(const Exec& exec, const KvWriteParams& params);

/// Value rows of positions of one sequence, as they were written.
struct KvReadParams {
  KvCacheView cache{};
  const int32_t* block_table = nullptr;  ///< block of positions [i * block_size, ...) at i
  int64_t first_position = 0;
  int64_t num_positions = 0;
  void* rows = nullptr;              ///< [num_positions, num_kv_heads, v_dim], heads dense
  Format format = Format::kUnknown;  ///< F32 or BF16, rounded to nearest even
  int64_t row_stride = 0;            ///< elements between positions
};

/// Reads nothing but the named positions. Throws INVALID_ARGUMENT for a block outside
/// [0, num_blocks).
void kv_read_values(const Exec& exec, const KvReadParams& params);

/// Block `source` to block `target`. Throws INVALID_ARGUMENT for ids outside [0, num_blocks).
void kv_copy_block(const KvCacheView& cache, int32_t source, int32_t target);

/// Zeroes a block.
void kv_zero_block(const KvCacheView& cache, int32_t block);

}  // namespace sluice

#endif  // SLUICE_OPS_KV_WRITE_KV_WRITE_H_
