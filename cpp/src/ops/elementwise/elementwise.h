/// @file
/// The small steps between the ops of layers: conversions, gates, copies, the merging of partial
/// attention, and the integers that describe pieces of a batch.
///
/// Each does one thing to each element or row, so a row's bits never depend on other rows. What is
/// not a number stays one: it must reach the step's check of its results. All functions throw
/// INVALID_ARGUMENT or UNSUPPORTED, naming the field, for sizes, strides and formats out of range.
#ifndef SLUICE_OPS_ELEMENTWISE_ELEMENTWISE_H_
#define SLUICE_OPS_ELEMENTWISE_ELEMENTWISE_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"

namespace sluice {

/// Copies bytes; the ranges must not overlap.
void copy_bytes(const Exec& exec, void* to, const void* from, int64_t bytes);
/// Zeroes bytes.
void zero_bytes(const Exec& exec, void* to, int64_t bytes);

/// y[r, c] = x[r, c] in y's format, rounded to nearest even. x and y must not overlap.
struct ConvertRowsParams {
  int64_t num_rows = 0;
  int64_t cols = 0;
  const void* x = nullptr;             ///< [num_rows, cols]
  Format x_format = Format::kUnknown;  ///< F32 or BF16
  int64_t x_stride = 0;                ///< elements between rows
  void* y = nullptr;                   ///< [num_rows, cols]
  Format y_format = Format::kUnknown;  ///< F32 or BF16
  int64_t y_stride = 0;                ///< elements between rows; the elements between stay
};
void convert_rows(const Exec& exec, const ConvertRowsParams& params);

/// x[i] = f(x[i]) for `count` float32 values.
enum class MapKind {
  kClamp,    ///< to +-limit
  kSoftCap,  ///< limit * tanh(x / limit)
  kGate,     ///< sigmoid(x), or 0 where that is below limit
};
void map_values(const Exec& exec, MapKind kind, float limit, int64_t count, float* x);

/// y[i] = y[i] * sigmoid(gate[i]) for `count` values of y in `format` (F32 or BF16).
void gate_values(const Exec& exec, int64_t count, const float* gate, void* y, Format format);

/// y[r, c] += multiplier * sigmoid(gate[r]) * x[r, c], all float32 and dense.
struct GatedAddParams {
  int64_t num_rows = 0;
  int64_t cols = 0;
  const float* gate = nullptr;  ///< [num_rows]
  float multiplier = 1;
  const float* x = nullptr;  ///< [num_rows, cols]
  float* y = nullptr;        ///< [num_rows, cols]
};
void gated_add(const Exec& exec, const GatedAddParams& params);

/// marks[slots[t]] = sigmoid(logits[t]) >= threshold; tokens with a negative slot leave none.
struct MarkSlotsParams {
  int64_t num_tokens = 0;
  const float* logits = nullptr;  ///< [num_tokens]
  float threshold = 0;
  const int32_t* slots = nullptr;  ///< [num_tokens], different where they are not negative
  int64_t slot_stride = 1;         ///< elements between tokens' slots
  uint8_t* marks = nullptr;        ///< by slot
};
void mark_slots(const Exec& exec, const MarkSlotsParams& params);

/// Puts two attentions of the same queries over different keys together, by the logs of their sums
/// of exponents: out = (out e^lse + part e^part_lse) / (e^lse + e^part_lse), lse that of the sum.
/// Where neither has seen a key (both -inf) nothing changes.
struct MergeAttentionParams {
  int64_t num_rows = 0;             ///< tokens * heads
  int64_t cols = 0;                 ///< values of a head
  const float* part = nullptr;      ///< [num_rows, cols]
  const float* part_lse = nullptr;  ///< [num_rows]
  float* out = nullptr;             ///< [num_rows, cols]
  float* lse = nullptr;             ///< [num_rows]
};
void merge_attention(const Exec& exec, const MergeAttentionParams& params);

/// y[i] = x[index[i]] for i < *count; the rest of y stays.
struct GatherValuesParams {
  int64_t max_count = 0;
  const int32_t* count = nullptr;  ///< [1], at most max_count
  const int32_t* index = nullptr;  ///< [max_count]
  const float* x = nullptr;
  float* y = nullptr;  ///< [max_count]
};
void gather_values(const Exec& exec, const GatherValuesParams& params);

/// counts[i] += offsets[i + 1] - offsets[i] for i < count.
void add_lengths(const Exec& exec, int32_t count, const int32_t* offsets, int32_t* counts);

/// y[i] = x[i] - first where that is in [0, size), else -1.
void local_ids(const Exec& exec, int64_t count, const int32_t* x, int64_t first, int64_t size,
               int32_t* y);

/// y[i] = min(max(x[i], low), high) - offset.
struct ShiftParams {
  int64_t count = 0;
  const int32_t* x = nullptr;
  int32_t low = INT32_MIN;
  int32_t high = INT32_MAX;
  int32_t offset = 0;
  int32_t* y = nullptr;  ///< may be x
};
void shift_values(const Exec& exec, const ShiftParams& params);

/// y[i] = i.
void number_values(const Exec& exec, int64_t count, int32_t* y);

/// Rows for the entries [first, first + limit) of sequences, one sequence after another, each from
/// a multiple of `align` on.
struct RaggedRowsParams {
  int32_t num_sequences = 0;
  const int32_t* lengths = nullptr;  ///< [num_sequences] entries of each
  int32_t first = 0;
  int32_t limit = INT32_MAX;
  int32_t align = 1;             ///< at least 1
  int32_t* num_rows = nullptr;   ///< [num_sequences] result: entries of each that are meant
  int32_t* row_start = nullptr;  ///< [num_sequences] result: row of the first
  int32_t* row_block = nullptr;  ///< [num_sequences] result: row_start / align
};
void ragged_rows(const Exec& exec, const RaggedRowsParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_ELEMENTWISE_ELEMENTWISE_H_
