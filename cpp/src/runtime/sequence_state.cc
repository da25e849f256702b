#include "runtime/sequence_state.h"

#include "base/checked.h"

namespace sluice {

SequenceState::SequenceState(const StepLimits& limits, bool penalties, AllocationCounter* counter)
    : tables_(static_cast<int>(limits.num_kv_groups), static_cast<int>(limits.max_sequences),
              static_cast<int>(limits.max_blocks_per_sequence)),
      last_token_(limits.max_sequences) {
  if (penalties) {
    counts_.emplace(static_cast<int32_t>(limits.max_sequences),
                    static_cast<int32_t>(limits.vocab_size), limits.max_context_len, counter);
  }
}

int64_t SequenceState::bytes(const StepLimits& limits, bool penalties) {
  const int64_t entries = checked_mul(
      limits.num_kv_groups, checked_mul(limits.max_sequences, limits.max_blocks_per_sequence));
  const int64_t counts = penalties ? TokenCounts::bytes(static_cast<int32_t>(limits.max_sequences),
                                                        static_cast<int32_t>(limits.vocab_size),
                                                        limits.max_context_len)
                                   : 0;
  return checked_add(checked_mul(entries, sizeof(int32_t)), counts);
}

void SequenceState::apply(const StepInput& step, KvCache& kv) {
  for (const sluice_state_op& op : step.state_op) apply(op, kv);
  for (const sluice_block_update& update : step.block_update) {
    tables_.set(update.kv_group, update.seq_slot, update.index, update.block);
  }
  for (const sluice_count_update& update : step.count_update) {
    counts_->add(update.seq_slot, update.token, update.prompt_delta, update.output_delta);
  }
}

void SequenceState::apply(const sluice_state_op& op, KvCache& kv) {
  switch (op.kind) {
    case SLUICE_STATE_OP_COPY_BLOCK:
      kv.copy_block(op.kv_group, op.source, op.target);
      break;
    case SLUICE_STATE_OP_ZERO_BLOCK:
      kv.zero_block(op.kv_group, op.target);
      break;
    case SLUICE_STATE_OP_RESET_SEQ:
      tables_.reset(op.target);
      last_token_[op.target] = 0;
      if (counts_) counts_->reset(op.target);
      break;
    default:  // COPY_SEQ: the message was checked
      tables_.copy_sequence(op.source, op.target);
      last_token_[op.target] = last_token_[op.source];
      if (counts_) counts_->copy(op.source, op.target);
  }
}

}  // namespace sluice
