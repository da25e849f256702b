#include "runtime/block_tables.h"

#include <algorithm>

namespace sluice {

BlockTables::BlockTables(int num_groups, int max_sequences, int max_blocks_per_sequence)
    : num_groups_(num_groups),
      max_sequences_(max_sequences),
      max_blocks_(max_blocks_per_sequence),
      entries_(static_cast<size_t>(num_groups) * max_sequences * max_blocks_per_sequence, -1),
      lengths_(static_cast<size_t>(num_groups) * max_sequences, 0) {}

void BlockTables::set(int group, int sequence, int index, int32_t block) {
  const size_t row = row_index(group, sequence);
  entries_[row * max_blocks_ + index] = block;
  lengths_[row] = std::max(lengths_[row], index + 1);
}

void BlockTables::reset(int sequence) {
  for (int group = 0; group < num_groups_; ++group) {
    const size_t row = row_index(group, sequence);
    std::fill_n(entries_.begin() + row * max_blocks_, lengths_[row], -1);
    lengths_[row] = 0;
  }
}

void BlockTables::copy_sequence(int source, int target) {
  for (int group = 0; group < num_groups_; ++group) {
    copy_row(*this, row_index(group, source), row_index(group, target));
  }
}

void BlockTables::copy_from(const BlockTables& other, int sequence) {
  for (int group = 0; group < num_groups_; ++group) {
    const size_t row = row_index(group, sequence);
    copy_row(other, row, row);
  }
}

void BlockTables::copy_row(const BlockTables& other, size_t source, size_t target) {
  if (&other == this && source == target) return;
  const auto from = other.entries_.begin() + source * max_blocks_;
  const auto to = entries_.begin() + target * max_blocks_;
  std::copy_n(from, other.lengths_[source], to);
  if (lengths_[target] > other.lengths_[source]) {
    std::fill(to + other.lengths_[source], to + lengths_[target], -1);
  }
  lengths_[target] = other.lengths_[source];
}

}  // namespace sluice
