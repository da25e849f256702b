/// @file
/// How the ranks of tensor parallelism exchange numbers.
#ifndef SLUICE_COMM_COMMUNICATOR_H_
#define SLUICE_COMM_COMMUNICATOR_H_

#include <cstdint>

namespace sluice {

/// One rank's end of a group. Collective: every rank of the group makes the same calls with the
/// same sizes in the same order, each from its own thread; a call returns when this rank's result
/// is complete and its arguments may be reused.
///
/// When a rank cannot go on, the calls of all others throw instead of waiting for it, now and
/// later; see the implementation for how a group is told.
class Communicator {
 public:
  virtual ~Communicator() = default;

  /// This rank, 0 to size() - 1.
  virtual int rank() const = 0;

  /// Ranks of the group, 1 or more.
  virtual int size() const = 0;

  /// values[i] becomes the sum of values[i] over all ranks, added in a fixed order that depends on
  /// neither `count` nor `i`: every rank ends up with the same bits, and so does every repetition.
  /// @param values  [count], at least 0
  virtual void all_reduce(float* values, int64_t count) = 0;

  /// Puts the ranks' rows side by side: row r of `y` is row r of rank 0, of rank 1, ...
  /// @param x  [num_rows, row_bytes], dense; not inside `y`
  /// @param y  [num_rows, size(), row_bytes], dense
  virtual void all_gather(const void* x, int64_t num_rows, int64_t row_bytes, void* y) = 0;

 protected:
  Communicator() = default;
  Communicator(const Communicator&) = default;
  Communicator& operator=(const Communicator&) = default;
};

}  // namespace sluice
#endif  // SLUICE_COMM_COMMUNICATOR_H_
