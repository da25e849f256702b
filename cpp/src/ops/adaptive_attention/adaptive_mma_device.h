/// @file
/// Pieces of the tensor core kernels of adaptive attention: rows, words of visible keys, copies and
/// products. For .cu sources only.
#ifndef SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_MMA_DEVICE_H_
#define SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_MMA_DEVICE_H_

#include "ops/adaptive_attention/adaptive_device.h"
#include "ops/cuda/mma.h"

namespace sluice::cuda {

inline constexpr int kMmaThreads = 128;
inline constexpr int kMmaRows = 64;
inline constexpr int kWarpRows = 16;
inline constexpr int kMaxBias = 1024;  // relative positions kept in shared memory

/// bf16 values between rows in shared memory: 16 bytes of padding keep ldmatrix free of conflicts.
template <int kDim>
inline constexpr int kStride = kDim + 8;

__device__ inline uint64_t below(int64_t n) {  // the lowest n bits
  return n <= 0 ? 0 : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}
__device__ inline uint64_t any_of(uint64_t bits) {  // over the warp
  const uint64_t high = __reduce_or_sync(kAllLanes, static_cast<uint32_t>(bits >> 32));
  return high << 32 | __reduce_or_sync(kAllLanes, static_cast<uint32_t>(bits));
}
__device__ inline uint64_t ballot64(bool low, bool high) {
  const uint64_t upper = __ballot_sync(kAllLanes, high);
  return upper << 32 | __ballot_sync(kAllLanes, low);
}

/// The rows of a block: tokens [begin, end) of one sequence. Lane r < 16 of a warp knows its row r.
struct Rows {
  int32_t sequence, head;
  int64_t begin, end;
  int64_t token, position, key_end;  // of the lane's row; key_end 0: nothing to do
  int64_t last_key;                  // of all rows
  int64_t first_position;
};

__device__ inline Rows rows_of(const AdaptiveAttentionParams& p, int32_t sequence, int32_t head,
                        int64_t begin, int64_t end, bool shown) {
  Rows rows{sequence, head, begin, end, 0, 0, 0, 0, 0};
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  rows.last_key = row_at(p, sequence, end - 1).key_end;
  rows.first_position = row_at(p, sequence, begin).position;
  rows.token = begin + warp * kWarpRows + lane;
  if (lane >= kWarpRows || rows.token >= end) return rows;
  const RowAt at = row_at(p, sequence, rows.token);
  rows.position = at.position;
  // Without a mask to show, a closed gate skips its row.
  rows.key_end = shown || gate_of(p, rows.token, head) != 0.0f ? at.key_end : 0;
  return rows;
}

/// Which of 64 keys from `first` on the lane's row sees.
__device__ inline uint64_t row_word(const AdaptiveAttentionParams& p, const Draws& draws,
                             const HeadCache<__nv_bfloat16>& cache, const Rows& rows,
                             int64_t first) {
  const int lane = threadIdx.x % 32;
  const AdaptivePattern& pattern = p.pattern;
  const uint64_t causal = below(rows.key_end - first);
  if (p.replay == nullptr) {
    const uint64_t window = ~below(rows.position - pattern.window + 1 - first);
    if (pattern.kind == AdaptiveKind::kSlidingWindow) return causal & window;
    if (pattern.kind == AdaptiveKind::kDensity) {
      bool dense[2];
      for (int half = 0; half < 2; ++half) {
        const int64_t key = first + half * 32 + lane;
        dense[half] = false;
        if (key >= rows.last_key) continue;
        const int32_t block = cache.table[key >> cache.shift];
        // A bad entry shows as NaN rather than as a key that is dropped.
        dense[half] = block < 0 || block >= cache.num_blocks ||
                      p.dense[(int64_t{block} << cache.shift) + (key & cache.mask)] != 0;
      }
      return causal & (window | ballot64(dense[0], dense[1]));
    }
    if (pattern.kind != AdaptiveKind::kBlockSparse) return causal;
  }
  // Row by row; under kBlockSparse rows of one block have one word.
  const bool replayed = p.replay != nullptr;
  const int64_t own = replayed ? rows.token : rows.position / pattern.sparse_block_size;
  uint64_t word = 0;
  uint32_t left = __ballot_sync(kAllLanes, causal != 0);
  while (left != 0) {
    const int leader = __ffs(static_cast<int>(left)) - 1;
    const int64_t leader_own = __shfl_sync(kAllLanes, own, leader);
    RowAt at;
    at.token = __shfl_sync(kAllLanes, rows.token, leader);
    at.position = __shfl_sync(kAllLanes, rows.position, leader);
    at.key_end = rows.last_key;
    const bool low = sees(p, draws, cache, at, rows.head, first + lane);
    const bool high = sees(p, draws, cache, at, rows.head, first + 32 + lane);
    const uint64_t seen = ballot64(low, high);
    const bool mine = (left >> lane & 1u) != 0 && own == leader_own;
    if (mine) word = seen;
    left &= ~__ballot_sync(kAllLanes, mine);
  }
  return word & causal;
}

__device__ inline void copy16(void* to, const void* from, bool wanted) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(wanted ? 16 : 0));
}
__device__ inline void commit() { asm volatile("cp.async.commit_group;"); }
template <int kLeft>
__device__ inline void wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft));
}

/// Starts the copy of the marked ones of 64 keys (and values); the others become zero.
template <int kDim, bool kValues>
__device__ void start_copy(const HeadCache<__nv_bfloat16>& cache, int64_t first, uint64_t any,
                           __nv_bfloat16* keys, __nv_bfloat16* values) {
  constexpr int kChunks = kDim / 8;
  const int spare = __ffsll(static_cast<long long>(any)) - 1;
#pragma unroll
  for (int j = 0; j < kTileKeys * kChunks / kMmaThreads; ++j) {
    const int i = j * kMmaThreads + static_cast<int>(threadIdx.x), key = i / kChunks;
    const int chunk = i % kChunks * 8, to = key * kStride<kDim> + chunk;
    const bool wanted = (any >> key & 1u) != 0;
    bool bad = false;
    const int64_t at = first + (wanted ? key : spare);
    copy16(keys + to, cache.clamped_key(at, &bad) + chunk, wanted);
    if constexpr (kValues) copy16(values + to, cache.clamped_value(at, &bad) + chunk, wanted);
    if (wanted && bad) {
      // After this thread's own copies, those of this call too.
      asm volatile("cp.async.wait_all;");
      const uint4 nan{0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu};
      *reinterpret_cast<uint4*>(keys + to) = nan;
      if constexpr (kValues) *reinterpret_cast<uint4*>(values + to) = nan;
    }
  }
}

/// The block's queries as operands of its warps; `memory` is free again afterwards.
template <int kDim>
__device__ void load_queries(const AdaptiveAttentionParams& p, const Rows& rows,
                             __nv_bfloat16* memory, uint32_t (&q)[kDim / 16][4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = threadIdx.x; i < kMmaRows * kDim; i += kMmaThreads) {
    const int row = i / kDim;
    float value = 0;
    if (rows.begin + row < rows.end) {
      value = query_value<__nv_bfloat16>(p, rows.begin + row, rows.head, i % kDim);
    }
    memory[row * kStride<kDim> + i % kDim] = __float2bfloat16_rn(value);
  }
  __syncthreads();
  const __nv_bfloat16* from =
      memory + (warp * kWarpRows + lane % 16) * kStride<kDim> + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) load_matrix(q[k], shared_address(from + k * 16));
  __syncthreads();
}

/// Scores of the warp's rows with the 64 keys, in natural units, bias included: element i of part j
/// is key 8 j + 2 (lane % 4) + i % 2 with row lane / 4 + i / 2 * 8.
template <int kDim>
__device__ void score(const AdaptiveAttentionParams& p, const Rows& rows, const float* bias,
                      int64_t first, const __nv_bfloat16* keys, const uint32_t (&q)[kDim / 16][4],
                      float (&s)[8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int j = 0; j < 8; ++j) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
  const __nv_bfloat16* from =
      keys + (lane / 16 * 8 + lane % 8) * kStride<kDim> + lane / 8 % 2 * 8;
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      uint32_t b[4];
      load_matrix(b, shared_address(from + j * 8 * kStride<kDim> + k * 16));
      multiply_add(s[j], q[k], b[0], b[1]);
      multiply_add(s[j + 1], q[k], b[2], b[3]);
    }
  }
  const int64_t last = p.relative_positions - 1;
  const bool far = rows.first_position - (first + 63) >= last;  // one bias for all
  const float far_bias = bias[last];
  const int64_t base[2] = {__shfl_sync(kAllLanes, rows.position, lane / 4) - first,
                           __shfl_sync(kAllLanes, rows.position, lane / 4 + 8) - first};
#pragma unroll
  for (int j = 0; j < 8; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float b = far_bias;
      if (!far) {
        // Of keys in the future any bias will do: they are dropped.
        const int64_t distance = base[i / 2] - (j * 8 + lane % 4 * 2 + i % 2);
        b = bias[distance < 0 ? 0 : distance < last ? distance : last];
      }
      s[j][i] = fmaf(s[j][i], p.softmax_scale, b);
    }
  }
}

__device__ inline bool seen_at(const uint64_t (&words)[2], int j, int i) {
  return (words[i / 2] >> (j * 8 + threadIdx.x % 4 * 2 + i % 2) & 1u) != 0;
}

/// Biases of the head: in shared memory when they fit.
__device__ inline const float* load_bias(const AdaptiveAttentionParams& p, int32_t head,
                                         float* memory) {
  const float* bias = p.relative_position + int64_t{head} * p.relative_positions;
  if (p.relative_positions > kMaxBias) return bias;
  for (int i = threadIdx.x; i < p.relative_positions; i += kMmaThreads) memory[i] = bias[i];
  return memory;  // the first barrier is that of the queries
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ADAPTIVE_ATTENTION_ADAPTIVE_MMA_DEVICE_H_
