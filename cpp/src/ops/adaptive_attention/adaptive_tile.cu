// Tiles of 16 queries by 64 keys: scores by one warp for every four queries, then the sums of
// values by columns. Of a tile that no query sees nothing is read, of others the keys that some
// query sees. The same products fill the scores of the rows that select their keys.
#include "ops/adaptive_attention/adaptive_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarpRows = kTileRows / (kThreads / 32);
constexpr int kParts = 2;  // columns of a thread, 128 apart

__device__ inline float safe(float max) { return max == kMinusInfinity ? 0.0f : max; }

/// What a block keeps in shared memory beside keys and queries.
struct TileShared {
  uint64_t seen[kTileRows];
  float probabilities[kTileKeys][kTileRows];
  float correction[kTileRows], sum[kTileRows];
};

template <typename T>
__host__ __device__ constexpr int key_stride(int k_cols) {
  return k_cols + 16 / static_cast<int>(sizeof(T));
}

template <typename T>
int64_t shared_bytes(const AdaptiveAttentionParams& p) {
  const int k_cols = (p.kv.k_dim + 15) / 16 * 16;
  return static_cast<int64_t>(sizeof(TileShared)) + int64_t{kTileRows} * k_cols * 4 +
         int64_t{kTileKeys} * key_stride<T>(k_cols) * static_cast<int64_t>(sizeof(T));
}

/// The block's part of the shared memory, and its rows: tokens [begin, end) of one sequence.
template <typename T>
struct Tile {
  TileShared* shared;
  float* q;  // [kTileRows][k_cols]
  T* keys;   // [kTileKeys][key_stride]
  int32_t sequence, head;
  int64_t begin, end;

  __device__ int64_t rows() const { return end - begin; }
};

template <typename T>
__device__ void load_queries(const AdaptiveAttentionParams& p, const Tile<T>& tile, int k_cols) {
  for (int i = threadIdx.x; i < kTileRows * k_cols; i += kThreads) {
    const int64_t token = tile.begin + i / k_cols;
    tile.q[i] = token < tile.end ? query_value<T>(p, token, tile.head, i % k_cols) : 0.0f;
  }
}

/// Marks in shared memory which of the 64 keys from `first` on each row sees, by f(row, key); the
/// keys that some row sees are returned.
template <typename T, typename F>
__device__ uint64_t look(const Tile<T>& tile, int64_t first, const F& f) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
  for (int r = warp * kWarpRows; r < (warp + 1) * kWarpRows; ++r) {
    const uint32_t low = __ballot_sync(kAllLanes, r < tile.rows() && f(r, first + lane));
    const uint32_t high = __ballot_sync(kAllLanes, r < tile.rows() && f(r, first + 32 + lane));
    if (lane == 0) tile.shared->seen[r] = uint64_t{high} << 32 | low;
  }
  __syncthreads();
  uint64_t any = 0;
  for (int r = 0; r < kTileRows; ++r) any |= tile.shared->seen[r];
  return any;
}

/// Brings the marked keys to shared memory.
template <typename T>
__device__ void load_keys(const Tile<T>& tile, const HeadCache<T>& cache, int64_t first,
                          uint64_t any) {
  constexpr int kValues = 16 / static_cast<int>(sizeof(T));
  const int chunks = cache.k_cols / kValues, stride = key_stride<T>(cache.k_cols);
  constexpr int kLoads = 8;  // in flight
  const int spare = __ffsll(static_cast<long long>(any)) - 1;
  for (int base = threadIdx.x; base < kTileKeys * chunks; base += kLoads * kThreads) {
    uint4 bits[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const int i = min(base + j * kThreads, kTileKeys * chunks - 1), key = i / chunks;
      bool bad = false;
      const T* from = cache.clamped_key(first + ((any >> key & 1u) != 0 ? key : spare), &bad);
      bits[j] = *reinterpret_cast<const uint4*>(from + i % chunks * kValues);
      constexpr uint32_t kNan = 0xffffffffu;  // in both formats
      if (bad) bits[j] = {kNan, kNan, kNan, kNan};
    }
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const int i = base + j * kThreads;
      if (i >= kTileKeys * chunks) break;
      *reinterpret_cast<uint4*>(tile.keys + i / chunks * stride + i % chunks * kValues) = bits[j];
    }
  }
  __syncthreads();
}

/// Products of the warp's rows with keys `lane` and `lane + 32` of the tile.
template <typename T>
__device__ void multiply(const Tile<T>& tile, int k_cols, float (&dot)[kWarpRows][2]) {
  const int lane = threadIdx.x % 32, stride = key_stride<T>(k_cols);
  const float* q = tile.q + threadIdx.x / 32 * kWarpRows * k_cols;
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) dot[r][0] = dot[r][1] = 0;
  for (int d = 0; d < k_cols; d += 4) {
    const float4 k0 = load4(tile.keys + lane * stride + d);
    const float4 k1 = load4(tile.keys + (lane + 32) * stride + d);
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const float4 v = load4(q + r * k_cols + d);
      dot[r][0] = fmaf(v.w, k0.w, fmaf(v.z, k0.z, fmaf(v.y, k0.y, fmaf(v.x, k0.x, dot[r][0]))));
      dot[r][1] = fmaf(v.w, k1.w, fmaf(v.z, k1.z, fmaf(v.y, k1.y, fmaf(v.x, k1.x, dot[r][1]))));
    }
  }
}

/// Calls f(tile) for the part of each sequence among tokens [begin, end).
template <typename T, typename F>
__device__ void each_sequence(const AdaptiveAttentionParams& p, int64_t begin, int64_t end,
                              int32_t head, const F& f) {
  extern __shared__ __align__(16) char memory[];
  const int k_cols = (p.kv.k_dim + 15) / 16 * 16;
  Tile<T> tile;
  tile.shared = reinterpret_cast<TileShared*>(memory);
  tile.q = reinterpret_cast<float*>(memory + sizeof(TileShared));
  tile.keys = reinterpret_cast<T*>(tile.q + kTileRows * k_cols);
  tile.head = head;
  for (int64_t token = begin; token < end;) {
    tile.sequence = sequence_of(p, token);
    tile.begin = token;
    if (!in_sequence(p, tile.sequence, token)) return;  // behind the last sequence
    token = min(end, int64_t{p.query_start[tile.sequence + 1]});
    tile.end = token;
    f(tile);
    __syncthreads();
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 3) tile_kernel(AdaptiveAttentionParams p, Draws draws) {
  const auto head = static_cast<int32_t>(blockIdx.y);
  const int64_t first_token = int64_t{gridDim.x - 1 - blockIdx.x} * kTileRows;  // the longest first
  const int64_t last_token = min(first_token + kTileRows, p.num_tokens);
  each_sequence<T>(p, first_token, last_token, head, [&](const Tile<T>& tile) {
    if (single_query(p, tile.sequence)) return;
    const HeadCache<T> cache(p, tile.sequence, head);
    TileShared& s = *tile.shared;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    load_queries(p, tile, cache.k_cols);
    float most[kWarpRows], sum[kWarpRows], values[kTileRows][kParts];
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      most[r] = kMinusInfinity;
      sum[r] = 0;
    }
#pragma unroll
    for (int r = 0; r < kTileRows; ++r) values[r][0] = values[r][1] = 0;

    const int64_t key_end = row_at(p, tile.sequence, tile.end - 1).key_end;
    int64_t key = 0;
    if (p.pattern.kind == AdaptiveKind::kSlidingWindow && p.replay == nullptr) {
      const int64_t position = row_at(p, tile.sequence, tile.begin).position;
      key = max(position - p.pattern.window + 1, int64_t{0}) / kTileKeys * kTileKeys;
    }
    for (; key < key_end; key += kTileKeys) {
      const uint64_t any = look(tile, key, [&](int r, int64_t j) {
        const RowAt at = row_at(p, tile.sequence, tile.begin + r);
        uint8_t* keep = keep_row(p, head_masks(p), at.token, head);
        if (keep == nullptr && gate_of(p, at.token, head) == 0.0f) return false;
        const bool seen = sees(p, draws, cache, at, head, j);
        if (seen && keep != nullptr) keep[j] = 1;
        return seen;
      });
      if (any == 0) continue;
      load_keys(tile, cache, key, any);
      float dot[kWarpRows][2];
      multiply(tile, cache.k_cols, dot);
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) {
        const int r = warp * kWarpRows + i;
        const uint64_t seen = s.seen[r];
        // Rows that there are not see nothing.
        const int64_t token = min(tile.begin + r, tile.end - 1);
        const int64_t position = p.positions[token * p.position_stride];
        float score[2], weight[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t j = key + half * 32 + lane;
          score[half] = kMinusInfinity;
          if ((seen >> (half * 32 + lane) & 1u) == 0) continue;
          score[half] =
              fmaf(dot[i][half], p.softmax_scale, bias_of(p, head, position - j)) * kLog2E;
        }
        const float now = fmaxf(most[i], warp_max(fmaxf(score[0], score[1])));
        const float base = safe(now);
        const float correction = most[i] == kMinusInfinity ? 0.0f : exp2f(most[i] - base);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const bool mine = (seen >> (half * 32 + lane) & 1u) != 0;
          weight[half] = mine ? exp2f(score[half] - base) : 0.0f;
          s.probabilities[half * 32 + lane][r] = weight[half];
        }
        most[i] = now;
        sum[i] = sum[i] * correction + warp_sum(weight[0] + weight[1]);
        if (lane == 0) s.correction[r] = correction;
      }
      __syncthreads();
#pragma unroll
      for (int r = 0; r < kTileRows; ++r) {
        values[r][0] *= s.correction[r];
        values[r][1] *= s.correction[r];
      }
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const int c = part * kThreads + threadIdx.x;
        if (c >= cache.v_cols) break;
        for (int group = 0; group < kTileKeys; group += 8) {
          if ((any >> group & 0xffu) == 0) continue;
          // Of a key that nobody sees: another's that is read, so that no branch parts the loads.
          const int spare = __ffsll(static_cast<long long>(any)) - 1;
          float v[8];
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const bool seen = (any >> (group + i) & 1u) != 0;
            bool bad = false;
            const T* from = cache.clamped_value(key + (seen ? group + i : spare), &bad);
            v[i] = load(from + c);
            v[i] = !seen ? 0.0f : bad ? __builtin_nanf("") : v[i];
          }
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const float* weights = s.probabilities[group + i];
            if (isfinite(v[i])) {
#pragma unroll
              for (int r = 0; r < kTileRows; ++r) {
                values[r][part] = fmaf(weights[r], v[i], values[r][part]);
              }
            } else {
              // Rows that do not see the key are not harmed by it.
#pragma unroll
              for (int r = 0; r < kTileRows; ++r) {
                if (s.seen[r] >> (group + i) & 1u) values[r][part] += weights[r] * v[i];
              }
            }
          }
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kWarpRows; ++i) {
      if (lane == 0) s.sum[warp * kWarpRows + i] = sum[i];
    }
    __syncthreads();
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int c = part * kThreads + threadIdx.x;
      if (c >= p.kv.v_dim) break;
#pragma unroll
      for (int r = 0; r < kTileRows; ++r) {
        if (r >= tile.rows()) break;
        const float gate = gate_of(p, tile.begin + r, head);
        const bool none = gate == 0.0f || s.sum[r] == 0.0f;
        write_value(p, tile.begin + r, head, c, none ? 0.0f : values[r][part] * (gate / s.sum[r]));
      }
    }
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    scores_kernel(AdaptiveAttentionParams p, Selection rows) {
  const auto head = static_cast<int32_t>(blockIdx.z);
  const int64_t first_token = rows.first + int64_t{blockIdx.x} * kTileRows;
  const int64_t last_token = min(first_token + kTileRows, rows.first + rows.count);
  each_sequence<T>(p, first_token, last_token, head, [&](const Tile<T>& tile) {
    if (single_query(p, tile.sequence)) return;
    const int64_t key_end = row_at(p, tile.sequence, tile.end - 1).key_end;
    const int64_t begin = int64_t{blockIdx.y} * kSpanKeys;
    const int64_t end = min(begin + kSpanKeys, key_end);
    if (begin >= end) return;
    const HeadCache<T> cache(p, tile.sequence, head);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    load_queries(p, tile, cache.k_cols);
    for (int64_t key = begin; key < end; key += kTileKeys) {
      const uint64_t any = look(tile, key, [&](int r, int64_t j) {
        const RowAt at = row_at(p, tile.sequence, tile.begin + r);
        if (p.keep == nullptr && gate_of(p, at.token, head) == 0.0f) return false;
        return j < at.key_end;
      });
      if (any == 0) continue;
      load_keys(tile, cache, key, any);
      float dot[kWarpRows][2];
      multiply(tile, cache.k_cols, dot);
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) {
        const int r = warp * kWarpRows + i;
        if (r >= tile.rows()) break;
        const int64_t position = p.positions[(tile.begin + r) * p.position_stride];
        const int64_t entry = (tile.begin + r - rows.first) * p.kv.num_kv_heads + head;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t j = key + half * 32 + lane;
          if ((tile.shared->seen[r] >> (half * 32 + lane) & 1u) == 0) continue;
          rows.scores[entry * rows.stride + j] =
              fmaf(dot[i][half], p.softmax_scale, bias_of(p, head, position - j));
        }
      }
    }
  });
}

unsigned tiles_of(int64_t tokens) {
  return static_cast<unsigned>((tokens + kTileRows - 1) / kTileRows);
}

}  // namespace

void launch_tiles(const CudaExec& exec, const AdaptiveAttentionParams& p, const Draws& draws) {
  with_format(p.kv.format, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const int64_t bytes = shared_bytes<T>(p);
    allow_shared(tile_kernel<T>, bytes, "adaptive_attention");
    const dim3 grid(tiles_of(p.num_tokens), static_cast<unsigned>(p.kv.num_kv_heads));
    tile_kernel<T><<<grid, kThreads, static_cast<size_t>(bytes), stream_of(exec)>>>(p, draws);
  });
  SLUICE_CHECK_LAUNCH("adaptive_attention of ", p.num_tokens, " tokens");
}

void launch_scores(const CudaExec& exec, const AdaptiveAttentionParams& p, const Selection& rows,
                   int64_t longest) {
  with_format(p.kv.format, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const int64_t bytes = shared_bytes<T>(p);
    allow_shared(scores_kernel<T>, bytes, "adaptive_attention");
    const auto spans = static_cast<unsigned>((longest + kSpanKeys - 1) / kSpanKeys);
    const dim3 grid(tiles_of(rows.count), spans, static_cast<unsigned>(p.kv.num_kv_heads));
    scores_kernel<T><<<grid, kThreads, static_cast<size_t>(bytes), stream_of(exec)>>>(p, rows);
  });
  SLUICE_CHECK_LAUNCH("adaptive_attention: scores of ", rows.count, " tokens");
}

}  // namespace sluice::cuda
