// CUDA against the CPU's ops.
#include "base/error.h"
#include "ops/permute/permute.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

void compare(int64_t tokens, int32_t num_experts, int32_t k, int drop, uint64_t seed) {
  SCOPED_TRACE(concat(tokens, " tokens ", k, " of ", num_experts, " drop ", drop));
  Random random(seed);
  const int64_t choices = tokens * k;
  std::vector<int32_t> experts;
  std::vector<uint8_t> kept;
  for (int64_t i = 0; i < choices; ++i) {
    // Skewed, so that experts are full, sparse and empty.
    const double u = random.uniform();
    experts.push_back(static_cast<int32_t>(u * u * u * num_experts));
    kept.push_back(drop == 0 || random.below(drop) != 0);
  }
  std::vector<int32_t> offsets(num_experts + 1, -7), row_tokens(choices, -1),
      row_choices(choices, -1), rows(choices, -7);
  PermuteParams params;
  params.num_tokens = tokens;
  params.num_experts = num_experts;
  params.num_experts_per_token = k;
  params.experts = experts.data();
  params.kept = drop == 0 ? nullptr : kept.data();
  params.expert_offsets = offsets.data();
  params.row_tokens = row_tokens.data();
  params.row_choices = row_choices.data();
  params.choice_rows = rows.data();
  permute(exec_of(Isa::kPortable, 1), params);

  const DeviceArray<int32_t> d_experts(experts), d_offsets(num_experts + 1), d_tokens(choices),
      d_choices(choices), d_rows(choices);
  const DeviceArray<uint8_t> d_kept(kept);
  params.experts = d_experts.get();
  params.kept = drop == 0 ? nullptr : d_kept.get();
  params.expert_offsets = d_offsets.get();
  params.row_tokens = d_tokens.get();
  params.row_choices = d_choices.get();
  params.choice_rows = d_rows.get();
  permute(cuda_exec(), params);
  EXPECT_EQ(d_offsets.host(), offsets);
  EXPECT_EQ(d_rows.host(), rows);
  // Entries beyond the last row may hold anything.
  auto actual_tokens = d_tokens.host(), actual_choices = d_choices.host();
  const auto count = static_cast<size_t>(offsets[num_experts]);
  actual_tokens.resize(count), actual_choices.resize(count);
  row_tokens.resize(count), row_choices.resize(count);
  EXPECT_EQ(actual_tokens, row_tokens);
  EXPECT_EQ(actual_choices, row_choices);
}

TEST(CudaPermute, EqualsTheCpu) {
  uint64_t seed = 1;
  for (const int64_t tokens : {1, 3, 64, 200, 512, 700, 4096}) {
    for (const int32_t k : {1, 6, 8}) {
      for (const int32_t experts : {1, 8, 64, 256, 512}) {
        for (const int drop : {0, 3}) compare(tokens, experts, k, drop, seed++);
      }
    }
  }
  compare(0, 5, 2, 0, seed++);
  compare(16384, 64, 8, 0, seed++);
  compare(16384, 256, 8, 4, seed++);
  compare(682, 60, 6, 1, seed++);   // all dropped, where one block ends
  compare(683, 60, 6, 1, seed++);   // and where many begin
  compare(2049, 1024, 1, 3, seed++);  // counts that just find room
  compare(2000, 2000, 6, 3, seed++);  // one block of more turns
  compare(9, 4096, 64, 0, seed++);
}

TEST(CudaPermute, DropsExpertsThatAreNotThere) {
  const DeviceArray<int32_t> experts(std::vector<int32_t>{2, -1, 3, 0});
  const DeviceArray<int32_t> offsets(4), tokens(4), choices(4), rows(4);
  PermuteParams params;
  params.num_tokens = 2;
  params.num_experts = 3;
  params.num_experts_per_token = 2;
  params.experts = experts.get();
  params.expert_offsets = offsets.get();
  params.row_tokens = tokens.get();
  params.row_choices = choices.get();
  params.choice_rows = rows.get();
  permute(cuda_exec(), params);
  EXPECT_EQ(offsets.host(), (std::vector<int32_t>{0, 1, 1, 2}));
  EXPECT_EQ(rows.host(), (std::vector<int32_t>{1, -1, -1, 0}));
  params.num_experts = 4097;
  EXPECT_THROW(permute(cuda_exec(), params), Error);
}

void compare_sums(int64_t tokens, int32_t k, int64_t cols, int64_t extra, bool weighted) {
  SCOPED_TRACE(concat(tokens, " tokens ", k, " rows of ", cols, " + ", extra));
  Random random(static_cast<uint64_t>(tokens * 7 + k));
  const int64_t choices = tokens * k, row_stride = cols + extra, y_stride = cols + 2 * extra;
  std::vector<int32_t> choice_rows;
  for (int64_t i = 0; i < choices; ++i) {
    choice_rows.push_back(random.below(5) == 0 ? -1 : static_cast<int32_t>(random.below(choices)));
  }
  for (int32_t i = 0; i < k; ++i) choice_rows[i] = -1;  // the first token has no row
  Values rows = Values::random(Format::kF32, choices * row_stride, 1);
  if (tokens > 1) {
    choice_rows[k] = 0;
    rows.set(0, NAN);
  }
  Values weights = Values::random(Format::kF32, choices, 2);
  Values y = Values::random(Format::kF32, tokens * y_stride, 3);
  y.set(0, -0.0f);
  const DeviceBytes d_rows = on_device(rows, choices * row_stride);
  const DeviceBytes d_weights = on_device(weights, choices);
  const DeviceBytes d_y = on_device(y, tokens * y_stride);
  const DeviceArray<int32_t> d_choice_rows(choice_rows);
  UnpermuteParams params;
  params.num_tokens = tokens;
  params.num_experts_per_token = k;
  params.choice_rows = choice_rows.data();
  params.weights = weighted ? static_cast<const float*>(weights.data()) : nullptr;
  params.rows = static_cast<const float*>(rows.data());
  params.row_stride = row_stride;
  params.cols = cols;
  params.multiplier = 0.75f;
  params.y = static_cast<float*>(y.data());
  params.y_stride = y_stride;
  unpermute(exec_of(Isa::kPortable, 1), params);
  params.choice_rows = d_choice_rows.get();
  params.weights = weighted ? static_cast<const float*>(d_weights.data()) : nullptr;
  params.rows = static_cast<const float*>(d_rows.data());
  params.y = static_cast<float*>(d_y.data());
  unpermute(cuda_exec(), params);
  expect_close(on_host(d_y, Format::kF32, tokens * y_stride), y, tokens * y_stride, 1e-6);
}

TEST(CudaUnpermute, EqualsTheCpu) {
  for (const int64_t tokens : {1, 2, 300}) {
    for (const int32_t k : {1, 6, 8, 13}) {
      for (const bool weighted : {false, true}) {
        compare_sums(tokens, k, 2048, 0, weighted);
        compare_sums(tokens, k, 37, 3, weighted);
        compare_sums(tokens, k, 20, 4, weighted);
      }
    }
  }
  compare_sums(5, 64, 128, 0, true);
}

}  // namespace
}  // namespace sluice
