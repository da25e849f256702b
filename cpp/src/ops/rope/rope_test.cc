#include "ops/rope/rope.h"

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Values;

struct Table {
  std::vector<float> cos, sin;
};

Table make_table(int64_t tokens, int32_t half) {
  Table t;
  for (int64_t i = 0; i < tokens * half; ++i) {
    t.cos.push_back(std::cos(0.37f * static_cast<float>(i)));
    t.sin.push_back(std::sin(0.37f * static_cast<float>(i)));
  }
  return t;
}

TEST(RopeTest, TurnsPairsOfEveryLayout) {
  struct Case {
    int32_t head_dim, rotary_dim, rotary_begin;
  };
  for (const Case& c : {Case{64, 64, 0}, Case{128, 128, 0}, Case{80, 32, 0}, Case{96, 64, 32},
                        Case{10, 6, 0}, Case{50, 34, 16}, Case{2, 2, 0}}) {
    for (const bool interleaved : {false, true}) {
      for (const Format format : {Format::kF32, Format::kBf16}) {
        for (const Isa isa : testing::isas()) {
          SCOPED_TRACE(concat(isa_name(isa), " ", format_name(format), " ", c.head_dim, " ",
                              c.rotary_dim, interleaved ? " interleaved" : " halves"));
          const int64_t tokens = 5, heads = 3, stride = heads * c.head_dim + 7;
          const int32_t half = c.rotary_dim / 2;
          const Table table = make_table(tokens, half);
          const Values before = Values::random(format, tokens * stride, 6);
          Values x = before;
          rope(testing::exec_of(isa, 2), {.num_tokens = tokens,
                                          .num_heads = 3,
                                          .head_dim = c.head_dim,
                                          .rotary_dim = c.rotary_dim,
                                          .rotary_begin = c.rotary_begin,
                                          .interleaved = interleaved,
                                          .x = x.data(),
                                          .format = format,
                                          .x_stride = stride,
                                          .cos = table.cos.data(),
                                          .sin = table.sin.data()});
          Values expected = before;
          for (int64_t t = 0; t < tokens; ++t) {
            for (int64_t h = 0; h < heads; ++h) {
              const int64_t base = t * stride + h * c.head_dim + c.rotary_begin;
              for (int64_t p = 0; p < half; ++p) {
                const int64_t i = base + (interleaved ? 2 * p : p);
                const int64_t j = base + (interleaved ? 2 * p + 1 : p + half);
                const double cos = table.cos[static_cast<size_t>(t * half + p)];
                const double sin = table.sin[static_cast<size_t>(t * half + p)];
                const double a = before.get(i), b = before.get(j);
                ASSERT_TRUE(
                    testing::close(x.get(i), a * cos - b * sin, 3 * testing::epsilon(format)));
                ASSERT_TRUE(
                    testing::close(x.get(j), b * cos + a * sin, 3 * testing::epsilon(format)));
                expected.set(i, x.get(i));
                expected.set(j, x.get(j));
              }
            }
          }
          EXPECT_TRUE(x == expected);  // nothing else has changed
        }
      }
    }
  }
}

TEST(RopeTest, TableFollowsVariantsPositionsAndDims) {
  const std::vector<double> plain{1.0, 0.1, 0.001}, scaled{0.5, 0.05, 0.0005};
  const RopeVariantView variants[] = {{plain.data(), 1.0}, {scaled.data(), 1.25}};
  const std::vector<int32_t> positions{0, 3, 131071, 77, 5, 6};  // two dimensions a token
  const std::vector<int32_t> start{0, 2, 3}, variant{0, 9, 1, 9}, dims{0, 1, 1};
  std::vector<float> cos(9), sin(9);
  RopeTableParams p{.num_tokens = 3,
                    .rotary_dim = 6,
                    .positions = positions.data(),
                    .position_dims = 2,
                    .num_sequences = 2,
                    .query_start = start.data(),
                    .variant = variant.data(),
                    .variant_stride = 2,
                    .variants = variants,
                    .num_variants = 2,
                    .cos = cos.data(),
                    .sin = sin.data()};
  for (const bool own_dims : {false, true}) {
    p.pair_dims = own_dims ? dims.data() : nullptr;
    rope_table(testing::exec_of(detect_isa(), 2), p);
    for (size_t t = 0; t < 3; ++t) {
      const RopeVariantView& v = variants[t == 2 ? 1 : 0];
      for (size_t i = 0; i < 3; ++i) {
        const int32_t position = positions[2 * t + (own_dims && i > 0 ? 1 : 0)];
        EXPECT_EQ(cos[3 * t + i],
                  static_cast<float>(std::cos(position * v.inv_freq[i]) * v.attention_scale));
        EXPECT_EQ(sin[3 * t + i],
                  static_cast<float>(std::sin(position * v.inv_freq[i]) * v.attention_scale));
      }
    }
  }
  p.num_variants = 1;
  EXPECT_THROW(rope_table({}, p), Error);
  p.num_variants = 2;
  p.position_dims = 1;
  EXPECT_THROW(rope_table({}, p), Error);
}

// Sequences of one token, of many and of none, cut over threads anywhere.
TEST(RopeTest, TableOfManySequences) {
  const std::vector<double> plain{1.0, 0.1}, scaled{0.5, 0.05};
  const RopeVariantView variants[] = {{plain.data(), 1.0}, {scaled.data(), 1.25}};
  std::vector<int32_t> start{0}, variant, positions, of_token;
  for (int32_t s = 0; s < 3000; ++s) {
    const int32_t tokens = s % 7 == 3 ? 0 : s % 11 == 5 ? 90 : 1;
    variant.push_back(s % 3 == 0 ? 1 : 0);
    start.push_back(start.back() + tokens);
    for (int32_t t = 0; t < tokens; ++t) {
      positions.push_back(5 * s + t);
      of_token.push_back(variant.back());
    }
  }
  const size_t tokens = positions.size();
  for (const int threads : {1, 2, 7}) {
    std::vector<float> cos(2 * tokens), sin(2 * tokens);
    rope_table(testing::exec_of(detect_isa(), threads), {.num_tokens = static_cast<int64_t>(tokens),
                                                         .rotary_dim = 4,
                                                         .positions = positions.data(),
                                                         .num_sequences = 3000,
                                                         .query_start = start.data(),
                                                         .variant = variant.data(),
                                                         .variants = variants,
                                                         .num_variants = 2,
                                                         .cos = cos.data(),
                                                         .sin = sin.data()});
    for (size_t i = 0; i < 2 * tokens; ++i) {
      const RopeVariantView& v = variants[of_token[i / 2]];
      const double angle = positions[i / 2] * v.inv_freq[i % 2];
      ASSERT_EQ(cos[i], static_cast<float>(std::cos(angle) * v.attention_scale)) << i;
      ASSERT_EQ(sin[i], static_cast<float>(std::sin(angle) * v.attention_scale)) << i;
    }
  }
}

TEST(RopeTest, RefusesByName) {
  float value[8] = {};
  RopeParams p{.num_tokens = 1,
               .num_heads = 1,
               .head_dim = 8,
               .rotary_dim = 6,
               .rotary_begin = 3,
               .x = value,
               .format = Format::kF32,
               .x_stride = 8,
               .cos = value,
               .sin = value};
  EXPECT_THROW(rope({}, p), Error);
  p.rotary_begin = 0;
  p.rotary_dim = 5;
  EXPECT_THROW(rope({}, p), Error);
}

}  // namespace
}  // namespace sluice
