/// @file
/// Resident state of sequence slots as the running step sees it.
#ifndef SLUICE_RUNTIME_SEQUENCE_STATE_H_
#define SLUICE_RUNTIME_SEQUENCE_STATE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "device/buffer.h"
#include "ops/sampling/token_counts.h"
#include "runtime/block_tables.h"
#include "runtime/kv_cache.h"
#include "runtime/step_view.h"

namespace sluice {

/// Block tables, last tokens and penalty counts of every sequence slot. One thread at a time.
class SequenceState {
 public:
  /// @throws Error OUT_OF_HOST_MEMORY
  SequenceState(const StepLimits& limits, bool penalties, AllocationCounter* counter);

  /// Bytes that a state with these limits keeps. @throws Error INVALID_ARGUMENT on overflow
  static int64_t bytes(const StepLimits& limits, bool penalties);

  /// Runs the state operations, block updates and count updates of a checked step, in that order.
  void apply(const StepInput& step, KvCache& kv);

  const BlockTables& tables() const { return tables_; }

  /// nullptr when no penalty counts are kept.
  TokenCounts* counts() { return counts_ ? &*counts_ : nullptr; }

  int32_t last_token(int32_t sequence) const { return last_token_[sequence]; }
  void set_last_token(int32_t sequence, int32_t token) { last_token_[sequence] = token; }

 private:
  void apply(const sluice_state_op& op, KvCache& kv);

  BlockTables tables_;
  std::vector<int32_t> last_token_;  // [max_sequences]
  std::optional<TokenCounts> counts_;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_SEQUENCE_STATE_H_
