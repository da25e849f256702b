/// @file
/// Rows of a KvLayout::kRows cache, for the kernels that write or read them. For .cu sources only.
#ifndef SLUICE_OPS_KV_WRITE_KV_DEVICE_H_
#define SLUICE_OPS_KV_WRITE_KV_DEVICE_H_

#include "ops/kv_write/kv_cache.h"

namespace sluice::cuda {

/// Where a slot is kept, or nowhere: negative slots, and those beyond the cache (the step that named
/// one was refused on the host).
struct KvPlace {
  int64_t block;
  int32_t offset;
  bool kept;
};
__device__ inline KvPlace place_of(const KvCacheView& cache, int32_t slot) {
  const int32_t block = slot / cache.block_size;
  return {block, slot - block * cache.block_size, slot >= 0 && block < cache.num_blocks};
}

__host__ __device__ inline int32_t padded_dim(int32_t dim) { return (dim + 15) / 16 * 16; }

/// The key row of a head. T: the cache's format.
template <typename T>
__device__ inline T* key_row(const KvCacheView& cache, const KvPlace& at, int32_t head) {
  return reinterpret_cast<T*>(static_cast<char*>(cache.k) + at.block * cache.k_block_stride) +
         (int64_t{head} * cache.block_size + at.offset) * padded_dim(cache.k_dim);
}

/// The value row of a head.
template <typename T>
__device__ inline T* value_row(const KvCacheView& cache, const KvPlace& at, int32_t head) {
  return reinterpret_cast<T*>(static_cast<char*>(cache.v) + at.block * cache.v_block_stride) +
         (int64_t{head} * cache.block_size + at.offset) * padded_dim(cache.v_dim);
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_KV_WRITE_KV_DEVICE_H_
