#include "runtime/step_runner.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

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

bool all_finite(const float* values, int64_t count) {
  return std::all_of(values, values + count, [](float value) { return std::isfinite(value); });
}

// What a row that chooses no token leaves in the sections of those that do.
void no_choice(const StepLimits& limits, const StepOutput& output, int64_t row, bool finite) {
  const int64_t tokens = limits.row_tokens();
  output.accepted_count[row] = 0;
  std::fill_n(output.tokens + row * tokens, tokens, 0);
  std::fill_n(output.logprob + row * tokens, tokens, 0.0f);
  std::fill_n(output.rank + row * tokens, tokens, 0);
  output.finite[row] = finite ? 1 : 0;
}

// Sections that a step fills in part: the rest is zero.
void clear_outputs(const StepLimits& limits, const StepInput& step, const StepOutput& output) {
  if (output.head_value != nullptr) {
    std::fill_n(output.head_value, step.num_rows() * limits.head_values, 0.0f);
  }
  if (output.expert_count != nullptr) {
    std::fill_n(output.expert_count, limits.num_layers * limits.expert_count_stride, 0);
  }
}

}  // namespace

std::vector<std::pair<int, std::string>> wanted_head_values(const Decoder& decoder,
                                                            const StepObserver& observer) {
  std::vector<std::pair<int, std::string>> wanted;
  bool generation_met = false;
  for (int h = 0; h < decoder.num_heads(); ++h) {
    if (observer.wants(concat("head_logits_", h))) wanted.emplace_back(h, concat("head_logits_", h));
    if (generation_met || decoder.head(h).kind() != HeadKind::kGeneration) continue;
    generation_met = true;
    if (observer.wants("logits")) wanted.emplace_back(h, "logits");
  }
  return wanted;
}

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
  head_rows_.reserve(limits.max_step_outputs);
  for (int group = 0; group < limits.num_kv_groups; ++group) {
    tables_.push_back(sequences.tables().group(group));
  }
}

int64_t StepRunner::workspace_bytes(const StepLimits& limits, const Decoder& decoder,
                                    const LayerContext& context,
                                    const std::vector<RopeSpec>& ropes) {
  BatchLimits batch;
  batch.max_tokens = limits.max_step_tokens;
  batch.max_sequences =
      static_cast<int32_t>(std::min(limits.max_sequences, limits.max_step_tokens));
  batch.max_context_len = limits.max_context_len;
  const int64_t residual = arena_bytes(checked_mul(limits.max_step_tokens, limits.hidden_size * 4));
  // A trace sends all tokens through the head, so the rows may be more than the output rows.
  const int64_t rows = kMaxHeadRows;
  int64_t outputs = arena_bytes(rows * limits.hidden_size * 4) * 3;  // rows, input, float32 copy
  int64_t values = 0;
  for (int h = 0; h < decoder.num_heads(); ++h) {
    values = std::max(values, decoder.head(h).num_values());
  }
  outputs = checked_add(outputs, arena_bytes(checked_mul(rows, values * 4)));
  outputs = checked_add(outputs, 4 * arena_bytes(rows * sizeof(void*)));
  outputs =
      checked_add(outputs, std::max(decoder.output_bytes(context, rows),
                                    arena_bytes(sampling_workspace_bytes(
                                        context.exec, static_cast<int32_t>(limits.vocab_size)))));
  int64_t bytes = arena_bytes(limits.max_step_tokens * 4) + residual;
  bytes = checked_add(bytes, RopeState::workspace_bytes(ropes, limits.max_step_tokens));
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
  clear_outputs(limits_, step, output);
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
    const HostBatch host{batch.positions, batch.query_start, batch.context_len};
    batch.host = &host;
    for (int32_t s = 0; s < batch.num_sequences; ++s) {
      batch.longest_context = std::max<int64_t>(batch.longest_context, batch.context_len[s]);
      batch.longest_query = std::max<int64_t>(
          batch.longest_query, batch.query_start[s + 1] - batch.query_start[s]);
    }
    batch.ropes = ropes_.make_angles(context_.exec, batch, step.rope_variant.data(),
                                     context_.workspace);
    auto* residual =
        context_.workspace.allocate_array<float>(step.num_tokens() * limits_.hidden_size);
    const ExpertCounts experts{output.expert_count, limits_.expert_count_stride};
    decoder_.forward(context_, batch, ids, kv_.layers(), residual, experts, observer);
    observer.before_outputs();
    if (observer.tracing()) show_outputs(step.num_tokens(), residual, observer);
    run_outputs(step, output, ids, residual);
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
  const bool norm_wanted = observer.wants("final_norm");
  const auto values_wanted = wanted_head_values(decoder_, observer);
  if (values_wanted.empty() && !norm_wanted) return;
  for (int64_t first = 0; first < num_tokens; first += kMaxHeadRows) {
    const int64_t count = std::min(kMaxHeadRows, num_tokens - first);
    const ArenaScope scope(context_.workspace);
    const int64_t cols = limits_.hidden_size;
    void* x = context_.workspace.allocate(count * cols * context_.element_bytes());
    decoder_.head_input(context_, count, residual + first * cols, x);
    if (norm_wanted) {
      auto* wide = context_.workspace.allocate_array<float>(count * cols);
      to_float32(context_.compute_format, x, count * cols, wide);
      observer.keep("final_norm", {wide, Format::kF32, count, cols});
    }
    for (const auto& [head, name] : values_wanted) {
      const ArenaScope head_scope(context_.workspace);
      const int64_t num_values = decoder_.head(head).num_values();
      auto* values = context_.workspace.allocate_array<float>(count * num_values);
      decoder_.head(head).run(context_, count, x, values);
      observer.keep(name, {values, Format::kF32, count, num_values});
    }
  }
}

void StepRunner::run_outputs(const StepInput& step, const StepOutput& output, const int32_t* ids,
                             const float* residual) {
  int64_t hidden_rows = 0;
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    if (step.output_row[r].kind != SLUICE_OUTPUT_HIDDEN) continue;
    run_hidden_row(step, output, residual, r, hidden_rows++);
  }
  for (int head = 0; head < decoder_.num_heads(); ++head) {
    head_rows_.clear();
    for (int64_t r = 0; r < step.num_rows(); ++r) {
      const sluice_output_row& row = step.output_row[r];
      if (row.kind != SLUICE_OUTPUT_HIDDEN && row.head == head) {
        head_rows_.push_back(static_cast<int32_t>(r));
      }
    }
    const auto num_rows = static_cast<int64_t>(head_rows_.size());
    for (int64_t first = 0; first < num_rows;) {
      HeadRows rows = next_rows(step, head, first);
      rows.ids = ids;
      run_head(step, output, residual, rows);
      first += rows.count;
    }
  }
}

// As many rows from `first` on as go through the head together. A row stays with its drafts.
StepRunner::HeadRows StepRunner::next_rows(const StepInput& step, int head, int64_t first) const {
  HeadRows rows;
  rows.head = head;
  rows.row_index = head_rows_.data() + first;
  const auto rest = static_cast<int64_t>(head_rows_.size()) - first;
  while (rows.count < rest) {
    const int64_t tokens = 1 + int64_t{step.output_row[rows.row_index[rows.count]].draft_len};
    if (rows.num_tokens + tokens > kMaxHeadRows) break;
    rows.num_tokens += tokens;
    ++rows.count;
  }
  return rows;
}

void StepRunner::run_head(const StepInput& step, const StepOutput& output, const float* residual,
                          HeadRows rows) {
  const ArenaScope scope(context_.workspace);
  Arena& workspace = context_.workspace;
  rows.rows = workspace.allocate_array<const sluice_output_row*>(rows.count);
  rows.seq_slots = workspace.allocate_array<int32_t>(rows.count);
  rows.first_value = workspace.allocate_array<int32_t>(rows.count);
  auto* tokens = workspace.allocate_array<int32_t>(rows.num_tokens);
  int32_t value = 0;
  for (int64_t i = 0; i < rows.count; ++i) {
    rows.rows[i] = &step.output_row[rows.row_index[i]];
    rows.seq_slots[i] = token_sequence_[rows.rows[i]->token_index];
    rows.first_value[i] = value;
    for (int32_t draft = 0; draft <= rows.rows[i]->draft_len; ++draft) {
      tokens[value++] = rows.rows[i]->token_index + draft;
    }
  }
  const int64_t cols = limits_.hidden_size;
  auto* hidden = workspace.allocate_array<float>(rows.num_tokens * cols);
  gather(context_, residual, step.num_tokens(), tokens, rows.num_tokens, cols, hidden);
  void* x = workspace.allocate(rows.num_tokens * cols * context_.element_bytes());
  decoder_.head_input(context_, rows.num_tokens, hidden, x);
  const OutputHead& run = decoder_.head(rows.head);
  rows.values = workspace.allocate_array<float>(rows.num_tokens * run.num_values());
  run.run(context_, rows.num_tokens, x, rows.values);
  if (run.kind() == HeadKind::kGeneration || run.kind() == HeadKind::kReasoning) {
    choose(step, output, rows);
  } else {
    write_values(output, rows);
  }
}

void StepRunner::write_values(const StepOutput& output, const HeadRows& rows) {
  const int64_t num_values = decoder_.head(rows.head).num_values();
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t r = rows.row_index[i];
    const float* values = rows.values + i * num_values;
    std::copy_n(values, num_values, output.head_value + r * limits_.head_values);
    no_choice(limits_, output, r, all_finite(values, num_values));
  }
}

void StepRunner::choose(const StepInput& step, const StepOutput& output, const HeadRows& rows) {
  SamplingParams params;
  params.num_rows = static_cast<int32_t>(rows.count);
  params.vocab_size = static_cast<int32_t>(limits_.vocab_size);
  params.logits = rows.values;
  params.logits_stride = limits_.vocab_size;
  params.rows = rows.rows;
  params.counts = sequences_.counts();
  params.seq_slots = params.counts == nullptr ? nullptr : rows.seq_slots;
  params.logit_bias = step.logit_bias.data();
  params.targets = step.target.data();
  params.masks = step.mask.data();
  params.row_index = rows.row_index;
  params.first_logits = rows.first_value;
  params.token_ids = rows.ids;
  params.max_draft_len = static_cast<int32_t>(limits_.max_draft_len);
  params.max_top_n = static_cast<int32_t>(limits_.max_top_n);
  static_cast<SamplingSections&>(params) = output;
  const int64_t bytes = sampling_workspace_bytes(context_.exec, params.vocab_size);
  sampling(context_.exec, params, context_.workspace.allocate(bytes), bytes);
}

void StepRunner::run_hidden_row(const StepInput& step, const StepOutput& output,
                                const float* residual, int64_t row, int64_t hidden_row) {
  const ArenaScope scope(context_.workspace);
  void* x = context_.workspace.allocate(limits_.hidden_size * context_.element_bytes());
  decoder_.head_input(context_, 1,
                      residual + step.output_row[row].token_index * limits_.hidden_size, x);
  float* result = output.hidden + hidden_row * limits_.hidden_size;
  to_float32(context_.compute_format, x, limits_.hidden_size, result);
  no_choice(limits_, output, row, all_finite(result, limits_.hidden_size));
}

void StepRunner::note_outputs(const StepInput& step, const StepOutput& output, StepReport* report) {
  for (int64_t r = 0; r < step.num_rows(); ++r) {
    const sluice_output_row& row = step.output_row[r];
    report->non_finite_rows += output.finite[r] == 0;
    if (row.kind != SLUICE_OUTPUT_SAMPLE) continue;
    // A sequence whose row chose nothing goes on with token 0 until the caller ends it.
    const int32_t accepted = output.accepted_count[r];
    const int32_t token = accepted > 0 ? output.tokens[r * limits_.row_tokens() + accepted - 1] : 0;
    previous_tokens_[r] = token;
    sequences_.set_last_token(token_sequence_[row.token_index], token);
  }
}

}  // namespace sluice
