#include "ops/grouped_gemm/grouped_gemm.h"

#include <algorithm>

#include "base/error.h"
#include "ops/gemm/gemm.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Random;
using testing::Values;

struct Experts {
  Experts(Format format, int32_t count, int64_t rows, int64_t cols, uint64_t seed)
      : num_experts(count),
        expert_bytes(packed_bytes(format, WeightLayout::kPanel64, rows, cols)),
        buffer(expert_bytes * count, "experts"),
        dense(Values::random(format, count * rows * cols, seed)),
        first{.format = format, .data = buffer.data(), .rows = rows, .cols = cols} {
    for (int32_t e = 0; e < count; ++e) {
      pack_rows({.weight = at(e),
                 .source = dense.at(e * rows * cols),
                 .source_format = format,
                 .row_stride = cols,
                 .num_rows = rows,
                 .num_cols = cols});
    }
  }
  WeightView at(int32_t e) const {
    WeightView view = first;
    view.data = buffer.data() + e * expert_bytes;
    return view;
  }
  int32_t num_experts;
  int64_t expert_bytes;
  Buffer buffer;
  Values dense;
  WeightView first;
};

struct Case {
  const char* name;
  std::vector<int32_t> counts;  // rows of each expert
  int64_t outputs, inputs;
  bool bias = false, scale = false, gather = true;
};

const Case kCases[] = {
    {"one_token", {0, 1, 0, 1, 1}, 100, 70, true},
    {"one_row_of_one_expert", {0, 0, 1}, 1, 1},
    {"all_to_one", {0, 0, 50, 0}, 129, 65, true},
    {"one_expert", {17}, 64, 40},
    {"first_and_last", {3, 0, 0, 9}, 200, 33, false, true},
    {"uneven", {1, 2, 3, 7, 31, 32, 33}, 70, 96, true, true},
    {"own_rows", {4, 0, 6}, 80, 31, true, false, false},
    {"none", {0, 0, 0}, 64, 64},
};

// x has rows that nobody reads: NaN.
struct Inputs {
  Inputs(const Case& c, Format format) : offsets{0}, stride(c.inputs + 3) {
    for (int32_t count : c.counts) offsets.push_back(offsets.back() + count);
    Random random(11);
    const int64_t rows = offsets.back();
    const int64_t tokens = c.gather ? rows / 2 + 2 : rows;
    x = Values(format, std::max<int64_t>(tokens, 1) * stride);
    for (int64_t r = 0; r < rows; ++r) {
      index.push_back(static_cast<int32_t>(c.gather ? random.below(tokens) : r));
      scale.push_back(random.value());
    }
    for (int32_t t : index) {
      for (int64_t k = 0; k < c.inputs; ++k) x.set(t * stride + k, random.value());
    }
    for (int64_t i = 0; i < c.outputs * static_cast<int64_t>(c.counts.size()); ++i) {
      bias.push_back(random.value());
    }
  }
  int64_t rows() const { return offsets.back(); }
  std::vector<int32_t> offsets, index;
  std::vector<float> scale, bias;
  int64_t stride;
  Values x{Format::kF32, 1};
};

Values run(const Exec& exec, const Case& c, const Experts& w, const Inputs& in, Format y_format) {
  const int64_t stride = c.outputs + 5;
  Values y(y_format, (in.rows() + 1) * stride);
  grouped_gemm(exec, {.num_experts = w.num_experts,
                      .expert_offsets = in.offsets.data(),
                      .x = in.x.data(),
                      .x_format = w.first.format,
                      .x_stride = in.stride,
                      .row_index = c.gather ? in.index.data() : nullptr,
                      .row_scale = c.scale ? in.scale.data() : nullptr,
                      .w = w.first,
                      .expert_bytes = w.expert_bytes,
                      .bias = c.bias ? in.bias.data() : nullptr,
                      .y = y.data(),
                      .y_format = y_format,
                      .y_stride = stride});
  for (int64_t r = 0; r <= in.rows(); ++r) {
    for (int64_t n = r < in.rows() ? c.outputs : 0; n < stride; ++n) {
      EXPECT_TRUE(std::isnan(y.get(r * stride + n)));
    }
  }
  return y;
}

TEST(GroupedGemmTest, AgreesWithDoubleOnEveryInstructionSet) {
  for (const Case& c : kCases) {
    for (const Format format : {Format::kF32, Format::kBf16}) {
      const Experts w(format, static_cast<int32_t>(c.counts.size()), c.outputs, c.inputs, 7);
      const Inputs in(c, format);
      for (const Format y_format : {Format::kF32, Format::kBf16}) {
        if (format == Format::kF32 && y_format == Format::kBf16) continue;
        for (const Isa isa : testing::isas()) {
          SCOPED_TRACE(concat(c.name, " ", format_name(format), " ", isa_name(isa)));
          const Values y = run(testing::exec_of(isa, 2), c, w, in, y_format);
          const double tolerance =
              2 * testing::epsilon(y_format) + static_cast<double>(c.inputs) * 0x1p-23;
          for (int32_t e = 0; e < w.num_experts; ++e) {
            for (int64_t r = in.offsets[e]; r < in.offsets[e + 1]; ++r) {
              for (int64_t n = 0; n < c.outputs; ++n) {
                double sum = 0;
                for (int64_t k = 0; k < c.inputs; ++k) {
                  sum += double{in.x.get(in.index[r] * in.stride + k)} *
                         double{w.dense.get((e * c.outputs + n) * c.inputs + k)};
                }
                if (c.scale) sum *= double{in.scale[r]};
                if (c.bias) sum += double{in.bias[e * c.outputs + n]};
                ASSERT_TRUE(testing::close(y.get(r * (c.outputs + 5) + n), sum, tolerance))
                    << "expert " << e << " row " << r << " output " << n;
              }
            }
          }
        }
      }
    }
  }
}

// Large enough that threads share the work, cut inside experts and inside panels.
TEST(GroupedGemmTest, RowHasTheBitsOfTheDenseProductAlone) {
  const Case c{"", {40, 0, 1, 7, 64, 2}, 330, 600, true};
  Gemm gemm({.onednn_path = SLUICE_TEST_ONEDNN_PATH, .numerics = Numerics::kBatchInvariant});
  for (const Format format : {Format::kF32, Format::kBf16}) {
    const Experts w(format, 6, c.outputs, c.inputs, 3);
    const Inputs in(c, format);
    for (const Isa isa : testing::isas()) {
      if (isa == Isa::kPortable) continue;  // slow, nothing new
      Values one = run(testing::exec_of(isa, 1), c, w, in, Format::kF32);
      for (const int threads : {2, 3, 8}) {
        EXPECT_EQ(run(testing::exec_of(isa, threads), c, w, in, Format::kF32), one) << threads;
      }
      std::vector<float> alone(c.outputs);
      for (int32_t e = 0; e < w.num_experts; ++e) {
        for (int64_t r = in.offsets[e]; r < in.offsets[e + 1]; r += 5) {
          Inputs copy = in;
          gemm.run(testing::exec_of(isa, 2),
                   {.num_rows = 1,
                    .x = copy.x.at(in.index[r] * in.stride),
                    .x_format = format,
                    .x_stride = in.stride,
                    .w = w.at(e),
                    .bias = in.bias.data() + e * c.outputs,
                    .y = alone.data(),
                    .y_stride = c.outputs},
                   nullptr, 0);
          ASSERT_EQ(std::memcmp(alone.data(), one.at(r * (c.outputs + 5)), c.outputs * 4), 0)
              << "expert " << e << " row " << r << " " << isa_name(isa);
        }
      }
    }
  }
}

TEST(GroupedGemmTest, RefusesByName) {
  const Experts w(Format::kBf16, 2, 8, 8, 1);
  float values[64] = {};
  const int32_t offsets[] = {0, 1, 2};
  const int32_t falling[] = {0, 2, 1};
  const GroupedGemmParams good{.num_experts = 2,
                               .expert_offsets = offsets,
                               .x = values,
                               .x_format = Format::kBf16,
                               .x_stride = 8,
                               .w = w.first,
                               .expert_bytes = w.expert_bytes,
                               .y = values + 32,
                               .y_stride = 8};
  EXPECT_NO_THROW(grouped_gemm({}, good));
  GroupedGemmParams p = good;
  p.x_format = Format::kF32;
  EXPECT_THROW(grouped_gemm({}, p), Error);
  p = good;
  p.expert_offsets = falling;
  EXPECT_THROW(grouped_gemm({}, p), Error);
  p = good;
  p.expert_bytes = 64;
  EXPECT_THROW(grouped_gemm({}, p), Error);
  p = good;
  p.x_stride = 7;
  EXPECT_THROW(grouped_gemm({}, p), Error);
  p = good;
  p.w.layout = WeightLayout::kRowMajor;
  EXPECT_THROW(grouped_gemm({}, p), Error);
}

}  // namespace
}  // namespace sluice
