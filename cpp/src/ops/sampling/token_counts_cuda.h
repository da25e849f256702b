/// @file
/// token_counts.h in device memory: changed and read by kernels alone.
#ifndef SLUICE_OPS_SAMPLING_TOKEN_COUNTS_CUDA_H_
#define SLUICE_OPS_SAMPLING_TOKEN_COUNTS_CUDA_H_

#include <cstdint>

#include "device/buffer.h"
#include "device/cuda.h"
#include "ops/sampling/token_counts.h"
#include "sluice/sluice.h"

namespace sluice::cuda {

/// The tables as kernels see them. A value.
struct TokenCountsView {
  TokenCount* places = nullptr;  ///< [max_sequences, capacity]; empty places have token -1
  int64_t capacity = 0;          ///< a power of two; a sequence never fills more than half of it
  int32_t max_sequences = 0;
};

/// One hash table for each seq_slot, as TokenCounts. Every function enqueues and returns; none
/// allocates, waits or reads what the device computed, so all may be captured.
///
/// The tables do not defend themselves against more than TokenCounts::max_tokens() distinct tokens
/// of a sequence between resets: submit refuses such a step. (What finds no place is dropped.)
class DeviceTokenCounts {
 public:
  DeviceTokenCounts() = default;

  /// Empty tables, in stream order. @throws Error OUT_OF_DEVICE_MEMORY
  DeviceTokenCounts(const CudaExec& exec, int32_t max_sequences, int32_t vocab_size,
                    int64_t max_context_len, AllocationCounter* counter = nullptr);

  static int64_t bytes(int32_t max_sequences, int32_t vocab_size, int64_t max_context_len);

  /// RESET_SEQ and COPY_SEQ of section STATE_OP (device memory); other kinds are passed over.
  /// Within a step no seq_slot is both a source and a target, so they run in parallel.
  /// @param max_ops  how many there are, or at most are when `num_ops` is set
  /// @param num_ops  null, or how many there are, in device memory
  void apply(const CudaExec& exec, const sluice_state_op* ops, int32_t max_ops,
             const int32_t* num_ops = nullptr) const;

  /// Section COUNT_UPDATE (device memory), after the state operations. Updates of one token of one
  /// sequence add up, and the sum with what was there is at least zero; so the order of updates
  /// does not matter. (TokenCounts::add holds every single update at zero: the same for a caller
  /// that never takes more than there is.)
  void add(const CudaExec& exec, const sluice_count_update* updates, int32_t max_updates,
           const int32_t* num_updates = nullptr) const;

  void reset(const CudaExec& exec, int32_t seq_slot) const;
  void copy(const CudaExec& exec, int32_t source, int32_t target) const;

  const TokenCountsView& view() const { return view_; }

 private:
  Buffer buffer_;
  TokenCountsView view_;
};

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_SAMPLING_TOKEN_COUNTS_CUDA_H_
