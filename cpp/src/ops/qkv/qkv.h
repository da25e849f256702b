/// @file
/// What grouped-query attention does to its tokens' rows between the projection and the attention:
/// norms queries and keys, turns both, writes the cache. On CUDA that is one launch instead of four.
#ifndef SLUICE_OPS_QKV_QKV_H_
#define SLUICE_OPS_QKV_QKV_H_

#include <cstdint>

#include "device/cpu.h"
#include "ops/kv_write/kv_cache.h"
#include "ops/norm/norm.h"

namespace sluice {

struct QkvParams {
  int64_t num_tokens = 0;
  int32_t num_q_heads = 0;
  int32_t head_dim = 0;
  /// [num_tokens, num_q_heads + 2 num_kv_heads, head_dim]: queries, keys, values, heads dense. The
  /// queries are changed in place; keys are undefined after.
  float* qkv = nullptr;
  int64_t stride = 0;  ///< elements between tokens

  /// Of the queries and the keys; null: none. kind, eps, weight, bias, weight_offset, num_heads,
  /// cols and weight_head_stride count: num_heads x cols are the heads, or one row of them all.
  const NormParams* q_norm = nullptr;
  const NormParams* k_norm = nullptr;
  bool norm_after_rope = false;

  // Rotation of the first columns of each query and key, as in rope.h.
  int32_t rotary_dim = 0;  ///< even, 0 to head_dim; 0: nothing turns
  bool interleaved = false;
  const float* cos = nullptr;  ///< [num_tokens, rotary_dim / 2]
  const float* sin = nullptr;

  // Where keys and values go, as in kv_write.h.
  KvCacheView cache{};  ///< keys and values of head_dim
  const int32_t* slots = nullptr;
  int64_t slot_stride = 1;
};

/// A token's bits depend on nothing but its own row. Throws INVALID_ARGUMENT or UNSUPPORTED, naming
/// the field, and what norm, rope and kv_write throw.
void qkv_rows(const Exec& exec, const QkvParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_QKV_QKV_H_
