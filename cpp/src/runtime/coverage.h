/// @file
/// Which rows and columns of a matrix have been filled, so that nothing is filled twice or missed.
#ifndef SLUICE_RUNTIME_COVERAGE_H_
#define SLUICE_RUNTIME_COVERAGE_H_

#include <cstdint>
#include <map>
#include <string>

namespace sluice {

/// Rows [row_begin, row_end) by columns [column_begin, column_end).
struct CellRange {
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t column_begin = 0;
  int64_t column_end = 0;

  int64_t rows() const { return row_end - row_begin; }
  int64_t columns() const { return column_end - column_begin; }
  int64_t cells() const { return rows() * columns(); }
  bool overlaps(const CellRange& other) const {
    return row_begin < other.row_end && other.row_begin < row_end &&
           column_begin < other.column_end && other.column_begin < column_end;
  }
  /// "rows 0 to 63, columns 0 to 127"
  std::string text() const;
};

/// Filled part of one rows x columns matrix. Not thread-safe.
class Coverage {
 public:
  Coverage(int64_t rows, int64_t columns) : rows_(rows), columns_(columns) {}

  /// Earlier range that `range` overlaps, or nullptr. `range` lies inside the matrix. Looks only at
  /// ranges near its rows, so that a matrix may come in many pieces.
  const CellRange* find_overlap(const CellRange& range) const;

  /// Notes a range that overlaps no earlier one.
  void add(const CellRange& range);

  /// Takes back a range that add() noted.
  void remove(const CellRange& range);

  bool empty() const { return ranges_.empty(); }
  bool complete() const { return filled_ == rows_ * columns_; }

  /// A rectangle that nothing filled; meaningful when not complete().
  CellRange first_gap() const;

 private:
  int64_t rows_;
  int64_t columns_;
  int64_t filled_ = 0;
  int64_t tallest_ = 0;                       // rows of the range that has most, ever
  std::multimap<int64_t, CellRange> ranges_;  // by row_begin
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_COVERAGE_H_
