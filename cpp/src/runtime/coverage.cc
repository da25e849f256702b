#include "runtime/coverage.h"

#include <algorithm>

#include "base/error.h"

namespace sluice {
namespace {

std::string span(const char* what, int64_t begin, int64_t end) {
  return end - begin > 1 ? concat(what, " ", begin, " to ", end - 1) : concat(what, " ", begin);
}

}  // namespace

std::string CellRange::text() const {
  return span("rows", row_begin, row_end) + ", " + span("columns", column_begin, column_end);
}

const CellRange* Coverage::find_overlap(const CellRange& range) const {
  for (const CellRange& earlier : ranges_) {
    if (earlier.overlaps(range)) return &earlier;
  }
  return nullptr;
}

void Coverage::add(const CellRange& range) {
  ranges_.push_back(range);
  filled_ += range.cells();
}

CellRange Coverage::first_gap() const {
  // Between two neighbouring row bounds the set of filled columns does not change.
  std::vector<int64_t> bounds = {0, rows_};
  for (const CellRange& range : ranges_) {
    bounds.push_back(range.row_begin);
    bounds.push_back(range.row_end);
  }
  std::sort(bounds.begin(), bounds.end());
  for (size_t b = 0; b + 1 < bounds.size(); ++b) {
    if (bounds[b] == bounds[b + 1]) continue;
    std::vector<std::pair<int64_t, int64_t>> columns;
    for (const CellRange& range : ranges_) {
      if (range.row_begin <= bounds[b] && bounds[b] < range.row_end) {
        columns.emplace_back(range.column_begin, range.column_end);
      }
    }
    columns.emplace_back(columns_, columns_);
    std::sort(columns.begin(), columns.end());
    int64_t filled_to = 0;
    for (const auto& [begin, end] : columns) {
      if (begin > filled_to) return {bounds[b], bounds[b + 1], filled_to, begin};
      filled_to = std::max(filled_to, end);
    }
  }
  return {};
}

void Coverage::remove_last() {
  filled_ -= ranges_.back().cells();
  ranges_.pop_back();
}

}  // namespace sluice
