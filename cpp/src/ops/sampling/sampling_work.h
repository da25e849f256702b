/// @file
/// What the sampling kernels share: the workspace, and where a row and its tokens lie. For .cu
/// sources only.
///
/// A unit is one token of a row: draft d of row r of the call is unit r * max_row_tokens + d. Each
/// unit's logits are cut into pieces, one block each.
#ifndef SLUICE_OPS_SAMPLING_SAMPLING_WORK_H_
#define SLUICE_OPS_SAMPLING_SAMPLING_WORK_H_

#include <cfloat>

#include "ops/cuda/launch.h"
#include "ops/sampling/sampling_cuda.h"

namespace sluice::cuda {

inline constexpr int kPiece = 2048;  // logits
inline constexpr int kBins = 1024;   // of the distance to the largest logit
inline constexpr uint64_t kNoKey = ~uint64_t{0};
/// A row of heads of sorted pieces fits in shared memory.
inline constexpr int32_t kMaxVocab = 3072 * kPiece;

/// What a piece tells of its logits.
struct Piece {
  double raw_sum;   // of exponentials against raw_max; only where log-probabilities are wanted
  uint64_t best;    // key of the largest changed logit
  float raw_max;
  int32_t finite;
};

/// What is known of a unit.
struct Unit {
  double log_sum;       // logarithm of the sum of exponentials of the raw logits
  uint64_t min_p_mass;  // of the tokens that min_p keeps
  int32_t finite;
  int32_t token;        // chosen; -1: none
  int32_t rank;         // of it
  uint32_t arrived;     // blocks of the unit, then of the row (in its first unit)
};

struct SamplingWork {
  Unit* units;
  Piece* pieces;         // [units, num_pieces]
  uint64_t* bin_mass;    // [units, kBins]
  uint32_t* bin_count;   // [units, kBins]
  uint64_t* top;         // [units, num_pieces, max_top_n] keys, rising; 0 top_n: none
  float* changed;        // [units, vocab_size]
  int32_t num_pieces;
};

inline constexpr float kMinusInfinity = -__builtin_inff();

/// Larger logits, and of equal ones lower tokens, have smaller keys. The zeros are equal.
__device__ inline uint64_t key_of(float logit, int32_t token) {
  const uint32_t bits = __float_as_uint(logit == 0.0f ? 0.0f : logit);
  const uint32_t rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return uint64_t{~rising} << 32 | static_cast<uint32_t>(token);
}
__device__ inline float logit_of(uint64_t key) {
  const uint32_t rising = ~static_cast<uint32_t>(key >> 32);
  return __uint_as_float(rising & 0x80000000u ? rising & 0x7fffffffu : ~rising);
}
__device__ inline int32_t token_of(uint64_t key) { return static_cast<int32_t>(key); }

__device__ inline bool has_penalties(const sluice_output_row& row) {
  return row.repetition_penalty != 1.0f || row.presence_penalty != 0.0f ||
         row.frequency_penalty != 0.0f;
}
__device__ inline bool changes_logits(const sluice_output_row& row) {
  return row.kind == SLUICE_OUTPUT_SAMPLE &&
         (has_penalties(row) || row.logit_bias_count > 0 || row.mask_index >= 0);
}
__device__ inline bool wants_logprob(const sluice_output_row& row) {
  return row.kind == SLUICE_OUTPUT_SAMPLE && (row.flags & SLUICE_OUTPUT_FLAG_LOGPROB) != 0;
}
/// A temperature so small that its inverse overflows is greedy.
__device__ inline bool draws(const sluice_output_row& row) {
  return row.kind == SLUICE_OUTPUT_SAMPLE && row.temperature != 0.0f &&
         isfinite(__fdiv_rn(1.0f, row.temperature));
}

/// The first number of Philox4x32-10; see philox4x32_10().
__device__ inline uint32_t philox_word(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  auto k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  uint32_t c[4] = {static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                   static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t c1 = c[1], c3 = c[3];
    c[0] = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c[1] = static_cast<uint32_t>(b);
    c[2] = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c[3] = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c[0];
}

/// A row in its place among the arguments.
struct RowPlace {
  bool live = false;  // else padding, or a kind without logits
  sluice_output_row row;
  int32_t index;      // of the row in the sections
  int32_t drafts;
  int32_t seq_slot;
  const float* x;     // raw logits of its first token

  __device__ const float* logits(const SamplingParams& p, int32_t draft) const {
    return x + draft * p.logits_stride;
  }
};

__device__ inline RowPlace place_of(const SamplingParams& p, int32_t r) {
  RowPlace at;
  at.index = p.row_index == nullptr ? r : p.row_index[r];
  if (at.index < 0) return at;
  at.row = p.rows[at.index];
  at.live = at.row.kind == SLUICE_OUTPUT_SAMPLE || at.row.kind == SLUICE_OUTPUT_LOGPROB;
  if (!at.live) return at;
  at.drafts = p.token_ids == nullptr || at.row.kind != SLUICE_OUTPUT_SAMPLE
                  ? 0
                  : min(at.row.draft_len, p.max_row_tokens - 1);
  at.seq_slot = p.seq_slots == nullptr ? 0 : p.seq_slots[r];
  at.x = p.logits + int64_t{p.first_logits == nullptr ? r : p.first_logits[r]} * p.logits_stride;
  return at;
}

/// Least of the block's keys, for every thread; `scratch`: one a warp.
__device__ inline uint64_t block_least(uint64_t key, uint64_t* scratch) {
  for (int step = 16; step > 0; step /= 2) {
    const uint64_t other = __shfl_xor_sync(kAllLanes, key, step);
    key = other < key ? other : key;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = key;
  __syncthreads();
  for (unsigned w = 0; w < blockDim.x / 32; ++w) key = scratch[w] < key ? scratch[w] : key;
  return key;
}

/// Sum over the block in a fixed order, for every thread; `scratch`: one a warp.
template <typename T>
__device__ inline T block_total(T value, T* scratch) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += scratch[w];
  return sum;
}

/// Sorts n = 2^i keys, rising; all threads of the block, which also starts and ends it in step.
__device__ inline void block_sort(uint64_t* keys, int n) {
  bool wide = true;  // the last step crossed the 64 keys that a warp has for itself
  for (int size = 2; size <= n; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      if (wide || step > 32) {
        __syncthreads();
      } else {
        __syncwarp();
      }
      wide = step > 32;
      for (int i = threadIdx.x; i < n / 2; i += blockDim.x) {
        const int low = 2 * i - (i & (step - 1)), high = low + step;
        const bool rising = (low & size) == 0;
        const uint64_t a = keys[low], b = keys[high];
        if ((a > b) == rising) {
          keys[low] = b;
          keys[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

/// Whether this block is the last of `blocks` to come here; what the others wrote before is visible
/// then.
__device__ inline bool last_block(uint32_t* arrived, uint32_t blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// The three launches, in their order.
void launch_scan(const CudaExec& exec, const SamplingParams& params, const SamplingWork& work);
void launch_draw(const CudaExec& exec, const SamplingParams& params, const SamplingWork& work);
void launch_finish(const CudaExec& exec, const SamplingParams& params, const SamplingWork& work);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_SAMPLING_SAMPLING_WORK_H_
