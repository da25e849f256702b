#include "runtime/step_runner.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "ops/embedding/embedding.h"
#include "ops/sampling/sampling.h"

namespace sluice {
namespace {

// Rows of the hidden state by index, in float32.
void gather(const LayerContext& context, const float* residual, int64_t num_tokens,
            const int32_t* index, int64_t count, int64_t hidden_size, float* rows) {
  GatherRowsParams params;
  params.num_rows = count;
  params.cols = hidden_size;
  params.index = index;
  params.num_source_rows = num_tokens;
  params.x = residual;
  params.x_format = Format::kF32;
  params.x_stride = hidden_size;
  params.y = rows;
  params.y_format = Format::kF32;
  params.y_stride = hidden_size;
  gather_rows(context.exec, params);
}

void to_float32(Format format, const void* x, int64_t values, float* y) {
  if (format == Format::kF32) {
    std::copy_n(static_cast<const float*>(x), values, y);
  } else {
    const auto* rounded = static_cast<const Bf16*>(x);
    for (int64_t i = 0; i < values; ++i) y[i] = to_float(rounded[i]);
  }
}

}  // namespace

StepRunner::StepRunner(const StepLimits& limits, const Decoder& decoder, LayerContext context,
                       KvCache& kv, SequenceState& sequences, RopeState& ropes)
    : limits_(limits),
      decoder_(decoder),
      context_(context),
      kv_(kv),
      sequences_(sequences),
      ropes_(ropes),
      token_sequence_(limits.max_step_tokens),
      previous_tokens_(limits.max_step_outputs) {
  logit_rows_.reserve(limits.max_step_outputs);
  for (int group = 0; group < limits.num_kv_groups; ++group) {
    tables_.push_back(sequences.tables().group(group));
  }
}

int64_t StepRunner::workspace_bytes(const StepLimits& limits, const Decoder& decoder,
                                    const LayerContext& context, const RopeState& ropes) {
  BatchLimits batch;
  batch.max_tokens = limits.max_step_tokens;
  batch.max_sequences =
      static_cast<int32_t>(std::min(limits.max_sequences, limits.max_step_tokens));
  batch.max_context_len = limits.max_context_len;
  const int64_t residual = arena_bytes(checked_mul(limits.max_step_tokens, limits.hidden_size * 4));
  // A trace sends all tokens through the head, so the rows may be more than the output rows.
  const int64_t rows = kMaxHeadRows;
  int64_t outputs = arena_bytes(rows * limits.hidden_size * 4) * 3;  // rows, input, float32 copy
  outputs = checked_add(outputs, arena_bytes(checked_mul(rows, limits.vocab_size * 4)));
  outputs = checked_add(outputs, 4 * arena_bytes(rows * sizeof(void*)));
  outputs =
      checked_add(outputs, std::max(decoder.output_bytes(context, rows),
                                    arena_bytes(sampling_workspace_bytes(
                                        context.exec, static_cast<int32_t>(limits.vocab_size)))));
  int64_t bytes = arena_bytes(limits.max_step_tokens * 4) + residual;
  bytes = checked_add(bytes, ropes.workspace_bytes(limits.max_step_tokens));
  return checked_add(bytes, std::max(outputs, decoder.forward_bytes(context, batch)));
}

StepReport StepRunner::run(const StepInput& step, const StepOutput& output,
                           StepObserver& observer) {
  StepReport report;
  sequences_.apply(step, kv_);
  ropes_.apply(step);
  for (const sluice_state_op& op : step.state_op) {
    report.block_copies += op.kind == SLUICE_STATE_OP_COPY_BLOCK;
  }
  context_.workspace.reset();
  if (step.num_tokens() > 0) {
    auto* ids = context_.workspace.allocate_array<int32_t>(step.num_tokens());
    resolve_tokens(step, ids);
    StepBatch batch;
    batch.num_tokens = step.num_tokens();
    batch.num_sequences = static_cast<int32_t>(step.num_sequences());
    batch.positions = step.position.data();
    batch.query_start = step.query_start.data();
    batch.context_len = step.context_len.data();
    batch.seq_slots = step.seq_slot.data();
    batch.kv_slots = step.kv_slot.data();
    batch.num_kv_groups = limits_.num_kv_groups;
    batch.block_tables = tables_;
    batch.block_table_stride = limits_.max_blocks_per_sequence;
    batch.ropes = ropes_.make_angles(context_.exec, step, context_.workspace);
    auto* residual =
        context_.workspace.allocate_array<float>(step.num_tokens() * limits_.hidden_size);
    decoder_.forward(context_, batch, ids, kv_.layers(), residual, observer);
    observer.before_outputs();
    if (observer.tracing()) show_outputs(step.num_tokens(), residual, observer);
    run_outputs(step, output, residual);
  }
  note_outputs(step, output, &report);
  return report;
}

void StepRunner::resolve_tokens(const StepInput& step, int32_t* ids) {
  for (int64_t s = 0; s < step.num_sequences(); ++s) {
    for (int32_t t = step.query_start[s]; t < step.query_start[s + 1]; ++t) {
      token_sequence_[t] = step.seq_slot[s];
      const int32_t id = step.token_id[t];
      if (id == SLUICE_TOKEN_LAST) {
        ids[t] = sequences_.last_token(step.seq_slot[s]);
      } else {
        ids[t] = id < 0 ? previous_tokens_[-1 - id] : id;
      }
    }
  }
}

void StepRunner::show_outputs(int64_t num_tokens, const float* residual, StepObserver& observer) {
  const bool logits_wanted = observer.wants("logits");
  const bool norm_wanted = observer.wants("final_norm");
  if (!logits_wanted && !norm_wanted) return;
  for (int64_t first = 0; first < num_tokens; first += kMaxHeadRows) {
    const int64_t count = std::min(kMaxHeadRows, num_tokens - first);
    const ArenaScope scope(context_.workspace);
    const int64_t values = count * limits_.hidden_size;
    void* x = context_.workspace.allocate(values * context_.element_bytes());
    decoder_.head_input(context_, count, residual + first * limits_.hidden_size, x);
    if (norm_wanted) {
      auto* wide = context_.workspace.allocate_array<float>(values);
      to_float32(context_.compute_format, x, values, wide);
      observer.keep("final_norm", {wide, Format::kF32, count, limits_.hidden_size});
    }
    if (logits_wanted) {
      auto* logits = context_.workspace.allocate_array<float>(count * limits_.vocab_size);
      decoder_.logits(context_, count, x, logits);
      observer.keep("logits", {logits, Format::kF32, count, limits_.vocab_size});
    }
  }
}

void StepRunner::run_outputs(const StepInput& step, const StepOutput& output,
                             const float* residual) {
  logit_rows_.clear();
  int64_t hidden_rows = 0;
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    if (step.output_row[r].kind == SLUICE_OUTPUT_HIDDEN) {
      run_hidden_row(step, output, residual, r, hidden_rows++);
    } else {
      logit_rows_.push_back(static_cast<int32_t>(r));
    }
  }
  const auto rows = static_cast<int64_t>(logit_rows_.size());
  for (int64_t first = 0; first < rows; first += kMaxHeadRows) {
    run_logit_rows(step, output, residual, first, std::min(kMaxHeadRows, rows - first));
  }
}

void StepRunner::run_logit_rows(const StepInput& step, const StepOutput& output,
                                const float* residual, int64_t first, int64_t count) {
  const ArenaScope scope(context_.workspace);
  Arena& workspace = context_.workspace;
  const int32_t* row_index = logit_rows_.data() + first;
  auto* rows = workspace.allocate_array<const sluice_output_row*>(count);
  auto* tokens = workspace.allocate_array<int32_t>(count);
  auto* seq_slots = workspace.allocate_array<int32_t>(count);
  for (int64_t i = 0; i < count; ++i) {
    rows[i] = &step.output_row[row_index[i]];
    tokens[i] = rows[i]->token_index;
    seq_slots[i] = token_sequence_[rows[i]->token_index];
  }
  auto* hidden = workspace.allocate_array<float>(count * limits_.hidden_size);
  gather(context_, residual, step.num_tokens(), tokens, count, limits_.hidden_size, hidden);
  void* x = workspace.allocate(count * limits_.hidden_size * context_.element_bytes());
  decoder_.head_input(context_, count, hidden, x);
  auto* logits = workspace.allocate_array<float>(count * limits_.vocab_size);
  decoder_.logits(context_, count, x, logits);

  SamplingParams params;
  params.num_rows = static_cast<int32_t>(count);
  params.vocab_size = static_cast<int32_t>(limits_.vocab_size);
  params.logits = logits;
  params.logits_stride = limits_.vocab_size;
  params.rows = rows;
  params.counts = sequences_.counts();
  params.seq_slots = params.counts == nullptr ? nullptr : seq_slots;
  params.logit_bias = step.logit_bias.data();
  params.targets = step.target.data();
  params.masks = step.mask.data();
  params.row_index = row_index;
  params.max_top_n = static_cast<int32_t>(limits_.max_top_n);
  params.accepted_count = output.accepted_count;
  params.tokens = output.tokens;
  params.logprob = output.logprob;
  params.rank = output.rank;
  params.target_logprob = output.target_logprob;
  params.target_rank = output.target_rank;
  params.top_token = output.top_token;
  params.top_logprob = output.top_logprob;
  params.finite = output.finite;
  const int64_t bytes = sampling_workspace_bytes(context_.exec, params.vocab_size);
  sampling(context_.exec, params, workspace.allocate(bytes), bytes);
}

void StepRunner::run_hidden_row(const StepInput& step, const StepOutput& output,
                                const float* residual, int64_t row, int64_t hidden_row) {
  const ArenaScope scope(context_.workspace);
  void* x = context_.workspace.allocate(limits_.hidden_size * context_.element_bytes());
  decoder_.head_input(context_, 1,
                      residual + step.output_row[row].token_index * limits_.hidden_size, x);
  float* result = output.hidden + hidden_row * limits_.hidden_size;
  to_float32(context_.compute_format, x, limits_.hidden_size, result);
  output.accepted_count[row] = 0;
  output.tokens[row] = 0;
  output.logprob[row] = 0;
  output.rank[row] = 0;
  output.finite[row] = std::all_of(result, result + limits_.hidden_size,
                                   [](float value) { return std::isfinite(value); });
}

void StepRunner::note_outputs(const StepInput& step, const StepOutput& output, StepReport* report) {
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    const sluice_output_row& row = step.output_row[r];
    report->non_finite_rows += output.finite[r] == 0;
    if (row.kind != SLUICE_OUTPUT_SAMPLE) continue;
    // A sequence whose row chose nothing goes on with token 0 until the caller ends it.
    const int32_t token = output.accepted_count[r] > 0 ? output.tokens[r] : 0;
    previous_tokens_[r] = token;
    sequences_.set_last_token(token_sequence_[row.token_index], token);
  }
}

}  // namespace sluice
