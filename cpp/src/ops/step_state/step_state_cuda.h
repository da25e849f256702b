/// @file
/// What a step does on a CUDA device beside the decoder: the message arrives, resident state changes,
/// token ids are resolved, rows that choose no token are written, and the results leave.
///
/// On the CPU the same is plain code of the runtime. All pointers are device memory unless said
/// otherwise; what depends on a message was checked when it was submitted. Nothing here waits.
#ifndef SLUICE_OPS_STEP_STATE_STEP_STATE_CUDA_H_
#define SLUICE_OPS_STEP_STATE_STEP_STATE_CUDA_H_

#include <cstddef>
#include <cstdint>

#include "base/format.h"
#include "device/cuda.h"
#include "ops/rope/rope.h"
#include "sluice/sluice.h"

namespace sluice::cuda {

/// Pieces of memory to copy by one kernel, which reads and writes pinned memory of the host as it is:
/// a step message is short, and a copy engine would take longer to start than to copy it.
struct CopyRanges {
  static constexpr int kMax = 32;
  struct Range {
    const void* from;  ///< device or pinned; a multiple of 4 bytes, of 16 for speed
    void* to;          ///< the same
    int64_t bytes;     ///< a multiple of 4
  };
  Range ranges[kMax];
  int32_t count = 0;

  /// Nothing for 0 bytes. @throws Error INTERNAL when there are kMax already
  void add(const void* from, void* to, int64_t bytes);
};
void copy_ranges(const CudaExec& exec, const CopyRanges& ranges);

/// Memory of one layer of a kv group that block operations move: block b at data + b * block_bytes.
struct BlockRegion {
  std::byte* data;      ///< a multiple of 4 bytes
  int64_t block_bytes;  ///< a multiple of 4
};

/// COPY_BLOCK and ZERO_BLOCK of `ops`; others are passed over. No block is both a source and a
/// target, none twice a target.
struct BlockOpsParams {
  const sluice_state_op* ops = nullptr;
  int64_t num_ops = 0;
  const BlockRegion* regions = nullptr;   ///< of all groups, group after group
  const int32_t* region_begin = nullptr;  ///< [groups + 1] first region of each group
  int64_t max_regions = 0;                ///< most that a group has
};
void block_ops(const CudaExec& exec, const BlockOpsParams& params);

/// Resident state of sequence slots.
struct SequenceTables {
  int32_t* blocks = nullptr;  ///< [groups, max_sequences, max_blocks]; -1: no block
  int64_t num_groups = 0;
  int64_t max_sequences = 0;
  int64_t max_blocks = 0;
  int32_t* last_token = nullptr;  ///< [max_sequences]
};

/// RESET_SEQ and COPY_SEQ of `ops` for tables and last tokens; others are passed over.
void sequence_ops(const CudaExec& exec, const SequenceTables& tables, const sluice_state_op* ops,
                  int64_t num_ops);

/// Entries of block tables. No entry comes twice.
void block_updates(const CudaExec& exec, const SequenceTables& tables,
                   const sluice_block_update* updates, int64_t num_updates);

/// Rewrites dynamic variants. No variant comes twice.
struct RopeUpdateParams {
  const sluice_rope_update* updates = nullptr;
  int64_t num_updates = 0;
  const double* inv_freq = nullptr;  ///< section ROPE_INV_FREQ
  struct Target {
    double* inv_freq;           ///< [variants, pairs]
    RopeVariantView* variants;  ///< [variants]
    int32_t pairs;              ///< rotary_dim / 2
  };
  const Target* ropes = nullptr;  ///< [ropes of the model]
};
void rope_updates(const CudaExec& exec, const RopeUpdateParams& params);

/// Token ids that the host did not know.
struct ResolveTokensParams {
  int64_t num_tokens = 0;     ///< padding included
  int64_t num_sequences = 0;  ///< the same
  const sluice_step_header* header = nullptr;  ///< tells how many tokens there are: the rest get -1
  const int32_t* token_id = nullptr;           ///< section TOKEN_ID
  const int32_t* query_start = nullptr;        ///< [num_sequences + 1]
  const int32_t* seq_slot = nullptr;           ///< [num_sequences]
  const int32_t* last_token = nullptr;         ///< [max_sequences]
  const int32_t* previous_tokens = nullptr;    ///< last accepted token of each row of the step before
  int32_t* ids = nullptr;                      ///< [num_tokens] result
};
void resolve_tokens(const CudaExec& exec, const ResolveTokensParams& params);

/// Output sections that every row has.
struct RowOutputs {
  int32_t* accepted_count = nullptr;  ///< [R]
  int32_t* tokens = nullptr;          ///< [R, row_tokens]
  float* logprob = nullptr;           ///< [R, row_tokens]
  int32_t* rank = nullptr;            ///< [R, row_tokens]
  int32_t* finite = nullptr;          ///< [R]
  int64_t row_tokens = 1;             ///< 1 + max_draft_len
};

/// Values of rows that choose no token (HEAD and HIDDEN): copied as float32, and whether all of them
/// are finite; nothing is accepted.
struct RowValuesParams {
  int64_t num_rows = 0;
  int64_t cols = 0;
  const void* x = nullptr;  ///< [num_rows, cols], dense
  Format format = Format::kF32;
  const int32_t* row_index = nullptr;  ///< [num_rows] output row of each
  const int32_t* y_index = nullptr;    ///< [num_rows] row of y of each; nullptr: row_index
  float* y = nullptr;
  int64_t y_stride = 0;
  RowOutputs outputs;
};
void row_values(const CudaExec& exec, const RowValuesParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_STEP_STATE_STEP_STATE_CUDA_H_
