// Moving the values of a weight transfer; its checks are in weight_decode.cc.
#include "runtime/weight_source.h"

#include <algorithm>
#include <utility>

#include "quant/decode.h"
#include "ops/random_values/random_values.h"
#include "runtime/weight_upload.h"

namespace sluice {
namespace {

// Values read at once: large enough for the disk, small enough for a few threads' scratch memory.
constexpr int64_t kMaxValues = int64_t{1} << 20;
// What lies between two runs is read along with them unless it is at least this long.
constexpr int64_t kMaxGapBytes = 16384;

// Whether a rectangle is read as runs of columns or of rows, whichever lie closer together.
bool columns_inside(const WeightTensor& tensor) {
  return tensor.cols > 1 && tensor.col_stride <= tensor.row_stride;
}

// The rectangle as `count` runs of values, each cut into whole blocks of the format.
struct Runs {
  int64_t first = 0;  // value, in the file, where the first run's first block begins
  int64_t lead = 0;   // values of that block that are not of the rectangle
  int64_t count = 0;
  int64_t stride = 0;  // values from run to run, in the file
  int64_t span = 0;    // values of a run from its first block to its last one, gaps included
  int64_t inner_stride = 0;
  bool one_read = true;  // of all runs and what lies between them
};

Runs runs_of(const WeightTensor& tensor, int64_t expert, const CellRange& cells) {
  const bool by_row = columns_inside(tensor);
  const int64_t inner_begin = by_row ? cells.column_begin : cells.row_begin;
  const int64_t inner_count = by_row ? cells.columns() : cells.rows();
  const int64_t block = format_traits(tensor.format).values_per_block;
  Runs runs;
  runs.count = by_row ? cells.rows() : cells.columns();
  runs.stride = by_row ? tensor.row_stride : tensor.col_stride;
  runs.inner_stride = by_row ? tensor.col_stride : tensor.row_stride;
  runs.lead = inner_begin % block;  // blocks lie along a dimension of stride 1
  const int64_t last = runs.lead + (inner_count - 1) * runs.inner_stride;
  runs.span = (last / block + 1) * block;
  runs.first = expert * tensor.expert_stride +
               (by_row ? cells.row_begin : cells.column_begin) * runs.stride +
               inner_begin * runs.inner_stride - runs.lead;
  const int64_t gap = runs.stride - runs.span;
  runs.one_read = runs.count == 1 || gap < block ||
                  format_bytes(tensor.format, gap / block * block) < kMaxGapBytes;
  return runs;
}

int64_t bytes_read(const WeightTensor& tensor, const Runs& runs) {
  return runs.one_read ? format_bytes(tensor.format, (runs.count - 1) * runs.stride + runs.span)
                       : runs.count * format_bytes(tensor.format, runs.span);
}

// A rectangle in memory.
struct Cells {
  void* data = nullptr;  // the first row's first column
  Format format = Format::kF32;
  int64_t row_stride = 0;  // values
  int64_t col_stride = 0;
};

// Reads a rectangle; decoded to float32, or as it lies in the file where `keep` is its format.
// `raw` has room for bytes_read().
Cells read_cells(const WeightTensor& tensor, const Runs& runs, bool keep, std::byte* raw,
                 std::vector<float>* values) {
  const Format format = tensor.format;
  if (runs.one_read) {
    tensor.file->read(tensor.offset + format_bytes(format, runs.first), bytes_read(tensor, runs),
                      raw);
  } else {
    const int64_t run_bytes = format_bytes(format, runs.span);
    for (int64_t r = 0; r < runs.count; ++r) {
      tensor.file->read(tensor.offset + format_bytes(format, runs.first + r * runs.stride),
                        run_bytes, raw + r * run_bytes);
    }
  }
  Cells cells;
  int64_t run_stride = runs.one_read ? runs.stride : runs.span;
  if (keep) {
    cells.data = raw;
    cells.format = format;
  } else {
    const int64_t step = runs.count == 1 ? 0 : format_bytes(format, run_stride);
    values->resize(static_cast<size_t>(runs.count * runs.span));
    for (int64_t r = 0; r < runs.count; ++r) {
      decode_values(format, raw + r * step, runs.span, values->data() + r * runs.span);
    }
    cells.data = values->data() + runs.lead;
    run_stride = runs.span;
  }
  const bool by_row = columns_inside(tensor);
  cells.row_stride = by_row ? run_stride : runs.inner_stride;
  cells.col_stride = by_row ? runs.inner_stride : run_stride;
  return cells;
}

Cells read_cells(const WeightTensor& tensor, int64_t expert, const CellRange& rectangle, bool keep,
                 std::vector<std::byte>* raw, std::vector<float>* values) {
  const Runs runs = runs_of(tensor, expert, rectangle);
  raw->resize(static_cast<size_t>(bytes_read(tensor, runs)));
  return read_cells(tensor, runs, keep, raw->data(), values);
}

CellRange scale_rectangle(const WeightScale& scale, const CellRange& cells) {
  return {cells.row_begin / scale.block_rows, (cells.row_end - 1) / scale.block_rows + 1,
          cells.column_begin / scale.block_cols, (cells.column_end - 1) / scale.block_cols + 1};
}

// Multiplies decoded values by their blocks' scales. `cells` are their places in the source,
// `scales` begins with the block of the first of them.
void apply_scales(const WeightScale& scale, const Cells& scales, const CellRange& cells,
                  int64_t row_stride, int64_t col_stride, float* values) {
  const CellRange blocks = scale_rectangle(scale, cells);
  const auto* factors = static_cast<const float*>(scales.data);
  for (int64_t block_row = blocks.row_begin; block_row < blocks.row_end; ++block_row) {
    const int64_t row_begin = std::max(cells.row_begin, block_row * scale.block_rows);
    const int64_t row_end = std::min(cells.row_end, (block_row + 1) * scale.block_rows);
    for (int64_t block_col = blocks.column_begin; block_col < blocks.column_end; ++block_col) {
      const int64_t col_begin = std::max(cells.column_begin, block_col * scale.block_cols);
      const int64_t col_end = std::min(cells.column_end, (block_col + 1) * scale.block_cols);
      const float factor = factors[(block_row - blocks.row_begin) * scales.row_stride +
                                   (block_col - blocks.column_begin) * scales.col_stride];
      for (int64_t row = row_begin; row < row_end; ++row) {
        float* at = values + (row - cells.row_begin) * row_stride;
        for (int64_t col = col_begin; col < col_end; ++col) {
          at[(col - cells.column_begin) * col_stride] *= factor;
        }
      }
    }
  }
}

// Names of the random numbers of a rectangle of a slot. They are the same however the slot is cut
// up and shared: an element is counted in the whole model.
struct RandomPlace {
  uint64_t place = 0;
  int64_t first = 0;     // number of the rectangle's first cell
  int64_t row_step = 0;  // numbers from row to row
};

RandomPlace random_place(const WeightSlot& slot, const WeightPiece& piece, const CellRange& to) {
  const WeightPart& part = slot.parts[piece.part];
  RandomPlace random;
  random.place =
      static_cast<uint64_t>(slot.head) << 48 | static_cast<uint64_t>(slot.slot) << 40 |
      static_cast<uint64_t>(slot.layer + 1) << 8 | static_cast<uint64_t>(part.part);
  const int64_t row = piece.expert * part.global_rows + part.first_row + to.row_begin;
  random.first = row * slot.global_cols + slot.first_col + to.column_begin;
  random.row_step = slot.global_cols;
  return random;
}

Cells random_cells(const WeightSource& source, const WeightSlot& slot, const WeightPiece& piece,
                   const CellRange& to, std::vector<float>* values) {
  const RandomPlace random = random_place(slot, piece, to);
  values->resize(static_cast<size_t>(to.cells()));
  for (int64_t r = 0; r < to.rows(); ++r) {
    normal_values(source.random_seed, random.place,
                  static_cast<uint64_t>(random.first + r * random.row_step), to.columns(),
                  source.random_std, values->data() + r * to.columns());
  }
  return {values->data(), Format::kF32, to.columns(), 1};
}

// Whether values are stored as the file has them.
bool keeps_format(const WeightSource& source, const WeightSlot& slot) {
  return is_compute_format(source.tensor.format) && !slot.is_vector && !source.scale;
}

// What a rectangle holds: random, or read, decoded and scaled.
Cells cells_of(const WeightSource& source, const WeightSlot& slot, const WeightPiece& piece,
               const CellRange& rectangle, const CellRange& to, WeightScratch* scratch) {
  if (source.tensor.file == nullptr) {
    return random_cells(source, slot, piece, to, &scratch->values);
  }
  const Cells cells = read_cells(source.tensor, piece.source_expert, rectangle,
                                 keeps_format(source, slot), &scratch->raw, &scratch->values);
  if (source.scale) {
    const Cells scales = read_cells(source.scale->tensor, piece.source_expert,
                                    scale_rectangle(*source.scale, rectangle), false, &scratch->raw,
                                    &scratch->scales);
    apply_scales(*source.scale, scales, rectangle, cells.row_stride, cells.col_stride,
                 static_cast<float*>(cells.data));
  }
  return cells;
}

void pack_cells(const Cells& cells, PackParams pack) {
  pack.source = cells.data;
  pack.source_format = cells.format;
  pack.row_stride = cells.row_stride;
  pack.col_stride = cells.col_stride;
  pack_rows(pack);
}

// Where a rectangle of a slot lies in device memory: dense rows of the whole slot's width.
struct DevicePlace {
  std::byte* data = nullptr;
  Format format = Format::kF32;
  int64_t stride = 0;  // values from row to row

  int64_t bytes(int64_t values) const { return format_bytes(format, values); }
};

DevicePlace device_place(const WeightStore& store, const WeightPiece& piece, int64_t row,
                         int64_t column) {
  const WeightSlot& slot = store.slots()[piece.slot];
  DevicePlace place;
  place.stride = slot.cols;
  if (slot.is_vector) {
    place.data = reinterpret_cast<std::byte*>(store.vector_at(piece.slot, piece.expert));
  } else {
    const WeightView view = store.matrix_at(piece.slot, piece.expert);
    place.data = static_cast<std::byte*>(view.data);
    place.format = view.format;
  }
  place.data += place.bytes(row * slot.cols + column);
  return place;
}

// Random numbers are made there. What needs no change is read into the memory that the device
// copies from; the rest is packed into it.
void copy_to_device(const WeightSource& source, const WeightPiece& piece,
                    const CellRange& rectangle, const CellRange& to, const WeightStore& store,
                    WeightScratch* scratch) {
  WeightUpload& upload = *scratch->upload;
  const WeightSlot& slot = store.slots()[piece.slot];
  const DevicePlace place = device_place(
      store, piece, slot.parts[piece.part].row_begin + to.row_begin, to.column_begin);
  if (source.tensor.file == nullptr) {
    const RandomPlace random = random_place(slot, piece, to);
    upload.fill_normal(store, scratch->thread,
                       {source.random_seed, random.place, static_cast<uint64_t>(random.first),
                        source.random_std, random.row_step, to.rows(), to.columns(), place.format,
                        place.data, place.stride});
    return;
  }
  const WeightTensor& tensor = source.tensor;
  std::byte* chunk = upload.take(store, scratch->thread);
  const Runs runs = runs_of(tensor, piece.source_expert, rectangle);
  const bool as_it_is = keeps_format(source, slot) && tensor.format == place.format &&
                        columns_inside(tensor) && tensor.col_stride == 1 &&
                        bytes_read(tensor, runs) <= WeightUpload::kChunkBytes &&
                        (to.rows() == 1 || runs.stride >= to.columns());
  const std::byte* from = chunk;
  int64_t from_stride = to.columns();
  if (as_it_is) {
    const Cells cells = read_cells(tensor, runs, true, chunk, &scratch->values);
    from_stride = cells.row_stride;
  } else {
    PackParams pack;
    pack.weight = {place.format, WeightLayout::kRowMajor, chunk, nullptr, nullptr, to.rows(),
                   to.columns()};
    pack.num_rows = to.rows();
    pack.num_cols = to.columns();
    pack_cells(cells_of(source, slot, piece, rectangle, to, scratch), pack);
  }
  upload.copy(store, scratch->thread, from, place.bytes(from_stride), place.data,
              place.bytes(place.stride), place.bytes(to.columns()), to.rows());
}

}  // namespace

std::vector<CellRange> split_piece(const WeightSource& source, const WeightPiece& piece) {
  const WeightTensor& tensor = source.tensor;
  const int64_t rows = piece.destination.rows();
  const int64_t cols = piece.destination.columns();
  // At least the values themselves, where strides let rows overlap.
  const int64_t row_stride = std::max(tensor.row_stride, columns_inside(tensor) ? cols : 1);
  const int64_t col_stride = std::max(tensor.col_stride, columns_inside(tensor) ? 1 : rows);
  // The direction in which values lie far apart is cut first.
  int64_t step_rows = rows;
  int64_t step_cols = cols;
  if (columns_inside(tensor)) {
    step_rows = std::clamp<int64_t>(kMaxValues / row_stride, 1, rows);
    if (step_rows == 1) step_cols = std::clamp<int64_t>(kMaxValues / col_stride, 1, cols);
  } else {
    step_cols = std::clamp<int64_t>(kMaxValues / col_stride, 1, cols);
    if (step_cols == 1) step_rows = std::clamp<int64_t>(kMaxValues / row_stride, 1, rows);
  }
  std::vector<CellRange> rectangles;
  for (int64_t row = 0; row < rows; row += step_rows) {
    for (int64_t col = 0; col < cols; col += step_cols) {
      rectangles.push_back(
          {piece.source_row_begin + row, piece.source_row_begin + std::min(rows, row + step_rows),
           piece.source_col_begin + col, piece.source_col_begin + std::min(cols, col + step_cols)});
    }
  }
  return rectangles;
}

int64_t rectangle_bytes(const WeightSource& source, const CellRange& rectangle) {
  if (source.tensor.file == nullptr) return 0;
  int64_t bytes = bytes_read(source.tensor, runs_of(source.tensor, 0, rectangle));
  if (source.scale) {
    const WeightTensor& scale = source.scale->tensor;
    bytes += bytes_read(scale, runs_of(scale, 0, scale_rectangle(*source.scale, rectangle)));
  }
  return bytes;
}

void copy_rectangle(const WeightTransfer& transfer, const WeightPiece& piece,
                    const CellRange& rectangle, const WeightStore& store, WeightScratch* scratch) {
  const WeightSource& source = transfer.source;
  const WeightSlot& slot = store.slots()[piece.slot];
  const int64_t row_offset = piece.destination.row_begin - piece.source_row_begin;
  const int64_t col_offset = piece.destination.column_begin - piece.source_col_begin;
  const CellRange to = {rectangle.row_begin + row_offset, rectangle.row_end + row_offset,
                        rectangle.column_begin + col_offset, rectangle.column_end + col_offset};
  if (store.on_device()) {
    copy_to_device(source, piece, rectangle, to, store, scratch);
    return;
  }
  const Cells cells = cells_of(source, slot, piece, rectangle, to, scratch);
  const int64_t row_begin = slot.parts[piece.part].row_begin + to.row_begin;
  if (slot.is_vector) {
    const auto* values = static_cast<const float*>(cells.data);
    float* out = store.vector_at(piece.slot, piece.expert) + row_begin;
    for (int64_t i = 0; i < to.rows(); ++i) out[i] = values[i * cells.row_stride];
    return;
  }
  PackParams pack;
  pack.weight = store.matrix_at(piece.slot, piece.expert);
  pack.row_begin = row_begin;
  pack.num_rows = to.rows();
  pack.col_begin = to.column_begin;
  pack.num_cols = to.columns();
  pack_cells(cells, pack);
}

}  // namespace sluice
