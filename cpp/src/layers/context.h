/// @file
/// What every layer is given: where it runs, and the batch of the step.
#ifndef SLUICE_LAYERS_CONTEXT_H_
#define SLUICE_LAYERS_CONTEXT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/buffer.h"
#include "device/cpu.h"
#include "layers/observer.h"
#include "layers/spec.h"
#include "ops/activation/activation.h"
#include "ops/gemm/gemm.h"
#include "ops/kv_write/kv_cache.h"

namespace sluice {

/// Time spent in kinds of ops, in nanoseconds. Only grows. On CUDA it stays 0: ops return before
/// their work is done, and a replayed graph does not tell its parts apart.
struct LayerTimes {
  int64_t attention = 0;
  int64_t dense = 0;
};

class Communicator;
class CudnnAttention;

/// Where a layer runs. Refers to things of one engine; used by one thread at a time.
struct LayerContext {
  const Exec& exec;
  Gemm& gemm;
  Arena& workspace;  ///< layers take their buffers inside an ArenaScope
  LayerTimes& times;
  Format compute_format;  ///< of activations and matrices: F32 or BF16
  Numerics numerics = Numerics::kBatchInvariant;
  Communicator* comm = nullptr;  ///< of this rank; nullptr: the only one
  CudnnAttention* cudnn = nullptr;  ///< plans for attention of prompts; nullptr: without cuDNN

  // Set by the decoder for the layer that runs.
  int layer = -1;
  TensorObserver* observer = nullptr;  ///< nullptr unless the step is traced
  int32_t* expert_counts = nullptr;    ///< [num_experts] accepted tokens, added to; or nullptr

  int64_t element_bytes() const { return compute_format == Format::kF32 ? 4 : 2; }
};

/// Adds the time of its life to one of the context's times; does nothing on CUDA.
class LayerTimer {
 public:
  LayerTimer(const LayerContext& context, int64_t LayerTimes::*kind)
      : nanos_(context.exec.cuda == nullptr ? &(context.times.*kind) : nullptr) {
    if (nanos_ != nullptr) start_ = Clock::now();
  }
  ~LayerTimer() {
    if (nanos_ == nullptr) return;
    *nanos_ += std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start_).count();
  }
  LayerTimer(const LayerTimer&) = delete;
  LayerTimer& operator=(const LayerTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  int64_t* nanos_;
  Clock::time_point start_;
};

/// Angles of a step's tokens for one RoPE.
struct RopeAngles {
  int32_t rotary_dim = 0;
  bool interleaved = false;
  const float* cos = nullptr;  ///< [num_tokens, rotary_dim / 2]
  const float* sin = nullptr;  ///< [num_tokens, rotary_dim / 2]
};

/// Arrays of a step where the host can read them.
struct HostBatch {
  const int32_t* positions = nullptr;    ///< [num_tokens]
  const int32_t* query_start = nullptr;  ///< [num_sequences + 1]
  const int32_t* context_len = nullptr;  ///< [num_sequences]
};

/// The tokens of a step, as layers see them. All arrays belong to the step and lie where ops run:
/// layers give them to ops and never read them. What a layer decides on the host it decides by
/// `host` and the bounds below. A step that is being captured in a graph has no `host`: what the
/// layer enqueues must be right for every step of the same num_tokens and num_sequences whose
/// contexts are within longest_context.
struct StepBatch {
  int64_t num_tokens = 0;
  int32_t num_sequences = 0;
  const int32_t* positions = nullptr;    ///< [num_tokens]
  const int32_t* query_start = nullptr;  ///< [num_sequences + 1]
  const int32_t* context_len = nullptr;  ///< [num_sequences]
  const int32_t* seq_slots = nullptr;    ///< [num_sequences] row of each in the block tables
  const int32_t* kv_slots = nullptr;     ///< [num_tokens, num_kv_groups]
  int64_t num_kv_groups = 1;
  std::span<const int32_t* const>
      block_tables;  ///< [num_kv_groups] first row of each group's table
  int64_t block_table_stride = 0;
  std::span<const RopeAngles> ropes;  ///< [ropes of the model]
  const HostBatch* host = nullptr;    ///< nullptr while a graph is captured
  int64_t longest_context = 1;        ///< no context_len is above it; at least 1
  int64_t longest_query = 1;          ///< no sequence has more tokens in this step; 1: all decode
};

/// State that every position leaves for one layer beside keys and values, addressed by KV slot:
/// slot s starts at data + s * bytes_per_token.
struct SideChannelView {
  std::byte* data = nullptr;
  int64_t bytes_per_token = 0;
  int32_t block_size = 0;  ///< slots per block
  int64_t num_blocks = 0;
};

/// Upper bounds that workspaces are sized for.
struct BatchLimits {
  int64_t max_tokens = 0;
  int32_t max_sequences = 0;
  int64_t max_context_len = 0;
};

/// What one sublayer adds to the residual stream.
struct ResidualTarget {
  float* residual = nullptr;  ///< [num_tokens, hidden_size], dense
  float multiplier = 1;       ///< residual += multiplier * result
};

/// Bytes that an arena needs for `bytes` and its alignment.
int64_t arena_bytes(int64_t bytes);

/// Rows of float32 in another format and with another stride.
void convert_columns(const LayerContext& context, int64_t num_rows, int64_t cols, const float* x,
                     int64_t x_stride, void* y, Format y_format, int64_t y_stride);

/// Dense rows of float32 in the compute format.
void round_rows(const LayerContext& context, int64_t num_rows, int64_t cols, const float* x,
                void* y);

/// The query_start of the step's tokens [begin, end) alone, counted from `begin`, into y
/// [num_sequences + 1]: sequences that have none of them are empty.
void cut_query_start(const LayerContext& context, const StepBatch& batch, int64_t begin, int64_t end,
                     int32_t* y);

/// The kind of an activation and its numbers; rows are to be filled in.
ActivationParams activation_of(const ActivationSpec& spec);

/// y = act(y) in place: dense rows of `cols` values, without a gate.
void activate(LayerContext& context, const ActivationSpec& spec, int64_t num_rows, int64_t cols,
              void* y, Format format);

/// The product y = x W^T + bias of dense rows in the compute format; y in float32, dense. What
/// differs is changed before matrix_product().
GemmParams product(const LayerContext& context, int64_t num_rows, const void* x,
                   const WeightView& w, const float* bias, float* y);

/// The same, added to what a sublayer adds to.
GemmParams product(const LayerContext& context, int64_t num_rows, const void* x,
                   const WeightView& w, const float* bias, const ResidualTarget& target);

/// Runs a matrix product with workspace from the context's arena, and counts its time.
void matrix_product(LayerContext& context, const GemmParams& params);

}  // namespace sluice
#endif  // SLUICE_LAYERS_CONTEXT_H_
