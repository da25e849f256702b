#include "ops/kv_write/kv_cache.h"

#include "base/checked.h"
#include "base/error.h"

namespace sluice {

int64_t kv_block_bytes(Format format, int32_t block_size, int32_t num_kv_heads, int32_t dim) {
  SLUICE_CHECK(is_compute_format(format), SLUICE_STATUS_UNSUPPORTED,
               "kv_format: ", format_name(format), " (expected: F32 or BF16)");
  return format_bytes(format,
                      checked_mul(checked_mul(block_size, num_kv_heads), round_up(dim, 16)));
}

void check_kv_cache(const KvCacheView& cache) {
  SLUICE_CHECK_ARG(cache.block_size >= 4 && cache.block_size <= 256 &&
                       (cache.block_size & (cache.block_size - 1)) == 0,
                   "block_size: ", cache.block_size, " (expected: a power of two, 4 to 256)");
  SLUICE_CHECK_ARG(cache.num_kv_heads > 0, "num_kv_heads: ", cache.num_kv_heads,
                   " (expected: 1 or more)");
  SLUICE_CHECK_ARG(cache.k_dim >= 0 && cache.k_dim <= 256, "k_dim: ", cache.k_dim,
                   " (expected: 1 to 256, or 0 without keys)");
  const int32_t max_v_dim = cache.k_dim == 0 ? 1024 : 256;
  SLUICE_CHECK_ARG(cache.v_dim > 0 && cache.v_dim <= max_v_dim, "v_dim: ", cache.v_dim,
                   " (expected: 1 to ", max_v_dim, ")");
  const int64_t k_bytes =
      kv_block_bytes(cache.format, cache.block_size, cache.num_kv_heads, cache.k_dim);
  const int64_t v_bytes =
      kv_block_bytes(cache.format, cache.block_size, cache.num_kv_heads, cache.v_dim);
  SLUICE_CHECK_ARG(cache.k_block_stride >= k_bytes && cache.k_block_stride % 64 == 0,
                   "k_block_stride: ", cache.k_block_stride,
                   " (expected: a multiple of 64, at least ", k_bytes, ")");
  SLUICE_CHECK_ARG(cache.v_block_stride >= v_bytes && cache.v_block_stride % 64 == 0,
                   "v_block_stride: ", cache.v_block_stride,
                   " (expected: a multiple of 64, at least ", v_bytes, ")");
  SLUICE_CHECK_ARG(
      cache.num_blocks >= 0 && (cache.num_blocks == 0 ||
                                ((cache.k != nullptr || cache.k_dim == 0) && cache.v != nullptr)),
      "num_blocks: ", cache.num_blocks, " (expected: 0 or more, with memory)");
}

}  // namespace sluice
