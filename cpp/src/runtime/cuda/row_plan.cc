#include "runtime/cuda/row_plan.h"

#include <algorithm>

#include "base/checked.h"

namespace sluice {
namespace {

int32_t* list(uint8_t* message, int64_t offset) {
  return reinterpret_cast<int32_t*>(message + offset);
}

int32_t slot_of_token(const StepInput& step, int32_t token) {
  const auto behind = std::upper_bound(step.query_start.begin(), step.query_start.end(), token);
  return step.seq_slot[static_cast<size_t>(behind - step.query_start.begin() - 1)];
}

}  // namespace

RowLists::RowLists(const StepLimits& limits, int64_t begin) : end(begin) {
  const auto take = [this](int64_t values) {
    const int64_t at = end;
    end = round_up(checked_add(end, checked_mul(values, 4)), 64);
    return at;
  };
  const int64_t rows = limits.max_step_outputs;
  row_index = take(rows);
  seq_slot = take(rows);
  first_value = take(rows);
  value_token = take(rows + limits.max_step_tokens);
  hidden_token = take(limits.max_step_hidden_rows);
  hidden_row = take(limits.max_step_hidden_rows);
  hidden_place = take(limits.max_step_hidden_rows);
}

RowPlan::RowPlan(const StepLimits& limits, int num_heads) : num_heads_(num_heads) {
  chunks_.reserve(static_cast<size_t>(num_heads + limits.max_step_outputs));
}

void RowPlan::make(const StepInput& step, const RowLists& lists, uint8_t* message) {
  int32_t* row_index = list(message, lists.row_index);
  int32_t* seq_slot = list(message, lists.seq_slot);
  int32_t* first_value = list(message, lists.first_value);
  int32_t* value_token = list(message, lists.value_token);
  chunks_.clear();
  num_rows_ = num_values_ = num_hidden_ = 0;
  for (int head = 0; head < num_heads_; ++head) {
    HeadChunk chunk;
    for (int64_t r = 0; r < step.num_rows(); ++r) {
      const sluice_output_row& row = step.output_row[r];
      if (row.kind == SLUICE_OUTPUT_HIDDEN || row.head != head) continue;
      const int64_t values = 1 + int64_t{row.draft_len};  // a row stays with its drafts
      if (chunk.num_rows > 0 && (chunk.num_rows + 1) * std::max(chunk.max_row_tokens, values) > kMaxDeviceHeadRows) {
        chunks_.push_back(chunk);
        chunk = {};
      }
      if (chunk.num_rows == 0) chunk = {head, num_rows_, 0, num_values_, 0, 1};
      row_index[num_rows_] = static_cast<int32_t>(r);
      seq_slot[num_rows_] = slot_of_token(step, row.token_index);
      first_value[num_rows_] = static_cast<int32_t>(chunk.num_values);
      for (int32_t i = 0; i < values; ++i) value_token[num_values_++] = row.token_index + i;
      chunk.num_values += values;
      chunk.max_row_tokens = std::max(chunk.max_row_tokens, values);
      ++chunk.num_rows;
      ++num_rows_;
    }
    if (chunk.num_rows > 0) chunks_.push_back(chunk);
  }
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    if (step.output_row[r].kind != SLUICE_OUTPUT_HIDDEN) continue;
    list(message, lists.hidden_token)[num_hidden_] = step.output_row[r].token_index;
    list(message, lists.hidden_row)[num_hidden_] = static_cast<int32_t>(r);
    list(message, lists.hidden_place)[num_hidden_] = static_cast<int32_t>(num_hidden_);
    ++num_hidden_;
  }
}

void RowPlan::pad(const RowLists& lists, uint8_t* message, int64_t rows) {
  const int head = chunks_.front().head;
  for (int64_t i = num_rows_; i < rows; ++i) {
    list(message, lists.row_index)[i] = -1;
    list(message, lists.seq_slot)[i] = 0;
    list(message, lists.value_token)[i] = 0;
  }
  chunks_.clear();
  for (int64_t first = 0; first < rows; first += kMaxDeviceHeadRows) {
    const int64_t count = std::min(kMaxDeviceHeadRows, rows - first);
    chunks_.push_back({head, first, count, first, count, 1});
    for (int64_t i = 0; i < count; ++i) {
      list(message, lists.first_value)[first + i] = static_cast<int32_t>(i);
    }
  }
  num_rows_ = num_values_ = rows;
}

int RowPlan::decode_head(const StepInput& step, const std::vector<HeadKind>& heads) {
  if (step.num_tokens() != step.num_sequences() || step.num_rows() == 0 ||
      step.num_rows() > step.num_sequences()) {
    return -1;
  }
  const int head = step.output_row[0].head;
  for (const sluice_output_row& row : step.output_row) {
    const bool chooses = row.kind == SLUICE_OUTPUT_SAMPLE || row.kind == SLUICE_OUTPUT_LOGPROB;
    if (!chooses || row.head != head || row.draft_len != 0) return -1;
  }
  const HeadKind kind = heads[static_cast<size_t>(head)];
  return kind == HeadKind::kGeneration || kind == HeadKind::kReasoning ? head : -1;
}

}  // namespace sluice
