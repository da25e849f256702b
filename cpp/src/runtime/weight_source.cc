#include "runtime/weight_source.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/sampling/sampling.h"
#include "quant/decode.h"

namespace sluice {
namespace {

// Values read at once: large enough for the disk, small enough for a few threads' scratch memory.
constexpr int64_t kMaxValues = int64_t{1} << 20;

// Values from the first to the last of a rectangle, gaps included.
int64_t span_values(const WeightSource& source, const CellRange& cells) {
  return (cells.row_end - cells.row_begin - 1) * source.row_stride +
         (cells.column_end - cells.column_begin - 1) * source.col_stride + 1;
}

int64_t whole_blocks(Format format, int64_t values) {
  const int64_t block = format_traits(format).values_per_block;
  return (values + block - 1) / block * block;
}

// Normal numbers by Box and Muller. A value depends on its place in the part alone, so that however
// a part is cut up, it gets the same numbers.
void random_values(const WeightSource& source, const WeightSlot& slot, const WeightPiece& piece,
                   const CellRange& cells, float* out) {
  const uint64_t part = static_cast<uint64_t>(slot.parts[piece.part].part);
  const uint64_t place = (static_cast<uint64_t>(slot.slot) << 40) |
                         (static_cast<uint64_t>(slot.layer + 1) << 8) | part;
  const int64_t row_offset = piece.destination.row_begin - piece.source_row_begin;
  for (int64_t row = cells.row_begin; row < cells.row_end; ++row) {
    for (int64_t col = cells.column_begin; col < cells.column_end; ++col) {
      const int64_t element = (row + row_offset) * slot.cols + col + piece.destination.column_begin;
      const PhiloxBlock block =
          philox4x32_10(source.random_seed, static_cast<uint64_t>(element), place);
      const double u = (block.x[0] + 1.0) * 0x1p-32;  // in (0, 1]
      const double angle = 2 * std::numbers::pi * (block.x[1] * 0x1p-32);
      *out++ =
          static_cast<float>(source.random_std * std::sqrt(-2 * std::log(u)) * std::cos(angle));
    }
  }
}

}  // namespace

std::vector<CellRange> split_piece(const WeightSource& source, const WeightPiece& piece) {
  const int64_t rows = piece.destination.row_end - piece.destination.row_begin;
  const int64_t cols = piece.destination.column_end - piece.destination.column_begin;
  // The direction in which values lie far apart is cut first.
  int64_t step_rows = rows;
  int64_t step_cols = cols;
  if (source.row_stride >= source.col_stride) {
    step_rows = std::clamp<int64_t>(kMaxValues / source.row_stride, 1, rows);
    if (step_rows == 1) step_cols = std::clamp<int64_t>(kMaxValues / source.col_stride, 1, cols);
  } else {
    step_cols = std::clamp<int64_t>(kMaxValues / source.col_stride, 1, cols);
    if (step_cols == 1) step_rows = std::clamp<int64_t>(kMaxValues / source.row_stride, 1, rows);
  }
  std::vector<CellRange> rectangles;
  for (int64_t row = 0; row < rows; row += step_rows) {
    for (int64_t col = 0; col < cols; col += step_cols) {
      rectangles.push_back({piece.source_row_begin + row,
                            piece.source_row_begin + std::min(rows, row + step_rows), col,
                            std::min(cols, col + step_cols)});
    }
  }
  return rectangles;
}

int64_t rectangle_bytes(const WeightSource& source, const CellRange& rectangle) {
  if (source.file == nullptr) return 0;
  return format_bytes(source.format, whole_blocks(source.format, span_values(source, rectangle)));
}

void copy_rectangle(const WeightTransfer& transfer, const WeightPiece& piece,
                    const CellRange& rectangle, const WeightStore& store, WeightScratch* scratch) {
  const WeightSource& source = transfer.source;
  const WeightSlot& slot = store.slots()[piece.slot];
  const int64_t rows = rectangle.row_end - rectangle.row_begin;
  const int64_t cols = rectangle.column_end - rectangle.column_begin;

  PackParams pack;
  pack.row_stride = source.row_stride;
  pack.col_stride = source.col_stride;
  if (source.file == nullptr) {
    scratch->values.resize(static_cast<size_t>(rows * cols));
    random_values(source, slot, piece, rectangle, scratch->values.data());
    pack.source = scratch->values.data();
    pack.row_stride = cols;
    pack.col_stride = 1;
  } else {
    const int64_t first =
        rectangle.row_begin * source.row_stride + rectangle.column_begin * source.col_stride;
    const int64_t values = whole_blocks(source.format, span_values(source, rectangle));
    const int64_t bytes = format_bytes(source.format, values);
    scratch->raw.resize(static_cast<size_t>(bytes));
    source.file->read(source.offset + format_bytes(source.format, first), bytes,
                      scratch->raw.data());
    if (is_compute_format(source.format) && !slot.is_vector) {
      pack.source = scratch->raw.data();
      pack.source_format = source.format;
    } else {
      scratch->values.resize(static_cast<size_t>(values));
      decode_values(source.format, scratch->raw.data(), values, scratch->values.data());
      pack.source = scratch->values.data();
    }
  }

  const int64_t row_begin = slot.parts[piece.part].row_begin + piece.destination.row_begin +
                            rectangle.row_begin - piece.source_row_begin;
  if (slot.is_vector) {
    const auto* values = static_cast<const float*>(pack.source);
    float* out = store.vector_at(piece.slot, 0) + row_begin;
    for (int64_t i = 0; i < rows; ++i) out[i] = values[i * pack.row_stride];
    return;
  }
  pack.weight = store.matrix_at(piece.slot, 0);
  pack.row_begin = row_begin;
  pack.num_rows = rows;
  pack.col_begin = piece.destination.column_begin + rectangle.column_begin;
  pack.num_cols = cols;
  pack_rows(pack);
}

}  // namespace sluice
