// What a step on a device tells: heads, sampling, hidden states, and the way back to the host.
#include <algorithm>
#include <string>

#include "base/checked.h"
#include "ops/embedding/embedding.h"
#include "ops/sampling/sampling_cuda.h"
#include "runtime/cuda/cuda_step_runner.h"

namespace sluice {

cuda::RowOutputs CudaStepRunner::row_outputs() const {
  const StepOutput& output = state_.output();
  return {output.accepted_count, output.tokens, output.logprob,
          output.rank,           output.finite, limits_.row_tokens()};
}

void CudaStepRunner::gather(const Work& work, const float* residual, const int32_t* index,
                            int64_t count, float* rows) {
  GatherRowsParams params;
  params.num_rows = count;
  params.cols = limits_.hidden_size;
  params.index = index;
  params.num_source_rows = work.num_tokens;
  params.x = residual;
  params.x_format = Format::kF32;
  params.x_stride = limits_.hidden_size;
  params.y = rows;
  params.y_format = Format::kF32;
  params.y_stride = limits_.hidden_size;
  gather_rows(context_.exec, params);
}

void CudaStepRunner::run_outputs(const Work& work, const int32_t* ids, const float* residual) {
  if (rows_.num_hidden() > 0) run_hidden_rows(work, residual);
  for (const HeadChunk& chunk : rows_.chunks()) run_chunk(work, chunk, ids, residual);
}

void CudaStepRunner::run_chunk(const Work& work, const HeadChunk& chunk, const int32_t* ids,
                               const float* residual) {
  const ArenaScope scope(context_.workspace);
  Arena& workspace = context_.workspace;
  const int64_t cols = limits_.hidden_size;
  auto* hidden = workspace.allocate_array<float>(chunk.num_values * cols);
  gather(work, residual, list(lists_.value_token) + chunk.first_value, chunk.num_values, hidden);
  void* x = workspace.allocate(chunk.num_values * cols * context_.element_bytes());
  decoder_.head_input(context_, chunk.num_values, hidden, x);
  const OutputHead& head = decoder_.head(chunk.head);
  auto* values = workspace.allocate_array<float>(chunk.num_values * head.num_values());
  head.run(context_, chunk.num_values, x, values);
  if (head.kind() == HeadKind::kGeneration || head.kind() == HeadKind::kReasoning) {
    choose(work, chunk, ids, values);
    return;
  }
  cuda::RowValuesParams params;
  params.num_rows = chunk.num_rows;  // without drafts, so as many as values
  params.cols = head.num_values();
  params.x = values;
  params.row_index = list(lists_.row_index) + chunk.first_row;
  params.y = state_.output().head_value;
  params.y_stride = limits_.head_values;
  params.outputs = row_outputs();
  cuda::row_values(device_.exec(), params);
}

void CudaStepRunner::choose(const Work& work, const HeadChunk& chunk, const int32_t* ids,
                            const float* values) {
  const StepOutput& output = state_.output();
  cuda::SamplingParams params;
  params.num_rows = static_cast<int32_t>(chunk.num_rows);
  params.vocab_size = static_cast<int32_t>(limits_.vocab_size);
  params.max_row_tokens = static_cast<int32_t>(chunk.max_row_tokens);
  params.logits = values;
  params.logits_stride = limits_.vocab_size;
  params.first_logits = list(lists_.first_value) + chunk.first_row;
  params.rows = work.device.output_row.data();
  params.row_index = list(lists_.row_index) + chunk.first_row;
  params.seq_slots = list(lists_.seq_slot) + chunk.first_row;
  params.token_ids = ids;
  params.counts = state_.counts();
  params.logit_bias = work.device.logit_bias.data();
  params.targets = work.device.target.data();
  params.masks = work.device.mask.data();
  params.max_draft_len = static_cast<int32_t>(limits_.max_draft_len);
  params.max_top_n = static_cast<int32_t>(limits_.max_top_n);
  static_cast<SamplingSections&>(params) = output;
  params.row_last_token = state_.previous_tokens();
  params.seq_last_token = state_.tables().last_token;
  const int64_t bytes = cuda::sampling_workspace_bytes(chunk.num_rows * chunk.max_row_tokens,
                                                       params.vocab_size, params.max_top_n);
  cuda::sampling(device_.exec(), params, context_.workspace.allocate(bytes), bytes);
}

// As many at a time as go through a head together.
void CudaStepRunner::run_hidden_rows(const Work& work, const float* residual) {
  for (int64_t first = 0; first < rows_.num_hidden(); first += kMaxDeviceHeadRows) {
    const ArenaScope scope(context_.workspace);
    const int64_t count = std::min(kMaxDeviceHeadRows, rows_.num_hidden() - first);
    const int64_t cols = limits_.hidden_size;
    auto* hidden = context_.workspace.allocate_array<float>(count * cols);
    gather(work, residual, list(lists_.hidden_token) + first, count, hidden);
    void* x = context_.workspace.allocate(count * cols * context_.element_bytes());
    decoder_.head_input(context_, count, hidden, x);
    cuda::RowValuesParams params;
    params.num_rows = count;
    params.cols = cols;
    params.x = x;
    params.format = context_.compute_format;
    params.row_index = list(lists_.hidden_row) + first;
    params.y_index = list(lists_.hidden_place) + first;
    params.y = state_.output().hidden;
    params.y_stride = cols;
    params.outputs = row_outputs();
    cuda::row_values(device_.exec(), params);
  }
}

void CudaStepRunner::show_outputs(int64_t num_tokens, const float* residual,
                                  StepObserver& observer) {
  const bool norm_wanted = observer.wants("final_norm");
  const auto wanted = wanted_head_values(decoder_, observer);
  if (wanted.empty() && !norm_wanted) return;
  for (int64_t first = 0; first < num_tokens; first += kMaxDeviceHeadRows) {
    const int64_t count = std::min(kMaxDeviceHeadRows, num_tokens - first);
    const ArenaScope scope(context_.workspace);
    const int64_t cols = limits_.hidden_size;
    void* x = context_.workspace.allocate(count * cols * context_.element_bytes());
    decoder_.head_input(context_, count, residual + first * cols, x);
    if (norm_wanted) observer.keep("final_norm", {x, context_.compute_format, count, cols});
    for (const auto& [head, name] : wanted) {
      const ArenaScope head_scope(context_.workspace);
      const int64_t num_values = decoder_.head(head).num_values();
      auto* values = context_.workspace.allocate_array<float>(count * num_values);
      decoder_.head(head).run(context_, count, x, values);
      observer.keep(name, {values, Format::kF32, count, num_values});
    }
  }
}

// What the step's rows filled. Sections of top tokens are as wide as the options allow, so they are
// fetched only when a row asked.
void CudaStepRunner::download(const Work& work, const StepOutput& output) {
  const StepOutput& from = state_.output();
  const int64_t rows = work.host.num_rows();
  const int64_t tokens = rows * limits_.row_tokens();
  const auto targets = static_cast<int64_t>(work.host.target.size());
  bool tops = false;
  for (const sluice_output_row& row : work.host.output_row) tops = tops || row.top_n > 0;
  cuda::CopyRanges ranges;
  const auto add = [&](const auto* device, auto* host, int64_t count) {
    if (host != nullptr) ranges.add(device, host, count * 4);
  };
  add(from.accepted_count, output.accepted_count, rows);
  add(from.tokens, output.tokens, tokens);
  add(from.logprob, output.logprob, tokens);
  add(from.rank, output.rank, tokens);
  add(from.finite, output.finite, rows);
  add(from.target_logprob, output.target_logprob, targets);
  add(from.target_rank, output.target_rank, targets);
  add(from.top_token, output.top_token, tops ? tokens * limits_.max_top_n : 0);
  add(from.top_logprob, output.top_logprob, tops ? tokens * limits_.max_top_n : 0);
  add(from.head_value, output.head_value, rows * limits_.head_values);
  add(from.hidden, output.hidden, rows_.num_hidden() * limits_.hidden_size);
  add(from.expert_count, output.expert_count, limits_.num_layers * limits_.expert_count_stride);
  cuda::copy_ranges(device_.exec(), ranges);
}

}  // namespace sluice
