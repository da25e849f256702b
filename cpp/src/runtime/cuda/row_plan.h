/// @file
/// Which rows of a step go through which head, as lists for the device.
#ifndef SLUICE_RUNTIME_CUDA_ROW_PLAN_H_
#define SLUICE_RUNTIME_CUDA_ROW_PLAN_H_

#include <cstdint>
#include <vector>

#include "layers/spec.h"
#include "runtime/step_view.h"

namespace sluice {

/// Rows of logits that go through a head together on a device, were each row to have as many drafts
/// as the one with the most: bounds them in memory.
inline constexpr int64_t kMaxDeviceHeadRows = 256;

/// Where the lists lie behind a step message; bytes from its start.
struct RowLists {
  int64_t row_index = 0;     ///< i32[rows] output row of each row through a head; -1: padding
  int64_t seq_slot = 0;      ///< i32[rows] of each row's sequence
  int64_t first_value = 0;   ///< i32[rows] row of the head's values of the row's own token
  int64_t value_token = 0;   ///< i32[values] token behind each row of values
  int64_t hidden_token = 0;  ///< i32[hidden rows]
  int64_t hidden_row = 0;    ///< i32[hidden rows] output row of each
  int64_t hidden_place = 0;  ///< i32[hidden rows] 0, 1, ...: row of section HIDDEN
  int64_t end = 0;

  RowLists(const StepLimits& limits, int64_t begin);
};

/// Rows of one head that go through it together.
struct HeadChunk {
  int head = 0;
  int64_t first_row = 0;    ///< in the lists
  int64_t num_rows = 0;
  int64_t first_value = 0;  ///< in value_token
  int64_t num_values = 0;   ///< the rows' tokens and their drafts
  int64_t max_row_tokens = 1;  ///< 1 + the most drafts of a row
};

/// The plan of one step's outputs. Takes memory in the constructor only.
class RowPlan {
 public:
  RowPlan(const StepLimits& limits, int num_heads);

  /// Makes the lists of a step behind its message.
  void make(const StepInput& step, const RowLists& lists, uint8_t* message);

  /// Fills the lists of a decode step up to `rows` rows; see decode_head().
  void pad(const RowLists& lists, uint8_t* message, int64_t rows);

  /// The head of a decode step: every sequence has one token, every row goes through the same head
  /// with no draft, and none tells values or hidden states. -1: any other step.
  static int decode_head(const StepInput& step, const std::vector<HeadKind>& heads);

  const std::vector<HeadChunk>& chunks() const { return chunks_; }
  int64_t num_rows() const { return num_rows_; }
  int64_t num_values() const { return num_values_; }
  int64_t num_hidden() const { return num_hidden_; }

 private:
  int num_heads_;
  std::vector<HeadChunk> chunks_;
  int64_t num_rows_ = 0;
  int64_t num_values_ = 0;
  int64_t num_hidden_ = 0;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_CUDA_ROW_PLAN_H_
