// The first pass: what penalties, bias and mask make of the logits, and what each piece tells of
// its own. It also clears what the later launches add to, so that the workspace may hold anything.
#include "ops/cuda/launch.h"
#include "ops/sampling/sampling_work.h"
#include "ops/sampling/token_counts_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kEach = kPiece / kThreads;

/// Keeps a changed logit finite, so that only bias and mask can forbid a token.
__device__ float bounded(float x) { return x < -FLT_MAX ? -FLT_MAX : x > FLT_MAX ? FLT_MAX : x; }

__device__ float penalised(const sluice_output_row& row, TokenCount count, float v) {
  if (count.prompt <= 0 && count.output <= 0) return v;
  v = v > 0 ? __fdiv_rn(v, row.repetition_penalty) : __fmul_rn(v, row.repetition_penalty);
  if (count.output > 0) {
    const float often = __fmul_rn(row.frequency_penalty, static_cast<float>(count.output));
    v = __fsub_rn(v, __fadd_rn(often, row.presence_penalty));
  }
  return bounded(v);
}

/// Counts of a token as the tokens before draft `draft` left them: a draft is looked at only when
/// those before it were chosen.
__device__ TokenCount count_at(const SamplingParams& p, const RowPlace& at, int32_t draft,
                               int32_t token) {
  TokenCount count{token, 0, 0};
  if (const TokenCount* place = find_place(p.counts, table_of(p.counts, at.seq_slot), token)) {
    count = *place;
  }
  if ((at.row.flags & SLUICE_OUTPUT_FLAG_COUNT) == 0) return count;
  for (int32_t d = 1; d <= draft; ++d) {
    count.output += p.token_ids[at.row.token_index + d] == token;
  }
  return count;
}

/// Applies the row's bias, entry after entry, to the logits of tokens [base, base + n); one warp.
__device__ void add_bias(const SamplingParams& p, const sluice_output_row& row, float* x,
                         int32_t base, int32_t n) {
  const int lane = threadIdx.x % 32;
  for (int32_t first = 0; first < row.logit_bias_count; first += 32) {
    sluice_logit_bias entry{-1, 0.0f};
    if (first + lane < row.logit_bias_count) {
      entry = p.logit_bias[row.logit_bias_begin + first + lane];
    }
    uint32_t hits = __ballot_sync(kAllLanes, entry.token >= base && entry.token < base + n);
    for (; hits != 0; hits &= hits - 1) {
      // In order: a token may have several entries.
      if (lane == __ffs(static_cast<int>(hits)) - 1) {
        float* value = x + (entry.token - base);
        // A token that one entry forbids stays forbidden, whatever another adds.
        const bool forbidden = *value == kMinusInfinity || entry.bias == kMinusInfinity;
        *value = forbidden ? kMinusInfinity : bounded(__fadd_rn(*value, entry.bias));
      }
      __syncwarp();
    }
  }
}

__device__ void clear(const SamplingParams& p, const SamplingWork& w, const RowPlace& at,
                      int64_t unit, int32_t draft, int32_t piece) {
  if (draws(at.row)) {
    for (int i = piece * kThreads + threadIdx.x; i < kBins; i += w.num_pieces * kThreads) {
      w.bin_mass[unit * kBins + i] = 0;
      w.bin_count[unit * kBins + i] = 0;
    }
  }
  if (piece != 0) return;
  if (threadIdx.x == 0) w.units[unit] = Unit{0.0, 0, 0, -1, 0, 0};
  if (draft != 0) return;
  for (int32_t i = threadIdx.x; i < at.row.target_count; i += kThreads) {
    p.target_rank[at.row.target_begin + i] = 0;
  }
}

__global__ void __launch_bounds__(kThreads) scan_kernel(SamplingParams p, SamplingWork w) {
  start_next_kernel();
  await_kernel_before();
  __shared__ uint64_t keys[kPiece];  // the same memory holds changed logits
  __shared__ uint64_t scratch[kThreads / 32];
  const int64_t unit = blockIdx.x / w.num_pieces;
  const auto piece = static_cast<int32_t>(blockIdx.x % w.num_pieces);
  const auto draft = static_cast<int32_t>(unit % p.max_row_tokens);
  const RowPlace at = place_of(p, static_cast<int32_t>(unit / p.max_row_tokens));
  if (!at.live || draft > at.drafts) return;
  clear(p, w, at, unit, draft, piece);

  const int32_t base = piece * kPiece, n = min(kPiece, p.vocab_size - base);
  const float* in = at.logits(p, draft) + base;
  float x[kEach];
  bool finite = true;
  float largest = kMinusInfinity;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const int i = j * kThreads + threadIdx.x;
    x[j] = i < n ? in[i] : kMinusInfinity;
    finite = finite && (i >= n || isfinite(x[j]));
    largest = fmaxf(largest, x[j]);
  }
  finite = __syncthreads_and(finite) != 0;
  Piece out{};
  out.finite = finite;
  largest = warp_max(largest);
  auto* maxima = reinterpret_cast<float*>(scratch);
  if (threadIdx.x % 32 == 0) maxima[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int i = 0; i < kThreads / 32; ++i) largest = fmaxf(largest, maxima[i]);
  out.raw_max = largest;
  const int32_t targets = draft == 0 ? at.row.target_count : 0;
  if (wants_logprob(at.row) || targets > 0 || at.row.top_n > 0) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      if (j * kThreads + static_cast<int>(threadIdx.x) < n) sum += expf(x[j] - largest);
    }
    out.raw_sum = block_total(static_cast<double>(sum), reinterpret_cast<double*>(scratch));
  }

  if (at.row.top_n > 0) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int i = j * kThreads + threadIdx.x;
      keys[i] = i < n ? key_of(x[j], base + i) : kNoKey;
    }
    block_sort(keys, kPiece);
    uint64_t* top = w.top + (unit * w.num_pieces + piece) * p.max_top_n;
    for (int i = threadIdx.x; i < min(at.row.top_n, kPiece); i += kThreads) top[i] = keys[i];
    __syncthreads();
  }

  if (changes_logits(at.row)) {
    auto* changed = reinterpret_cast<float*>(keys);
    const bool penalties = has_penalties(at.row) && p.counts.places != nullptr;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int i = j * kThreads + threadIdx.x;
      if (penalties && i < n) x[j] = penalised(at.row, count_at(p, at, draft, base + i), x[j]);
      changed[i] = x[j];
    }
    if (at.row.logit_bias_count > 0) {
      __syncthreads();
      if (threadIdx.x < 32) add_bias(p, at.row, changed, base, n);
      __syncthreads();
    }
    const uint32_t* mask = nullptr;
    if (at.row.mask_index >= 0) {
      mask = p.masks + int64_t{at.row.mask_index + draft} * ((p.vocab_size + 31) / 32);
    }
    float* to = w.changed + unit * p.vocab_size + base;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int i = j * kThreads + threadIdx.x;
      if (i >= n) continue;
      const int32_t token = base + i;
      const bool allowed = mask == nullptr || (mask[token / 32] >> (token % 32) & 1u) != 0;
      x[j] = allowed ? changed[i] : kMinusInfinity;
      to[i] = x[j];
    }
  }
  uint64_t best = kNoKey;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const int i = j * kThreads + threadIdx.x;
    if (i >= n) continue;
    const uint64_t key = key_of(x[j], base + i);
    best = key < best ? key : best;
  }
  out.best = block_least(best, scratch);
  if (threadIdx.x == 0) w.pieces[unit * w.num_pieces + piece] = out;
}

int64_t pieces_of(int64_t vocab_size) { return (vocab_size + kPiece - 1) / kPiece; }

/// The parts of the workspace, one behind the other.
struct Layout {
  int64_t pieces, bin_mass, bin_count, top, changed, bytes;
};

Layout layout_of(int64_t units, int64_t vocab_size, int64_t max_top_n) {
  const auto up = [](int64_t bytes) { return (bytes + 255) / 256 * 256; };
  const int64_t pieces = units * pieces_of(vocab_size);
  Layout at{};
  at.pieces = up(units * static_cast<int64_t>(sizeof(Unit)));
  at.bin_mass = at.pieces + up(pieces * static_cast<int64_t>(sizeof(Piece)));
  at.bin_count = at.bin_mass + up(units * kBins * 8);
  at.top = at.bin_count + up(units * kBins * 4);
  at.changed = at.top + up(pieces * max_top_n * 8);
  at.bytes = at.changed + up(units * vocab_size * 4);
  return at;
}

}  // namespace

void launch_scan(const CudaExec& exec, const SamplingParams& p, const SamplingWork& w) {
  const int64_t blocks = int64_t{p.num_rows} * p.max_row_tokens * w.num_pieces;
  launch_overlapped(exec, scan_kernel, static_cast<unsigned>(blocks), kThreads, 0, p, w);
}

int64_t sampling_workspace_bytes(int64_t row_tokens, int32_t vocab_size, int32_t max_top_n) {
  return layout_of(row_tokens, vocab_size, max_top_n).bytes;
}

void sampling(const CudaExec& exec, const SamplingParams& p, void* workspace,
              int64_t workspace_bytes) {
  if (p.num_rows == 0) return;
  SLUICE_CHECK_ARG(p.num_rows > 0 && p.vocab_size > 0 && p.vocab_size <= kMaxVocab,
                   "sampling: ", p.num_rows, " rows of ", p.vocab_size,
                   " logits (expected: at least 1 of each, at most ", kMaxVocab, " logits)");
  SLUICE_CHECK_ARG(p.max_row_tokens >= 1 && p.max_row_tokens <= 1 + p.max_draft_len,
                   "sampling max_row_tokens: ", p.max_row_tokens, " (expected: 1 to ",
                   1 + p.max_draft_len, ", 1 + max_draft_len)");
  const int64_t units = int64_t{p.num_rows} * p.max_row_tokens;
  const int64_t pieces = pieces_of(p.vocab_size);
  SLUICE_CHECK_ARG(units * pieces < int64_t{1} << 31, "sampling: ", units, " tokens of ",
                   p.vocab_size, " logits (remedy: fewer rows in a call)");
  const Layout at = layout_of(units, p.vocab_size, p.max_top_n);
  SLUICE_CHECK_ARG(workspace != nullptr && workspace_bytes >= at.bytes,
                   "sampling workspace_bytes: ", workspace_bytes, " (expected: at least ", at.bytes,
                   ")");
  auto* memory = static_cast<std::byte*>(workspace);
  SamplingWork w;
  w.units = reinterpret_cast<Unit*>(memory);
  w.pieces = reinterpret_cast<Piece*>(memory + at.pieces);
  w.bin_mass = reinterpret_cast<uint64_t*>(memory + at.bin_mass);
  w.bin_count = reinterpret_cast<uint32_t*>(memory + at.bin_count);
  w.top = reinterpret_cast<uint64_t*>(memory + at.top);
  w.changed = reinterpret_cast<float*>(memory + at.changed);
  w.num_pieces = static_cast<int32_t>(pieces);
  launch_scan(exec, p, w);
  launch_draw(exec, p, w);
  launch_finish(exec, p, w);
  SLUICE_CHECK_LAUNCH("sampling of ", p.num_rows, " rows of ", p.vocab_size);
}

}  // namespace sluice::cuda
