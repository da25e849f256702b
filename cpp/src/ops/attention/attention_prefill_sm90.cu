// Attention of many queries on Hopper. A CTA takes 128 queries of one head at a time: one warp brings
// tiles of 128 keys and values (the bulk tensor copy engine reads the pages), two warpgroups of 64
// queries each multiply (wgmma). While the products of a tile with its values run, the products of
// the next tile's keys run too, and the softmax in between hides behind the other warpgroup's products:
// the two take turns. Tiles with the longest contexts go first, and CTAs take them forth and back, so
// that all end together.
//
// A row's keys are reduced from the last tile to the first, in tiles of fixed absolute positions, so
// its bits do not depend on other rows; but the order is not that of the plain kernel.
#include "ops/attention/attention_prefill_tiles.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 384;
// Tiles a CTA has, on average, below which sections are not worth it: where one ends in the middle of
// a round, short tiles stand beside long ones, and a few rounds do not even that out.
constexpr int64_t kFewestTurns = 8;

// One warp brings the keys and values of a CTA's tiles.
template <int kK, int kV>
__device__ void bring_tiles(PrefillShared<kK, kV>& s, const CUtensorMap& map_k,
                            const CUtensorMap& map_v, const Prefill& w) {
  const AttentionParams& p = w.p;
  const int lane = threadIdx.x;
  const int box = min(p.kv.block_size, kTileKeys), boxes = kTileKeys / box;
  int stage = 0;
  uint32_t phase = 0;
  PrefillTile t;
  for (int turn = 0; find_tile(s, w, turn, t); ++turn) {
    if (t.keys_begin >= t.keys_end) continue;  // nobody waits for its keys
    const int64_t row = p.table_rows == nullptr ? t.sequence : p.table_rows[t.sequence];
    const int32_t* table = p.block_tables + row * p.block_table_stride;
    const int kv_head = t.head / w.group;
    for (int key = t.last_tile(); key >= t.first_tile(); key -= kTileKeys) {
      const int at = key + lane * box;
      // A block beyond the tensor gives zeros: nothing that no query sees is read.
      int block = static_cast<int>(p.kv.num_blocks), offset = 0;
      if (lane < boxes && at < t.keys_end && at + box > t.keys_begin) {
        block = table[at / p.kv.block_size];
        offset = at % p.kv.block_size;
      }
      barrier_wait(&s.k_empty[stage], phase ^ 1);
      if (lane == 0) barrier_expect(&s.k_full[stage], kTileKeys * kK * 2);
      __syncwarp();
      if (lane < boxes) {
        for (int c = 0; c < kK / 64; ++c) {
          copy_box(s.k[stage] + (c * kTileKeys + lane * box) * 64, &map_k, &s.k_full[stage], c * 64,
                   offset, kv_head, block);
        }
      }
      barrier_wait(&s.v_empty[stage], phase ^ 1);
      if (lane == 0) barrier_expect(&s.v_full[stage], kTileKeys * kV * 2);
      __syncwarp();
      if (lane < boxes) {
        for (int c = 0; c < kV / 64; ++c) {
          copy_box(s.v[stage] + (c * kTileKeys + lane * box) * 64, &map_v, &s.v_full[stage], c * 64,
                   offset, kv_head, block);
        }
      }
      if (++stage == kKvStages) {
        stage = 0;
        phase ^= 1;
      }
    }
  }
}

// One thread's part of 64 queries: rows lane / 4 and lane / 4 + 8 of its warp's 16.
template <int kK, int kV>
class Rows {
 public:
  __device__ Rows(PrefillShared<kK, kV>& s, const Prefill& w, int warpgroup)
      : s_(s), w_(w), p_(w.p), me_(warpgroup), scale_(w.p.softmax_scale * kLog2E) {}

  __device__ void begin(const PrefillTile& t) {
    warpgroup_sync(me_);  // the products of the tile before have read the queries
    load_queries(t);
    shared_fence();
    warpgroup_sync(me_);
    for (int half = 0; half < 2; ++half) {
      const int row = row_of(half);
      const int position = row < t.tokens ? position_of(t.token + row) : -1;
      end_[half] = min(t.context, position + 1);
      begin_[half] = p_.window > 0 ? position - p_.window + 1 : 0;
      top_[half] = -INFINITY;
      sum_[half] = 0;
    }
    const int first = position_of(t.token + min(me_ * 64, t.tokens - 1));
    const int last = position_of(t.token + min(me_ * 64 + 63, t.tokens - 1));
    all_see_end_ = min(t.context, first + 1);
    all_see_begin_ = p_.window > 0 ? last - p_.window + 1 : 0;
#pragma unroll
    for (int i = 0; i < kV / 2; ++i) out_[i] = 0;
  }

  // Starts the products of the queries with a stage's keys.
  __device__ void start_scores(int stage) {
    const auto* q = reinterpret_cast<const uint8_t*>(s_.q) + me_ * 64 * 128;
    const auto* k = reinterpret_cast<const uint8_t*>(s_.k[stage]);
#pragma unroll
    for (int i = 0; i < kK / 16; ++i) {
      product_64x128(scores_, operand_descriptor(q + i / 4 * kTileQueries * 128) + i % 4 * 2,
                     operand_descriptor(k + i / 4 * kTileKeys * 128) + i % 4 * 2, i > 0);
    }
    product_commit();
  }

  // Starts the products of the rounded weights with a stage's values.
  __device__ void start_values(int stage) {
#pragma unroll
    for (int i = 0; i < kTileKeys / 16; ++i) {
      const uint64_t v = column_descriptor(s_.v[stage], kTileKeys * 128) + i * 128;
      if constexpr (kV == 128) product_64x128(out_, weights_[i], v, 1);
      if constexpr (kV == 64) product_64x64(out_, weights_[i], v, 1);
    }
    product_commit();
  }

  // Scores become weights relative to the largest so far.
  __device__ void softmax(int key) {
    if (key + kTileKeys > all_see_end_ || key < all_see_begin_) {
#pragma unroll
      for (int i = 0; i < kTileKeys / 2; ++i) {
        const int at = key + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2, half = i / 2 % 2;
        if (at >= end_[half] || at < begin_[half]) scores_[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = top_[half];
#pragma unroll
      for (int i = 2 * half; i < kTileKeys / 2; i += 4) {
        top = fmaxf(top, fmaxf(scores_[i], scores_[i + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      const float base = top == -INFINITY ? 0 : top * scale_;
      shrink_[half] = power_of_two(top_[half] * scale_ - base);
      top_[half] = top;
      float sum = 0;
#pragma unroll
      for (int i = 2 * half; i < kTileKeys / 2; i += 4) {
        scores_[i] = power_of_two(scores_[i] * scale_ - base);
        scores_[i + 1] = power_of_two(scores_[i + 1] * scale_ - base);
        sum += scores_[i] + scores_[i + 1];
      }
      sum_[half] = sum_[half] * shrink_[half] + sum;
    }
  }

  __device__ void shrink() {
#pragma unroll
    for (int i = 0; i < kV / 2; ++i) out_[i] *= shrink_[i / 2 % 2];
  }

  __device__ void round_weights() {
#pragma unroll
    for (int i = 0; i < kTileKeys / 16; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        weights_[i][j] = pack_bf16(scores_[8 * i + 2 * j], scores_[8 * i + 2 * j + 1]);
      }
    }
  }

  // Values that no query of the tile sees count as zeros: they belong to nobody and may be NaN,
  // which a weight of zero would not remove.
  __device__ void clear_unseen(const PrefillTile& t, int key, int stage) {
    if (key + kTileKeys <= t.keys_end && key >= t.keys_begin) return;
    auto* v = reinterpret_cast<uint8_t*>(s_.v[stage]);
    for (int i = threadIdx.x % 128; i < kTileKeys * kV / 8; i += 128) {
      const int row = i / (kV / 8), col = i % (kV / 8) * 8;
      if (key + row < t.keys_end && key + row >= t.keys_begin) continue;
      *reinterpret_cast<uint4*>(v + col / 64 * kTileKeys * 128 + swizzled(row, col % 64)) =
          make_uint4(0, 0, 0, 0);
    }
    shared_fence();
    warpgroup_sync(me_);
  }

  __device__ void finish(const PrefillTile& t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = sum_[half];
      sum += __shfl_xor_sync(kAllLanes, sum, 1);
      sum += __shfl_xor_sync(kAllLanes, sum, 2);
      const float top = top_[half] == -INFINITY ? 0 : top_[half] * scale_;
      const int row = row_of(half);
      const bool sees = end_[half] > max(begin_[half], 0);
      if (p_.sinks != nullptr && sees) sum += power_of_two(p_.sinks[t.head] * kLog2E - top);
      store(t, half, row, sees ? 1 / sum : 0);
      if (p_.lse != nullptr && threadIdx.x % 4 == 0 && row < t.tokens) {
        p_.lse[int64_t{t.token + row} * p_.num_q_heads + t.head] =
            sees ? top / kLog2E + logf(sum) : -INFINITY;
      }
    }
  }

 private:
  __device__ int position_of(int token) const { return p_.positions[token * p_.position_stride]; }

  __device__ int row_of(int half) const {
    return me_ * 64 + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4 + 8 * half;
  }

  // Rounded, in the swizzle that the products read.
  __device__ void load_queries(const PrefillTile& t) {
    auto* q = reinterpret_cast<uint8_t*>(s_.q);
    for (int i = threadIdx.x % 128; i < 64 * kK / 8; i += 128) {
      const int row = me_ * 64 + i / (kK / 8), col = i % (kK / 8) * 8;
      uint4 eight = make_uint4(0, 0, 0, 0);
      if (row < t.tokens) {
        const int64_t at = int64_t{t.token + row} * p_.q_stride + int64_t{t.head} * kK + col;
        eight = load_eight(p_, at);
      }
      *reinterpret_cast<uint4*>(q + col / 64 * kTileQueries * 128 + swizzled(row, col % 64)) = eight;
    }
  }

  __device__ void store(const PrefillTile& t, int half, int row, float factor) {
    const int quad = threadIdx.x % 4;
    const int64_t at = int64_t{t.token + row} * p_.out_stride + int64_t{t.head} * kV;
#pragma unroll
    for (int first = 0; first < kV / 8; first += 4) {
      if (p_.out_format == Format::kBf16) {
        uint32_t pairs[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int j = 4 * (first + i) + 2 * half;
          pairs[i] = pack_bf16(out_[j] * factor, out_[j + 1] * factor);
        }
        const uint4 eight = gather_group(pairs, quad);
        if (row < t.tokens) {
          *reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(p_.out) + at +
                                    8 * (first + quad)) = eight;
        }
      } else if (row < t.tokens) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int j = 4 * (first + i) + 2 * half;
          *reinterpret_cast<float2*>(static_cast<float*>(p_.out) + at + 8 * (first + i) + 2 * quad) =
              make_float2(out_[j] * factor, out_[j + 1] * factor);
        }
      }
    }
  }

  PrefillShared<kK, kV>& s_;
  const Prefill& w_;
  const AttentionParams& p_;
  const int me_;
  const float scale_;  // of scores, for powers of two
  int begin_[2], end_[2];              // keys that each row sees
  int all_see_begin_, all_see_end_;    // keys that every row of the warpgroup sees
  float top_[2], sum_[2], shrink_[2];  // largest score, sum of weights, factor of what was before
  float scores_[kTileKeys / 2];
  uint32_t weights_[kTileKeys / 16][4];
  float out_[kV / 2];
};

template <int kK, int kV>
__global__ void __launch_bounds__(kThreads, 1)
    prefill_kernel(const __grid_constant__ CUtensorMap map_k,
                   const __grid_constant__ CUtensorMap map_v, const __grid_constant__ Prefill w) {
  extern __shared__ uint8_t raw[];
  auto& s = *reinterpret_cast<PrefillShared<kK, kV>*>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                                      ~uintptr_t{1023});
  if (threadIdx.x == 0) {
    for (int i = 0; i < kKvStages; ++i) {
      barrier_init(&s.k_full[i], 1);
      barrier_init(&s.k_empty[i], 2);
      barrier_init(&s.v_full[i], 1);
      barrier_init(&s.v_empty[i], 2);
    }
    barrier_init_fence();
    prefetch_map(&map_k);
    prefetch_map(&map_v);
  }
  if (threadIdx.x < 32) count_tiles(s, w.p);
  __syncthreads();
  sort_tiles(s, w.p);
  // Each role is one branch, so that its registers can be given and taken.
  if (threadIdx.x < 128) {
    give_registers<24>();
    if (threadIdx.x < 32) bring_tiles(s, map_k, map_v, w);
    return;
  }
  take_registers<240>();
  const int me = threadIdx.x / 128 - 1;
  const bool leader = threadIdx.x % 128 == 0;
  if (me == 1) give_turn(0);
  Rows<kK, kV> rows(s, w, me);
  int stage = 0;
  uint32_t phase = 0;
  PrefillTile t;
  for (int turn = 0; find_tile(s, w, turn, t); ++turn) {
    if (t.keys_begin >= t.keys_end) {
      rows.begin(t);
      rows.finish(t);
      continue;
    }
    rows.begin(t);
    int key = t.last_tile();
    barrier_wait(&s.k_full[stage], phase);
    product_fence();
    rows.start_scores(stage);
    product_wait<0>();
    if (leader) barrier_arrive(&s.k_empty[stage]);
    rows.softmax(key);
    rows.round_weights();
    int values = stage;  // stage of the values that belong to the weights
    barrier_wait(&s.v_full[stage], phase);
    rows.clear_unseen(t, key, stage);
    while (true) {
      if (++stage == kKvStages) {
        stage = 0;
        phase ^= 1;
      }
      key -= kTileKeys;
      if (key < t.first_tile()) break;
      barrier_wait(&s.k_full[stage], phase);
      wait_turn(me);
      product_fence();
      rows.start_scores(stage);
      rows.start_values(values);
      give_turn(1 - me);
      product_wait<1>();
      if (leader) barrier_arrive(&s.k_empty[stage]);
      rows.softmax(key);
      product_wait<0>();
      if (leader) barrier_arrive(&s.v_empty[values]);
      rows.shrink();
      rows.round_weights();
      values = stage;
      barrier_wait(&s.v_full[stage], phase);
      rows.clear_unseen(t, key, stage);
    }
    product_fence();
    rows.start_values(values);
    product_wait<0>();
    if (leader) barrier_arrive(&s.v_empty[values]);
    rows.finish(t);
  }
}

template <int kK, int kV>
void launch(const CudaExec& exec, const Prefill& w) {
  const KvCacheView& kv = w.p.kv;
  const auto map = [&](const void* data, int64_t dim, int64_t block_stride) {
    return tensor_map(data, {dim, kv.block_size, kv.num_kv_heads, kv.num_blocks},
                      {dim * 2, dim * 2 * kv.block_size, block_stride},
                      {64, std::min(kv.block_size, kTileKeys), 1, 1});
  };
  const auto kernel = prefill_kernel<kK, kV>;
  constexpr int kBytes = sizeof(PrefillShared<kK, kV>) + 1024;
  allow_shared(kernel, kBytes, "attention");
  kernel<<<exec.num_sms, kThreads, kBytes, stream_of(exec)>>>(
      map(kv.k, kK, kv.k_block_stride), map(kv.v, kV, kv.v_block_stride), w);
  SLUICE_CHECK_LAUNCH("attention of ", w.p.num_tokens, " tokens, ", w.p.num_q_heads, " heads of ",
                      kK, " and ", kV);
}

bool fits(const CudaExec& exec, const AttentionParams& p) {
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  const int32_t k = p.kv.k_dim, v = p.kv.v_dim;
  const bool dims = (k == 64 && v == 64) || (k == 128 && v == 128) || (k == 192 && v == 128);
  return exec.has_sm90a() && p.numerics == Numerics::kFast && dims &&
         p.kv.format == Format::kBf16 && p.kv.block_size >= 8 && p.causal && p.chunk == 0 &&
         p.soft_cap == 0 && p.softmax_scale > 0 && p.num_sequences <= kMaxSequences &&
         p.kv.num_blocks < INT32_MAX && aligned(p.q) && aligned(p.out) && p.q_stride % 8 == 0 &&
         p.out_stride % 8 == 0 && p.num_tokens >= kFewestQueries * int64_t{p.num_sequences};
}

void run(const CudaExec& exec, const AttentionParams& p, void* /*workspace*/, int64_t /*bytes*/) {
  Prefill w;
  w.p = p;
  w.group = p.num_q_heads / p.kv.num_kv_heads;
  const int64_t head_bytes = longest_context(p) * (p.kv.k_dim + p.kv.v_dim) * 2;
  const int64_t kv_heads = std::max<int64_t>(1, exec.l2_bytes / 2 / std::max<int64_t>(1, head_bytes));
  const int64_t tiles = (p.num_tokens + kTileQueries - 1) / kTileQueries * p.num_q_heads;
  w.section = p.num_q_heads;
  if (tiles >= kFewestTurns * exec.num_sms) {
    w.section = static_cast<int32_t>(std::min<int64_t>(p.num_q_heads, kv_heads * w.group));
  }
  if (p.kv.k_dim == 64) return launch<64, 64>(exec, w);
  if (p.kv.k_dim == 128) return launch<128, 128>(exec, w);
  launch<192, 128>(exec, w);
}

}  // namespace

const AttentionVariant kPrefillSm90Attention{
    "prefill_sm90", fits, [](const CudaExec&, const AttentionBounds&) { return int64_t{0}; }, run};

}  // namespace sluice::cuda
