#include "ops/gemm/weight.h"

#include <cstring>

#include "base/checked.h"
#include "ops/simd/check.h"

namespace sluice {
namespace {

// Elements between the panels of 64 rows, and the place of column k of the panel's first row.
struct PanelShape {
  int64_t panel;  // elements per panel
  int64_t pair;   // columns side by side: 2 for BF16, 1 for F32
};

PanelShape panel_shape(const WeightView& w) {
  const int64_t pair = w.format == Format::kBf16 ? 2 : 1;
  return {kPanelRows * round_up(w.cols, 16 * pair), pair};
}

inline void convert(float value, float* out) { *out = value; }
inline void convert(Bf16 value, float* out) { *out = to_float(value); }
inline void convert(float value, Bf16* out) { *out = to_bf16(value); }
inline void convert(Bf16 value, Bf16* out) { *out = value; }

// Rows outside, columns inside: the source is usually a file's rows, read once in order, and the 64
// rows that share a panel's lines follow one another while those lines are still in the cache.
template <typename In, typename Out>
void pack_panels(const PackParams& p) {
  const PanelShape shape = panel_shape(p.weight);
  auto* data = static_cast<Out*>(p.weight.data);
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const int64_t row = p.row_begin + r;
    Out* out = data + (row / kPanelRows) * shape.panel + (row % kPanelRows) * shape.pair;
    const In* in = static_cast<const In*>(p.source) + r * p.row_stride;
    for (int64_t c = 0; c < p.num_cols; ++c) {
      const int64_t col = p.col_begin + c;
      convert(in[c * p.col_stride],
              out + (col / shape.pair) * kPanelRows * shape.pair + col % shape.pair);
    }
  }
}

template <typename In, typename Out>
void pack_dense(const PackParams& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    Out* out = static_cast<Out*>(p.weight.data) + (p.row_begin + r) * p.weight.cols + p.col_begin;
    const In* in = static_cast<const In*>(p.source) + r * p.row_stride;
    for (int64_t c = 0; c < p.num_cols; ++c) convert(in[c * p.col_stride], out + c);
  }
}

template <typename In, typename Out>
void pack_any(const PackParams& p) {
  if (p.weight.layout == WeightLayout::kPanel64) {
    pack_panels<In, Out>(p);
  } else {
    pack_dense<In, Out>(p);
  }
}

void check_range(const char* field, int64_t begin, int64_t count, int64_t end) {
  SLUICE_CHECK_ARG(begin >= 0 && count >= 0 && begin <= end && count <= end - begin, field, ": ",
                   count, " from ", begin, " (expected: inside ", end, ")");
}

}  // namespace

WeightLayout product_layout(const Exec& exec) {
  return exec.cuda != nullptr ? WeightLayout::kRowMajor : WeightLayout::kPanel64;
}

void check_product_layout(const char* field, const Exec& exec, WeightLayout layout) {
  const WeightLayout expected = product_layout(exec);
  SLUICE_CHECK(layout == expected, SLUICE_STATUS_UNSUPPORTED, field, ": ",
               static_cast<int32_t>(layout), " (expected: ", static_cast<int32_t>(expected),
               expected == WeightLayout::kRowMajor ? ", kRowMajor, on CUDA)"
                                                   : ", kPanel64, on the CPU)");
}

int64_t packed_bytes(Format format, WeightLayout layout, int64_t rows, int64_t cols) {
  check_compute_format("weight format", format);
  check_at_least("weight rows", rows, 0);
  check_at_least("weight cols", cols, 0);
  if (layout == WeightLayout::kRowMajor) return format_bytes(format, checked_mul(rows, cols));
  const int64_t multiple = format == Format::kBf16 ? 32 : 16;
  return format_bytes(format, checked_mul(round_up(rows, kPanelRows), round_up(cols, multiple)));
}

void clear_weight(const WeightView& w) {
  const int64_t bytes = packed_bytes(w.format, w.layout, w.rows, w.cols);
  if (bytes > 0) std::memset(w.data, 0, static_cast<size_t>(bytes));
}

void pack_rows(const PackParams& p) {
  check_compute_format("weight format", p.weight.format);
  check_compute_format("pack source_format", p.source_format);
  check_range("pack rows", p.row_begin, p.num_rows, p.weight.rows);
  check_range("pack columns", p.col_begin, p.num_cols, p.weight.cols);
  check_memory("pack source", p.source, p.num_rows * p.num_cols);
  check_memory("weight data", p.weight.data, p.num_rows * p.num_cols);
  const bool in = p.source_format == Format::kBf16;
  const bool out = p.weight.format == Format::kBf16;
  if (in) {
    out ? pack_any<Bf16, Bf16>(p) : pack_any<Bf16, float>(p);
  } else {
    out ? pack_any<float, Bf16>(p) : pack_any<float, float>(p);
  }
}

void unpack_row_columns(const WeightView& w, int64_t row, int64_t col_begin, int64_t num_cols,
                        float* out) {
  const PanelShape shape = panel_shape(w);
  const bool panels = w.layout == WeightLayout::kPanel64;
  const int64_t step = panels ? kPanelRows * shape.pair : shape.pair;
  const int64_t base =
      panels ? (row / kPanelRows) * shape.panel + (row % kPanelRows) * shape.pair : row * w.cols;
  if (w.format == Format::kF32) {
    const float* from = static_cast<const float*>(w.data) + base;
    for (int64_t c = 0; c < num_cols; ++c) out[c] = from[(col_begin + c) * step];
  } else {
    const Bf16* from = static_cast<const Bf16*>(w.data) + base;
    for (int64_t c = col_begin; c < col_begin + num_cols; ++c) {
      out[c - col_begin] = to_float(from[(c / 2) * step + c % 2]);
    }
  }
}

void unpack_rows(const WeightView& w, int64_t row_begin, int64_t num_rows, float* out,
                 int64_t out_stride) {
  check_compute_format("weight format", w.format);
  check_range("unpack rows", row_begin, num_rows, w.rows);
  check_memory("unpack out", out, num_rows * w.cols);
  for (int64_t r = 0; r < num_rows; ++r) {
    unpack_row_columns(w, row_begin + r, 0, w.cols, out + r * out_stride);
  }
}

}  // namespace sluice
