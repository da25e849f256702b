// Checks of a weight transfer's destination, and what each rank takes of it; moving the values is
// in weight_source.cc.
#include <algorithm>

#include "runtime/weight_layout.h"

namespace sluice {
namespace {

std::string part_name(Part part) { return proto_enum_name(sluice__proto__part__descriptor, part); }

// A range of rows or columns of the whole model that a transfer fills, inside [0, size).
struct Extent {
  int64_t begin = 0;
  int64_t end = 0;
};

Extent decode_extent(const FieldReader& fields, const char* begin_name, uint64_t begin,
                     const char* count_name, bool has_count, uint64_t count, int64_t size) {
  Extent extent;
  extent.begin = fields.integer(begin_name, begin, 0, size);
  const int64_t rest = size - extent.begin;
  extent.end =
      extent.begin + fields.integer(count_name, has_count ? count : uint64_t(rest), 1, rest);
  return extent;
}

int find_slot(const Sluice__Proto__WeightDestination& message, const FieldReader& fields,
              const WeightStore& store) {
  fields.require("slot", message.has_slot);
  fields.unsupported_if(message.adapter != 0, "adapter", "0");
  fields.unsupported_if(message.adapter_part != SLUICE__PROTO__ADAPTER_PART__FULL, "adapter_part",
                        "FULL");
  const auto head = static_cast<int>(fields.integer("head", message.head, 0, INT32_MAX));
  const int slot = store.find(message.slot, message.layer, head);
  SLUICE_CHECK_ARG(slot >= 0, fields.name("slot"), ": ",
                   proto_enum_name(sluice__proto__slot__descriptor, message.slot), " of layer ",
                   message.layer, head == 0 ? "" : concat(" and head ", head),
                   " (expected: a slot of this model, see sluice_weights_slots)");
  return slot;
}

// Rows of the destination, counted over the whole model, that one part gives.
struct PartRows {
  int part = 0;       // index in WeightSlot::parts
  Extent rows;        // of the part
  int64_t first = 0;  // the first one's place among the destination's rows
};

// One part, or, of WHOLE, all of them one after another.
std::vector<PartRows> decode_rows(const Sluice__Proto__WeightDestination& message,
                                  const FieldReader& fields, const WeightSlot& slot) {
  const auto extent = [&](int64_t size) {
    return decode_extent(fields, "row_begin", message.row_begin, "num_rows", message.has_num_rows,
                         message.num_rows, size);
  };
  int64_t stacked = 0;
  std::string names = "WHOLE";
  for (size_t p = 0; p < slot.parts.size(); ++p) {
    const WeightPart& part = slot.parts[p];
    if (part.part == message.part) return {{static_cast<int>(p), extent(part.global_rows), 0}};
    stacked += part.global_rows;
    if (part.part != SLUICE__PROTO__PART__WHOLE) names += ", " + part_name(part.part);
  }
  SLUICE_CHECK_ARG(message.part == SLUICE__PROTO__PART__WHOLE, fields.name("part"), ": ",
                   part_name(message.part), " (expected: ", names, " for ", slot.name(), ")");
  const Extent whole = extent(stacked);
  std::vector<PartRows> rows;
  int64_t part_begin = 0;
  for (size_t p = 0; p < slot.parts.size(); ++p) {
    const int64_t part_end = part_begin + slot.parts[p].global_rows;
    const int64_t begin = std::max(whole.begin, part_begin);
    const int64_t end = std::min(whole.end, part_end);
    if (begin < end) {
      rows.push_back(
          {static_cast<int>(p), {begin - part_begin, end - part_begin}, begin - whole.begin});
    }
    part_begin = part_end;
  }
  return rows;
}

// Adds the piece of one expert and part that one rank holds, if it holds any.
void add_piece(const WeightSlot& slot, const PartRows& rows, const Extent& columns,
               WeightPiece piece, std::vector<WeightPiece>* pieces) {
  const WeightPart& part = slot.parts[rows.part];
  const Extent held_rows = {std::max(rows.rows.begin, part.first_row),
                            std::min(rows.rows.end, part.first_row + part.rows)};
  const Extent held_columns = {std::max(columns.begin, slot.first_col),
                               std::min(columns.end, slot.first_col + slot.cols)};
  if (held_rows.begin >= held_rows.end || held_columns.begin >= held_columns.end) return;
  piece.part = rows.part;
  piece.destination = {held_rows.begin - part.first_row, held_rows.end - part.first_row,
                       held_columns.begin - slot.first_col, held_columns.end - slot.first_col};
  piece.source_row_begin = rows.first + held_rows.begin - rows.rows.begin;
  piece.source_col_begin = held_columns.begin - columns.begin;
  pieces->push_back(piece);
}

}  // namespace

WeightTransfer decode_transfer(const Sluice__Proto__WeightTransfer& message,
                               const std::vector<std::shared_ptr<const FileReader>>& files,
                               WeightStores stores) {
  WeightTransfer transfer;
  transfer.name = message.name == nullptr ? "(unnamed)" : message.name;
  const FieldReader fields(transfer.name + ": transfer");
  fields.require("destination", message.destination != nullptr);
  fields.require("source", message.source != nullptr);
  const Sluice__Proto__WeightDestination& to = *message.destination;
  const FieldReader to_fields = fields.child("destination");

  const int index = find_slot(to, to_fields, *stores.front());
  const WeightSlot& slot = stores.front()->slots()[index];
  SLUICE_CHECK_ARG(to.expert == -1 || (to.expert >= 0 && to.expert < slot.num_experts),
                   to_fields.name("expert"), ": ", to.expert, " (expected: -1",
                   slot.num_experts == 0
                       ? concat(", ", slot.name(), " has no experts")
                       : concat(" for all, or 0 to ", slot.num_experts - 1, " for one"),
                   ")");
  const bool all_experts = slot.num_experts > 0 && to.expert < 0;
  const std::vector<PartRows> parts = decode_rows(to, to_fields, slot);
  const Extent columns = decode_extent(to_fields, "column_begin", to.column_begin, "num_columns",
                                       to.has_num_columns, to.num_columns, slot.global_cols);
  transfer.source = decode_source(*message.source, fields.child("source"), files,
                                  {all_experts, slot.is_vector, slot.name()});

  const WeightTensor& tensor = transfer.source.tensor;
  const int64_t num_experts = all_experts ? slot.num_experts : 1;
  const int64_t rows = parts.back().first + parts.back().rows.end - parts.back().rows.begin;
  const int64_t cols = columns.end - columns.begin;
  const std::string experts = all_experts ? concat(num_experts, ", ") : "";
  SLUICE_CHECK_ARG(tensor.experts == num_experts && tensor.rows == rows && tensor.cols == cols,
                   transfer.name, ": shape [", all_experts ? concat(tensor.experts, ", ") : "",
                   tensor.rows, ", ", tensor.cols, "] (expected: [", experts, rows, ", ", cols,
                   "] for ", slot.name(), ")");

  WeightPiece piece;
  piece.slot = index;
  for (int64_t e = 0; e < num_experts; ++e) {
    piece.source_expert = e;
    piece.expert = static_cast<int>(all_experts ? e : std::max(to.expert, 0));
    for (const PartRows& part : parts) {
      for (size_t s = 0; s < stores.size(); ++s) {
        piece.store = static_cast<int>(s);
        add_piece(stores[s]->slots()[index], part, columns, piece, &transfer.pieces);
      }
    }
  }
  return transfer;
}

}  // namespace sluice
