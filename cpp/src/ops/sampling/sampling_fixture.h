/// @file
/// One call of sampling() with its output sections, for tests.
#ifndef SLUICE_OPS_SAMPLING_SAMPLING_FIXTURE_H_
#define SLUICE_OPS_SAMPLING_SAMPLING_FIXTURE_H_

#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "device/buffer.h"
#include "ops/sampling/sampling.h"
#include "ops/testing/op_test.h"

namespace sluice {

inline constexpr float kInf = std::numeric_limits<float>::infinity();

inline sluice_output_row greedy_row() {
  sluice_output_row row{};
  row.temperature = 0.0f;
  row.top_p = 1.0f;
  row.repetition_penalty = 1.0f;
  row.mask_index = -1;
  return row;
}

inline std::vector<float> random_logits(int n, uint32_t seed, float spread = 3.0f) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

/// One call over some rows with its output sections.
struct Batch {
  Batch(int vocab_size, std::vector<float> row_logits, std::vector<sluice_output_row> output_rows)
      : vocab(vocab_size), logits(std::move(row_logits)), rows(std::move(output_rows)) {}

  int vocab;
  std::vector<float> logits;
  std::vector<sluice_output_row> rows;
  std::vector<sluice_logit_bias> bias;
  std::vector<int32_t> targets;
  std::vector<uint32_t> masks;
  std::vector<int32_t> seq_slots;
  std::vector<int32_t> first_logits, token_ids;  // only with drafts
  int max_drafts = 0;
  TokenCounts* counts = nullptr;
  int top_n = 4;

  std::vector<int32_t> accepted, tokens, rank, target_rank, top_token, finite;
  std::vector<float> logprob, target_logprob, top_logprob;

  void operator()(Isa isa = detect_isa(), int threads = 2) {
    const int n = static_cast<int>(rows.size());
    const int n_tokens = n * (1 + max_drafts);
    for (auto* v : {&accepted, &finite}) v->assign(n, -7);
    for (auto* v : {&tokens, &rank}) v->assign(n_tokens, -7);
    logprob.assign(n_tokens, -7.0f);
    target_rank.assign(targets.size(), -7);
    target_logprob.assign(targets.size(), -7.0f);
    top_token.assign(n_tokens * top_n, -7);
    top_logprob.assign(n_tokens * top_n, -7.0f);
    std::vector<const sluice_output_row*> pointers;
    for (const auto& row : rows) pointers.push_back(&row);
    SamplingParams p;
    p.num_rows = n;
    p.vocab_size = vocab;
    p.logits = logits.data();
    p.logits_stride = vocab;
    p.rows = pointers.data();
    p.seq_slots = seq_slots.empty() ? nullptr : seq_slots.data();
    p.counts = counts;
    p.logit_bias = bias.data();
    p.targets = targets.data();
    p.masks = masks.data();
    p.first_logits = first_logits.empty() ? nullptr : first_logits.data();
    p.token_ids = token_ids.empty() ? nullptr : token_ids.data();
    p.max_draft_len = max_drafts;
    p.max_top_n = top_n;
    p.accepted_count = accepted.data();
    p.tokens = tokens.data();
    p.logprob = logprob.data();
    p.rank = rank.data();
    p.target_logprob = target_logprob.data();
    p.target_rank = target_rank.data();
    p.top_token = top_token.data();
    p.top_logprob = top_logprob.data();
    p.finite = finite.data();
    const Exec exec = sluice::testing::exec_of(isa, threads);
    Buffer workspace(sampling_workspace_bytes(exec, vocab), "test");
    sampling(exec, p, workspace.data(), workspace.size());
  }
};

}  // namespace sluice

#endif  // SLUICE_OPS_SAMPLING_SAMPLING_FIXTURE_H_
