// One launch against the ops that it stands for: the same bits.
#include "base/error.h"
#include "ops/elementwise/elementwise.h"
#include "ops/grouped_gemm/grouped_gemm.h"
#include "ops/router/route.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Case {
  int32_t tokens, experts, k;
  int64_t cols;
  RouterScore score;
  int32_t groups, groups_per_token;
  bool bias;
};

struct Results {
  DeviceArray<int32_t> experts, offsets, row_tokens, row_choices, choice_rows, counts;
  DeviceArray<float> weights;
  Results(int64_t choices, int64_t num_experts)
      : experts(choices), offsets(num_experts + 1), row_tokens(choices), row_choices(choices),
        choice_rows(choices),
        counts(std::vector<int32_t>(static_cast<size_t>(num_experts), 5)), weights(choices) {}
};

void compare(const Case& c, Format format) {
  SCOPED_TRACE(concat(c.tokens, " tokens, ", c.experts, " experts, ", c.cols, " columns, ",
                      format_name(format)));
  const int64_t choices = int64_t{c.tokens} * c.k;
  const int64_t stride = c.cols + 8;
  const Values x = Values::random(format, c.tokens * stride, 1);
  const Values w = Values::random(Format::kF32, c.experts * c.cols, 2, 0.2f);
  const DeviceBytes device_x = on_device(x, c.tokens * stride);
  const DeviceBytes device_w = on_device(w, c.experts * c.cols);
  const DeviceBytes extra = on_device(Values::random(Format::kF32, c.experts, 3, 0.1f), c.experts);
  std::vector<int32_t> slots(static_cast<size_t>(c.tokens) * 2, 7);
  if (c.tokens > 2) slots[2] = -1;  // the second token fills the step up
  const DeviceArray<int32_t> device_slots(slots);
  const DeviceArray<float> logits(int64_t{c.tokens} * c.experts), steps_logits(int64_t{c.tokens} * c.experts);
  const Results one(choices, c.experts), steps(choices, c.experts);
  const auto make = [&](const Results& to, const DeviceArray<float>& scores) {
    RouteParams p;
    p.x = device_x.data();
    p.x_format = format;
    p.x_stride = stride;
    p.w.format = Format::kF32;
    p.w.layout = WeightLayout::kRowMajor;
    p.w.data = device_w.data();
    p.w.rows = c.experts;
    p.w.cols = c.cols;
    if (c.bias) {
      p.bias = static_cast<const float*>(extra.data());
      p.router.correction_bias = p.bias;
    }
    p.router.score = c.score;
    p.router.num_tokens = p.sorted.num_tokens = c.tokens;
    p.router.num_experts = p.sorted.num_experts = c.experts;
    p.router.num_experts_per_token = p.sorted.num_experts_per_token = c.k;
    p.router.num_groups = c.groups;
    p.router.num_groups_per_token = c.groups_per_token;
    p.router.normalize = true;
    p.router.logits = scores.get();
    p.router.experts = to.experts.get();
    p.router.weights = to.weights.get();
    p.sorted.experts = to.experts.get();
    p.sorted.token_slots = device_slots.get();
    p.sorted.token_slot_stride = 2;
    p.sorted.expert_offsets = to.offsets.get();
    p.sorted.row_tokens = to.row_tokens.get();
    p.sorted.row_choices = to.row_choices.get();
    p.sorted.choice_rows = to.choice_rows.get();
    p.expert_counts = to.counts.get();
    return p;
  };
  const Exec exec = cuda_exec();
  const RouteParams whole = make(one, logits);
  ASSERT_TRUE(route_fits(exec, whole));
  route(exec, whole);

  const RouteParams p = make(steps, steps_logits);
  const DeviceArray<float> wide(c.tokens * c.cols);
  convert_rows(exec, {.num_rows = c.tokens, .cols = c.cols, .x = p.x, .x_format = format,
                      .x_stride = stride, .y = wide.get(), .y_format = Format::kF32,
                      .y_stride = c.cols});
  GroupedGemmParams product;
  product.num_experts = 1;
  product.max_rows = c.tokens;
  product.x = wide.get();
  product.x_format = Format::kF32;
  product.x_stride = c.cols;
  product.w = p.w;
  product.bias = p.bias;
  product.y = p.router.logits;
  product.y_stride = c.experts;
  grouped_gemm(exec, product);
  router(exec, p.router);
  permute(exec, p.sorted);
  add_lengths(exec, c.experts, p.sorted.expert_offsets, p.expert_counts);

  EXPECT_EQ(logits.host(), steps_logits.host());  // the scores, by now
  EXPECT_EQ(one.experts.host(), steps.experts.host());
  EXPECT_EQ(one.weights.host(), steps.weights.host());
  EXPECT_EQ(one.offsets.host(), steps.offsets.host());
  EXPECT_EQ(one.choice_rows.host(), steps.choice_rows.host());
  EXPECT_EQ(one.counts.host(), steps.counts.host());
  const auto rows = static_cast<size_t>(steps.offsets.host()[static_cast<size_t>(c.experts)]);
  EXPECT_EQ(rows, static_cast<size_t>(choices - (c.tokens > 2 ? c.k : 0)));
  std::vector<int32_t> a = one.row_tokens.host(), b = steps.row_tokens.host();
  a.resize(rows), b.resize(rows);
  EXPECT_EQ(a, b);
  a = one.row_choices.host(), b = steps.row_choices.host();
  a.resize(rows), b.resize(rows);
  EXPECT_EQ(a, b);
}

TEST(CudaRoute, EqualsItsSteps) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const int32_t tokens : {1, 2, 5, 16}) {
      compare({tokens, 64, 6, 2048, RouterScore::kSoftmax, 1, 1, false}, format);
      compare({tokens, 256, 8, 7168, RouterScore::kSigmoid, 8, 4, true}, format);
      compare({tokens, 8, 2, 72, RouterScore::kTopKSoftmax, 1, 1, true}, format);
      compare({tokens, 100, 5, 2120, RouterScore::kSoftmax, 1, 1, false}, format);
    }
  }
}

}  // namespace
}  // namespace sluice
