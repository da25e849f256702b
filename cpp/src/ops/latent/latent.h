/// @file
/// What latent attention does to its tokens' rows between the projections and the attention: norms
/// the latent, turns queries and the rotary key, writes the cache, and lays the queries out for the
/// absorbed form. On CUDA that is one launch instead of six.
#ifndef SLUICE_OPS_LATENT_LATENT_H_
#define SLUICE_OPS_LATENT_LATENT_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/kv_write/kv_cache.h"
#include "ops/norm/norm.h"

namespace sluice {

struct LatentParams {
  int64_t num_tokens = 0;
  int32_t num_heads = 0;
  int32_t nope_dim = 0;  ///< leading columns of a head's query
  int32_t rope_dim = 0;  ///< trailing ones, and columns of the rotary key
  int32_t rank = 0;      ///< columns of the latent

  float* q = nullptr;       ///< [num_tokens, num_heads, nope_dim + rope_dim], heads dense
  int64_t q_stride = 0;     ///< elements between tokens
  float* latent = nullptr;  ///< [num_tokens, rank + rope_dim]: latent, rotary key; undefined after
  int64_t latent_stride = 0;

  // Norm of the latent, as in norm.h.
  bool has_norm = false;
  NormKind norm_kind = NormKind::kRmsNorm;
  double norm_eps = 0;
  const float* norm_weight = nullptr;  ///< [rank]; null: ones
  const float* norm_bias = nullptr;    ///< [rank]; null: none
  float norm_weight_offset = 0;

  // Rotation of the first rotary_dim of the rope_dim columns, as in rope.h.
  int32_t rotary_dim = 0;  ///< even, 2 to rope_dim
  bool interleaved = false;
  const float* cos = nullptr;  ///< [num_tokens, rotary_dim / 2]
  const float* sin = nullptr;

  // Where latent and rotary key go, as in kv_write.h.
  KvCacheView cache{};  ///< one kv head of no keys and rank + rope_dim values
  const int32_t* slots = nullptr;
  int64_t slot_stride = 1;

  /// Null: q is turned in place. Otherwise q stays undefined, and its parts go where the absorbed
  /// form reads them: the leading columns to `unrotated` [num_tokens, num_heads, nope_dim], the
  /// turned ones to the last rope_dim columns of `absorbed` [num_tokens, num_heads, rank + rope_dim],
  /// whose others stay. Both dense.
  void* unrotated = nullptr;
  Format unrotated_format = Format::kUnknown;  ///< F32 or BF16
  void* absorbed = nullptr;
  Format absorbed_format = Format::kUnknown;  ///< F32 or BF16
};

/// A token's bits depend on nothing but its own rows. Throws INVALID_ARGUMENT or UNSUPPORTED, naming
/// the field, and what norm, rope and kv_write throw.
void latent_rows(const Exec& exec, const LatentParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_LATENT_LATENT_H_
