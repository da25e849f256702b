// The last pass: ranks of chosen tokens and targets, counted piece by piece, and then by one block
// of each row which drafts are accepted, and the output sections.
#include "ops/sampling/sampling_work.h"
#include "ops/sampling/token_counts_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kEach = kPiece / kThreads;

constexpr float kNan = __builtin_nanf("");

/// Adds to *rank how many tokens of the block's piece lie before `token`.
__device__ void add_rank(const float (&x)[kEach], int32_t base, float value, int32_t token,
                         int32_t* rank) {
  int before = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const int32_t i = base + j * kThreads + static_cast<int32_t>(threadIdx.x);
    before += __popc(__ballot_sync(kAllLanes, x[j] > value || (x[j] == value && i < token)));
  }
  if (threadIdx.x % 32 == 0 && before > 0) atomicAdd(rank, before);
}

__device__ void count_ranks(const SamplingParams& p, const SamplingWork& w, const RowPlace& at,
                            int64_t first_unit, int32_t piece) {
  const int32_t base = piece * kPiece;
  for (int32_t draft = 0; draft <= at.drafts; ++draft) {
    Unit& unit = w.units[first_unit + draft];
    const int32_t targets = draft == 0 ? at.row.target_count : 0;
    const bool ranked = wants_logprob(at.row) && unit.token >= 0;
    if (!ranked && targets == 0) continue;
    const float* in = at.logits(p, draft);
    float x[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int32_t i = base + j * kThreads + static_cast<int32_t>(threadIdx.x);
      x[j] = i < p.vocab_size ? in[i] : kMinusInfinity;
    }
    if (ranked) add_rank(x, base, in[unit.token], unit.token, &unit.rank);
    for (int32_t i = at.row.target_begin; i < at.row.target_begin + targets; ++i) {
      add_rank(x, base, in[p.targets[i]], p.targets[i], p.target_rank + i);
    }
  }
}

/// The row's top tokens, out of sorted pieces; one warp. `heads` and `taken`: one a piece.
__device__ void write_top(const SamplingParams& p, const SamplingWork& w, const RowPlace& at,
                          int64_t unit, int32_t draft, uint64_t* heads, uint32_t* taken) {
  const int lane = threadIdx.x;
  const int64_t out =
      (int64_t{at.index} * (1 + p.max_draft_len) + draft) * p.max_top_n;
  const uint64_t* lists = w.top + unit * w.num_pieces * p.max_top_n;
  for (int i = lane; i < w.num_pieces; i += 32) {
    heads[i] = lists[int64_t{i} * p.max_top_n];
    taken[i] = 0;
  }
  const int32_t n = min(at.row.top_n, p.vocab_size);
  const float* x = at.logits(p, draft);
  const double log_sum = w.units[unit].log_sum;
  for (int32_t k = 0; k < n; ++k) {
    uint64_t key = kNoKey;
    for (int i = lane; i < w.num_pieces; i += 32) key = heads[i] < key ? heads[i] : key;
    uint64_t best = key;
    for (int step = 16; step > 0; step /= 2) {
      const uint64_t other = __shfl_xor_sync(kAllLanes, best, step);
      best = other < best ? other : best;
    }
    const int32_t token = token_of(best);
    if (key == best) {
      const int piece = token / kPiece;
      const uint32_t next = ++taken[piece];
      heads[piece] = next < static_cast<uint32_t>(min(at.row.top_n, kPiece))
                         ? lists[int64_t{piece} * p.max_top_n + next]
                         : kNoKey;
    }
    if (lane == 0) {
      p.top_token[out + k] = token;
      p.top_logprob[out + k] = static_cast<float>(static_cast<double>(x[token]) - log_sum);
    }
  }
  for (int32_t k = n + lane; k < at.row.top_n; k += 32) {
    p.top_token[out + k] = -1;
    p.top_logprob[out + k] = kMinusInfinity;
  }
  __syncwarp();
}

/// What a row without a usable token shows. 2: targets and top tokens come from sound logits.
__device__ void write_unusable(const SamplingParams& p, const RowPlace& at, int32_t finite) {
  const int64_t out = int64_t{at.index} * (1 + p.max_draft_len);
  if (threadIdx.x == 0) {
    p.finite[at.index] = finite;
    p.logprob[out] = kNan;
  }
  if (finite == 2) return;
  for (int32_t i = threadIdx.x; i < at.row.target_count; i += kThreads) {
    p.target_logprob[at.row.target_begin + i] = kNan;
    p.target_rank[at.row.target_begin + i] = 0;
  }
  for (int32_t i = threadIdx.x; i < at.row.top_n; i += kThreads) {
    p.top_token[out * p.max_top_n + i] = -1;
    p.top_logprob[out * p.max_top_n + i] = kNan;
  }
}

/// Tokens that the row accepts; *looked_at: units up to the one that ended it. One thread.
__device__ int32_t accept(const SamplingParams& p, const SamplingWork& w, const RowPlace& at,
                          int64_t first_unit, int32_t* looked_at) {
  const int64_t out = int64_t{at.index} * (1 + p.max_draft_len);
  int32_t accepted = 0;
  *looked_at = 1;
  for (int32_t draft = 0; draft <= at.drafts; ++draft) {
    const Unit& unit = w.units[first_unit + draft];
    *looked_at = draft + 1;
    const int32_t token = unit.token;
    if (token < 0) break;
    ++accepted;
    p.tokens[out + draft] = token;
    if (wants_logprob(at.row)) {
      const double x = at.logits(p, draft)[token];
      p.logprob[out + draft] = static_cast<float>(x - unit.log_sum);
      p.rank[out + draft] = __ldcg(&unit.rank);
    }
    // The sequence has no other row that adds counts; those that read them are done.
    if (p.counts.places != nullptr && (at.row.flags & SLUICE_OUTPUT_FLAG_COUNT) != 0) {
      if (TokenCount* place = make_place(p.counts, table_of(p.counts, at.seq_slot), token)) {
        if (place->output < INT32_MAX) ++place->output;
      }
    }
    if (draft == at.drafts || p.token_ids[at.row.token_index + draft + 1] != token) break;
  }
  return accepted;
}

__global__ void __launch_bounds__(kThreads) finish_kernel(SamplingParams p, SamplingWork w) {
  start_next_kernel();
  await_kernel_before();
  extern __shared__ uint64_t heads[];
  __shared__ int32_t accepted, looked_at;
  const auto r = static_cast<int32_t>(blockIdx.x / w.num_pieces);
  const auto piece = static_cast<int32_t>(blockIdx.x % w.num_pieces);
  const RowPlace at = place_of(p, r);
  if (!at.live) return;
  const int64_t first_unit = int64_t{r} * p.max_row_tokens;
  if (wants_logprob(at.row) || at.row.target_count > 0) {
    count_ranks(p, w, at, first_unit, piece);
    if (!last_block(&w.units[first_unit].arrived, static_cast<uint32_t>(w.num_pieces))) return;
  } else if (piece != 0) {
    return;
  }

  const int64_t out = int64_t{at.index} * (1 + p.max_draft_len);
  bool finite = true;
  for (int32_t draft = threadIdx.x; draft <= at.drafts; draft += kThreads) {
    finite = finite && w.units[first_unit + draft].finite != 0;
  }
  for (int32_t i = threadIdx.x; i <= p.max_draft_len; i += kThreads) {
    p.tokens[out + i] = 0;
    p.logprob[out + i] = 0.0f;
    p.rank[out + i] = 0;
  }
  finite = __syncthreads_and(finite) != 0;
  if (threadIdx.x == 0) {
    p.finite[at.index] = 1;
    accepted = finite ? accept(p, w, at, first_unit, &looked_at) : 0;
    p.accepted_count[at.index] = accepted;
    if (at.row.kind == SLUICE_OUTPUT_SAMPLE) {
      const int32_t last = accepted > 0 ? p.tokens[out + accepted - 1] : 0;
      if (p.row_last_token != nullptr) p.row_last_token[at.index] = last;
      if (p.seq_last_token != nullptr) p.seq_last_token[at.seq_slot] = last;
    }
  }
  __syncthreads();
  if (!finite) return write_unusable(p, at, 0);
  const double log_sum = w.units[first_unit].log_sum;
  for (int32_t i = threadIdx.x; i < at.row.target_count; i += kThreads) {
    const double x = at.x[p.targets[at.row.target_begin + i]];
    p.target_logprob[at.row.target_begin + i] = static_cast<float>(x - log_sum);
  }
  if (at.row.top_n > 0 && threadIdx.x < 32) {
    auto* taken = reinterpret_cast<uint32_t*>(heads + w.num_pieces);
    for (int32_t draft = 0; draft < looked_at; ++draft) {
      write_top(p, w, at, first_unit + draft, draft, heads, taken);
    }
  }
  if (accepted == 0 && at.row.kind == SLUICE_OUTPUT_SAMPLE) write_unusable(p, at, 2);
}

}  // namespace

void launch_finish(const CudaExec& exec, const SamplingParams& p, const SamplingWork& w) {
  const int64_t blocks = int64_t{p.num_rows} * w.num_pieces;
  const int64_t shared = int64_t{w.num_pieces} * 12;
  launch_overlapped(exec, finish_kernel, static_cast<unsigned>(blocks), kThreads, shared, p, w);
}

}  // namespace sluice::cuda
