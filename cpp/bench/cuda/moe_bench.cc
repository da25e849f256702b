// What stands around the products of experts, and the choice of tokens: router, permute, unpermute,
// sampling.
#include <string>

#include "base/error.h"
#include "device.h"
#include "ops/permute/permute.h"
#include "ops/router/router.h"
#include "ops/sampling/sampling_cuda.h"

namespace sluice::bench {
namespace {

struct Routing {
  const char* name;
  int32_t num_experts;
  int32_t per_token;
  int32_t num_groups;
  int32_t groups_per_token;
  RouterScore score;
};

template <typename T>
T* in(const Buffer& buffer) {
  return reinterpret_cast<T*>(buffer.data());
}

RouterParams router_params(const Routing& r, int64_t tokens, void* logits, const Buffer& experts,
                           const Buffer& weights) {
  RouterParams p;
  p.score = r.score;
  p.num_tokens = tokens;
  p.num_experts = r.num_experts;
  p.num_experts_per_token = r.per_token;
  p.logits = static_cast<float*>(logits);
  p.num_groups = r.num_groups;
  p.num_groups_per_token = r.groups_per_token;
  p.group_score = r.num_groups > 1 ? GroupScore::kTop2Sum : GroupScore::kMax;
  p.experts = in<int32_t>(experts);
  p.weights = in<float>(weights);
  return p;
}

void add_routing(const Routing& r, int64_t tokens, int64_t cols) {
  const int64_t choices = tokens * r.per_token;
  const std::string shape = concat(r.name, "/t", tokens);
  add("router_" + shape, [=](benchmark::State& state) {
    Rotation logits(Format::kF32, tokens * r.num_experts, 1);
    Buffer experts = device_buffer(choices * 4), weights = device_buffer(choices * 4);
    const Exec ops = exec();
    measure(state,
            {.bytes = 4.0 * static_cast<double>(tokens * r.num_experts + 2 * choices), .flops = 0,
             .kernel = {}},
            [&](int64_t i) { router(ops, router_params(r, tokens, logits.at(i), experts, weights)); });
  });
  add("permute_" + shape, [=](benchmark::State& state) {
    Rotation logits(Format::kF32, tokens * r.num_experts, 1);
    Buffer experts = device_buffer(choices * 4), weights = device_buffer(choices * 4);
    Buffer offsets = device_buffer((r.num_experts + 1) * 4);
    Buffer row_tokens = device_buffer(choices * 4), row_choices = device_buffer(choices * 4),
           choice_rows = device_buffer(choices * 4);
    const Exec ops = exec();
    router(ops, router_params(r, tokens, logits.at(0), experts, weights));
    measure(state, {.bytes = 16.0 * static_cast<double>(choices), .flops = 0, .kernel = {}},
            [&](int64_t) {
              PermuteParams p;
              p.num_tokens = tokens;
              p.num_experts = r.num_experts;
              p.num_experts_per_token = r.per_token;
              p.experts = in<int32_t>(experts);
              p.expert_offsets = in<int32_t>(offsets);
              p.row_tokens = in<int32_t>(row_tokens);
              p.row_choices = in<int32_t>(row_choices);
              p.choice_rows = in<int32_t>(choice_rows);
              permute(ops, p);
            });
  });
  add(concat("unpermute_", shape, "_c", cols), [=](benchmark::State& state) {
    // Rows in the order of the choices turned around: a gather as permute() leaves it.
    std::vector<int32_t> order(static_cast<size_t>(choices));
    for (int64_t i = 0; i < choices; ++i) {
      order[static_cast<size_t>(i)] = static_cast<int32_t>(choices - 1 - i);
    }
    Buffer choice_rows = upload(order);
    Rotation weights(Format::kF32, choices, 3), rows(Format::kF32, choices * cols, 2);
    Buffer y = device_buffer(tokens * cols * 4);
    fill_random(Format::kF32, y.data(), tokens * cols, 4);
    const Exec ops = exec();
    measure(state,
            {.bytes = 4.0 * static_cast<double>(choices * cols + 2 * tokens * cols), .flops = 0,
             .kernel = {}},
            [&](int64_t i) {
              UnpermuteParams p;
              p.num_tokens = tokens;
              p.num_experts_per_token = r.per_token;
              p.choice_rows = in<int32_t>(choice_rows);
              p.weights = static_cast<const float*>(weights.at(i));
              p.rows = static_cast<const float*>(rows.at(i));
              p.row_stride = cols;
              p.cols = cols;
              p.multiplier = 1e-3f;  // y stays finite over many launches
              p.y = in<float>(y);
              p.y_stride = cols;
              unpermute(ops, p);
            });
  });
}

void add_sampling(const char* kind, int32_t rows, int32_t vocab, float temperature, float top_p) {
  add(concat("sampling_", kind, "/b", rows, "_v", vocab), [=](benchmark::State& state) {
    Rotation logits(Format::kF32, int64_t{rows} * vocab, 1, 3.0f);
    std::vector<sluice_output_row> sections(static_cast<size_t>(rows));
    for (int32_t i = 0; i < rows; ++i) {
      sluice_output_row& row = sections[static_cast<size_t>(i)];
      row = {};
      row.token_index = i;
      row.kind = SLUICE_OUTPUT_SAMPLE;
      row.seed = static_cast<uint64_t>(i) * 31 + 7;
      row.draw_position = 100 + i;
      row.temperature = temperature;
      row.top_p = top_p;
      row.repetition_penalty = 1;
      row.mask_index = -1;
    }
    Buffer d_rows = upload(sections);
    Buffer accepted = device_buffer(rows * 4), tokens = device_buffer(rows * 4),
           logprob = device_buffer(rows * 4), rank = device_buffer(rows * 4),
           finite = device_buffer(rows * 4);
    Buffer workspace = device_buffer(cuda::sampling_workspace_bytes(rows, vocab, 0));
    measure(state,
            {.bytes = 4.0 * rows * static_cast<double>(vocab), .flops = 0, .kernel = {}},
            [&](int64_t i) {
              cuda::SamplingParams p;
              p.num_rows = rows;
              p.vocab_size = vocab;
              p.logits = static_cast<const float*>(logits.at(i));
              p.logits_stride = vocab;
              p.rows = in<sluice_output_row>(d_rows);
              p.accepted_count = in<int32_t>(accepted);
              p.tokens = in<int32_t>(tokens);
              p.logprob = in<float>(logprob);
              p.rank = in<int32_t>(rank);
              p.finite = in<int32_t>(finite);
              cuda::sampling(device().exec(), p, workspace.data(), workspace.size());
            });
  });
}

}  // namespace

void register_moe() {
  constexpr Routing kV2Lite{"e64_k6", 64, 6, 1, 1, RouterScore::kSoftmax};
  constexpr Routing kV3{"e256_k8_g8", 256, 8, 8, 4, RouterScore::kSigmoid};
  for (const int64_t tokens : {1, 64, 4096}) {
    add_routing(kV2Lite, tokens, 2048);
    add_routing(kV3, tokens, 7168);
  }
  for (const int32_t rows : {1, 64}) {
    add_sampling("greedy", rows, 102400, 0.0f, 1.0f);
    add_sampling("top_p", rows, 102400, 0.8f, 0.95f);
  }
}

}  // namespace sluice::bench
