/// @file
/// Layout of a paged KV cache, the same for every op that touches it.
#ifndef SLUICE_OPS_KV_WRITE_KV_CACHE_H_
#define SLUICE_OPS_KV_WRITE_KV_CACHE_H_

#include <cstdint>

#include "base/format.h"

namespace sluice {

enum class KvLayout : int32_t {
  kInterleaved = 0,  ///< the CPU's: groups of positions, see below
  kRows = 1,         ///< CUDA's: a row of dims after the other
};

/// Keys or values of one layer of one kv group, in memory that somebody else owns. A value.
///
/// A position with slot s (block s / block_size, offset o = s % block_size) keeps, for each kv head
/// h, a key and a value. Keys start at k + block * k_block_stride + h * k_head_bytes(), values at
/// v + block * v_block_stride + h * v_head_bytes(). Inside, with g = min(block_size, 16) and
/// dims rounded up to 16 (columns beyond the dims are zero):
/// kRows: keys [block_size][k_dim16], values [block_size][v_dim16], so one head of a block is one
/// dense tile. kInterleaved:
/// - keys, F32: [block_size / g][k_dim16][g]: position o is [o / g][d][o % g]
/// - keys, BF16: [block_size / g][k_dim16 / 2][g][2]: [o / g][d / 2][o % g][d % 2]
/// - values, F32: [block_size][v_dim16]
/// - values, BF16: [block_size / 2][v_dim16][2]: [o / 2][d][o % 2]
/// So a dot product of one query with 16 keys, and a weighted sum of values, both run over whole
/// vectors without horizontal sums, and pairs feed the bf16 dot-product instruction.
struct KvCacheView {
  void* k = nullptr;                 ///< 64-byte aligned
  void* v = nullptr;                 ///< 64-byte aligned
  Format format = Format::kUnknown;  ///< F32 or BF16
  KvLayout layout = KvLayout::kInterleaved;
  int64_t num_blocks = 0;
  int32_t block_size = 0;  ///< a power of two, 4 to 256
  int32_t num_kv_heads = 0;
  /// 1 to 256; 0: no keys are kept (k may be null), since the value rows are the keys too.
  int32_t k_dim = 0;
  int32_t v_dim = 0;           ///< 1 to 256; with k_dim 0 to 1024
  int64_t k_block_stride = 0;  ///< bytes between blocks, a multiple of 64
  int64_t v_block_stride = 0;  ///< bytes between blocks, a multiple of 64
};

/// Bytes of one block's keys (or values) of all kv heads: the least block stride.
int64_t kv_block_bytes(Format format, int32_t block_size, int32_t num_kv_heads, int32_t dim);

/// Throws INVALID_ARGUMENT or UNSUPPORTED, naming the field, for a view outside the ranges above.
void check_kv_cache(const KvCacheView& cache);

}  // namespace sluice

#endif  // SLUICE_OPS_KV_WRITE_KV_CACHE_H_
