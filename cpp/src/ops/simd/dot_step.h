/// @file
/// One step of a dot product on four bytes of an input: a pair of BF16 values, or one F32 value.
/// The other operand is 64 bytes: 16 pairs or 16 values. Only for sources of
/// sluice_add_isa_sources.
#ifndef SLUICE_OPS_SIMD_DOT_STEP_H_
#define SLUICE_OPS_SIMD_DOT_STEP_H_

#include "ops/simd/vec.h"

namespace sluice::SLUICE_ISA_NAMESPACE {

template <bool kBf16>
struct DotStep;

template <>
struct DotStep<true> {
  static constexpr int64_t kValues = 2;
  using Input = Pairs;
  SLUICE_INLINE Input input(const void* x, int64_t step) {
    return splat_pair(static_cast<const char*>(x) + step * 4);
  }
  SLUICE_INLINE Vec add(Vec sum, const char* lanes, Input x) {
    return dot_pairs(sum, load_pairs(lanes), x);
  }
};

template <>
struct DotStep<false> {
  static constexpr int64_t kValues = 1;
  using Input = Vec;
  SLUICE_INLINE Input input(const void* x, int64_t step) {
    return splat(static_cast<const float*>(x)[step]);
  }
  SLUICE_INLINE Vec add(Vec sum, const char* lanes, Input x) {
    return fma(load(reinterpret_cast<const float*>(lanes)), x, sum);
  }
};

/// Tile of sums that fits the registers beside the operands: 32 registers with AVX-512; with AVX2 a
/// Vec is two of 16.
#if defined(__AVX512F__)
inline constexpr int kTileVecs = 4;
inline constexpr int kTileRows = 6;
#else
inline constexpr int kTileVecs = 1;
inline constexpr int kTileRows = 4;
#endif

/// Rows of the next tile when `left` remain: 7 rows are 4 and 3, not 6 and 1, since short tiles
/// waste the multiply units.
SLUICE_INLINE int64_t next_tile_rows(int64_t left) {
  return left <= kTileRows ? left : left >= 2 * kTileRows ? kTileRows : (left + 1) / 2;
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE

/// Calls `function<rows, ...>(...)` with the number of rows as a constant.
#if defined(__AVX512F__)
#define SLUICE_TILE_ROWS_EXTRA(call) \
  case 5:                            \
    call(5);                         \
    break;                           \
  case 6:                            \
    call(6);                         \
    break;
#else
#define SLUICE_TILE_ROWS_EXTRA(call)
#endif
#define SLUICE_FOR_TILE_ROWS(rows, call) \
  switch (rows) {                        \
    case 1:                              \
      call(1);                           \
      break;                             \
    case 2:                              \
      call(2);                           \
      break;                             \
    case 3:                              \
      call(3);                           \
      break;                             \
    case 4:                              \
      call(4);                           \
      break;                             \
      SLUICE_TILE_ROWS_EXTRA(call)       \
    default:                             \
      __builtin_unreachable();           \
  }

#endif  // SLUICE_OPS_SIMD_DOT_STEP_H_
