#include "support/weight_ranks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/checked.h"
#include "device/cuda.h"
#include "runtime/weight_upload.h"

namespace sluice::test {
namespace {

WeightSlot make_slot(Slot slot, int layer, std::vector<WeightPart> parts, int num_experts) {
  WeightSlot made;
  made.slot = slot;
  made.layer = layer;
  made.num_experts = num_experts;
  for (WeightPart& part : parts) {
    part.row_begin = made.rows;
    made.rows += part.rows;
  }
  made.parts = std::move(parts);
  return made;
}

void size_slot(WeightSlot* slot) {
  slot->expert_bytes = slot->is_vector
                           ? slot->rows * static_cast<int64_t>(sizeof(float))
                           : packed_bytes(slot->format, slot->layout, slot->rows, slot->cols);
  slot->stored_bytes = slot->expert_bytes * slot->count();
}

MemorySpace the_space;
WeightPacking the_packing = kCpuPacking;

// A slot that was declared for the CPU as the backend wants it.
WeightSlot repacked(WeightSlot slot) {
  if (slot.alignment == the_packing.alignment) return slot;
  slot.alignment = the_packing.alignment;
  if (!slot.is_vector) slot.layout = the_packing.layout;
  size_slot(&slot);
  if (!slot.is_vector && slot.num_experts > 0) {
    slot.expert_bytes = round_up(slot.expert_bytes, slot.alignment);
    slot.stored_bytes = slot.expert_bytes * slot.count();
  }
  return slot;
}

template <class T>
Outcome outcome_of(T call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.status(), error.what()};
  }
  return {};
}

}  // namespace

WeightPart part_of(Part part, int64_t rows, ShardAxis axis) {
  WeightPart made;
  made.part = part;
  made.rows = made.global_rows = rows;
  made.axis = axis;
  return made;
}

WeightSlot matrix_slot(Slot slot, int layer, std::vector<WeightPart> parts, int64_t cols,
                       int num_experts, Format format) {
  WeightSlot made = make_slot(slot, layer, std::move(parts), num_experts);
  made.cols = made.global_cols = cols;
  made.format = format;
  made.layout = WeightLayout::kPanel64;
  size_slot(&made);
  return made;
}

WeightSlot vector_slot(Slot slot, int layer, std::vector<WeightPart> parts, int num_experts) {
  WeightSlot made = make_slot(slot, layer, std::move(parts), num_experts);
  made.is_vector = true;
  size_slot(&made);
  return made;
}

WeightSlot share_of(const WeightSlot& whole, int rank, int ranks, int kv_ranks) {
  WeightSlot share = whole;
  share.rows = 0;
  for (WeightPart& part : share.parts) {
    const bool kv =
        part.part == SLUICE__PROTO__PART__PART_K || part.part == SLUICE__PROTO__PART__PART_V;
    if (part.axis == ShardAxis::kRows) {
      const int shares = kv ? ranks / kv_ranks : ranks;
      part.rows = part.global_rows / shares;
      part.first_row = (kv ? rank / kv_ranks : rank) * part.rows;
    }
    if (part.axis == ShardAxis::kColumns) {
      share.cols = share.global_cols / ranks;
      share.first_col = rank * share.cols;
    }
    part.row_begin = share.rows;
    share.rows += part.rows;
  }
  size_slot(&share);
  return share;
}

void WeightRanks::use(MemorySpace space, const WeightPacking& packing) {
  the_space = space;
  the_packing = packing;
}

WeightRanks::WeightRanks(std::vector<WeightSlot> slots)
    : WeightRanks(std::vector<std::vector<WeightSlot>>{std::move(slots)}) {}

WeightRanks::WeightRanks(std::vector<std::vector<WeightSlot>> slots_of_ranks) {
  static int next = 0;
  path_ = (std::filesystem::temp_directory_path() /
           ("sluice_ranks_" + std::to_string(::getpid()) + "_" + std::to_string(next++)))
              .string();
  set_file("");
  for (std::vector<WeightSlot>& slots : slots_of_ranks) {
    for (WeightSlot& slot : slots) slot = repacked(std::move(slot));
    stores_.push_back(
        std::make_unique<WeightStore>(std::move(slots), loader_bytes(the_packing)));
    stores_.back()->allocate(&counter_, the_space);
  }
}

WeightRanks::~WeightRanks() {
  session_.reset();
  std::remove(path_.c_str());
}

void WeightRanks::set_file(const std::string& bytes) {
  std::ofstream(path_, std::ios::binary) << bytes;
}

Sluice__Proto__WeightSource* WeightRanks::source(const SourceLayout& layout) {
  auto* made = arena_.make(sluice__proto__weight_source__init);
  made->has_file = made->has_offset = made->has_bytes = made->has_format = 1;
  made->offset = layout.offset;
  made->format = layout.format;
  made->n_shape = layout.shape.size();
  made->shape = arena_.array(layout.shape);
  made->n_strides = layout.strides.size();
  made->strides = arena_.array(layout.strides);
  made->has_transposed = 1;
  made->transposed = layout.transposed;
  // The last value's end.
  uint64_t values = 1;
  uint64_t dense = 1;
  for (size_t d = layout.shape.size(); d-- > 0; dense *= layout.shape[d]) {
    values += (layout.shape[d] - 1) * (layout.strides.empty() ? dense : layout.strides[d]);
  }
  made->bytes = static_cast<uint64_t>(
      format_bytes(static_cast<Format>(layout.format), static_cast<int64_t>(values)));
  return made;
}

Sluice__Proto__WeightTransfer* WeightRanks::transfer(Slot slot, int layer, Part part, int expert,
                                                     Sluice__Proto__WeightSource* source) {
  auto* destination = arena_.make(sluice__proto__weight_destination__init);
  destination->has_layer = destination->has_slot = destination->has_part = 1;
  destination->has_expert = 1;
  destination->layer = layer;
  destination->slot = slot;
  destination->part = part;
  destination->expert = expert;
  auto* made = arena_.make(sluice__proto__weight_transfer__init);
  made->destination = destination;
  made->source = source;
  made->name = arena_.text("tensor");
  return made;
}

void WeightRanks::begin(int threads) {
  std::vector<const WeightStore*> stores;
  for (const auto& store : stores_) stores.push_back(store.get());
  session_ = std::make_unique<WeightSession>(std::move(stores), faults_, threads);
}

Outcome WeightRanks::enqueue(const std::vector<Sluice__Proto__WeightTransfer*>& transfers) {
  auto* list = arena_.make(sluice__proto__weight_transfer_list__init);
  list->n_files = 1;
  list->files = arena_.array(std::vector{arena_.text(path_)});
  list->n_transfers = transfers.size();
  list->transfers = arena_.array(transfers);
  const std::vector<uint8_t> bytes = pack_message(list->base);
  return outcome_of([&] { session_->enqueue(bytes); });
}

Outcome WeightRanks::finish() {
  return outcome_of([&] {
    session_->drain();
    const std::string missing = session_->incomplete_parts();
    SLUICE_CHECK(missing.empty(), SLUICE_STATUS_INCOMPLETE, missing);
  });
}

sluice_weights_progress WeightRanks::progress() {
  sluice_weights_progress progress = {};
  session_->poll(-1, &progress);
  return progress;
}

Outcome WeightRanks::load(const std::vector<Sluice__Proto__WeightTransfer*>& transfers) {
  begin();
  const Outcome queued = enqueue(transfers);
  return queued.status == SLUICE_STATUS_OK ? finish() : queued;
}

std::vector<std::byte> WeightRanks::stored(int index, int rank) const {
  const WeightStore& store = *stores_[rank];
  const WeightSlot& slot = store.slots()[index];
  std::vector<std::byte> bytes(static_cast<size_t>(slot.stored_bytes));
  const void* from = slot.is_vector ? static_cast<const void*>(store.vector_at(index, 0))
                                    : store.matrix_at(index, 0).data;
  if (store.on_device()) {
    const CudaDevice device(store.space().device);
    cuda_copy(device.exec(), bytes.data(), from, slot.stored_bytes);
    device.synchronize();
  } else if (!bytes.empty()) {
    std::memcpy(bytes.data(), from, bytes.size());
  }
  return bytes;
}

std::vector<float> WeightRanks::values(Slot slot, int layer, int rank) const {
  const WeightStore& store = *stores_[rank];
  const int index = store.find(slot, layer);
  const WeightSlot& declared = store.slots()[index];
  const int64_t size = declared.rows * declared.cols;
  std::vector<float> values(static_cast<size_t>(size * declared.count()));
  std::vector<std::byte> bytes = stored(index, rank);
  for (int64_t e = 0; e < declared.count(); ++e) {
    float* out = values.data() + e * size;
    std::byte* from = bytes.data() + e * declared.expert_bytes;
    if (declared.is_vector) {
      std::copy_n(reinterpret_cast<const float*>(from), size, out);
    } else {
      WeightView view = store.matrix_at(index, e);
      view.data = from;
      unpack_rows(view, 0, declared.rows, out, declared.cols);
    }
  }
  return values;
}

}  // namespace sluice::test
