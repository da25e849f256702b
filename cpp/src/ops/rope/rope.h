/// @file
/// Rotary position embedding: the angles of a step's tokens once per step, then the rotation of
/// queries and keys in every layer.
#ifndef SLUICE_OPS_ROPE_ROPE_H_
#define SLUICE_OPS_ROPE_ROPE_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"

namespace sluice {

/// One length variant of a RoPE: pair p turns by position * inv_freq[p]; cosine and sine are
/// multiplied by attention_scale.
struct RopeVariantView {
  const double* inv_freq = nullptr;  ///< [rotary_dim / 2]
  double attention_scale = 1.0;
};

/// Angles are computed in double and stored as float32. On CUDA all of these arrays, the variants and
/// their frequencies among them, are device memory, and what is thrown for elsewhere gives NaN angles
/// (a variant outside [0, num_variants)) or is not checked (query_start, pair_dims).
struct RopeTableParams {
  int64_t num_tokens = 0;
  int32_t rotary_dim = 0;              ///< even, > 0
  const int32_t* positions = nullptr;  ///< [num_tokens, position_dims]
  int32_t position_dims = 1;
  const int32_t* pair_dims =
      nullptr;  ///< [rotary_dim / 2] position dimension of each pair; null: all by dimension 0
  int32_t num_sequences = 0;
  const int32_t* query_start = nullptr;       ///< [num_sequences + 1]
  const int32_t* variant = nullptr;           ///< variant of sequence s at s * variant_stride
  int64_t variant_stride = 1;                 ///< number of ropes of the step message
  const RopeVariantView* variants = nullptr;  ///< [num_variants]
  int32_t num_variants = 0;
  float* cos = nullptr;  ///< [num_tokens, rotary_dim / 2]
  float* sin = nullptr;  ///< [num_tokens, rotary_dim / 2]
};

/// Throws INVALID_ARGUMENT for a variant outside [0, num_variants) or odd sizes.
void rope_table(const Exec& exec, const RopeTableParams& params);

/// In place: (a, b) -> (a cos - b sin, b cos + a sin) for each pair of each head.
struct RopeParams {
  int64_t num_tokens = 0;
  int32_t num_heads = 0;
  int32_t head_dim = 0;
  int32_t rotary_dim = 0;  ///< even, <= head_dim
  int32_t rotary_begin =
      0;  ///< first column that turns: 0, or head_dim - rotary_dim for trailing ones
  bool interleaved = false;          ///< pairs (2p, 2p + 1); else (p, p + rotary_dim / 2)
  void* x = nullptr;                 ///< [num_tokens, num_heads, head_dim], heads dense in a token
  Format format = Format::kUnknown;  ///< F32 or BF16
  int64_t x_stride = 0;              ///< elements between tokens
  const float* cos = nullptr;        ///< [num_tokens, rotary_dim / 2]
  const float* sin = nullptr;
};
void rope(const Exec& exec, const RopeParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_ROPE_ROPE_H_
