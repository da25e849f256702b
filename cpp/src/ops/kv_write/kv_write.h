/// @file
/// Writes keys and values of new positions into the paged cache, reads values back, and moves whole
/// blocks. The cache is KvLayout::kInterleaved on the CPU and KvLayout::kRows on CUDA; another is
/// UNSUPPORTED.
#ifndef SLUICE_OPS_KV_WRITE_KV_WRITE_H_
#define SLUICE_OPS_KV_WRITE_KV_WRITE_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/kv_write/kv_cache.h"

namespace sluice {

/// Formats are converted to the cache's (round to nearest even). Bound by latency, not bandwidth.
struct KvWriteParams {
  int64_t num_tokens = 0;
  const void* k = nullptr;  ///< [num_tokens, num_kv_heads, k_dim - k_tail_dim]; unused with k_dim 0
  const void* v = nullptr;  ///< [num_tokens, num_kv_heads, v_dim]
  Format format = Format::kUnknown;  ///< of k, v and k_tail: F32 or BF16
  int64_t k_stride = 0;              ///< elements between tokens (a fused QKV row, or dense)
  int64_t v_stride = 0;
  int64_t k_head_stride = 0;  ///< elements between the heads of a token; 0: dense
  int64_t v_head_stride = 0;
  const void* k_tail = nullptr;  ///< [num_tokens, k_tail_dim] last columns of every head's key, which
                                 ///< all heads share (a rotary key)
  int32_t k_tail_dim = 0;        ///< 0 to k_dim - 1
  int64_t k_tail_stride = 0;     ///< elements between tokens
  const int32_t* slots = nullptr;  ///< [num_tokens]: block * block_size + offset; -1: not kept
  int64_t slot_stride = 1;         ///< elements between tokens' slots (num kv groups of the step)
  KvCacheView cache{};
};

/// Throws INVALID_ARGUMENT for a slot outside [-1, num_blocks * block_size). CUDA cannot and keeps
/// nothing of such a token. Two tokens must not share a slot.
void kv_write(const Exec& exec, const KvWriteParams& params);

/// Value rows of positions of a ragged batch, as they were written. Row row_start[s] + i of `rows`
/// becomes position first_position + i of sequence s, for i < num_positions[s]; all other rows below
/// num_rows become zero.
struct KvReadParams {
  KvCacheView cache{};
  int32_t num_sequences = 0;
  const int32_t* num_positions = nullptr;  ///< [num_sequences]
  const int32_t* row_start = nullptr;      ///< [num_sequences] rising from 0; ranges are disjoint
  const int32_t* block_tables = nullptr;   ///< row r: block of positions [i * block_size, ...) at i
  int64_t block_table_stride = 0;          ///< elements between rows
  const int32_t* table_rows = nullptr;     ///< [num_sequences] row of each; null: row s
  int64_t first_position = 0;
  int64_t num_rows = 0;
  void* rows = nullptr;              ///< [num_rows, num_kv_heads, v_dim], heads dense
  Format format = Format::kUnknown;  ///< F32 or BF16, rounded to nearest even
  int64_t row_stride = 0;            ///< elements between rows; the elements between stay
};

/// Reads nothing but the named positions. Throws INVALID_ARGUMENT, where arrays can be read on the
/// host, for a block outside [0, num_blocks) and for rows beyond num_rows. CUDA makes the rows of
/// such a block NaN.
void kv_read_values(const Exec& exec, const KvReadParams& params);

/// Block `source` to block `target`. Throws INVALID_ARGUMENT for ids outside [0, num_blocks).
void kv_copy_block(const Exec& exec, const KvCacheView& cache, int32_t source, int32_t target);

/// Zeroes a block.
void kv_zero_block(const Exec& exec, const KvCacheView& cache, int32_t block);

}  // namespace sluice

#endif  // SLUICE_OPS_KV_WRITE_KV_WRITE_H_
