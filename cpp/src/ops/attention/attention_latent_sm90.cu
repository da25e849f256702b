// Decode attention over latents (576 columns, 512 of them values) on Hopper: the keys' products are
// turned around, so that 64 keys, not 16 heads, fill the rows of the matrix units:
// scores^T = keys queries^T, out^T = values^T weights^T, and nothing is multiplied for padding.
// One warp brings tiles of 64 latents by the bulk tensor copy engine, each read from memory once; two
// warpgroups both compute all scores of a tile, which is less work than handing them over, and each
// the values of its half of the columns.
//
// Blocks have equal shares of the batch's keys (attention_schedule.h).
#include "ops/attention/attention_schedule.h"
#include "ops/cuda/sm90.h"
#include "ops/cuda/tensor_map.h"

namespace sluice::cuda {
namespace {

constexpr int kKeyDim = 576, kValueDim = 512;
constexpr int kHeads = 16;  // rows of an item
constexpr int kStages = 2;
constexpr int kConsumers = 256, kThreads = kConsumers + 32;
constexpr int kChunks = kKeyDim / 64;
constexpr int kTiles = kValueDim / 2 / 64;  // of 64 columns, of a warpgroup

struct LatentShared {
  // Chunks of 64 columns, each [rows][64] in the 128-byte swizzle.
  alignas(1024) __nv_bfloat16 latents[kStages][kUnitKeys * kKeyDim];
  alignas(1024) __nv_bfloat16 queries[kHeads * kKeyDim];
  alignas(1024) __nv_bfloat16 weights[2][kHeads * kUnitKeys];
  uint64_t full[kStages], empty[kStages];
  float tops[2][2][4][kHeads];  // of each warpgroup, by turns, of its warps
};

__device__ inline void consumers_sync() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

__device__ void bring_units(LatentShared& s, const CUtensorMap& map, const Shares& w, Cursor at,
                            int32_t end) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x % 32;
  const int box = min(p.kv.block_size, kUnitKeys), boxes = kUnitKeys / box;
  int stage = 0;
  uint32_t phase = 0;
  while (true) {
    const int32_t* table = table_of(p, at.work.sequence);
    const int kv_head = at.item % p.kv.num_kv_heads;
    const int first = (at.work.first_unit + at.unit) * kUnitKeys;
    barrier_wait(&s.empty[stage], phase ^ 1);
    if (lane == 0) barrier_expect(&s.full[stage], kUnitKeys * kKeyDim * 2);
    __syncwarp();
    for (int i = lane; i < boxes * kChunks; i += 32) {
      const int part = i / kChunks, chunk = i % kChunks, key = first + part * box;
      // A block beyond the tensor gives zeros: nothing that no query sees is read.
      int block = static_cast<int>(p.kv.num_blocks), offset = 0;
      if (key < at.work.key_end && key + box > at.work.key_begin) {
        block = table[key / p.kv.block_size];
        offset = key % p.kv.block_size;
      }
      copy_box(s.latents[stage] + (chunk * kUnitKeys + part * box) * 64, &map, &s.full[stage],
               chunk * 64, offset, kv_head, block);
    }
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
    if (at.next() >= end) return;
    advance(w, &at);
  }
}

// One thread's part of an item: of scores the keys lane / 4 and lane / 4 + 8 of its warp's 16, of
// values the same of columns; of both the heads 2 (lane % 4), + 1, + 8 and + 9.
class Item {
 public:
  __device__ Item(LatentShared& s, const Shares& w, int warpgroup)
      : s_(s), w_(w), me_(warpgroup), scale_(w.p.softmax_scale * kLog2E) {}

  __device__ void begin(const Cursor& c) {
    consumers_sync();  // the products of the item before have read the queries
    load_queries(c);
    shared_fence();
    consumers_sync();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const KeyRange keys = keys_of(w_, c, row_of(w_, c, head_of(i)));
      begin_[i] = static_cast<int32_t>(keys.begin);
      end_[i] = static_cast<int32_t>(keys.end);
      top_[i] = minus_infinity();
      sum_[i] = 0;
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 8; ++i) out_[t][i] = 0;
    }
  }

  __device__ void run_unit(const Cursor& c, int stage) {
    const int first = (c.work.first_unit + c.unit) * kUnitKeys;
    clear_unseen(c, first, stage);
    float scores[8];
    product_fence();
#pragma unroll
    for (int i = 0; i < kKeyDim / 16; ++i) {
      product_64x16(scores, operand_descriptor(s_.latents[stage] + i / 4 * kUnitKeys * 64) + i % 4 * 2,
                    operand_descriptor(s_.queries + i / 4 * kHeads * 64) + i % 4 * 2, i > 0);
    }
    product_commit();
    product_wait<0>();
    softmax(first, scores);
    shared_fence();
    warpgroup_sync(me_);  // the weights of all warps are there
    product_fence();
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const auto* values = s_.latents[stage] + (me_ * kTiles + t) * kUnitKeys * 64;
#pragma unroll
      for (int i = 0; i < kUnitKeys / 16; ++i) {
        product_64x16_columns(out_[t], column_descriptor(values, kUnitKeys * 128) + i * 128,
                              operand_descriptor(s_.weights[me_]) + i * 2, 1);
      }
    }
    product_commit();
    product_wait<0>();
  }

  // Writes the output of an item that is whole, else its state.
  __device__ void end(const Cursor& c, bool whole, int32_t slot) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    float* sums = &s_.tops[me_][turn_][0][0];
    turn_ ^= 1;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float sum = sum_[i];
      for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
      if (lane < 4) sums[warp * kHeads + head_of(i)] = sum;
    }
    warpgroup_sync(me_);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = head_of(i);
      float sum = 0;
      for (int other = 0; other < 4; ++other) sum += sums[other * kHeads + head];
      const ItemRow row = row_of(w_, c, head);
      if (!row.live) continue;
      const bool first = me_ == 0 && warp == 0 && lane < 4;
      const int column = me_ * kTiles * 64 + warp * 16 + lane / 4;
      if (whole) {
        const float scale = finish_row(w_.p, {top_[i], sum}, row.token, row.head, first);
        const int64_t at = row.token * w_.p.out_stride + row.head * kValueDim + column;
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          store_out(w_.p, at + t * 64, out_[t][element(i, 0)] * scale);
          store_out(w_.p, at + t * 64 + 8, out_[t][element(i, 1)] * scale);
        }
      } else {
        float* state = state_of(w_, static_cast<int32_t>(blockIdx.x), slot, head);
        if (first) {
          state[0] = top_[i];
          state[1] = sum;
        }
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          state[4 + column + t * 64] = out_[t][element(i, 0)];
          state[4 + column + t * 64 + 8] = out_[t][element(i, 1)];
        }
      }
    }
  }

 private:
  // The thread's i-th head, and where its sums lie: `upper` for the row 8 further.
  __device__ static int head_of(int i) { return i / 2 * 8 + threadIdx.x % 4 * 2 + i % 2; }
  __device__ static constexpr int element(int i, int upper) { return i / 2 * 4 + upper * 2 + i % 2; }

  // Rounded, in the swizzle that the products read.
  __device__ void load_queries(const Cursor& c) {
    const AttentionParams& p = w_.p;
    auto* to = reinterpret_cast<uint8_t*>(s_.queries);
#pragma unroll 3
    for (int i = threadIdx.x; i < kHeads * kKeyDim / 8; i += kConsumers) {
      const int head = i / (kKeyDim / 8), col = i % (kKeyDim / 8) * 8;
      const ItemRow row = row_of(w_, c, head);
      uint4 eight = make_uint4(0, 0, 0, 0);
      if (row.live) {
        const int64_t at = row.token * p.q_stride + row.head * kKeyDim + col;
        eight = load_eight(p, at);
      }
      *reinterpret_cast<uint4*>(to + col / 64 * kHeads * 128 + swizzled(head, col % 64)) = eight;
    }
  }

  // Latents that no query sees belong to nobody and may be NaN, which a weight of zero would not
  // remove. Each warpgroup clears the columns that it takes as values.
  __device__ void clear_unseen(const Cursor& c, int first, int stage) {
    if (first + kUnitKeys <= c.work.key_end && first >= c.work.key_begin) return;
    auto* latents = reinterpret_cast<uint8_t*>(s_.latents[stage]) + me_ * kTiles * kUnitKeys * 128;
    for (int i = threadIdx.x % 128; i < kTiles * kUnitKeys * 8; i += 128) {
      const int chunk = i / (kUnitKeys * 8), key = i / 8 % kUnitKeys, piece = i % 8;
      if (first + key < c.work.key_end && first + key >= c.work.key_begin) continue;
      *reinterpret_cast<uint4*>(latents + (chunk * kUnitKeys + key) * 128 + piece * 16) =
          make_uint4(0, 0, 0, 0);
    }
    shared_fence();
    warpgroup_sync(me_);
  }

  // Scores become rounded weights in shared memory; what was summed before shrinks with the top.
  __device__ void softmax(int first, float (&scores)[8]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const int key = warp * 16 + lane / 4;
    float(&tops)[4][kHeads] = s_.tops[me_][turn_];
    turn_ ^= 1;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float top = minus_infinity();
#pragma unroll
      for (int upper = 0; upper < 2; ++upper) {
        const int at = first + key + 8 * upper;
        float& score = scores[element(i, upper)];
        score = at < end_[i] && at >= begin_[i] ? score * scale_ : minus_infinity();
        top = fmaxf(top, score);
      }
      for (int step = 4; step < 32; step *= 2) {
        top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, step));
      }
      if (lane < 4) tops[warp][head_of(i)] = top;
    }
    warpgroup_sync(me_);
    auto* weights = reinterpret_cast<uint8_t*>(s_.weights[me_]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = head_of(i);
      float top = top_[i];
#pragma unroll
      for (int other = 0; other < 4; ++other) top = fmaxf(top, tops[other][head]);
      const float base = safe_max(top);
      const float shrink = power_of_two(top_[i] - base);
      top_[i] = top;
      float sum = 0;
#pragma unroll
      for (int upper = 0; upper < 2; ++upper) {
        const float weight = power_of_two(scores[element(i, upper)] - base);
        sum += weight;
        *reinterpret_cast<__nv_bfloat16*>(weights + swizzled(head, key + 8 * upper)) =
            __float2bfloat16_rn(weight);
      }
      sum_[i] = sum_[i] * shrink + sum;
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        out_[t][element(i, 0)] *= shrink;
        out_[t][element(i, 1)] *= shrink;
      }
    }
  }

  LatentShared& s_;
  const Shares& w_;
  const int me_;
  const float scale_;  // of scores, for powers of two
  int turn_ = 0;
  int32_t begin_[4], end_[4];  // keys that each head's row sees
  float top_[4], sum_[4];      // the largest score of the item; this thread's part of the sum
  float out_[kTiles][8];
};

__global__ void __launch_bounds__(kThreads, 1)
    latent_kernel(const __grid_constant__ CUtensorMap map, const __grid_constant__ Shares w) {
  extern __shared__ uint8_t raw[];
  auto& s = *reinterpret_cast<LatentShared*>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                             ~uintptr_t{1023});
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&s.full[i], 1);
      barrier_init(&s.empty[i], 2);
    }
    barrier_init_fence();
    prefetch_map(&map);
  }
  __syncthreads();
  await_kernel_before();
  start_next_kernel();  // not earlier: combine_shares() reads lengths before it waits
  const int32_t length = length_before(w, w.p.num_sequences);
  const int32_t blocks = blocks_with_share(w, length);
  const auto block = static_cast<int32_t>(blockIdx.x);
  if (block >= blocks) return;
  const int32_t end = share_begin(block + 1, length, blocks);
  Cursor at = cursor_at(w, share_begin(block, length, blocks));
  if (at.place >= end) return;
  if (threadIdx.x >= kConsumers) return bring_units(s, map, w, at, end);

  const int me = threadIdx.x / 128;
  Item item(s, w, me);
  bool began_before = at.unit > 0;
  item.begin(at);
  int stage = 0;
  uint32_t phase = 0;
  while (true) {
    barrier_wait(&s.full[stage], phase);
    item.run_unit(at, stage);
    if (threadIdx.x % 128 == 0) barrier_arrive(&s.empty[stage]);
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
    const bool last = at.next() >= end;
    if (!last && !at.ends_item()) {
      advance(w, &at);
      continue;
    }
    item.end(at, at.ends_item() && !began_before, began_before ? 0 : 1);
    if (last) return;
    advance(w, &at);
    began_before = false;
    item.begin(at);
  }
}

bool fits(const CudaExec& exec, const AttentionParams& p) {
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  return exec.has_sm90a() && p.numerics == Numerics::kFast && p.kv.format == Format::kBf16 &&
         p.kv.k_dim == 0 && p.kv.v_dim == kKeyDim && p.value_dim == kValueDim &&
         p.kv.block_size >= 8 && p.kv.num_blocks < INT32_MAX && p.soft_cap == 0 && aligned(p.q) &&
         p.q_stride % 8 == 0;
}

int64_t workspace_bytes(const CudaExec& exec, const AttentionBounds& bounds) {
  if (bounds.k_dim != kKeyDim || bounds.v_dim != kValueDim) return 0;
  return shares_bytes(exec.num_sms, kHeads, kValueDim);
}

void run(const CudaExec& exec, const AttentionParams& p, void* workspace, int64_t bytes) {
  Shares w;
  w.p = p;
  w.group = p.num_q_heads / p.kv.num_kv_heads;
  w.tile_rows = kHeads;
  w.max_queries = INT32_MAX;
  w.num_blocks = exec.num_sms;
  w.states = static_cast<float*>(workspace);
  w.state_floats = attention_state_floats(kValueDim);
  check_attention_workspace(workspace, bytes, shares_bytes(w.num_blocks, kHeads, kValueDim));
  const KvCacheView& kv = p.kv;
  const CUtensorMap map =
      tensor_map(kv.v, {kKeyDim, kv.block_size, kv.num_kv_heads, kv.num_blocks},
                 {kKeyDim * 2, kKeyDim * 2 * int64_t{kv.block_size}, kv.v_block_stride},
                 {64, std::min(kv.block_size, kUnitKeys), 1, 1});
  constexpr int kBytes = sizeof(LatentShared) + 1024;
  allow_shared(latent_kernel, kBytes, "attention");
  launch_overlapped(exec, latent_kernel, static_cast<unsigned>(w.num_blocks), kThreads, kBytes, map,
                    w);
  SLUICE_CHECK_LAUNCH("attention of ", p.num_tokens, " tokens, ", p.num_q_heads,
                      " heads over latents");
  combine_shares(exec, w);
}

}  // namespace

const AttentionVariant kLatentSm90Attention{"latent_sm90", fits, workspace_bytes, run};

}  // namespace sluice::cuda
