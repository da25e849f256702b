// The second pass: joins the pieces, and draws a token where a temperature asks for one.
//
// The tokens in order of preference are never sorted as a whole. Their weights exp((x - max) *
// scale), as multiples of 2^-40, are added up in bins of the distance to the largest logit;
// integers, so no order of addition matters. top_k, top_p and the draw each ask for the first token
// at which a running count or sum reaches a bound: a bin tells where, and its tokens alone are then
// sorted by the last block of the row. Where a bin has too many (all logits alike, say), it is cut
// by the keys of its tokens until what is left can be sorted.
#include "ops/sampling/sampling_work.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kEach = kPiece / kThreads;
constexpr int kSorted = 2048;   // keys that a block sorts
constexpr int kCuts = 512;      // of a bin with more
constexpr float kBinsPerNat = 32.0f;
// Loads of 16 bytes of each thread in flight, where one block reads a row.
constexpr int kFewLoads = 2, kManyLoads = 8;

/// The row's logits, and what they weigh.
struct Logits {
  const float* x;  // changed
  int32_t n;
  float max, scale;

  __device__ float distance(float v) const { return __fmul_rn(__fsub_rn(max, v), scale); }
  __device__ float weight(float v) const {
    return static_cast<float>(exp(-static_cast<double>(distance(v))));
  }
  /// Of a weight as a float, like the CPU's.
  __device__ static uint64_t fixed(float weight) {
    return static_cast<uint64_t>(__float2ull_rn(weight * 0x1p40f));
  }
  __device__ int bin(float v) const {
    return min(kBins - 1, __float2int_rd(distance(v) * kBinsPerNat));
  }
};

/// Running sums of one kind over the bins; entry b holds bins 0 to b.
struct Sums {
  uint64_t mass[kBins];
  uint32_t count[kBins];
};

struct DrawShared {
  union {
    struct {
      uint32_t count[kBins], low[kBins], high[kBins];
    } bins;  // of a piece
    Sums sums;  // of the row
  };
  union {
    uint64_t keys[kSorted];
    struct {
      uint64_t mass[kCuts];
      uint32_t count[kCuts];
    } cuts;
  };
  uint64_t scratch[kThreads / 32];
  uint64_t found_key, found_mass;
  uint32_t num_keys;
  int found_bin;
};

/// Where a running sum reached its bound: the token's key and the mass up to and with it.
struct Place {
  uint64_t key, mass;
};

/// Calls f(logit, token) for the whole row; all threads take part in every call, with logit -inf
/// behind the end.
template <int kLoads, typename F>
__device__ void each_logit(const Logits& row, const F& f) {
  const bool aligned = reinterpret_cast<uintptr_t>(row.x) % 16 == 0;
  for (int32_t first = 0; first < row.n; first += 4 * kThreads * kLoads) {
    const int32_t base = first + 4 * static_cast<int32_t>(threadIdx.x);
    float v[kLoads][4];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const int32_t i = base + j * 4 * kThreads;
      if (aligned && i + 4 <= row.n) {
        const float4 four = *reinterpret_cast<const float4*>(row.x + i);
        v[j][0] = four.x, v[j][1] = four.y, v[j][2] = four.z, v[j][3] = four.w;
      } else {
#pragma unroll
        for (int c = 0; c < 4; ++c) v[j][c] = i + c < row.n ? row.x[i + c] : kMinusInfinity;
      }
    }
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) f(v[j][c], base + j * 4 * kThreads + c);
    }
  }
}

/// Sum of the values of the threads before this one.
__device__ uint64_t sum_before(uint64_t value, uint64_t* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint64_t sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const uint64_t other = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += other;
  }
  __syncthreads();
  if (lane == 31) scratch[warp] = sum;
  __syncthreads();
  for (int i = 0; i < warp; ++i) sum += scratch[i];
  return sum - value;
}

/// Turns n <= 2 * kThreads counts and masses into running sums.
__device__ void run_up(uint32_t* count, uint64_t* mass, int n, uint64_t* scratch) {
  const int first = 2 * static_cast<int>(threadIdx.x);
  const bool two = first + 1 < n;  // n is even
  const uint64_t count0 = two ? count[first] : 0, count1 = two ? count[first + 1] : 0;
  const uint64_t mass0 = two ? mass[first] : 0, mass1 = two ? mass[first + 1] : 0;
  const uint64_t counts = sum_before(count0 + count1, scratch);
  const uint64_t masses = sum_before(mass0 + mass1, scratch);
  if (two) {
    count[first] = static_cast<uint32_t>(counts + count0);
    count[first + 1] = static_cast<uint32_t>(counts + count0 + count1);
    mass[first] = masses + mass0;
    mass[first + 1] = masses + mass0 + mass1;
  }
  __syncthreads();
}

/// First of n running sums, on top of `before`, that reaches `bound`; all threads get it.
template <typename T>
__device__ int first_reached(const T* sums, int n, uint64_t before, uint64_t bound, int* found) {
  for (int i = threadIdx.x; i < n; i += kThreads) {
    if (before + sums[i] >= bound && (i == 0 || before + sums[i - 1] < bound)) *found = i;
  }
  __syncthreads();
  const int at = *found;
  __syncthreads();
  return at;
}

/// Adds to a count and a mass in shared memory. All lanes of a warp come here together; those that
/// hit one place add up first, as when most of the row is alike.
__device__ void add_together(uint32_t* count, uint64_t* mass, int place, bool active,
                             uint64_t weight) {
  __syncwarp();
  const uint32_t mask = __ballot_sync(kAllLanes, active);
  const int leader = mask == 0 ? 0 : __ffs(static_cast<int>(mask)) - 1;
  const bool joins = active & (place == __shfl_sync(kAllLanes, place, leader));
  const uint32_t joined = __ballot_sync(kAllLanes, joins);
  uint64_t sum = joins ? weight : 0;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  const bool leads = active & (static_cast<int>(threadIdx.x % 32) == leader);
  if (leads | (active & !joins)) {
    atomicAdd(count + place, leads ? static_cast<uint32_t>(__popc(joined)) : 1u);
    atomicAdd(reinterpret_cast<unsigned long long*>(mass + place),
              static_cast<unsigned long long>(leads ? sum : weight));
  }
  __syncwarp();
}

/// The first token in order of preference at which the running count, or mass, reaches `bound`.
__device__ Place locate(const Logits& row, DrawShared& s, bool by_count, uint64_t bound) {
  const int bin = by_count ? first_reached(s.sums.count, kBins, 0, bound, &s.found_bin)
                           : first_reached(s.sums.mass, kBins, 0, bound, &s.found_bin);
  uint64_t count = bin == 0 ? 0 : s.sums.count[bin - 1];
  uint64_t mass = bin == 0 ? 0 : s.sums.mass[bin - 1];
  uint64_t left = s.sums.count[bin] - count;
  uint64_t low = 0, high = kNoKey - 1;
  const auto inside = [&](float v, uint64_t key) {
    return (v > kMinusInfinity) & (key >= low) & (key <= high) & (row.bin(v) == bin);
  };
  while (left > kSorted) {
    uint64_t least = kNoKey, most = 0;
    each_logit<kFewLoads>(row, [&](float v, int32_t token) {
      const uint64_t key = key_of(v, token);
      if (!inside(v, key)) return;
      least = key < least ? key : least;
      most = key > most ? key : most;
    });
    low = block_least(least, s.scratch);
    high = ~block_least(~most, s.scratch);
    const uint64_t width = high - low;
    const int shift = max(0, 64 - __clzll(static_cast<long long>(width)) - 9);
    for (int i = threadIdx.x; i < kCuts; i += kThreads) {
      s.cuts.mass[i] = 0;
      s.cuts.count[i] = 0;
    }
    __syncthreads();
    each_logit<kFewLoads>(row, [&](float v, int32_t token) {
      const uint64_t key = key_of(v, token);
      const bool active = inside(v, key);
      const int cut = active ? static_cast<int>((key - low) >> shift) : 0;
      add_together(s.cuts.count, s.cuts.mass, cut, active, Logits::fixed(row.weight(v)));
    });
    __syncthreads();
    run_up(s.cuts.count, s.cuts.mass, kCuts, s.scratch);
    const int cut = by_count ? first_reached(s.cuts.count, kCuts, count, bound, &s.found_bin)
                             : first_reached(s.cuts.mass, kCuts, mass, bound, &s.found_bin);
    left = s.cuts.count[cut] - (cut == 0 ? 0 : s.cuts.count[cut - 1]);
    if (cut > 0) {
      count += s.cuts.count[cut - 1];
      mass += s.cuts.mass[cut - 1];
    }
    high = min(high, low + ((static_cast<uint64_t>(cut) + 1) << shift) - 1);
    low += static_cast<uint64_t>(cut) << shift;
    __syncthreads();
  }
  if (threadIdx.x == 0) s.num_keys = 0;
  __syncthreads();
  // Most logits are far from the bin: two comparisons, a little wide, spare them the exact test.
  const float nats = 1.0f / kBinsPerNat / row.scale;
  const float farthest =
      bin == kBins - 1 ? -kMinusInfinity : (static_cast<float>(bin) + 1.01f) * nats;
  const float nearest = fminf(fmaxf(0.0f, (static_cast<float>(bin) - 0.01f) * nats), FLT_MAX);
  const float slack = 1e-5f * (fabsf(row.max) + nearest);
  const float least = row.max - farthest - slack, most = row.max - nearest + slack;
  each_logit<kManyLoads>(row, [&](float v, int32_t token) {
    if (v < least || v > most) return;
    const uint64_t key = key_of(v, token);
    if (inside(v, key)) s.keys[atomicAdd(&s.num_keys, 1)] = key;
  });
  __syncthreads();
  const int n = static_cast<int>(s.num_keys);
  int padded = 2;
  while (padded < n) padded *= 2;
  for (int i = n + threadIdx.x; i < padded; i += kThreads) s.keys[i] = kNoKey;
  block_sort(s.keys, padded);
  // Four keys a thread: their masses, summed up over the block.
  constexpr int kKeys = kSorted / kThreads;
  const int first = kKeys * static_cast<int>(threadIdx.x);
  uint64_t masses[kKeys], here = 0;
#pragma unroll
  for (int i = 0; i < kKeys; ++i) {
    masses[i] = first + i < n ? Logits::fixed(row.weight(logit_of(s.keys[first + i]))) : 0;
    here += masses[i];
  }
  uint64_t sum = mass + sum_before(here, s.scratch);
#pragma unroll
  for (int i = 0; i < kKeys; ++i) {
    const uint64_t before = sum;
    sum += masses[i];
    const uint64_t place = count + static_cast<uint64_t>(first + i) + 1;
    const bool reached = by_count ? place == bound : sum >= bound && before < bound;
    if (first + i < n && reached) {
      s.found_key = s.keys[first + i];
      s.found_mass = sum;
    }
  }
  __syncthreads();
  const Place place{s.found_key, s.found_mass};
  __syncthreads();
  return place;
}

/// Adds the weights of the block's piece to the row's bins.
__device__ void weigh(const SamplingWork& w, const Logits& row, const sluice_output_row& settings,
                      int64_t unit, int32_t base, DrawShared& s) {
  for (int i = threadIdx.x; i < kBins; i += kThreads) {
    s.bins.count[i] = s.bins.low[i] = s.bins.high[i] = 0;
  }
  __syncthreads();
  uint64_t min_p_mass = 0;
  for (int j = 0; j < kEach; ++j) {
    const int32_t i = base + j * kThreads + static_cast<int32_t>(threadIdx.x);
    const float v = i < row.n ? row.x[i] : kMinusInfinity;
    if (!(v > kMinusInfinity)) continue;
    const float weight = row.weight(v);
    const uint64_t fixed = Logits::fixed(weight);
    const int bin = row.bin(v);
    atomicAdd(s.bins.count + bin, 1);
    // 2,048 halves of 20 and 21 bits: no sum overflows.
    atomicAdd(s.bins.low + bin, static_cast<uint32_t>(fixed & 0xfffff));
    atomicAdd(s.bins.high + bin, static_cast<uint32_t>(fixed >> 20));
    if (weight >= settings.min_p) min_p_mass += fixed;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kBins; i += kThreads) {
    if (s.bins.count[i] == 0) continue;
    const uint64_t mass = (uint64_t{s.bins.high[i]} << 20) + s.bins.low[i];
    atomicAdd(w.bin_count + unit * kBins + i, s.bins.count[i]);
    atomicAdd(reinterpret_cast<unsigned long long*>(w.bin_mass + unit * kBins + i),
              static_cast<unsigned long long>(mass));
  }
  if (settings.min_p <= 0) return;
  min_p_mass = block_total(min_p_mass, s.scratch);
  if (threadIdx.x == 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&w.units[unit].min_p_mass),
              static_cast<unsigned long long>(min_p_mass));
  }
}

/// The token drawn, once all pieces are weighed.
__device__ int32_t choose(const SamplingWork& w, const Logits& row,
                          const sluice_output_row& settings, int64_t unit, int32_t draft,
                          DrawShared& s) {
  __syncthreads();
  for (int i = threadIdx.x; i < kBins; i += kThreads) {
    s.sums.count[i] = __ldcg(w.bin_count + unit * kBins + i);
    s.sums.mass[i] = __ldcg(w.bin_mass + unit * kBins + i);
  }
  __syncthreads();
  run_up(s.sums.count, s.sums.mass, kBins, s.scratch);
  uint64_t total = s.sums.mass[kBins - 1];  // of what is kept
  // The end of top_k, the end of top_p, the draw; one place in the code, for its size.
  for (int search = 0; search < 3; ++search) {
    uint64_t bound = 0;
    if (search == 0) {
      if (settings.top_k <= 0) continue;
      if (static_cast<uint32_t>(settings.top_k) >= s.sums.count[kBins - 1]) continue;
      bound = static_cast<uint64_t>(settings.top_k);
    } else if (search == 1) {
      if (settings.top_p >= 1.0f) continue;
      const double wanted = ceil(static_cast<double>(settings.top_p) * static_cast<double>(total));
      bound = min(total, max(uint64_t{1}, static_cast<uint64_t>(wanted)));
    } else {
      if (settings.min_p > 0.0f) total = min(total, __ldcg(&w.units[unit].min_p_mass));
      const uint64_t position = static_cast<uint64_t>(settings.draw_position) + draft;
      const uint64_t u = philox_word(settings.seed, position, 0) >> 8;
      // The first token whose running sum exceeds u * 2^-24 * total.
      bound = static_cast<uint64_t>(static_cast<unsigned __int128>(u) * total >> 24) + 1;
    }
    const Place place = locate(row, s, search == 0, bound);
    if (search == 2) return token_of(place.key);
    total = place.mass;
  }
  return -1;  // unreachable: the last search returns
}

__global__ void __launch_bounds__(kThreads, 1) draw_kernel(SamplingParams p, SamplingWork w) {
  start_next_kernel();
  await_kernel_before();
  __shared__ DrawShared s;
  const int64_t unit = blockIdx.x / w.num_pieces;
  const auto piece = static_cast<int32_t>(blockIdx.x % w.num_pieces);
  const auto draft = static_cast<int32_t>(unit % p.max_row_tokens);
  const RowPlace at = place_of(p, static_cast<int32_t>(unit / p.max_row_tokens));
  if (!at.live || draft > at.drafts) return;
  const bool drawn = draws(at.row);
  if (!drawn && piece != 0) return;

  const Piece* pieces = w.pieces + unit * w.num_pieces;
  uint64_t best = kNoKey;
  bool finite = true;
  float raw_max = kMinusInfinity;
  for (int i = threadIdx.x; i < w.num_pieces; i += kThreads) {
    best = pieces[i].best < best ? pieces[i].best : best;
    finite = finite && pieces[i].finite != 0;
    raw_max = fmaxf(raw_max, pieces[i].raw_max);
  }
  best = block_least(best, s.scratch);
  finite = __syncthreads_and(finite) != 0;
  const float max = logit_of(best);
  const bool usable = finite && max > kMinusInfinity;
  if (piece == 0) {
    // Keys of raw maxima: any order of the reduction gives the same.
    raw_max = logit_of(block_least(key_of(raw_max, 0), s.scratch));
    double sum = 0;
    for (int i = threadIdx.x; i < w.num_pieces; i += kThreads) {
      sum += pieces[i].raw_sum *
             exp(static_cast<double>(pieces[i].raw_max) - static_cast<double>(raw_max));
    }
    sum = block_total(sum, reinterpret_cast<double*>(s.scratch));
    if (threadIdx.x == 0) {
      Unit& unit_state = w.units[unit];
      unit_state.finite = finite;
      unit_state.log_sum = static_cast<double>(raw_max) + log(sum);
      const bool greedy = !drawn && at.row.kind == SLUICE_OUTPUT_SAMPLE;
      if (usable && greedy) unit_state.token = token_of(best);
    }
  }
  if (!drawn || !usable) return;
  const Logits row{changes_logits(at.row) ? w.changed + unit * p.vocab_size : at.logits(p, draft),
                   p.vocab_size, max, __fdiv_rn(1.0f, at.row.temperature)};
  weigh(w, row, at.row, unit, piece * kPiece, s);
  if (!last_block(&w.units[unit].arrived, static_cast<uint32_t>(w.num_pieces))) return;
  const int32_t token = choose(w, row, at.row, unit, draft, s);
  if (threadIdx.x == 0) {
    w.units[unit].token = token;
    w.units[unit].arrived = 0;  // for the last pass
  }
}

}  // namespace

void launch_draw(const CudaExec& exec, const SamplingParams& p, const SamplingWork& w) {
  const int64_t blocks = int64_t{p.num_rows} * p.max_row_tokens * w.num_pieces;
  launch_overlapped(exec, draw_kernel, static_cast<unsigned>(blocks), kThreads, 0, p, w);
}

}  // namespace sluice::cuda
