/// @file
/// A weight transfer after its checks: which values of a source go where.
#ifndef SLUICE_RUNTIME_WEIGHT_SOURCE_H_
#define SLUICE_RUNTIME_WEIGHT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/weight_store.h"
#include "runtime/coverage.h"
#include "runtime/file_reader.h"

namespace sluice {

/// Values of a checkpoint tensor as a [rows, cols] matrix, outputs first.
struct WeightSource {
  std::shared_ptr<const FileReader> file;  ///< nullptr: random numbers
  int64_t offset = 0;
  int64_t bytes = 0;
  Format format = Format::kUnknown;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  ///< in values
  int64_t col_stride = 0;
  uint64_t random_seed = 0;
  double random_std = 0;
};

/// A rectangle of a source that fills an equal one of a slot.
struct WeightPiece {
  int slot = 0;                  ///< index in WeightStore::slots()
  int part = 0;                  ///< index in WeightSlot::parts
  CellRange destination;         ///< inside the part
  int64_t source_row_begin = 0;  ///< columns of the source begin at 0
};

/// One entry of a WeightTransferList.
struct WeightTransfer {
  std::string name;  ///< of the tensor, for messages
  WeightSource source;
  std::vector<WeightPiece> pieces;
};

/// Decodes and checks one entry: destination, format, shape, strides, byte count. The file's size
/// is not looked at.
///
/// @param files   readers by index of WeightTransferList.files
/// @throws Error INVALID_ARGUMENT, UNSUPPORTED; the text begins with the tensor's name
WeightTransfer decode_transfer(const Sluice__Proto__WeightTransfer& transfer,
                               const std::vector<std::shared_ptr<const FileReader>>& files,
                               const WeightStore& store);

/// Source rectangles of a piece, each small enough to be read at once.
std::vector<CellRange> split_piece(const WeightSource& source, const WeightPiece& piece);

/// Memory of one loader thread.
struct WeightScratch {
  std::vector<std::byte> raw;
  std::vector<float> values;
};

/// Reads, decodes and stores one rectangle that split_piece() gave. Different rectangles may be
/// copied at once. @throws Error IO, CORRUPT_DATA
void copy_rectangle(const WeightTransfer& transfer, const WeightPiece& piece,
                    const CellRange& rectangle, const WeightStore& store, WeightScratch* scratch);

/// Bytes that copy_rectangle() reads from the file.
int64_t rectangle_bytes(const WeightSource& source, const CellRange& rectangle);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_WEIGHT_SOURCE_H_
