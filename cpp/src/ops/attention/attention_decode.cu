// Decode over keys and values of 64, 128 or 256 columns in bf16, for any group of query heads.
//
// A block walks its share of the batch's units (attention_schedule.h) with 16 rows: the group's
// heads of one token, or of a few drafted ones. Its four warps go their own ways, each through 16
// of a unit's 64 keys: it copies them to its own shared memory some units ahead, across the borders
// of items, and keeps a softmax of its own; so nothing but memory holds it up. At the end of an
// item the warps' states are added in order. What a row's bits are depends on where the shares cut
// its keys, that is on the whole batch.
#include "ops/attention/attention_schedule.h"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kRows = 16;
constexpr int kWarpKeys = kUnitKeys / kWarps;

template <int kDim>
struct Tuning {
  static constexpr int kPieces = kDim / 8;                        // of 16 bytes in a row
  static constexpr int kTileBytes = kWarpKeys * kDim * 2;         // keys, or values, of a warp
  static constexpr int kStages = 3;
  static constexpr int kBlocksPerSm = 256 / kDim;
  static constexpr int kCopyBytes = kWarps * kStages * 2 * kTileBytes;
  static constexpr int kSharedBytes = kCopyBytes + kRows * kDim * 4 + kWarps * kRows * 8;
};

// Starts the copies of a warp's keys and values of a unit.
template <int kDim>
__device__ void copy_unit(const Shares& w, const Cursor& c, uint32_t keys, uint32_t values) {
  using T = Tuning<kDim>;
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t first = (c.work.first_unit + c.unit) * kUnitKeys + warp * kWarpKeys;
  const int32_t head = c.item % p.kv.num_kv_heads;
  if (first >= c.work.key_end || first + kWarpKeys <= c.work.key_begin) return;
  // All of them in one block.
  const int32_t block = table_of(p, c.work.sequence)[first / p.kv.block_size];
  const bool real = block >= 0 && block < p.kv.num_blocks;
  const int64_t row = int64_t{head} * p.kv.block_size + (first & (p.kv.block_size - 1));
  const char* k = static_cast<const char*>(p.kv.k) + row * kDim * 2;
  const char* v = static_cast<const char*>(p.kv.v) + row * kDim * 2;
  if (real) {
    k += block * p.kv.k_block_stride;
    v += block * p.kv.v_block_stride;
  }
#pragma unroll
  for (int i = 0; i < kWarpKeys * T::kPieces / 32; ++i) {
    const int piece = lane + 32 * i, r = piece / T::kPieces;
    const uint32_t to = piece_offset(kDim, r, piece % T::kPieces);
    const bool seen = first + r >= c.work.key_begin && first + r < c.work.key_end;
    copy_async(keys + to, k + piece * 16, seen && real);
    copy_async(values + to, v + piece * 16, seen && real);
  }
  if (!real) {  // visible, so an error of the caller's: NaN
    wait_all_copies();
    for (int i = 0; i < kWarpKeys * T::kPieces / 32; ++i) {
      const int piece = lane + 32 * i;
      fill_with_nan(keys + piece_offset(kDim, piece / T::kPieces, piece % T::kPieces));
    }
  }
}

// A thread's part of the item: rows lane / 4 and lane / 4 + 8 of queries as operands of products,
// what these rows see, and their softmax over the warp's keys.
template <int kDim>
struct Item {
  uint32_t q[kDim / 16][4];
  int32_t begin[2], end[2];
  float m[2], l[2];
  float acc[kDim / 8][4];
};

template <int kDim>
__device__ void start_item(const Shares& w, const Cursor& c, char* queries, Item<kDim>* item) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const ItemRow row = row_of(w, c, lane / 4 + 8 * half);
    const KeyRange keys = keys_of(w, c, row);
    item->begin[half] = static_cast<int32_t>(keys.begin);
    item->end[half] = static_cast<int32_t>(keys.end);
    item->m[half] = minus_infinity();
    item->l[half] = 0;
  }
  load_queries<kDim, kDim, kRows, kThreads>(
      p, 0, [&](int r) { return row_of(w, c, r); }, queries);
  __syncthreads();
#pragma unroll
  for (int s = 0; s < kDim / 16; ++s) {
    load_matrix(item->q[s],
                shared_address(queries) + piece_offset(kDim, lane % 16, s * 2 + lane / 16));
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kDim / 8; ++i) {
    for (int j = 0; j < 4; ++j) item->acc[i][j] = 0;
  }
}

// The warp's keys of a unit: scores, softmax, weighted values.
template <int kDim>
__device__ void run_unit(const Shares& w, const Cursor& c, uint32_t keys, uint32_t values,
                         Item<kDim>* item) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t first = (c.work.first_unit + c.unit) * kUnitKeys + warp * kWarpKeys;
  if (first >= c.work.key_end || first + kWarpKeys <= c.work.key_begin) return;
  float s[2][4] = {};
#pragma unroll
  for (int step = 0; step < kDim / 16; ++step) {
    // Tiles: keys 0 to 7 of columns 0 to 7 and 8 to 15, then keys 8 to 15 of them.
    uint32_t b[4];
    load_matrix(b, keys + piece_offset(kDim, lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
    multiply_add(s[0], item->q[step], b[0], b[1]);
    multiply_add(s[1], item->q[step], b[2], b[3]);
  }
  uint32_t weights[4];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = minus_infinity();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float& x = s[i / 2][half * 2 + i % 2];
      const int32_t key = first + i / 2 * 8 + lane % 4 * 2 + i % 2;
      x = exponent_of(p, x);
      if (key < item->begin[half] || key >= item->end[half]) x = minus_infinity();
      top = fmaxf(top, x);
    }
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
    const float m = item->m[half] < top ? top : item->m[half];
    const float base = safe_max(m);
    const float correction = power_of_two(item->m[half] - base);
    if (__any_sync(kAllLanes, m != item->m[half])) {
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        item->acc[i][half * 2] *= correction;
        item->acc[i][half * 2 + 1] *= correction;
      }
    }
    float sum = 0;
    float e[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      e[i] = power_of_two(s[i / 2][half * 2 + i % 2] - base);
      sum += e[i];
    }
    weights[half] = pack_bf16(e[0], e[1]);
    weights[half + 2] = pack_bf16(e[2], e[3]);
    item->l[half] = item->l[half] * correction + sum;
    item->m[half] = m;
  }
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i) {
    // Tiles: keys 0 to 7 and 8 to 15 of 8 columns, then of the next 8.
    uint32_t b[4];
    load_matrix_transposed(b, values + piece_offset(kDim, lane % 16, i * 2 + lane / 16));
    multiply_add(item->acc[2 * i], weights, b[0], b[1]);
    multiply_add(item->acc[2 * i + 1], weights, b[2], b[3]);
  }
}

// Adds the warps' states and writes the item's rows, or its state where other blocks have a part.
template <int kDim>
__device__ void end_item(const Shares& w, const Cursor& c, bool whole, int32_t slot,
                         Item<kDim>* item, float* sums, SpanState* states) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    item->l[half] += __shfl_xor_sync(kAllLanes, item->l[half], 1);
    item->l[half] += __shfl_xor_sync(kAllLanes, item->l[half], 2);
    if (lane % 4 == 0) {
      states[warp * kRows + lane / 4 + 8 * half] = {item->m[half], item->l[half]};
    }
  }
  __syncthreads();
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float m = minus_infinity();
    for (int i = 0; i < kWarps; ++i) m = fmaxf(m, states[i * kRows + lane / 4 + 8 * half].m);
    factor[half] = power_of_two(item->m[half] - safe_max(m));
  }
  for (int turn = 0; turn < kWarps; ++turn) {
    if (turn == warp) {
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float2* to = reinterpret_cast<float2*>(sums + (lane / 4 + 8 * half) * kDim + i * 8 +
                                                 lane % 4 * 2);
          float2 sum = turn == 0 ? make_float2(0, 0) : *to;
          sum.x += item->acc[i][half * 2] * factor[half];
          sum.y += item->acc[i][half * 2 + 1] * factor[half];
          *to = sum;
        }
      }
    }
    __syncthreads();
  }
  for (int r = warp; r < kRows; r += kWarps) {
    const ItemRow row = row_of(w, c, r);
    if (!row.live) continue;
    SpanState all{minus_infinity(), 0};
    for (int i = 0; i < kWarps; ++i) all.m = fmaxf(all.m, states[i * kRows + r].m);
    for (int i = 0; i < kWarps; ++i) {
      const SpanState state = states[i * kRows + r];
      all.l += state.l * power_of_two(state.m - safe_max(all.m));
    }
    if (whole) {
      const float scale = finish_row(p, all, row.token, row.head, lane == 0);
      const int64_t at = row.token * p.out_stride + row.head * kDim;
      for (int col = lane; col < kDim; col += 32) {
        store_out(p, at + col, sums[r * kDim + col] * scale);
      }
    } else {
      float* to = state_of(w, static_cast<int32_t>(blockIdx.x), slot, r);
      if (lane == 0) {
        to[0] = all.m;
        to[1] = all.l;
      }
      for (int col = lane; col < kDim; col += 32) to[4 + col] = sums[r * kDim + col];
    }
  }
  __syncthreads();
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, Tuning<kDim>::kBlocksPerSm)
    decode_kernel(const __grid_constant__ Shares w) {
  using T = Tuning<kDim>;
  extern __shared__ uint4 shared[];
  char* const bytes = reinterpret_cast<char*>(shared);
  float* const sums = reinterpret_cast<float*>(bytes + T::kCopyBytes);
  SpanState* const states = reinterpret_cast<SpanState*>(sums + kRows * kDim);
  const uint32_t copies =
      shared_address(bytes) + threadIdx.x / 32 * T::kStages * 2 * T::kTileBytes;
  const auto stage_at = [copies](int stage) { return copies + stage * 2 * T::kTileBytes; };

  await_kernel_before();
  start_next_kernel();  // not earlier: combine_shares() reads lengths before it waits
  const int32_t length = length_before(w, w.p.num_sequences);
  const int32_t blocks = blocks_with_share(w, length);
  const auto block = static_cast<int32_t>(blockIdx.x);
  if (block >= blocks) return;
  const int32_t end = share_begin(block + 1, length, blocks);
  Cursor at = cursor_at(w, share_begin(block, length, blocks));
  if (at.place >= end) return;

  Cursor ahead = at;
  bool copies_left = true;
  const auto copy_next = [&](int stage) {
    if (copies_left) {
      copy_unit<kDim>(w, ahead, stage_at(stage), stage_at(stage) + T::kTileBytes);
      copies_left = ahead.next() < end;
      if (copies_left) advance(w, &ahead);
    }
    commit_copies();
  };
  for (int i = 0; i < T::kStages - 1; ++i) copy_next(i);

  Item<kDim> item;
  bool began_before = at.unit > 0;
  start_item(w, at, reinterpret_cast<char*>(sums), &item);
  int stage = 0;
  for (bool last = false; !last;) {
    __syncwarp();  // the stage that is filled next has been read
    copy_next(stage == 0 ? T::kStages - 1 : stage - 1);
    wait_copies<T::kStages - 1>();
    __syncwarp();
    run_unit<kDim>(w, at, stage_at(stage), stage_at(stage) + T::kTileBytes, &item);
    stage = stage + 1 == T::kStages ? 0 : stage + 1;
    last = at.next() >= end;
    if (!last && !at.ends_item()) {
      advance(w, &at);
      continue;
    }
    end_item<kDim>(w, at, at.ends_item() && !began_before, began_before ? 0 : 1, &item, sums,
                     states);
    if (last) break;
    advance(w, &at);
    began_before = false;
    start_item(w, at, reinterpret_cast<char*>(sums), &item);
  }
}

int32_t grid_blocks(const CudaExec& exec, int32_t dim) {
  return exec.num_sms * (256 / dim);
}

int32_t shared_bytes(int32_t dim) {
  return dim == 64    ? Tuning<64>::kSharedBytes
         : dim == 128 ? Tuning<128>::kSharedBytes
                      : Tuning<256>::kSharedBytes;
}

bool fits(const CudaExec& exec, const AttentionParams& p) {
  return p.numerics == Numerics::kFast && p.kv.format == Format::kBf16 &&
         p.kv.k_dim == p.kv.v_dim &&
         (p.kv.v_dim == 64 || p.kv.v_dim == 128 || p.kv.v_dim == 256) &&
         p.kv.block_size >= kDecodeBlockSize && exec.max_shared_bytes >= shared_bytes(p.kv.v_dim) &&
         p.num_tokens <= int64_t{kDecodeQueries} * p.num_sequences;
}

int64_t workspace_bytes(const CudaExec& exec, const AttentionBounds& bounds) {
  const bool has = bounds.v_dim == 64 || bounds.v_dim == 128 || bounds.v_dim == 256;
  return has ? shares_bytes(grid_blocks(exec, bounds.v_dim), kRows, bounds.v_dim) : 0;
}

template <int kDim>
void launch(const CudaExec& exec, const Shares& w) {
  constexpr int kBytes = Tuning<kDim>::kSharedBytes;
  allow_shared(decode_kernel<kDim>, kBytes, "attention");
  launch_overlapped(exec, decode_kernel<kDim>, static_cast<unsigned>(w.num_blocks), kThreads, kBytes,
                    w);
  SLUICE_CHECK_LAUNCH("attention of ", w.p.num_tokens, " tokens, ", w.p.num_q_heads, " heads of ",
                      kDim);
}

void run(const CudaExec& exec, const AttentionParams& p, void* workspace, int64_t bytes) {
  decode_attention(exec, p, INT32_MAX, workspace, bytes);
}

}  // namespace

static_assert(kDecodeBlockSize == kWarpKeys);

void decode_attention(const CudaExec& exec, const AttentionParams& p, int32_t max_queries,
                      void* workspace, int64_t bytes) {
  Shares w;
  w.p = p;
  w.group = p.num_q_heads / p.kv.num_kv_heads;
  w.tile_rows = kRows;
  w.max_queries = max_queries;
  w.min_units = 2;
  w.num_blocks = grid_blocks(exec, p.kv.v_dim);
  w.states = static_cast<float*>(workspace);
  w.state_floats = attention_state_floats(p.kv.v_dim);
  check_attention_workspace(workspace, bytes,
                            shares_bytes(w.num_blocks, kRows, p.kv.v_dim));
  switch (p.kv.v_dim) {
    case 64: launch<64>(exec, w); break;
    case 128: launch<128>(exec, w); break;
    default: launch<256>(exec, w); break;
  }
  combine_shares(exec, w);
}

const AttentionVariant kDecodeAttention{"decode", fits, workspace_bytes, run};

}  // namespace sluice::cuda
