/// @file
/// A weight transfer after its checks: which values of a source go where.
#ifndef SLUICE_RUNTIME_WEIGHT_SOURCE_H_
#define SLUICE_RUNTIME_WEIGHT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/weight_store.h"
#include "runtime/coverage.h"
#include "runtime/file_reader.h"

namespace sluice {

/// Formats that a WeightTransfer's source may have, in the order of their numbers.
std::span<const Format> weight_formats();

/// A checkpoint tensor as [experts, rows, cols], outputs first; strides in values.
struct WeightTensor {
  std::shared_ptr<const FileReader> file;
  int64_t offset = 0;  ///< of value [0, 0, 0], in bytes
  int64_t bytes = 0;   ///< to the end of the last value
  Format format = Format::kUnknown;
  int64_t experts = 1;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t expert_stride = 0;
  int64_t row_stride = 0;
  int64_t col_stride = 0;
};

/// One number for a block of rows and columns, by which their values are multiplied.
struct WeightScale {
  WeightTensor tensor;  ///< [experts, ceil(rows / block_rows), ceil(cols / block_cols)]
  int64_t block_rows = 1;
  int64_t block_cols = 1;
};

struct WeightSource {
  WeightTensor tensor;  ///< without a file: random numbers
  std::optional<WeightScale> scale;
  uint64_t random_seed = 0;
  double random_std = 0;
};

/// A rectangle of a source that fills an equal one of a slot.
struct WeightPiece {
  int store = 0;          ///< index of the rank's store
  int slot = 0;           ///< index in WeightStore::slots()
  int part = 0;           ///< index in WeightSlot::parts
  int expert = 0;         ///< of the slot; 0: a slot without experts
  CellRange destination;  ///< inside what the rank holds of the part
  int64_t source_expert = 0;
  int64_t source_row_begin = 0;
  int64_t source_col_begin = 0;
};

/// One entry of a WeightTransferList.
struct WeightTransfer {
  std::string name;  ///< of the tensor, for messages
  WeightSource source;
  std::vector<WeightPiece> pieces;  ///< of all ranks, rank by rank within an expert and part
};

/// The stores of the ranks of this process, in rank order: the same slots, shapes of their own.
using WeightStores = std::span<const WeightStore* const>;

/// Decodes and checks one entry: destination, format, shape, strides, byte count, scales. The
/// file's size is not looked at.
///
/// @param files   readers by index of WeightTransferList.files
/// @throws Error INVALID_ARGUMENT, UNSUPPORTED; the text begins with the tensor's name
WeightTransfer decode_transfer(const Sluice__Proto__WeightTransfer& transfer,
                               const std::vector<std::shared_ptr<const FileReader>>& files,
                               WeightStores stores);

/// Rectangles of the source's [rows, cols] that make a piece, each small enough to be read at once.
std::vector<CellRange> split_piece(const WeightSource& source, const WeightPiece& piece);

class WeightUpload;

/// Memory of one loader thread.
struct WeightScratch {
  std::vector<std::byte> raw;
  std::vector<float> values;
  std::vector<float> scales;
  WeightUpload* upload = nullptr;  ///< for stores in device memory
  int thread = 0;                  ///< the thread's number there
};

/// Reads, decodes and stores one rectangle that split_piece() gave; in device memory it may not be
/// stored before WeightUpload::finish(). Different rectangles may be copied at once.
/// @throws Error IO, CORRUPT_DATA, DEVICE_LOST
void copy_rectangle(const WeightTransfer& transfer, const WeightPiece& piece,
                    const CellRange& rectangle, const WeightStore& store, WeightScratch* scratch);

/// Bytes that copy_rectangle() reads from files.
int64_t rectangle_bytes(const WeightSource& source, const CellRange& rectangle);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_WEIGHT_SOURCE_H_
