// y = alpha * (x W^T + bias) (+ y) over panels of 64 outputs.
//
// One row: bound by the memory's read bandwidth. Each step reads 256 adjacent bytes of a panel into
// four chains of sums, which covers the latency of the multiply, and a panel is one stream, which
// the hardware fetches ahead. One Zen 4 core reads 26.9 GB/s so, as much as a loop of plain loads.
// Tried and slower by 15 to 25 %: software prefetch at 0.5 to 8 KiB (with and without the
// non-temporal hint), and two panels at a time.
// Many rows: tiles of up to 6 rows by 64 outputs in registers, bound by the multiply units.
#include "ops/gemm/panel_kernel.h"
#include "ops/simd/dot_step.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

constexpr int64_t kPanel = 64;
constexpr int64_t kRowBytes = 192 << 10;

template <bool kBf16>
SLUICE_INLINE const char* x_row(const PanelParams& p, int64_t row) {
  if (p.x_rows != nullptr) row = p.x_rows[row];
  return static_cast<const char*>(p.x) + row * p.x_stride * (kBf16 ? 2 : 4);
}

template <bool kBf16Out>
SLUICE_INLINE void finish(const PanelParams& p, int64_t row, int64_t col, Vec sum, int n) {
  if (p.row_scale != nullptr) sum = mul(sum, splat(p.row_scale[row]));
  if (p.bias != nullptr) sum = add(sum, load_n(p.bias + col, n));
  if (p.alpha != 1.0f) sum = mul(sum, splat(p.alpha));
  if constexpr (kBf16Out) {
    store_bf16_n(static_cast<uint16_t*>(p.y) + row * p.y_stride + col, sum, n);
  } else {
    float* y = static_cast<float*>(p.y) + row * p.y_stride + col;
    if (p.accumulate) sum = add(sum, load_n(y, n));
    store_n(y, sum, n);
  }
}

// kRows rows from `row` by kVecs vectors of outputs from `col`, a multiple of 16 inside one panel.
template <bool kBf16, bool kBf16Out, int kRows, int kVecs>
__attribute__((noinline)) void tile(const PanelParams& p, int64_t row, int64_t col) {
  using S = DotStep<kBf16>;
  const int64_t steps = p.w.cols / S::kValues;
  const int64_t padded = (p.w.cols + 16 * S::kValues - 1) / (16 * S::kValues) * 16;
  const char* w =
      static_cast<const char*>(p.w.data) + ((col / kPanel) * padded * kPanel + col % kPanel) * 4;
  const char* x[kRows];
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    x[r] = x_row<kBf16>(p, row + r);
    for (int v = 0; v < kVecs; ++v) sum[r][v] = zero();
  }
  for (int64_t s = 0; s < steps; ++s, w += kPanel * 4) {
    for (int r = 0; r < kRows; ++r) {
      const auto in = S::input(x[r], s);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], w + 64 * v, in);
    }
  }
  if constexpr (kBf16) {
    // The last column of an odd number: beside it lies memory that is not the row's.
    if (p.w.cols % 2 != 0) {
      for (int r = 0; r < kRows; ++r) {
        const uint32_t pair = reinterpret_cast<const uint16_t*>(x[r])[2 * steps];
        const auto in = splat_pair(&pair);
        for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], w + 64 * v, in);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) {
      const int64_t first = col + v * kLanes;
      const int64_t left = p.w.rows - first;
      if (left > 0) {
        finish<kBf16Out>(p, row + r, first, sum[r][v],
                         left < kLanes ? static_cast<int>(left) : kLanes);
      }
    }
  }
}

template <bool kBf16, bool kBf16Out, int kVecs>
void rows_of_tile(const PanelParams& p, int64_t row, int64_t end, int64_t col) {
  while (row < end) {
    const int64_t rows = next_tile_rows(end - row);
#define SLUICE_TILE(n) tile<kBf16, kBf16Out, n, kVecs>(p, row, col)
    SLUICE_FOR_TILE_ROWS(rows, SLUICE_TILE)
#undef SLUICE_TILE
    row += rows;
  }
}

// One row, in the order of memory with any instruction set: whole panels, and at the ends of the
// thread's share the part of a panel that is its own.
template <bool kBf16, bool kBf16Out>
void one_row(const PanelParams& p, int64_t unit_begin, int64_t unit_end) {
  for (int64_t unit = unit_begin; unit < unit_end;) {
    const int64_t in_panel = 4 - unit % 4;
    const int64_t count = in_panel < unit_end - unit ? in_panel : unit_end - unit;
    const int64_t col = unit * kUnitRows;
    switch (count) {
      case 1:
        tile<kBf16, kBf16Out, 1, 1>(p, 0, col);
        break;
      case 2:
        tile<kBf16, kBf16Out, 1, 2>(p, 0, col);
        break;
      case 3:
        tile<kBf16, kBf16Out, 1, 3>(p, 0, col);
        break;
      default:
        tile<kBf16, kBf16Out, 1, 4>(p, 0, col);
        break;
    }
    unit += count;
  }
}

template <bool kBf16, bool kBf16Out>
void units_of(const PanelParams& p, int64_t unit_begin, int64_t unit_end) {
  if (p.num_rows == 1) return one_row<kBf16, kBf16Out>(p, unit_begin, unit_end);
  // Rows that stay in the second-level cache while all panels pass by.
  const int64_t fit = kRowBytes / (p.w.cols * (kBf16 ? 2 : 4)) / kTileRows * kTileRows;
  const int64_t block = fit < kTileRows ? kTileRows : fit;
  for (int64_t row = 0; row < p.num_rows; row += block) {
    const int64_t end = row + block < p.num_rows ? row + block : p.num_rows;
    for (int64_t unit = unit_begin; unit < unit_end;) {
      const bool whole = kTileVecs == 4 && unit % 4 == 0 && unit + 4 <= unit_end;
      if (whole) {
        rows_of_tile<kBf16, kBf16Out, 4>(p, row, end, unit * kUnitRows);
      } else {
        rows_of_tile<kBf16, kBf16Out, 1>(p, row, end, unit * kUnitRows);
      }
      unit += whole ? 4 : 1;
    }
  }
}

}  // namespace

void gemm_units(const PanelParams& p, int64_t unit_begin, int64_t unit_end) {
  if (p.w.format == Format::kF32) {
    units_of<false, false>(p, unit_begin, unit_end);
  } else if (p.y_format == Format::kF32) {
    units_of<true, false>(p, unit_begin, unit_end);
  } else {
    units_of<true, true>(p, unit_begin, unit_end);
  }
}

}  // namespace sluice::SLUICE_ISA_NAMESPACE
