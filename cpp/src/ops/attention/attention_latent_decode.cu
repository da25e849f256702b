// Decode of latent attention in bf16: keys of 576 columns whose first 512 are the values.
//
// A block walks its share of the batch's units (attention_schedule.h) with 16 rows: heads of a
// token, or of a few. A unit's 64 rows of the cache are copied to shared memory once, two units
// ahead, across the borders of items. For the scores each of eight warps takes 16 of the keys and
// half of the columns, with those of the queries in registers, and two warps add up their halves;
// for the weighted values each takes 64 of the columns. A spilled register would be read from L2:
// the unit's rows leave next to nothing of L1.
#include "ops/attention/attention_schedule.h"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kRows = 16;
constexpr int kKeyDim = 576;
constexpr int kValueDim = 512;
constexpr int kSteps = kKeyDim / 16 / 2;  // of a warp's half of a product of queries and keys
constexpr int kPieces = kKeyDim / 8;  // of 16 bytes in a row of the cache
constexpr int kWarpKeys = kUnitKeys / kWarps;
constexpr int kKeyGroups = kWarps / 2;  // of 16 keys; warps i and i + kKeyGroups share one
constexpr int kWarpCols = kValueDim / kWarps;
constexpr int kStages = 3;
constexpr int kStageBytes = kUnitKeys * kKeyDim * 2;
constexpr int kWeightStride = kUnitKeys + 8;  // so that 8 rows of a tile lie in all banks
constexpr int kQueryCols = 192;  // of queries on their way to registers
constexpr int kQueryBytes = kRows * kQueryCols * 2;  // then of halves of scores
static_assert(kQueryBytes >= kThreads * 16);
constexpr int kSharedBytes =
    kStages * kStageBytes + kQueryBytes + kRows * kWeightStride * 2 + kWarps * kRows * 4;

// Starts this warp's copies, of 8 rows of the cache, for a unit.
__device__ void copy_unit(const Shares& w, const Cursor& c, uint32_t stage) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t first = (c.work.first_unit + c.unit) * kUnitKeys + warp * kWarpKeys;
  const int32_t head = c.item % p.kv.num_kv_heads;
  const bool seen = first < c.work.key_end && first + kWarpKeys > c.work.key_begin;
  // All of them in one block of the cache.
  const int32_t block = seen ? table_of(p, c.work.sequence)[first / p.kv.block_size] : 0;
  const bool real = block >= 0 && block < p.kv.num_blocks;
  const char* rows = static_cast<const char*>(p.kv.v) +
                     (int64_t{head} * p.kv.block_size + (first & (p.kv.block_size - 1))) * kKeyDim * 2;
  if (real) rows += block * p.kv.v_block_stride;
  const uint32_t to_rows = stage + warp * kWarpKeys * kKeyDim * 2;
#pragma unroll
  for (int i = 0; i < kWarpKeys / 2 * kPieces / 32; ++i) {  // row r, and r + 4
    const int piece = lane + 32 * i, r = piece / kPieces;
    const uint32_t to = piece_offset(kKeyDim, r, piece % kPieces);
    const char* from = rows + piece * 16;
    const bool mine = first + r >= c.work.key_begin && first + r < c.work.key_end;
    const bool next = first + r + 4 >= c.work.key_begin && first + r + 4 < c.work.key_end;
    copy_async(to_rows + to, from, mine && real);
    copy_async(to_rows + (to ^ 64) + 4 * kKeyDim * 2, from + 4 * kKeyDim * 2, next && real);
  }
  if (!real) {  // visible, so an error of the caller's: NaN
    wait_all_copies();
    __syncwarp();  // another lane's copies may go where this one fills
    for (int i = lane; i < kWarpKeys * kPieces; i += 32) {
      fill_with_nan(to_rows + piece_offset(kKeyDim, i / kPieces, i % kPieces));
    }
  }
}

// A thread's part of the item: of rows lane / 4 and lane / 4 + 8 half of the queries' columns as
// operands of products, what they see, their softmax (l over the thread's own keys), and the weighted values of
// the warp's columns.
struct Item {
  uint32_t q[kSteps][4];
  int32_t begin[2], end[2];
  float m[2], l[2];
  float acc[kWarpCols / 8][4];
};

__device__ void start_item(const Shares& w, const Cursor& c, char* queries, Item* item) {
  const int lane = threadIdx.x % 32, second = threadIdx.x / 32 / kKeyGroups;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const ItemRow row = row_of(w, c, lane / 4 + 8 * half);
    const KeyRange keys = keys_of(w, c, row);
    item->begin[half] = static_cast<int32_t>(keys.begin);
    item->end[half] = static_cast<int32_t>(keys.end);
    item->m[half] = minus_infinity();
    item->l[half] = 0;
  }
#pragma unroll
  for (int part = 0; part < kKeyDim / kQueryCols; ++part) {
    load_queries<kKeyDim, kQueryCols, kRows, kThreads>(
        w.p, part * kQueryCols, [&](int r) { return row_of(w, c, r); }, queries);
    __syncthreads();
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int inside = second * kSteps + s - part * (kQueryCols / 16);
      if (inside >= 0 && inside < kQueryCols / 16) {
        load_matrix(item->q[s], shared_address(queries) +
                                    piece_offset(kQueryCols, lane % 16, inside * 2 + lane / 16));
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kWarpCols / 8; ++i) {
    for (int j = 0; j < 4; ++j) item->acc[i][j] = 0;
  }
}

__device__ void run_unit(const Shares& w, const Cursor& c, uint32_t stage, float4* halves,
                         __nv_bfloat16* weights, float* tops, Item* item) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int group = warp % kKeyGroups, second = warp / kKeyGroups;
  float parts[2][2][4] = {};  // of even and odd steps, of 8 keys and the next 8
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    // Tiles: keys 0 to 7 of columns 0 to 7 and 8 to 15, then keys 8 to 15 of them.
    uint32_t b[4];
    load_matrix(b, stage + piece_offset(kKeyDim, group * 16 + lane % 8 + lane / 16 * 8,
                                        (second * kSteps + step) * 2 + lane / 8 % 2));
    multiply_add(parts[step % 2][0], item->q[step], b[0], b[1]);
    multiply_add(parts[step % 2][1], item->q[step], b[2], b[3]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    parts[0][0][i] += parts[1][0][i];
    parts[0][1][i] += parts[1][1][i];
  }
  // The first warp of a pair goes on with the first 8 keys, the second with the others.
  float sums[4];
  float4 others;
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[i] = second == 0 ? parts[0][0][i] : parts[0][1][i];
  others.x = second == 0 ? parts[0][1][0] : parts[0][0][0];
  others.y = second == 0 ? parts[0][1][1] : parts[0][0][1];
  others.z = second == 0 ? parts[0][1][2] : parts[0][0][2];
  others.w = second == 0 ? parts[0][1][3] : parts[0][0][3];
  halves[(warp ^ kKeyGroups) * 32 + lane] = others;
  __syncthreads();
  others = halves[threadIdx.x];
  sums[0] += others.x;
  sums[1] += others.y;
  sums[2] += others.z;
  sums[3] += others.w;
  const int column = group * 16 + second * 8 + lane % 4 * 2;  // of the unit's keys
  const int32_t first = (c.work.first_unit + c.unit) * kUnitKeys + column;
  float s[4];
  float top[2] = {minus_infinity(), minus_infinity()};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t key = first + i % 2;
    s[i] = exponent_of(w.p, sums[i]);
    if (key < item->begin[i / 2] || key >= item->end[i / 2]) s[i] = minus_infinity();
    top[i / 2] = fmaxf(top[i / 2], s[i]);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    top[half] = fmaxf(top[half], __shfl_xor_sync(kAllLanes, top[half], 1));
    top[half] = fmaxf(top[half], __shfl_xor_sync(kAllLanes, top[half], 2));
    if (lane % 4 == 0) tops[warp * kRows + lane / 4 + 8 * half] = top[half];
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    float m = item->m[half];
#pragma unroll
    for (int i = 0; i < kWarps; ++i) {
      const float other = tops[i * kRows + row];
      m = m < other ? other : m;
    }
    const float base = safe_max(m);
    const float correction = power_of_two(item->m[half] - base);
    const float e0 = power_of_two(s[half * 2] - base), e1 = power_of_two(s[half * 2 + 1] - base);
    *reinterpret_cast<uint32_t*>(weights + row * kWeightStride + column) = pack_bf16(e0, e1);
    item->l[half] = item->l[half] * correction + (e0 + e1);
    if (__any_sync(kAllLanes, m != item->m[half])) {
#pragma unroll
      for (int i = 0; i < kWarpCols / 8; ++i) {
        item->acc[i][half * 2] *= correction;
        item->acc[i][half * 2 + 1] *= correction;
      }
    }
    item->m[half] = m;
  }
  __syncthreads();
#pragma unroll
  for (int step = 0; step < kUnitKeys / 16; ++step) {
    uint32_t a[4];
    load_matrix(a, shared_address(weights + lane % 16 * kWeightStride + step * 16 + lane / 16 * 8));
#pragma unroll
    for (int i = 0; i < kWarpCols / 16; ++i) {
      // Tiles: keys 0 to 7 and 8 to 15 of 8 columns, then of the next 8.
      uint32_t b[4];
      load_matrix_transposed(
          b, stage + piece_offset(kKeyDim, step * 16 + lane % 16,
                                  warp * kWarpCols / 8 + i * 2 + lane / 16));
      multiply_add(item->acc[2 * i], a, b[0], b[1]);
      multiply_add(item->acc[2 * i + 1], a, b[2], b[3]);
    }
  }
}

// Writes the item's rows, or its state where other blocks have a part of it.
__device__ void end_item(const Shares& w, const Cursor& c, bool whole, int32_t slot, Item* item,
                         float* sums) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    item->l[half] += __shfl_xor_sync(kAllLanes, item->l[half], 1);
    item->l[half] += __shfl_xor_sync(kAllLanes, item->l[half], 2);
    if (lane % 4 == 0) sums[warp * kRows + lane / 4 + 8 * half] = item->l[half];
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = lane / 4 + 8 * half;
    const ItemRow row = row_of(w, c, r);
    if (!row.live) continue;
    SpanState all{item->m[half], 0};
    for (int i = 0; i < kWarps; ++i) all.l += sums[i * kRows + r];
    const bool writes = warp == 0 && lane % 4 == 0;
    const int col = warp * kWarpCols + lane % 4 * 2;
    if (whole) {
      const float scale = finish_row(p, all, row.token, row.head, writes);
      const int64_t at = row.token * p.out_stride + row.head * kValueDim + col;
#pragma unroll
      for (int i = 0; i < kWarpCols / 8; ++i) {
        store_out(p, at + i * 8, item->acc[i][half * 2] * scale);
        store_out(p, at + i * 8 + 1, item->acc[i][half * 2 + 1] * scale);
      }
    } else {
      float* to = state_of(w, static_cast<int32_t>(blockIdx.x), slot, r);
      if (writes) {
        to[0] = all.m;
        to[1] = all.l;
      }
#pragma unroll
      for (int i = 0; i < kWarpCols / 8; ++i) {
        *reinterpret_cast<float2*>(to + 4 + col + i * 8) =
            make_float2(item->acc[i][half * 2], item->acc[i][half * 2 + 1]);
      }
    }
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads, 1)
    latent_decode_kernel(const __grid_constant__ Shares w) {
  extern __shared__ uint4 shared[];
  char* const bytes = reinterpret_cast<char*>(shared);
  char* const queries = bytes + kStages * kStageBytes;
  auto* const weights = reinterpret_cast<__nv_bfloat16*>(queries + kQueryBytes);
  auto* const tops = reinterpret_cast<float*>(weights + kRows * kWeightStride);
  const uint32_t stages = shared_address(bytes);

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
      copy_unit(w, ahead, stages + stage * kStageBytes);
      copies_left = ahead.next() < end;
      if (copies_left) advance(w, &ahead);
    }
    commit_copies();
  };
  for (int i = 0; i < kStages - 1; ++i) copy_next(i);

  Item item;
  bool began_before = at.unit > 0;
  start_item(w, at, queries, &item);
  int stage = 0;
  for (bool last = false; !last;) {
    wait_copies<kStages - 2>();
    __syncthreads();  // every warp's copies are there, and the stage before has been read
    copy_next(stage == 0 ? kStages - 1 : stage - 1);
    run_unit(w, at, stages + stage * kStageBytes, reinterpret_cast<float4*>(queries), weights, tops,
             &item);
    stage = stage + 1 == kStages ? 0 : stage + 1;
    last = at.next() >= end;
    if (!last && !at.ends_item()) {
      advance(w, &at);
      continue;
    }
    end_item(w, at, at.ends_item() && !began_before, began_before ? 0 : 1, &item, tops);
    if (last) break;
    advance(w, &at);
    began_before = false;
    start_item(w, at, queries, &item);
  }
}

bool fits(const CudaExec& exec, const AttentionParams& p) {
  return p.numerics == Numerics::kFast && p.kv.format == Format::kBf16 && p.kv.k_dim == 0 &&
         p.kv.v_dim == kKeyDim && p.value_dim == kValueDim && p.kv.block_size >= kWarpKeys &&
         exec.max_shared_bytes >= kSharedBytes;
}

int64_t workspace_bytes(const CudaExec& exec, const AttentionBounds& bounds) {
  if (bounds.k_dim != kKeyDim || bounds.v_dim != kValueDim) return 0;
  return shares_bytes(exec.num_sms, kRows, kValueDim);
}

void run(const CudaExec& exec, const AttentionParams& p, void* workspace, int64_t bytes) {
  Shares w;
  w.p = p;
  w.group = p.num_q_heads / p.kv.num_kv_heads;
  w.tile_rows = kRows;
  w.max_queries = INT32_MAX;
  w.min_units = 1;
  w.num_blocks = exec.num_sms;
  w.states = static_cast<float*>(workspace);
  w.state_floats = attention_state_floats(kValueDim);
  check_attention_workspace(workspace, bytes, shares_bytes(w.num_blocks, kRows, kValueDim));
  allow_shared(latent_decode_kernel, kSharedBytes, "attention");
  launch_overlapped(exec, latent_decode_kernel, static_cast<unsigned>(w.num_blocks), kThreads,
                    kSharedBytes, w);
  SLUICE_CHECK_LAUNCH("attention of ", p.num_tokens, " tokens, ", p.num_q_heads,
                      " heads over latents");
  combine_shares(exec, w);
}

}  // namespace

const AttentionVariant kLatentDecodeAttention{"latent_decode", fits, workspace_bytes, run};

}  // namespace sluice::cuda
