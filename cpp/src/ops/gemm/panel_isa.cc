// y = alpha * (x W^T + bias) (+ y) over panels of 64 outputs.
//
// One row: bound by the memory's read bandwidth. Each step reads 256 adjacent bytes of a panel into
// four chains of sums, which covers the latency of the multiply, and a panel is one stream, which
// the hardware fetches ahead. One Zen 4 core reads 26.9 GB/s so, as much as a loop of plain loads.
// Tried and slower by 15 to 25 %: software prefetch at 0.5 to 8 KiB (with and without the
// non-temporal hint), and two panels at a time.
// Many rows: tiles of up to 6 rows by 64 outputs in registers, bound by the multiply units. The
// first tile of a panel alone would wait for the memory, so the others fetch the next panel: a
// decode step of 16 rows of a small model is 10 to 25 % shorter so with both cores at work.
#include "ops/gemm/panel_kernel.h"
#include "ops/simd/dot_step.h"

namespace sluice::SLUICE_ISA_NAMESPACE {
namespace {

constexpr int64_t kPanel = 64;
constexpr int64_t kRowBytes = 192 << 10;
// Panels up to this size are fetched ahead: two of them fit the second-level cache.
constexpr int64_t kAheadBytes = 384 << 10;

template <bool kBf16>
SLUICE_INLINE int64_t panel_bytes(const PanelParams& p) {
  constexpr int64_t kSteps = DotStep<kBf16>::kValues;
  return (p.w.cols + 16 * kSteps - 1) / (16 * kSteps) * 16 * kPanel * 4;
}

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

// A panel that is fetched to the second-level cache while the one before it is multiplied.
struct Ahead {
  const char* from = nullptr;  // null: nothing is fetched
  int64_t steps = 0;           // of a tile that fetch
  int lines = 0;               // in each of them
};

// kRows rows from `row` by kVecs vectors of outputs from `col`, a multiple of 16 inside one panel.
template <bool kBf16, bool kBf16Out, int kRows, int kVecs>
__attribute__((noinline)) void tile(const PanelParams& p, int64_t row, int64_t col,
                                    const Ahead& ahead = {}) {
  using S = DotStep<kBf16>;
  const int64_t steps = p.w.cols / S::kValues;
  const char* w = static_cast<const char*>(p.w.data) + (col / kPanel) * panel_bytes<kBf16>(p) +
                  col % kPanel * 4;
  const char* x[kRows];
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    x[r] = x_row<kBf16>(p, row + r);
    for (int v = 0; v < kVecs; ++v) sum[r][v] = zero();
  }
  const auto step = [&](int64_t s) __attribute__((always_inline)) {
    for (int r = 0; r < kRows; ++r) {
      const auto in = S::input(x[r], s);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = S::add(sum[r][v], w + 64 * v, in);
    }
    w += kPanel * 4;
  };
  int64_t s = 0;
  if constexpr (kRows > 1) {
    const char* line = ahead.from;
    const int64_t fetching = ahead.steps < steps ? ahead.steps : steps;
    for (; s < fetching; ++s) {
      for (int i = 0; i < ahead.lines; ++i, line += 64) __builtin_prefetch(line, 0, 2);
      step(s);
    }
  }
  for (; s < steps; ++s) step(s);
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

// `next`: the panel behind this one when the thread goes on with it, else null.
template <bool kBf16, bool kBf16Out, int kVecs>
void rows_of_tile(const PanelParams& p, int64_t row, int64_t end, int64_t col, const char* next) {
  const int64_t panel = panel_bytes<kBf16>(p);
  const int64_t tiles = (end - row + kTileRows - 1) / kTileRows;
  // The first tile of a panel waits for the memory, the others for the multiply units: they fetch
  // what the next one will wait for.
  Ahead ahead;
  int64_t fetched = panel;
  if (next != nullptr && tiles > 1 && panel <= kAheadBytes) {
    fetched = 0;
    ahead.lines = static_cast<int>((4 + tiles - 1) / tiles);
  }
  while (row < end) {
    const int64_t rows = next_tile_rows(end - row);
    if (fetched < panel) {
      ahead.from = next + fetched;
      ahead.steps = (panel - fetched) / (64 * ahead.lines);
      fetched += p.w.cols / DotStep<kBf16>::kValues * ahead.lines * 64;
    } else {
      ahead.steps = 0;
    }
#define SLUICE_TILE(n) tile<kBf16, kBf16Out, n, kVecs>(p, row, col, ahead)
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
      const int64_t left = unit_end - unit;
      // Worth it when most of the next panel is the thread's own.
      const char* next = nullptr;
      if ((unit / 4 + 1) * 4 + 2 <= unit_end) {
        next = static_cast<const char*>(p.w.data) + (unit / 4 + 1) * panel_bytes<kBf16>(p);
      }
      if (kTileVecs == 4 && unit % 4 == 0 && left >= 4) {
        rows_of_tile<kBf16, kBf16Out, 4>(p, row, end, unit * kUnitRows, next);
        unit += 4;
      } else if (kTileVecs == 4 && unit % 2 == 0 && left >= 2) {
        rows_of_tile<kBf16, kBf16Out, 2>(p, row, end, unit * kUnitRows, next);
        unit += 2;
      } else {
        rows_of_tile<kBf16, kBf16Out, 1>(p, row, end, unit * kUnitRows, nullptr);
        ++unit;
      }
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
