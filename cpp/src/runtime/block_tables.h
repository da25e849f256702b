/// @file
/// Resident block tables: which KV block holds which positions of a sequence slot.
#ifndef SLUICE_RUNTIME_BLOCK_TABLES_H_
#define SLUICE_RUNTIME_BLOCK_TABLES_H_

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

/// One row of block ids per (kv group, sequence slot); -1 where no block is readable. All memory is
/// taken by the constructor. Arguments are not checked here: the step message was. Not thread-safe.
class BlockTables {
 public:
  BlockTables(int num_groups, int max_sequences, int max_blocks_per_sequence);

  int num_groups() const { return num_groups_; }
  int max_sequences() const { return max_sequences_; }
  int max_blocks_per_sequence() const { return max_blocks_; }

  /// Entries of a row, `max_blocks_per_sequence` long.
  const int32_t* row(int group, int sequence) const {
    return entries_.data() + row_index(group, sequence) * max_blocks_;
  }

  /// Table of a group: row of sequence s at s * max_blocks_per_sequence.
  const int32_t* group(int group) const { return row(group, 0); }

  void set(int group, int sequence, int index, int32_t block);
  void reset(int sequence);
  void copy_sequence(int source, int target);

  /// Makes the rows of `sequence` equal to those of the same slot of `other`, which has the same
  /// dimensions.
  void copy_from(const BlockTables& other, int sequence);

 private:
  size_t row_index(int group, int sequence) const {
    return static_cast<size_t>(group) * max_sequences_ + sequence;
  }
  void copy_row(const BlockTables& other, size_t source, size_t target);

  int num_groups_;
  int max_sequences_;
  int max_blocks_;
  std::vector<int32_t> entries_;  // [groups, sequences, blocks]
  std::vector<int32_t> lengths_;  // [groups, sequences]: entries behind it are -1
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_BLOCK_TABLES_H_
