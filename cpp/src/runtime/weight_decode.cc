// Checks of a weight transfer; moving its values is in weight_source.cc.
#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "model/spec_fields.h"
#include "quant/decode.h"
#include "runtime/weight_source.h"

namespace sluice {
namespace {

constexpr int64_t kMaxExtent = int64_t{1} << 40;

std::string part_name(Part part) { return proto_enum_name(sluice__proto__part__descriptor, part); }

// The source as the checkpoint describes it, before its destination is known.
void decode_layout(const Sluice__Proto__WeightSource& message, const FieldReader& fields,
                   WeightSource* source) {
  SLUICE_CHECK(message.n_shape != 3, SLUICE_STATUS_UNSUPPORTED, fields.name("shape"),
               ": three dimensions not built (built: 1 or 2, no experts)");
  SLUICE_CHECK_ARG(message.n_shape == 1 || message.n_shape == 2, fields.name("shape"), ": ",
                   message.n_shape, " dimensions (expected: 1 or 2)");
  SLUICE_CHECK_ARG(message.n_strides == 0 || message.n_strides == message.n_shape,
                   fields.name("strides"), ": ", message.n_strides, " (expected: none or ",
                   message.n_shape, ")");
  int64_t extent[2] = {1, 1};  // a vector is one column
  int64_t stride[2] = {1, 1};
  for (size_t d = 0; d < message.n_shape; ++d) {
    extent[d] = fields.integer(indexed("shape", d).c_str(), message.shape[d], 1, kMaxExtent);
  }
  const size_t inner = message.n_shape - 1;
  if (message.n_shape == 2) stride[0] = extent[1];
  for (size_t d = 0; d < message.n_strides; ++d) {
    stride[d] = fields.integer(indexed("strides", d).c_str(), message.strides[d], 1, kMaxExtent);
  }
  source->rows = extent[0];
  source->cols = extent[1];
  source->row_stride = stride[0];
  source->col_stride = stride[1];
  const int64_t block = format_traits(source->format).values_per_block;
  if (block > 1) {
    SLUICE_CHECK_ARG(extent[inner] % block == 0, fields.name("shape"), ": ", extent[inner],
                     " values innermost (expected: a multiple of ", block, " for ",
                     format_name(source->format), ")");
    SLUICE_CHECK_ARG(stride[inner] == 1 && (inner == 0 || stride[0] % block == 0),
                     fields.name("strides"), ": ", stride[0], ", ", stride[inner],
                     " (expected: 1 innermost, multiples of ", block, " outside)");
    SLUICE_CHECK(!message.transposed, SLUICE_STATUS_UNSUPPORTED, fields.name("transposed"),
                 ": not built for ", format_name(source->format), " (built: false)");
  }
  if (message.transposed) {
    SLUICE_CHECK_ARG(message.n_shape == 2, fields.name("transposed"),
                     ": true (expected: false for one dimension)");
    std::swap(source->rows, source->cols);
    std::swap(source->row_stride, source->col_stride);
  }
}

void decode_file(const Sluice__Proto__WeightSource& message, const FieldReader& fields,
                 const std::vector<std::shared_ptr<const FileReader>>& files,
                 WeightSource* source) {
  const int64_t file = fields.required("file", message.has_file, message.file, 0,
                                       static_cast<int64_t>(files.size()) - 1);
  source->file = files[file];
  source->offset = fields.required("offset", message.has_offset, message.offset, 0, INT64_MAX / 2);
  source->bytes = fields.required("bytes", message.has_bytes, message.bytes, 0, INT64_MAX / 2);
  const int64_t last = checked_add(checked_mul(source->rows - 1, source->row_stride),
                                   checked_mul(source->cols - 1, source->col_stride));
  const int64_t expected =
      format_bytes(source->format,
                   round_up(checked_add(last, 1), format_traits(source->format).values_per_block));
  SLUICE_CHECK_ARG(source->bytes == expected, fields.name("bytes"), ": ", source->bytes,
                   " (expected: ", expected, " for ", source->rows, " x ", source->cols, " ",
                   format_name(source->format), " values)");
}

WeightSource decode_source(const Sluice__Proto__WeightSource& message, const FieldReader& fields,
                           const std::vector<std::shared_ptr<const FileReader>>& files) {
  WeightSource source;
  fields.unsupported_if(message.scale != nullptr, "scale", "formats without separate scales");
  fields.unsupported_if(message.zero_point != nullptr, "zero_point",
                        "formats without separate scales");
  fields.unsupported_if(message.scale_block_rows != 1 || message.scale_block_columns != 1,
                        "scale_block_rows", "1");
  const bool random = message.kind == SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
  if (random) {
    source.format = Format::kF32;
    fields.require("random_seed", message.has_random_seed);
    fields.require("random_std", message.has_random_std);
    source.random_seed = message.random_seed;
    source.random_std = fields.not_negative("random_std", message.random_std);
    decode_layout(message, fields, &source);
    return source;
  }
  fields.require("format", message.has_format);
  source.format = static_cast<Format>(message.format);
  SLUICE_CHECK(can_decode(source.format), SLUICE_STATUS_UNSUPPORTED, fields.name("format"), ": ",
               proto_enum_name(sluice__proto__format__descriptor, message.format),
               " not built (built: F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, "
               "Q6_K)");
  decode_layout(message, fields, &source);
  decode_file(message, fields, files, &source);
  return source;
}

// Rows [row_begin, row_begin + num_rows) of a part, columns likewise, in a WeightDestination.
CellRange decode_range(const Sluice__Proto__WeightDestination& message, const FieldReader& fields,
                       int64_t rows, int64_t cols) {
  CellRange range;
  range.row_begin = fields.integer("row_begin", message.row_begin, 0, rows);
  range.row_end =
      range.row_begin +
      fields.integer("num_rows",
                     message.has_num_rows ? message.num_rows : uint64_t(rows - range.row_begin), 1,
                     rows - range.row_begin);
  range.column_begin = fields.integer("column_begin", message.column_begin, 0, cols);
  range.column_end = range.column_begin + fields.integer("num_columns",
                                                         message.has_num_columns
                                                             ? message.num_columns
                                                             : uint64_t(cols - range.column_begin),
                                                         1, cols - range.column_begin);
  return range;
}

int find_slot(const Sluice__Proto__WeightDestination& message, const FieldReader& fields,
              const WeightStore& store) {
  fields.require("slot", message.has_slot);
  fields.unsupported_if(message.adapter != 0, "adapter", "0");
  fields.unsupported_if(message.adapter_part != SLUICE__PROTO__ADAPTER_PART__FULL, "adapter_part",
                        "FULL");
  fields.unsupported_if(message.expert != -1, "expert", "-1, no experts");
  fields.integer("head", message.head, 0, 0);
  const int slot = store.find(message.slot, message.layer);
  SLUICE_CHECK_ARG(slot >= 0, fields.name("slot"), ": ",
                   proto_enum_name(sluice__proto__slot__descriptor, message.slot), " of layer ",
                   message.layer, " (expected: a slot of this model, see sluice_weights_slots)");
  return slot;
}

std::vector<WeightPiece> decode_destination(const Sluice__Proto__WeightDestination& message,
                                            const FieldReader& fields, const WeightStore& store) {
  const int index = find_slot(message, fields, store);
  const WeightSlot& slot = store.slots()[index];
  int64_t stacked = 0;
  std::string names;
  for (size_t p = 0; p < slot.parts.size(); ++p) {
    const WeightPart& part = slot.parts[p];
    if (part.part == message.part) {
      return {{index, static_cast<int>(p), decode_range(message, fields, part.rows, slot.cols), 0}};
    }
    stacked += part.rows;
    names += (names.empty() ? "" : ", ") + part_name(part.part);
  }
  SLUICE_CHECK_ARG(message.part == SLUICE__PROTO__PART__WHOLE, fields.name("part"), ": ",
                   part_name(message.part), " (expected: WHOLE, ", names, " for ", slot.name(),
                   ")");
  // WHOLE of a slot with parts: the parts one after another.
  const CellRange whole = decode_range(message, fields, stacked, slot.cols);
  std::vector<WeightPiece> pieces;
  int64_t part_begin = 0;
  for (size_t p = 0; p < slot.parts.size(); ++p) {
    const int64_t part_end = part_begin + slot.parts[p].rows;
    const int64_t begin = std::max(whole.row_begin, part_begin);
    const int64_t end = std::min(whole.row_end, part_end);
    if (begin < end) {
      pieces.push_back(
          {index,
           static_cast<int>(p),
           {begin - part_begin, end - part_begin, whole.column_begin, whole.column_end},
           begin - whole.row_begin});
    }
    part_begin = part_end;
  }
  return pieces;
}

}  // namespace

WeightTransfer decode_transfer(const Sluice__Proto__WeightTransfer& message,
                               const std::vector<std::shared_ptr<const FileReader>>& files,
                               const WeightStore& store) {
  WeightTransfer transfer;
  transfer.name = message.name == nullptr ? "(unnamed)" : message.name;
  const FieldReader fields(transfer.name + ": transfer");
  fields.require("destination", message.destination != nullptr);
  fields.require("source", message.source != nullptr);
  transfer.pieces = decode_destination(*message.destination, fields.child("destination"), store);
  transfer.source = decode_source(*message.source, fields.child("source"), files);
  int64_t rows = 0;
  for (const WeightPiece& piece : transfer.pieces) {
    rows += piece.destination.row_end - piece.destination.row_begin;
  }
  const CellRange& first = transfer.pieces.front().destination;
  const int64_t cols = first.column_end - first.column_begin;
  const WeightSlot& slot = store.slots()[transfer.pieces.front().slot];
  SLUICE_CHECK_ARG(transfer.source.rows == rows && transfer.source.cols == cols, transfer.name,
                   ": shape [", transfer.source.rows, ", ", transfer.source.cols, "] (expected: [",
                   rows, ", ", cols, "] for ", slot.name(), ")");
  return transfer;
}

}  // namespace sluice
