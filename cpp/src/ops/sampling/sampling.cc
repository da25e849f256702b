#include "ops/sampling/sampling.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "ops/sampling/candidates.h"
#include "ops/sampling/sampling_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

int64_t scratch_bytes(int64_t vocab_size) {
  const int64_t bytes = vocab_size * static_cast<int64_t>(sizeof(Candidate) + sizeof(float));
  return (bytes + 63) / 64 * 64;
}

struct Kernels {
  float (*row_max)(const float*, int64_t, bool*);
  int64_t (*first_equal)(const float*, int64_t, float);
  double (*sum_exp)(const float*, int64_t, float, float);
  int64_t (*count_above)(const float*, int64_t, float);
  void (*forbid)(float*, int64_t, const uint32_t*);
};

/// What a thread needs for the row it works on.
struct Scratch {
  Candidate* candidates;  // [vocab_size]
  float* raw;             // [vocab_size]
};

/// The row before anything changed it: where log-probabilities and ranks come from.
struct RawRow {
  const float* x;
  int64_t n;
  float max;
  double log_sum;  // of exponentials; only when asked for

  float logprob(int64_t token) const {
    return static_cast<float>(static_cast<double>(x[token]) - log_sum);
  }
  int32_t rank(const Kernels& k, int64_t token) const {
    int64_t rank = k.count_above(x, n, x[token]);
    for (int64_t i = k.first_equal(x, token, x[token]); i < token;
         i += 1 + k.first_equal(x + i + 1, token - i - 1, x[token])) {
      ++rank;
    }
    return static_cast<int32_t>(rank);
  }
};

bool has_penalties(const sluice_output_row& row) {
  return row.repetition_penalty != 1.0f || row.presence_penalty != 0.0f ||
         row.frequency_penalty != 0.0f;
}

bool changes_logits(const sluice_output_row& row) {
  return has_penalties(row) || row.logit_bias_count > 0 || row.mask_index >= 0;
}

/// Keeps a changed logit finite, so that only bias and mask can forbid a token.
float bounded(float x) { return std::clamp(x, -FLT_MAX, FLT_MAX); }

void apply_penalties(const TokenCounts& counts, const sluice_output_row& row, int32_t seq_slot,
                     float* x) {
  const TokenCount* places = counts.places(seq_slot);
  for (int64_t i = 0; i < counts.capacity(); ++i) {
    const TokenCount& count = places[i];
    if (count.token < 0 || (count.prompt <= 0 && count.output <= 0)) continue;
    float v = x[count.token];
    v = v > 0 ? v / row.repetition_penalty : v * row.repetition_penalty;
    if (count.output > 0) {
      v -= row.frequency_penalty * static_cast<float>(count.output) + row.presence_penalty;
    }
    x[count.token] = bounded(v);
  }
}

/// The chosen token, or -1 when none is allowed. `max` is the largest of x.
int32_t choose(const Kernels& k, const sluice_output_row& row, int32_t draft, const float* x,
               int32_t vocab_size, float max, Candidate* candidates) {
  if (max == -kInfinity) return -1;
  if (row.temperature == 0.0f) return static_cast<int32_t>(k.first_equal(x, vocab_size, max));
  // A temperature so small that its inverse overflows is greedy.
  const float scale = 1.0f / row.temperature;
  if (!std::isfinite(scale)) return static_cast<int32_t>(k.first_equal(x, vocab_size, max));
  CandidateFilter filter;
  filter.top_k = row.top_k;
  filter.top_p = row.top_p;
  filter.min_p = row.min_p;
  filter.u = philox_uniform(
      row.seed, static_cast<int64_t>(static_cast<uint64_t>(row.draw_position) + draft), 0);
  // Only the sum over every token needs a pass of its own.
  filter.total = row.top_k > 0 ? 0.0 : k.sum_exp(x, vocab_size, max, scale);
  return choose_candidate(x, vocab_size, max, scale, filter, candidates);
}

// A row in its place among the arguments.
struct RowPlace {
  const sluice_output_row& row;
  float* x;           // its logits; those of draft i are i rows behind
  int64_t out_row;    // in sections with one entry for each row
  int64_t out_token;  // in those with one for each token that a row can accept
  int32_t seq_slot;
};

RowPlace place_of(const SamplingParams& p, int32_t r) {
  const int64_t out_row = p.row_index == nullptr ? r : p.row_index[r];
  const int64_t first = p.first_logits == nullptr ? r : p.first_logits[r];
  return {*p.rows[r], p.logits + first * p.logits_stride, out_row, out_row * (1 + p.max_draft_len),
          p.seq_slots == nullptr ? 0 : p.seq_slots[r]};
}

// Penalties, bias and the mask of one of the row's tokens.
void change_logits(const SamplingParams& p, const Kernels& k, const RowPlace& at, int32_t draft,
                   float* x) {
  const sluice_output_row& row = at.row;
  if (has_penalties(row)) apply_penalties(*p.counts, row, at.seq_slot, x);
  for (int32_t i = 0; i < row.logit_bias_count; ++i) {
    const sluice_logit_bias& bias = p.logit_bias[row.logit_bias_begin + i];
    // A token that one entry forbids stays forbidden, whatever another adds.
    const bool forbidden = x[bias.token] == -kInfinity || bias.bias == -kInfinity;
    x[bias.token] = forbidden ? -kInfinity : bounded(x[bias.token] + bias.bias);
  }
  if (row.mask_index >= 0) {
    const int64_t words = (p.vocab_size + 31) / 32;
    k.forbid(x, p.vocab_size, p.masks + (row.mask_index + draft) * words);
  }
}

void write_top(const SamplingParams& p, const RawRow& raw, int32_t top_n, int64_t out_token,
               Candidate* scratch) {
  const int64_t begin = out_token * p.max_top_n;
  const int32_t n = static_cast<int32_t>(std::min<int64_t>(top_n, raw.n));
  largest_candidates(raw.x, raw.n, n, scratch);
  for (int32_t i = 0; i < n; ++i) {
    p.top_token[begin + i] = scratch[i].token;
    p.top_logprob[begin + i] = raw.logprob(scratch[i].token);
  }
  for (int32_t i = n; i < top_n; ++i) {
    p.top_token[begin + i] = -1;
    p.top_logprob[begin + i] = -kInfinity;
  }
}

void write_unusable(const SamplingParams& p, const RowPlace& at, int32_t finite) {
  const sluice_output_row& row = at.row;
  p.finite[at.out_row] = finite;
  p.logprob[at.out_token] = kNan;
  if (finite == 2) return;  // targets and top_n come from the raw logits, which are sound
  for (int32_t i = 0; i < row.target_count; ++i) {
    p.target_logprob[row.target_begin + i] = kNan;
    p.target_rank[row.target_begin + i] = 0;
  }
  for (int32_t i = 0; i < row.top_n; ++i) {
    p.top_token[at.out_token * p.max_top_n + i] = -1;
    p.top_logprob[at.out_token * p.max_top_n + i] = kNan;
  }
}

bool drafts_finite(const SamplingParams& p, const Kernels& k, const RowPlace& at) {
  bool finite = true;
  for (int32_t i = 1; i <= at.row.draft_len && finite; ++i) {
    k.row_max(at.x + i * p.logits_stride, p.vocab_size, &finite);
  }
  return finite;
}

/// Targets and top_n of the row, and the token chosen behind `draft` of its drafts; -1 when none is
/// allowed or the row chooses none.
int32_t sample_token(const SamplingParams& p, const Kernels& k, const RowPlace& at, RawRow raw,
                     int32_t draft, const Scratch& scratch) {
  const sluice_output_row& row = at.row;
  float* x = at.x + draft * p.logits_stride;
  const int64_t out_token = at.out_token + draft;
  const int32_t targets = draft == 0 ? row.target_count : 0;
  const bool samples = row.kind == SLUICE_OUTPUT_SAMPLE;
  const bool wants_logprob = samples && (row.flags & SLUICE_OUTPUT_FLAG_LOGPROB) != 0;
  if (wants_logprob || targets > 0 || row.top_n > 0) {
    raw.log_sum =
        static_cast<double>(raw.max) + std::log(k.sum_exp(x, p.vocab_size, raw.max, 1.0f));
  }
  for (int32_t i = 0; i < targets; ++i) {
    const int32_t target = p.targets[row.target_begin + i];
    p.target_logprob[row.target_begin + i] = raw.logprob(target);
    p.target_rank[row.target_begin + i] = raw.rank(k, target);
  }
  if (row.top_n > 0) write_top(p, raw, row.top_n, out_token, scratch.candidates);
  if (!samples) return -1;
  float max = raw.max;
  if (changes_logits(row)) {
    if (wants_logprob) {
      std::memcpy(scratch.raw, x, p.vocab_size * sizeof(float));
      raw.x = scratch.raw;
    }
    change_logits(p, k, at, draft, x);
    bool finite = false;  // what bias and mask forbid is not
    max = k.row_max(x, p.vocab_size, &finite);
  }
  const int32_t token = choose(k, row, draft, x, p.vocab_size, max, scratch.candidates);
  if (token < 0) return -1;
  p.tokens[out_token] = token;
  if (wants_logprob) {
    p.logprob[out_token] = raw.logprob(token);
    p.rank[out_token] = raw.rank(k, token);
  }
  return token;
}

void sample_row(const SamplingParams& p, const Kernels& k, int32_t r, const Scratch& scratch) {
  const RowPlace at = place_of(p, r);
  p.finite[at.out_row] = 1;
  p.accepted_count[at.out_row] = 0;
  std::fill_n(p.tokens + at.out_token, 1 + p.max_draft_len, 0);
  std::fill_n(p.logprob + at.out_token, 1 + p.max_draft_len, 0.0f);
  std::fill_n(p.rank + at.out_token, 1 + p.max_draft_len, 0);
  bool finite = drafts_finite(p, k, at);
  if (!finite) return write_unusable(p, at, 0);
  int32_t accepted = 0;
  for (int32_t draft = 0; draft <= at.row.draft_len; ++draft) {
    const float* x = at.x + draft * p.logits_stride;
    const RawRow raw{x, p.vocab_size, k.row_max(x, p.vocab_size, &finite), 0.0};
    if (!finite) return write_unusable(p, at, 0);
    const int32_t token = sample_token(p, k, at, raw, draft, scratch);
    if (token < 0) break;
    ++accepted;
    // The sequence has no other row that reads or adds counts.
    if (p.counts != nullptr && (at.row.flags & SLUICE_OUTPUT_FLAG_COUNT) != 0) {
      p.counts->add(at.seq_slot, token, 0, 1);
    }
    if (draft == at.row.draft_len || p.token_ids[at.row.token_index + draft + 1] != token) break;
  }
  p.accepted_count[at.out_row] = accepted;
  if (accepted == 0 && at.row.kind == SLUICE_OUTPUT_SAMPLE) write_unusable(p, at, 2);
}

void check_row(const SamplingParams& p, int32_t r) {
  const sluice_output_row& row = *p.rows[r];
  SLUICE_CHECK(row.kind == SLUICE_OUTPUT_SAMPLE || row.kind == SLUICE_OUTPUT_LOGPROB,
               SLUICE_STATUS_UNSUPPORTED, "output row kind: ", row.kind,
               " (expected: SAMPLE or LOGPROB)");
  const int32_t drafts = row.kind == SLUICE_OUTPUT_SAMPLE ? p.max_draft_len : 0;
  SLUICE_CHECK_ARG(row.draft_len >= 0 && row.draft_len <= drafts, "draft_len: ", row.draft_len,
                   " (expected: 0 to ", drafts, ")");
  SLUICE_CHECK_ARG(row.draft_len == 0 || (p.first_logits != nullptr && p.token_ids != nullptr),
                   "draft_len: ", row.draft_len, " without the ids of the step's tokens");
  check_at_least("top_n", row.top_n, 0);
  SLUICE_CHECK_ARG(row.top_n <= p.max_top_n, "top_n: ", row.top_n, " (expected: at most ",
                   p.max_top_n, ", the option max_top_n)");
  SLUICE_CHECK_ARG(row.top_n == 0 || (p.top_token != nullptr && p.top_logprob != nullptr),
                   "top_n: ", row.top_n, " without an output section");
  for (int32_t i = 0; i < row.target_count; ++i) {
    const int32_t target = p.targets[row.target_begin + i];
    SLUICE_CHECK_ARG(target >= 0 && target < p.vocab_size, "target token: ", target,
                     " (expected: 0 to ", p.vocab_size - 1, ")");
  }
  if (row.kind != SLUICE_OUTPUT_SAMPLE) return;
  SLUICE_CHECK_ARG(row.temperature >= 0 && std::isfinite(row.temperature),
                   "temperature: ", static_cast<double>(row.temperature),
                   " (expected: finite, at least 0)");
  SLUICE_CHECK_ARG(row.top_p > 0 && row.top_p <= 1, "top_p: ", static_cast<double>(row.top_p),
                   " (expected: above 0, at most 1)");
  SLUICE_CHECK_ARG(row.min_p >= 0 && row.min_p < 1, "min_p: ", static_cast<double>(row.min_p),
                   " (expected: at least 0, below 1)");
  check_at_least("top_k", row.top_k, 0);
  SLUICE_CHECK_ARG(row.repetition_penalty > 0 && std::isfinite(row.repetition_penalty),
                   "repetition_penalty: ", static_cast<double>(row.repetition_penalty),
                   " (expected: finite, above 0)");
  SLUICE_CHECK_ARG(std::isfinite(row.presence_penalty) && std::isfinite(row.frequency_penalty),
                   "presence_penalty, frequency_penalty: not finite (expected: finite)");
  SLUICE_CHECK_ARG(p.counts != nullptr || !has_penalties(row),
                   "penalties: set, but the engine keeps no counts (remedy: the option penalties)");
  for (int32_t i = 0; i < row.logit_bias_count; ++i) {
    const sluice_logit_bias& bias = p.logit_bias[row.logit_bias_begin + i];
    SLUICE_CHECK_ARG(bias.token >= 0 && bias.token < p.vocab_size, "logit bias token: ", bias.token,
                     " (expected: 0 to ", p.vocab_size - 1, ")");
    SLUICE_CHECK_ARG(!std::isnan(bias.bias) && bias.bias != kInfinity,
                     "logit bias: ", static_cast<double>(bias.bias),
                     " (expected: finite, or -inf)");
  }
}

}  // namespace

int64_t sampling_workspace_bytes(const Exec& exec, int32_t vocab_size) {
  return exec.num_threads * scratch_bytes(vocab_size);
}

void sampling(const Exec& exec, const SamplingParams& p, void* workspace, int64_t workspace_bytes) {
  check_at_least("sampling num_rows", p.num_rows, 0);
  if (p.num_rows == 0) return;
  check_at_least("sampling vocab_size", p.vocab_size, 1);
  check_stride("sampling logits_stride", p.logits_stride, p.vocab_size, p.num_rows);
  check_memory("sampling logits", p.logits, p.num_rows);
  SLUICE_CHECK_ARG(workspace_bytes >= sampling_workspace_bytes(exec, p.vocab_size),
                   "sampling workspace_bytes: ", workspace_bytes, " (expected: at least ",
                   sampling_workspace_bytes(exec, p.vocab_size), ")");
  for (int32_t r = 0; r < p.num_rows; ++r) check_row(p, r);

  const Kernels kernels{
      SLUICE_SELECT_ISA(exec.isa, row_max), SLUICE_SELECT_ISA(exec.isa, first_equal),
      SLUICE_SELECT_ISA(exec.isa, sum_exp), SLUICE_SELECT_ISA(exec.isa, count_above),
      SLUICE_SELECT_ISA(exec.isa, forbid)};
  const int64_t teams = std::min<int64_t>(exec.num_threads, p.num_rows);
  parallel_ranges(exec, teams, 1, [&](int64_t begin, int64_t end) {
    for (int64_t team = begin; team < end; ++team) {
      std::byte* base = static_cast<std::byte*>(workspace) + team * scratch_bytes(p.vocab_size);
      const Scratch scratch{reinterpret_cast<Candidate*>(base),
                            reinterpret_cast<float*>(base + p.vocab_size * sizeof(Candidate))};
      for (int64_t r = p.num_rows * team / teams; r < p.num_rows * (team + 1) / teams; ++r) {
        sample_row(p, kernels, static_cast<int32_t>(r), scratch);
      }
    }
  });
}

}  // namespace sluice
