#include "ops/gemm/batched_gemm.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Values;

struct Shape {
  int64_t count, num_rows, rows, cols;
};

// Products of `s` with gaps between heads and rows, which must stay as they are.
struct Products {
  Products(const Shape& shape, Format weight_format, Format out_format)
      : s(shape),
        x_batch(s.cols + 3),
        y_batch(s.rows + 5),
        x_stride(s.count * x_batch + 1),
        y_stride(s.count * y_batch + 2),
        stride_bytes(packed_bytes(weight_format, WeightLayout::kPanel64, s.rows, s.cols)),
        x(Values::random(weight_format, std::max<int64_t>(s.num_rows, 1) * x_stride, 1)),
        y(out_format, std::max<int64_t>(s.num_rows, 1) * y_stride),
        dense(Values::random(weight_format, s.count * s.rows * s.cols, 2)),
        memory(s.count * stride_bytes, "weights") {
    stack = {.first = {.format = weight_format,
                       .layout = WeightLayout::kPanel64,
                       .data = memory.data(),
                       .rows = s.rows,
                       .cols = s.cols},
             .count = s.count,
             .stride_bytes = stride_bytes};
    for (int64_t b = 0; b < s.count; ++b) {
      pack_rows({.weight = stack.at(b),
                 .source = dense.at(b * s.rows * s.cols),
                 .source_format = weight_format,
                 .row_stride = s.cols,
                 .num_rows = s.rows,
                 .num_cols = s.cols});
    }
  }

  void run(const Exec& exec, int64_t row_begin, int64_t num_rows) {
    batched_gemm(exec, {.num_rows = num_rows,
                        .x = x.at(row_begin * x_stride),
                        .x_format = x.format(),
                        .x_stride = x_stride,
                        .x_batch_stride = x_batch,
                        .w = stack,
                        .y = y.at(row_begin * y_stride),
                        .y_format = y.format(),
                        .y_stride = y_stride,
                        .y_batch_stride = y_batch});
  }

  void check() const {
    for (int64_t r = 0; r < s.num_rows; ++r) {
      for (int64_t i = 0; i < y_stride; ++i) {
        const int64_t b = i / y_batch, o = i % y_batch;
        const double actual = y.get(r * y_stride + i);
        if (b >= s.count || o >= s.rows) {
          ASSERT_TRUE(std::isnan(actual)) << "row " << r << " at " << i;
          continue;
        }
        double sum = 0, size = 0;
        for (int64_t c = 0; c < s.cols; ++c) {
          const double term = double{x.get(r * x_stride + b * x_batch + c)} *
                              double{dense.get((b * s.rows + o) * s.cols + c)};
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(actual, sum, (2e-7 + testing::epsilon(y.format())) * (size + 1))
            << "product " << b << " row " << r << " output " << o;
      }
    }
  }

  Shape s;
  int64_t x_batch, y_batch, x_stride, y_stride, stride_bytes;
  Values x, y, dense;
  Buffer memory;
  WeightStack stack;
};

TEST(BatchedGemmTest, EqualsTheProducts) {
  for (const Shape& shape : {Shape{16, 1, 128, 32},
                             {5, 7, 20, 17},
                             {3, 1, 7, 64},
                             {1, 3, 65, 9},
                             {4, 33, 130, 48},
                             {2, 0, 8, 8}}) {
    for (const auto& [weights, out] : {std::pair{Format::kF32, Format::kF32},
                                       {Format::kBf16, Format::kF32},
                                       {Format::kBf16, Format::kBf16}}) {
      for (const Isa isa : testing::isas()) {
        for (const int threads : {1, 3}) {
          SCOPED_TRACE(concat(shape.count, " x ", shape.num_rows, " ", isa_name(isa)));
          Products products(shape, weights, out);
          products.run({isa, threads}, 0, shape.num_rows);
          products.check();
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(BatchedGemmTest, BitsDependOnTheRowAlone) {
  const Shape shape{6, 23, 75, 40};
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Isa isa : testing::isas()) {
      Products together(shape, format, Format::kF32);
      together.run({isa, 3}, 0, shape.num_rows);
      Products alone(shape, format, Format::kF32);
      for (int64_t r = 0; r < shape.num_rows; ++r)
        alone.run({isa, 1 + static_cast<int>(r % 3)}, r, 1);
      EXPECT_TRUE(together.y == alone.y) << isa_name(isa);
    }
  }
}

TEST(BatchedGemmTest, RefusesByName) {
  Products products({2, 2, 8, 8}, Format::kF32, Format::kF32);
  products.stack.stride_bytes = 64;
  EXPECT_THROW(products.run({}, 0, 2), Error);
  Products narrow({2, 2, 8, 8}, Format::kF32, Format::kF32);
  narrow.y_batch = 7;
  EXPECT_THROW(narrow.run({}, 0, 2), Error);
}

}  // namespace
}  // namespace sluice
