#include "runtime/coverage.h"

#include <algorithm>
#include <utility>
#include <vector>

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
  // No range that begins `tallest_` rows or more above reaches down to this one.
  for (auto at = ranges_.upper_bound(range.row_begin - tallest_);
       at != ranges_.end() && at->first < range.row_end; ++at) {
    if (at->second.overlaps(range)) return &at->second;
  }
  return nullptr;
}

void Coverage::add(const CellRange& range) {
  ranges_.emplace(range.row_begin, range);
  tallest_ = std::max(tallest_, range.rows());
  filled_ += range.cells();
}

void Coverage::remove(const CellRange& range) {
  auto at = ranges_.lower_bound(range.row_begin);
  while (at->second.column_begin != range.column_begin) ++at;
  ranges_.erase(at);
  filled_ -= range.cells();
}

CellRange Coverage::first_gap() const {
  // Between two neighbouring row bounds the set of filled columns does not change.
  std::vector<int64_t> bounds = {0, rows_};
  for (const auto& [row, range] : ranges_) {
    bounds.push_back(range.row_begin);
    bounds.push_back(range.row_end);
  }
  std::sort(bounds.begin(), bounds.end());
  for (size_t b = 0; b + 1 < bounds.size(); ++b) {
    if (bounds[b] == bounds[b + 1]) continue;
    std::vector<std::pair<int64_t, int64_t>> columns;
    for (const auto& [row, range] : ranges_) {
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

}  // namespace sluice
