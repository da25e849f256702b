// Prefill in bf16 through mma.sync, for any GPU since sm_80: keys of 64, 128, 192 or 256 columns.
//
// A block takes the rows (token, query head) of one kv head that fit in its four warps and walks the
// keys that they see in tiles of 32, which are copied to shared memory two tiles ahead. A row stays
// with its warp, so softmax and weights never leave registers. Rows are packed token by token: the
// heads of a group share the keys in shared memory. Tiles begin at fixed absolute positions: a row's
// bits depend on nothing but the row.
#include "ops/attention/attention_device.h"
#include "ops/cuda/mma.h"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kKeys = 32;  // of a tile
constexpr int kWarpKeys = kKeys / kWarps;

template <int kKeyDim, int kValueDim>
struct Tuning {
  static constexpr int kTiles = kValueDim > 128 ? 1 : 2;  // of 16 rows, of a warp
  static constexpr int kRows = kWarps * kTiles * 16;
  static constexpr int kStages = kKeyDim > 192 ? 2 : 3;
  static constexpr int kQueryBytes = kRows * kKeyDim * 2;
  static constexpr int kKeyBytes = kKeys * kKeyDim * 2;
  static constexpr int kStageBytes = kKeyBytes + kKeys * kValueDim * 2;
  static constexpr int kSharedBytes = kQueryBytes + kStages * kStageBytes;
};

struct Prefill {
  AttentionParams p;
  int32_t group;
  int32_t min_queries;  // sequences of fewer are not ours
};

struct Row {
  bool live;
  int64_t token, head;
};

struct Tile {
  const int32_t* table;
  int32_t kv_head;
  int32_t first_token;  // of the sequence
  int32_t row_begin, row_end;
  int32_t key_begin, key_end;  // that any of its rows sees
};

__device__ Row row_of(const Prefill& w, const Tile& tile, int32_t row) {
  const int32_t r = tile.row_begin + row;
  return {r < tile.row_end, tile.first_token + r / w.group,
          int64_t{tile.kv_head} * w.group + r % w.group};
}

// The block of the cache that has the 8 keys of this warp's copies; 0 where no row sees them.
__device__ int32_t block_of(const Prefill& w, const Tile& tile, int32_t first) {
  const int32_t key = first + static_cast<int32_t>(threadIdx.x) / 32 * kWarpKeys;
  const bool seen = key < tile.key_end && key + kWarpKeys > tile.key_begin;
  return seen ? tile.table[key >> (__ffs(w.p.kv.block_size) - 1)] : 0;
}

// Starts this warp's copies, of 8 rows, for a tile of keys or of values.
template <int kDim>
__device__ void copy_rows(const Prefill& w, const Tile& tile, int32_t first, const char* head,
                          int64_t block_stride, int32_t block, uint32_t to) {
  constexpr int kPieces = kDim / 8;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t key = first + warp * kWarpKeys;
  const bool real = block >= 0 && block < w.p.kv.num_blocks;
  const char* from = head;
  if (real) from += block * block_stride + (key & (w.p.kv.block_size - 1)) * (kDim * 2);
#pragma unroll
  for (int i = 0; i < kWarpKeys * kPieces / 32; ++i) {
    const int piece = lane + i * 32, r = piece / kPieces;
    const bool seen = key + r >= tile.key_begin && key + r < tile.key_end;
    copy_async(to + piece_offset(kDim, warp * kWarpKeys + r, piece % kPieces), from + piece * 16,
               seen && real);
  }
  if (!real) {  // visible, so an error of the caller's: NaN
    wait_all_copies();
    for (int i = lane; i < kWarpKeys * kPieces; i += 32) {
      fill_with_nan(to + piece_offset(kDim, warp * kWarpKeys + i / kPieces, i % kPieces));
    }
  }
}

// A warp's part of a block's rows. Of each of its tiles a thread has rows lane / 4 and that + 8.
template <int kTiles, int kValueDim>
struct Rows {
  int32_t begin[kTiles][2], end[kTiles][2];
  float m[kTiles][2], l[kTiles][2];
  float acc[kTiles][kValueDim / 8][4];
};

// f(score, tile of rows, half, column beyond the thread's first) for all of a thread's scores.
template <int kTiles, typename F>
__device__ void each(float (&s)[kTiles][kKeys / 8][4], const F& f) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) f(s[t][i][j], t, j / 2, i * 8 + j % 2);
    }
  }
}

template <int kKeyDim, int kValueDim>
__device__ void run_tile(const Prefill& w, int32_t first, bool masked, uint32_t queries,
                         uint32_t keys, uint32_t values,
                         Rows<Tuning<kKeyDim, kValueDim>::kTiles, kValueDim>* rows) {
  constexpr int kTiles = Tuning<kKeyDim, kValueDim>::kTiles;
  const int lane = threadIdx.x % 32;
  float s[kTiles][kKeys / 8][4] = {};
#pragma unroll
  for (int step = 0; step < kKeyDim / 16; ++step) {
    uint32_t a[kTiles][4];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      load_matrix(a[t], queries + t * 16 * kKeyDim * 2 +
                            piece_offset(kKeyDim, lane % 16, step * 2 + lane / 16));
    }
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
      uint32_t b[4];
      load_matrix(b, keys + piece_offset(kKeyDim, i * 16 + lane % 8 + lane / 16 * 8,
                                                  step * 2 + lane / 8 % 2));
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        multiply_add(s[t][2 * i], a[t], b[0], b[1]);
        multiply_add(s[t][2 * i + 1], a[t], b[2], b[3]);
      }
    }
  }
  // Scores times `scale` are exponents.
  float scale = w.p.softmax_scale * kLog2E;
  if (w.p.soft_cap > 0.0f) {
    scale = 1.0f;
    each(s, [&](float& x, int, int, int) { x = exponent_of(w.p, x); });
  }
  if (masked) {
    each(s, [&](float& x, int t, int half, int column) {
      const int32_t key = first + lane % 4 * 2 + column;
      if (key < rows->begin[t][half] || key >= rows->end[t][half]) x = minus_infinity();
    });
  }
  uint32_t weights[kTiles][kKeys / 16][4];
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = minus_infinity();
#pragma unroll
      for (int i = 0; i < kKeys / 4; ++i) top = fmaxf(top, s[t][i / 2][half * 2 + i % 2]);
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      top *= scale;
      const float old = rows->m[t][half];
      const float m = old < top ? top : old;
      const float base = safe_max(m);
      if (__any_sync(kAllLanes, m != old)) {
        const float correction = power_of_two(old - base);
        rows->l[t][half] *= correction;
#pragma unroll
        for (int i = 0; i < kValueDim / 8; ++i) {
          rows->acc[t][i][half * 2] *= correction;
          rows->acc[t][i][half * 2 + 1] *= correction;
        }
        rows->m[t][half] = m;
      }
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kKeys / 8; ++i) {
        const float e0 = power_of_two(s[t][i][half * 2] * scale - base);
        const float e1 = power_of_two(s[t][i][half * 2 + 1] * scale - base);
        sum += e0 + e1;
        weights[t][i / 2][half + i % 2 * 2] = pack_bf16(e0, e1);
      }
      rows->l[t][half] += sum;
    }
  }
#pragma unroll
  for (int step = 0; step < kKeys / 16; ++step) {
#pragma unroll
    for (int i = 0; i < kValueDim / 16; ++i) {
      uint32_t b[4];
      load_matrix_transposed(
          b, values + piece_offset(kValueDim, step * 16 + lane % 16, i * 2 + lane / 16));
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        multiply_add(rows->acc[t][2 * i], weights[t][step], b[0], b[1]);
        multiply_add(rows->acc[t][2 * i + 1], weights[t][step], b[2], b[3]);
      }
    }
  }
}

template <int kKeyDim, int kValueDim>
__global__ void __launch_bounds__(kThreads, 2) prefill_kernel(const __grid_constant__ Prefill w) {
  using T = Tuning<kKeyDim, kValueDim>;
  constexpr int kTiles = T::kTiles;
  extern __shared__ uint4 shared[];
  char* const bytes = reinterpret_cast<char*>(shared);
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  const auto heads = static_cast<unsigned>(p.kv.num_kv_heads);
  // The last tiles of a sequence have the most keys.
  const RowTile found = find_tile(p, gridDim.x / heads - 1 - blockIdx.x / heads, w.group, T::kRows,
                                  w.min_queries);
  if (found.sequence < 0) return;
  Tile tile{table_of(p, found.sequence), static_cast<int32_t>(blockIdx.x % heads),
            p.query_start[found.sequence], found.row_begin, found.row_end, 0, 0};
  const int64_t context_len = p.context_len[found.sequence];
  const auto keys_of = [&](int32_t row) {
    return visible_keys(p, p.positions[row_of(w, tile, row).token * p.position_stride],
                        context_len);
  };
  // Positions rise, and with them both ends of what rows see.
  tile.key_begin = static_cast<int32_t>(keys_of(0).begin);
  tile.key_end = static_cast<int32_t>(keys_of(tile.row_end - tile.row_begin - 1).end);

  const char* const values = static_cast<const char*>(p.kv.v) +
                             int64_t{tile.kv_head} * p.kv.block_size * kValueDim * 2;
  const char* const keys =
      static_cast<const char*>(p.kv.k) + int64_t{tile.kv_head} * p.kv.block_size * kKeyDim * 2;
  const uint32_t stages = shared_address(bytes) + T::kQueryBytes;
  int32_t copied = tile.key_begin / kKeys * kKeys;
  int32_t block = block_of(w, tile, copied);  // read a tile before it is needed
  const auto copy_next = [&](int stage) {
    if (copied < tile.key_end) {
      const uint32_t to = stages + stage * T::kStageBytes;
      copy_rows<kKeyDim>(w, tile, copied, keys, p.kv.k_block_stride, block, to);
      copy_rows<kValueDim>(w, tile, copied, values, p.kv.v_block_stride, block,
                           to + T::kKeyBytes);
      copied += kKeys;
      block = block_of(w, tile, copied);
    }
    commit_copies();
  };
  for (int i = 0; i < T::kStages - 1; ++i) copy_next(i);
  load_queries<kKeyDim, kKeyDim, T::kRows, kThreads>(
      p, 0, [&](int r) { return row_of(w, tile, r); }, bytes);

  Rows<kTiles, kValueDim> rows;
  // Keys that some row of the warp sees, and those that all of them see.
  int32_t some_begin = INT32_MAX, some_end = 0, all_begin = 0, all_end = INT32_MAX;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (warp * kTiles + t) * 16 + lane / 4 + 8 * half;
      rows.m[t][half] = minus_infinity();
      rows.l[t][half] = 0;
      rows.begin[t][half] = rows.end[t][half] = 0;
      if (tile.row_begin + row < tile.row_end) {
        const KeyRange range = keys_of(row);
        rows.begin[t][half] = static_cast<int32_t>(range.begin);
        rows.end[t][half] = static_cast<int32_t>(range.end);
        if (range.begin < range.end) {
          some_begin = min(some_begin, rows.begin[t][half]);
          some_end = max(some_end, rows.end[t][half]);
        }
      }
      all_begin = max(all_begin, rows.begin[t][half]);
      all_end = min(all_end, rows.end[t][half]);
    }
#pragma unroll
    for (int i = 0; i < kValueDim / 8; ++i) {
      for (int j = 0; j < 4; ++j) rows.acc[t][i][j] = 0;
    }
  }
  some_begin = __reduce_min_sync(kAllLanes, some_begin);
  some_end = __reduce_max_sync(kAllLanes, some_end);
  all_begin = __reduce_max_sync(kAllLanes, all_begin);
  all_end = __reduce_min_sync(kAllLanes, all_end);

  const uint32_t queries = shared_address(bytes) + warp * kTiles * 16 * kKeyDim * 2;
  int stage = 0;
  for (int32_t first = tile.key_begin / kKeys * kKeys; first < tile.key_end; first += kKeys) {
    wait_copies<T::kStages - 2>();
    __syncthreads();  // everybody's copies are there, and the stage before has been read
    copy_next(stage == 0 ? T::kStages - 1 : stage - 1);
    if (first < some_end && first + kKeys > some_begin) {
      const uint32_t at = stages + stage * T::kStageBytes;
      const bool masked = first < all_begin || first + kKeys > all_end;
      run_tile<kKeyDim, kValueDim>(w, first, masked, queries, at, at + T::kKeyBytes, &rows);
    }
    stage = stage + 1 == T::kStages ? 0 : stage + 1;
  }

#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float l = rows.l[t][half];
      l += __shfl_xor_sync(kAllLanes, l, 1);
      l += __shfl_xor_sync(kAllLanes, l, 2);
      const int r = (warp * kTiles + t) * 16 + lane / 4 + 8 * half;
      const Row row = row_of(w, tile, r);
      if (!row.live) continue;
      const float scale = finish_row(p, {rows.m[t][half], l}, row.token, row.head, lane % 4 == 0);
      const int64_t at = row.token * p.out_stride + row.head * kValueDim + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < kValueDim / 8; ++i) {
        store_out(p, at + i * 8, rows.acc[t][i][half * 2] * scale);
        store_out(p, at + i * 8 + 1, rows.acc[t][i][half * 2 + 1] * scale);
      }
    }
  }
}

// Whether the decode kernel could take short sequences.
bool decodes(const CudaExec& exec, const AttentionParams& p) {
  AttentionParams few = p;
  few.num_tokens = p.num_sequences;
  return kDecodeAttention.fits(exec, few);
}

int32_t shared_bytes(const AttentionParams& p) {
  if (p.kv.k_dim == 192) return Tuning<192, 128>::kSharedBytes;
  if (p.kv.v_dim == 64) return Tuning<64, 64>::kSharedBytes;
  return p.kv.v_dim == 128 ? Tuning<128, 128>::kSharedBytes : Tuning<256, 256>::kSharedBytes;
}

bool fits(const CudaExec& exec, const AttentionParams& p) {
  const bool dims = p.kv.k_dim == 192 ? p.kv.v_dim == 128
                                      : p.kv.k_dim == p.kv.v_dim &&
                                            (p.kv.v_dim == 64 || p.kv.v_dim == 128 ||
                                             p.kv.v_dim == 256);
  return p.numerics == Numerics::kFast && p.kv.format == Format::kBf16 && dims &&
         p.kv.block_size >= kWarpKeys && p.softmax_scale > 0 &&
         exec.max_shared_bytes >= shared_bytes(p);
}

// The short sequences' of a mixed batch.
int64_t workspace_bytes(const CudaExec& exec, const AttentionBounds& bounds) {
  return kDecodeAttention.workspace_bytes(exec, bounds);
}

template <int kKeyDim, int kValueDim>
void launch(const CudaExec& exec, const Prefill& w) {
  using T = Tuning<kKeyDim, kValueDim>;
  const int64_t tiles = most_tiles(w.p, w.group, T::kRows) * w.p.kv.num_kv_heads;
  allow_shared(prefill_kernel<kKeyDim, kValueDim>, T::kSharedBytes, "attention");
  prefill_kernel<kKeyDim, kValueDim><<<static_cast<unsigned>(tiles), kThreads, T::kSharedBytes,
                                       stream_of(exec)>>>(w);
  SLUICE_CHECK_LAUNCH("attention of ", w.p.num_tokens, " tokens, ", w.p.num_q_heads, " heads of ",
                      kKeyDim, " and ", kValueDim);
}

void run(const CudaExec& exec, const AttentionParams& p, void* workspace, int64_t bytes) {
  Prefill w{p, p.num_q_heads / p.kv.num_kv_heads, 0};
  // Of a batch with both, short sequences' keys are better shared out.
  const bool mixed = p.num_sequences > 1 && decodes(exec, p);
  if (mixed) {
    decode_attention(exec, p, kDecodeQueries, workspace, bytes);
    w.min_queries = kDecodeQueries + 1;
  }
  if (p.kv.k_dim == 192) return launch<192, 128>(exec, w);
  if (p.kv.v_dim == 64) return launch<64, 64>(exec, w);
  if (p.kv.v_dim == 128) return launch<128, 128>(exec, w);
  launch<256, 256>(exec, w);
}

}  // namespace

const AttentionVariant kPrefillMmaAttention{"prefill_mma", fits, workspace_bytes, run};

}  // namespace sluice::cuda
