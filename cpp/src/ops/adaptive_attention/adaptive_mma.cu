// Tiles of 64 queries by 64 keys on the tensor cores, for BF16 caches with heads of 64 or 128: each
// of four warps has 16 queries, whose probabilities stay in registers between the two products.
// Which keys a row sees is one word of 64 bits; a tile that no row sees is neither read nor
// multiplied, and of others only the keys that some row sees are read. The next tile is on its way
// meanwhile.
//
// A row's bits depend on its own words alone: a tile of which it sees nothing changes nothing. But
// a value that is NaN reaches all 64 queries (of the same sequence) when one of them sees it.
#include "ops/adaptive_attention/adaptive_mma.h"
#include "ops/adaptive_attention/adaptive_mma_device.h"

namespace sluice::cuda {
namespace {

template <int kDim>
int64_t shared_bytes(bool scores) {
  return int64_t{scores ? 2 : 4} * kTileKeys * kStride<kDim> * 2 + kMaxBias * 4;
}

/// A running softmax of the thread's two rows.
template <int kDim>
struct State {
  float max[2] = {kMinusInfinity, kMinusInfinity}, sum[2] = {0, 0};
  float values[kDim / 8][4] = {};
};

template <int kDim>
__device__ void add_tile(float (&s)[8][4], const uint64_t (&words)[2], const __nv_bfloat16* values,
                         State<kDim>& state) {
  const int lane = threadIdx.x % 32;
  float most[2] = {kMinusInfinity, kMinusInfinity};
#pragma unroll
  for (int j = 0; j < 8; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s[j][i] = seen_at(words, j, i) ? s[j][i] * kLog2E : kMinusInfinity;
      most[i / 2] = fmaxf(most[i / 2], s[j][i]);
    }
  }
  float base[2], correction[2], sum[2] = {0, 0};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    most[r] = fmaxf(most[r], __shfl_xor_sync(kAllLanes, most[r], 1));
    most[r] = fmaxf(most[r], __shfl_xor_sync(kAllLanes, most[r], 2));
    most[r] = fmaxf(most[r], state.max[r]);
    base[r] = most[r] == kMinusInfinity ? 0.0f : most[r];
    correction[r] = state.max[r] == kMinusInfinity ? 0.0f : exp2f(state.max[r] - base[r]);
    state.max[r] = most[r];
  }
  uint32_t weights[4][4];
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    float w[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[i] = exp2f(s[j][i] - base[i / 2]);
      sum[i / 2] += w[i];
    }
    weights[j / 2][j % 2 * 2] = pack_bf16(w[0], w[1]);
    weights[j / 2][j % 2 * 2 + 1] = pack_bf16(w[2], w[3]);
  }
  // Each thread sums its own columns; the four of a row join at the end.
#pragma unroll
  for (int r = 0; r < 2; ++r) state.sum[r] = state.sum[r] * correction[r] + sum[r];
#pragma unroll
  for (int d = 0; d < kDim / 8; ++d) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state.values[d][i] *= correction[i / 2];
  }
  const __nv_bfloat16* from = values + lane % 16 * kStride<kDim> + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int d = 0; d < kDim / 8; d += 2) {
      uint32_t b[4];
      load_matrix_transposed(b, shared_address(from + k * 16 * kStride<kDim> + d * 8));
      multiply_add(state.values[d], weights[k], b[0], b[1]);
      multiply_add(state.values[d + 1], weights[k], b[2], b[3]);
    }
  }
}

template <int kDim>
__device__ void write_rows(const AdaptiveAttentionParams& p, const Rows& rows,
                           const State<kDim>& state) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = state.sum[r];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int64_t token = rows.begin + warp * kWarpRows + lane / 4 + r * 8;
    if (token >= rows.end) continue;
    const float gate = gate_of(p, token, rows.head);
    // A sum of zero is a row without keys, whose values are zero; NaN passes through.
    const bool none = gate == 0.0f || sum == 0.0f;
    const float factor = gate / sum;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float value = state.values[d][r * 2 + i];
        write_value(p, token, rows.head, d * 8 + lane % 4 * 2 + i, none ? 0.0f : value * factor);
      }
    }
  }
}

/// The next tile from `*first` on that some row sees; false: none. *word is the lane's.
__device__ bool find_tile(const AdaptiveAttentionParams& p, const Draws& draws,
                          const HeadCache<__nv_bfloat16>& cache, const Rows& rows, int64_t* first,
                          uint64_t* word, uint64_t* any) {
  __shared__ uint64_t of_warps[kMmaThreads / 32];
  for (; *first < rows.last_key; *first += kTileKeys) {
    *word = row_word(p, draws, cache, rows, *first);
    const uint64_t mine = any_of(*word);
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    *any = of_warps[0] | of_warps[1] | of_warps[2] | of_warps[3];
    if (*any != 0) return true;
  }
  return false;
}

__device__ void show(const AdaptiveAttentionParams& p, const Rows& rows, int64_t first,
                     uint64_t word) {
  const int lane = threadIdx.x % 32;
  for (int r = 0; r < kWarpRows; ++r) {
    const uint64_t bits = __shfl_sync(kAllLanes, word, r);
    const int64_t token = __shfl_sync(kAllLanes, rows.token, r);
    if (bits == 0) continue;
    uint8_t* keep = keep_row(p, head_masks(p), token, rows.head);
    if (bits >> lane & 1u) keep[first + lane] = 1;
    if (bits >> (lane + 32) & 1u) keep[first + 32 + lane] = 1;
  }
}

template <int kDim>
__device__ void run_rows(const AdaptiveAttentionParams& p, const Draws& draws, const Rows& rows,
                         bool shown, __nv_bfloat16* memory, const float* bias) {
  constexpr int kTile = kTileKeys * kStride<kDim>;
  const int lane = threadIdx.x % 32;
  const HeadCache<__nv_bfloat16> cache(p, rows.sequence, rows.head);
  uint32_t q[kDim / 16][4];
  load_queries<kDim>(p, rows, memory, q);
  State<kDim> state;
  int64_t next = 0;
  if (p.pattern.kind == AdaptiveKind::kSlidingWindow && p.replay == nullptr) {
    next = max(rows.first_position - p.pattern.window + 1, int64_t{0}) / kTileKeys * kTileKeys;
  }
  uint64_t word = 0, any = 0;
  bool more = find_tile(p, draws, cache, rows, &next, &word, &any);
  if (more) start_copy<kDim, true>(cache, next, any, memory, memory + kTile);
  commit();
  for (int stage = 0; more; stage ^= 1) {
    const int64_t first = next;
    const uint64_t seen = word;
    next += kTileKeys;
    more = find_tile(p, draws, cache, rows, &next, &word, &any);
    __nv_bfloat16* there = memory + (stage ^ 1) * 2 * kTile;
    if (more) start_copy<kDim, true>(cache, next, any, there, there + kTile);
    commit();
    wait<1>();
    __syncthreads();
    if (shown) show(p, rows, first, seen);
    // A warp whose rows see nothing here has nothing to do.
    if (any_of(seen) != 0) {
      const __nv_bfloat16* keys = memory + stage * 2 * kTile;
      const uint64_t words[2] = {__shfl_sync(kAllLanes, seen, lane / 4),
                                 __shfl_sync(kAllLanes, seen, lane / 4 + 8)};
      float s[8][4];
      score<kDim>(p, rows, bias, first, keys, q, s);
      add_tile<kDim>(s, words, keys + kTile, state);
    }
    __syncthreads();
  }
  wait<0>();
  write_rows<kDim>(p, rows, state);
}

template <int kDim>
__global__ void __launch_bounds__(kMmaThreads, 2)
    mma_tile_kernel(AdaptiveAttentionParams p, Draws draws) {
  extern __shared__ __align__(16) char memory[];
  auto* tiles = reinterpret_cast<__nv_bfloat16*>(memory);
  auto* bias_memory = reinterpret_cast<float*>(memory + 4 * kTileKeys * kStride<kDim> * 2);
  const auto head = static_cast<int32_t>(blockIdx.y);
  const float* bias = load_bias(p, head, bias_memory);
  const int64_t begin = int64_t{gridDim.x - 1 - blockIdx.x} * kMmaRows;  // the longest first
  const int64_t end = min(begin + kMmaRows, p.num_tokens);
  for (int64_t token = begin; token < end;) {
    const int32_t sequence = sequence_of(p, token);
    if (!in_sequence(p, sequence, token)) return;  // behind the last sequence
    const int64_t stop = min(end, int64_t{p.query_start[sequence + 1]});
    if (!single_query(p, sequence)) {
      const bool shown = keep_row(p, head_masks(p), token, head) != nullptr;
      run_rows<kDim>(p, draws, rows_of(p, sequence, head, token, stop, shown), shown, tiles, bias);
      __syncthreads();
    }
    token = stop;
  }
}

template <int kDim>
__global__ void __launch_bounds__(kMmaThreads)
    mma_scores_kernel(AdaptiveAttentionParams p, Selection selection) {
  extern __shared__ __align__(16) char memory[];
  auto* keys = reinterpret_cast<__nv_bfloat16*>(memory);
  auto* bias_memory = reinterpret_cast<float*>(memory + 2 * kTileKeys * kStride<kDim> * 2);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const auto head = static_cast<int32_t>(blockIdx.z);
  const float* bias = load_bias(p, head, bias_memory);
  const int64_t begin = selection.first + int64_t{blockIdx.x} * kMmaRows;
  const int64_t end = min(begin + kMmaRows, selection.first + selection.count);
  for (int64_t token = begin; token < end;) {
    const int32_t sequence = sequence_of(p, token);
    if (!in_sequence(p, sequence, token)) return;  // behind the last sequence
    const int64_t stop = min(end, int64_t{p.query_start[sequence + 1]});
    const Rows rows = rows_of(p, sequence, head, token, stop, p.keep != nullptr);
    token = stop;
    const int64_t first_key = int64_t{blockIdx.y} * kSpanKeys;
    const int64_t last_key = min(first_key + kSpanKeys, rows.last_key);
    if (single_query(p, sequence) || first_key >= last_key) continue;
    const HeadCache<__nv_bfloat16> cache(p, sequence, head);
    uint32_t q[kDim / 16][4];
    load_queries<kDim>(p, rows, keys, q);
    for (int64_t first = first_key; first < last_key; first += kTileKeys) {
      start_copy<kDim, false>(cache, first, below(rows.last_key - first), keys, nullptr);
      commit();
      wait<0>();
      __syncthreads();
      const uint64_t seen = below(rows.key_end - first);
      const uint64_t words[2] = {__shfl_sync(kAllLanes, seen, lane / 4),
                                 __shfl_sync(kAllLanes, seen, lane / 4 + 8)};
      float s[8][4];
      score<kDim>(p, rows, bias, first, keys, q, s);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t row = rows.begin + warp * kWarpRows + lane / 4 + i / 2 * 8;
        const int64_t entry = (row - selection.first) * p.kv.num_kv_heads + head;
        float* to = selection.scores + entry * selection.stride + first + lane % 4 * 2 + i % 2;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          if (seen_at(words, j, i)) to[j * 8] = s[j][i];
        }
      }
      __syncthreads();
    }
  }
}

unsigned parts_of(int64_t count, int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

template <int kDim>
void launch_tiles_of(const CudaExec& exec, const AdaptiveAttentionParams& p, const Draws& draws) {
  const int64_t bytes = shared_bytes<kDim>(false);
  allow_shared(mma_tile_kernel<kDim>, bytes, "adaptive_attention");
  const dim3 grid(parts_of(p.num_tokens, kMmaRows), static_cast<unsigned>(p.kv.num_kv_heads));
  mma_tile_kernel<kDim>
      <<<grid, kMmaThreads, static_cast<size_t>(bytes), stream_of(exec)>>>(p, draws);
}

template <int kDim>
void launch_scores_of(const CudaExec& exec, const AdaptiveAttentionParams& p, const Selection& rows,
                      int64_t longest) {
  const int64_t bytes = shared_bytes<kDim>(true);
  allow_shared(mma_scores_kernel<kDim>, bytes, "adaptive_attention");
  const dim3 grid(parts_of(rows.count, kMmaRows), parts_of(longest, kSpanKeys),
                  static_cast<unsigned>(p.kv.num_kv_heads));
  mma_scores_kernel<kDim>
      <<<grid, kMmaThreads, static_cast<size_t>(bytes), stream_of(exec)>>>(p, rows);
}

}  // namespace

bool mma_fits(const CudaExec& exec, const AdaptiveAttentionParams& p) {
  return exec.capability >= 80 && p.kv.format == Format::kBf16 && p.kv.k_dim == p.kv.v_dim &&
         (p.kv.k_dim == 64 || p.kv.k_dim == 128) &&
         exec.max_shared_bytes >= shared_bytes<128>(false);
}

void launch_mma_tiles(const CudaExec& exec, const AdaptiveAttentionParams& p, const Draws& draws) {
  (p.kv.k_dim == 64 ? launch_tiles_of<64> : launch_tiles_of<128>)(exec, p, draws);
  SLUICE_CHECK_LAUNCH("adaptive_attention of ", p.num_tokens, " tokens");
}

void launch_mma_scores(const CudaExec& exec, const AdaptiveAttentionParams& p,
                       const Selection& rows, int64_t longest) {
  (p.kv.k_dim == 64 ? launch_scores_of<64> : launch_scores_of<128>)(exec, p, rows, longest);
  SLUICE_CHECK_LAUNCH("adaptive_attention: scores of ", rows.count, " tokens");
}

}  // namespace sluice::cuda
