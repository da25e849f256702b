#include "ops/gemm/gemm.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "ops/testing/op_test.h"

namespace sluice {
namespace {

using testing::Random;
using testing::Values;

struct Weight {
  Weight(Format format, int64_t rows, int64_t cols, uint64_t seed)
      : buffer(packed_bytes(format, WeightLayout::kPanel64, rows, cols), "weight"),
        dense(Values::random(format, rows * cols, seed)) {
    view = {.format = format, .data = buffer.data(), .rows = rows, .cols = cols};
    pack_rows({.weight = view,
               .source = dense.data(),
               .source_format = format,
               .row_stride = cols,
               .num_rows = rows,
               .num_cols = cols});
  }
  Buffer buffer;
  Values dense;
  WeightView view;
};

struct Case {
  int64_t rows, outputs, inputs;
  bool bias = false, accumulate = false;
  float alpha = 1.0f;
};

class GemmTest : public ::testing::Test {
 protected:
  static Gemm make(Numerics numerics) {
    return Gemm({.onednn_path = SLUICE_TEST_ONEDNN_PATH, .numerics = numerics, .num_threads = 3});
  }

  // Runs one product on padded rows; checks that the padding is untouched.
  static Values run(Gemm& gemm, const Exec& exec, const Case& c, const Weight& w, const Values& x,
                    int64_t first_row, Format y_format) {
    const int64_t x_stride = c.inputs + 3, y_stride = c.outputs + 5;
    Values y(y_format, (c.rows + 1) * y_stride);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t n = 0; n < c.outputs; ++n) {
        y.set(r * y_stride + n, 0.5f * static_cast<float>((r + first_row + n) % 7));
      }
    }
    std::vector<float> bias(static_cast<size_t>(c.outputs));
    for (size_t n = 0; n < bias.size(); ++n) bias[n] = 0.01f * static_cast<float>(n % 13) - 0.05f;
    Buffer workspace(gemm.workspace_bytes(c.rows, c.outputs, c.inputs), "workspace");
    Values shifted = x;
    gemm.run(exec,
             {.num_rows = c.rows,
              .x = shifted.at(first_row * x_stride),
              .x_format = w.view.format,
              .x_stride = x_stride,
              .w = w.view,
              .bias = c.bias ? bias.data() : nullptr,
              .alpha = c.alpha,
              .accumulate = c.accumulate,
              .y = y.data(),
              .y_format = y_format,
              .y_stride = y_stride},
             workspace.data(), workspace.size());
    for (int64_t r = 0; r <= c.rows; ++r) {
      const int64_t begin = r < c.rows ? c.outputs : 0;
      for (int64_t n = begin; n < y_stride; ++n) EXPECT_TRUE(std::isnan(y.get(r * y_stride + n)));
    }
    return y;
  }

  static Values inputs(const Case& c, Format format, uint64_t seed) {
    const int64_t stride = c.inputs + 3;
    Values x(format, c.rows * stride);  // NaN between the rows
    Random random(seed);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t k = 0; k < c.inputs; ++k) x.set(r * stride + k, random.value());
    }
    return x;
  }

  static void check(const Case& c, const Weight& w, const Values& x, const Values& y) {
    const int64_t x_stride = c.inputs + 3, y_stride = c.outputs + 5;
    const double tolerance =
        2 * testing::epsilon(y.format()) + static_cast<double>(c.inputs) * 0x1p-23;
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t n = 0; n < c.outputs; ++n) {
        double sum = c.bias ? 0.01f * static_cast<float>(n % 13) - 0.05f : 0.0;
        for (int64_t k = 0; k < c.inputs; ++k) {
          sum += double{x.get(r * x_stride + k)} * double{w.dense.get(n * c.inputs + k)};
        }
        sum *= double{c.alpha};
        if (c.accumulate) sum += 0.5 * static_cast<double>((r + n) % 7);
        ASSERT_TRUE(testing::close(y.get(r * y_stride + n), sum, tolerance))
            << "row " << r << " output " << n << ": " << y.get(r * y_stride + n) << " expected "
            << sum;
      }
    }
  }
};

const Case kCases[] = {
    {1, 1, 1},
    {1, 64, 32},
    {2, 65, 33, true},
    {3, 100, 70},
    {4, 17, 1, true},
    {5, 130, 95},
    {6, 64, 64, false, true},
    {7, 200, 31, true, true, 0.5f},
    {13, 48, 129},
    {32, 96, 40, true},
    {37, 80, 65, true, true, 2.0f},
    {70, 129, 97, false, false, 3.0f},
};

TEST_F(GemmTest, AgreesWithDoubleOnEveryInstructionSet) {
  for (const Numerics numerics : {Numerics::kFast, Numerics::kBatchInvariant}) {
    Gemm gemm = make(numerics);
    for (const Case& c : kCases) {
      for (const Format format : {Format::kF32, Format::kBf16}) {
        const Weight w(format, c.outputs, c.inputs, 7);
        const Values x = inputs(c, format, 11);
        for (const Isa isa : testing::isas()) {
          SCOPED_TRACE(concat(c.rows, " x ", c.outputs, " x ", c.inputs, " ", format_name(format),
                              " ", isa_name(isa)));
          check(c, w, x, run(gemm, testing::exec_of(isa, 2), c, w, x, 0, Format::kF32));
          if (format == Format::kBf16 && !c.accumulate) {
            check(c, w, x, run(gemm, testing::exec_of(isa, 2), c, w, x, 0, Format::kBf16));
          }
        }
      }
    }
  }
}

// The promise of BATCH_INVARIANT: a row has the same bits alone, among few rows and among many,
// with any number of threads.
TEST_F(GemmTest, RowHasTheSameBitsInEveryBatch) {
  Gemm gemm = make(Numerics::kBatchInvariant);
  for (const Case& shape : {Case{97, 200, 576, true}, Case{97, 64, 1536, false, true},
                            Case{97, 130, 2049, true, true, 0.3f}, Case{97, 64, 4096}}) {
    for (const Format format : {Format::kF32, Format::kBf16}) {
      for (const Format y_format : {Format::kF32, Format::kBf16}) {
        if (y_format == Format::kBf16 && (format == Format::kF32 || shape.accumulate)) continue;
        const Weight w(format, shape.outputs, shape.inputs, 3);
        const Values x = inputs(shape, format, 5);
        const int64_t stride = shape.outputs + 5;
        for (const Isa isa : testing::isas()) {
          if (isa == Isa::kPortable && shape.inputs > 2000) continue;  // slow, nothing new
          SCOPED_TRACE(concat(shape.outputs, " x ", shape.inputs, " ", format_name(format), " ",
                              isa_name(isa)));
          Values all = run(gemm, testing::exec_of(isa, 2), shape, w, x, 0, y_format);
          for (const int64_t rows : {1, 2, 3, 7, 31, 32, 33, 64, 96}) {
            for (const int threads : {1, 2, 3}) {
              Case part = shape;
              part.rows = rows;
              const int64_t first = (97 - rows) / 2;
              Values some = run(gemm, testing::exec_of(isa, threads), part, w, x, first, y_format);
              for (int64_t r = 0; r < rows; ++r) {
                ASSERT_EQ(std::memcmp(some.at(r * stride), all.at((first + r) * stride),
                                      static_cast<size_t>(format_bytes(y_format, shape.outputs))),
                          0)
                    << rows << " rows, " << threads << " threads, row " << r;
              }
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(gemm.stats().rows_onednn, 0);
}

TEST_F(GemmTest, FastTakesOneDnnForManyRows) {
  Gemm gemm = make(Numerics::kFast);
  const Case c{70, 129, 97, true, true, 3.0f};
  const Weight w(Format::kBf16, c.outputs, c.inputs, 7);
  const Values x = inputs(c, Format::kBf16, 11);
  check(c, w, x, run(gemm, testing::exec_of(detect_isa(), 2), c, w, x, 0, Format::kF32));
  if (detect_isa() >= Isa::kAvx512Bf16) {
    EXPECT_EQ(gemm.stats().rows_onednn, 64);
    EXPECT_EQ(gemm.stats().rows_native, 6);
  }
}

TEST_F(GemmTest, KeepsFewCompiledProducts) {
  Gemm gemm({.onednn_path = SLUICE_TEST_ONEDNN_PATH, .max_cached_products = 2});
  const Weight w(Format::kF32, 64, 64, 1);
  const Exec exec{detect_isa(), 1};
  for (int round = 0; round < 3; ++round) {
    for (const int64_t rows : {40, 50, 70, 90}) {
      const Case c{rows, 64, 64};
      const Values x = inputs(c, Format::kF32, 2);
      check(c, w, x, run(gemm, exec, c, w, x, 0, Format::kF32));
    }
  }
  // 40 and 50 rows share the product of 32; the others are 64 twice.
  EXPECT_EQ(gemm.stats().products_compiled, 2);
  EXPECT_EQ(gemm.stats().rows_onednn, 3 * (32 + 32 + 64 + 64));
}

TEST_F(GemmTest, PacksPartsFromAnyStrideAndReadsThemBack) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const WeightLayout layout : {WeightLayout::kPanel64, WeightLayout::kRowMajor}) {
      const int64_t rows = 100, cols = 37;
      Buffer buffer(packed_bytes(format, layout, rows, cols), "weight");
      std::memset(buffer.data(), 0xff, static_cast<size_t>(buffer.size()));
      const WeightView w{
          .format = format, .layout = layout, .data = buffer.data(), .rows = rows, .cols = cols};
      clear_weight(w);
      const Values dense = Values::random(format, rows * cols, 9);
      Values turned(format, rows * cols);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) turned.set(c * rows + r, dense.get(r * cols + c));
      }
      PackParams pack{.weight = w,
                      .source = dense.data(),
                      .source_format = format,
                      .row_stride = cols,
                      .row_begin = 0,
                      .num_rows = 70,
                      .num_cols = cols};
      pack_rows(pack);
      // The last rows in two column ranges, from a transposed source.
      for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 5}, {5, 32}}) {
        pack_rows({.weight = w,
                   .source = turned.at(begin * rows + 70),
                   .source_format = format,
                   .row_stride = 1,
                   .col_stride = rows,
                   .row_begin = 70,
                   .num_rows = 30,
                   .col_begin = begin,
                   .num_cols = count});
      }
      std::vector<float> out(static_cast<size_t>(rows * cols));
      unpack_rows(w, 0, rows, out.data(), cols);
      for (int64_t i = 0; i < rows * cols; ++i)
        ASSERT_EQ(out[static_cast<size_t>(i)], dense.get(i));
      EXPECT_THROW(pack_rows({.weight = w,
                              .source = dense.data(),
                              .source_format = format,
                              .row_begin = 90,
                              .num_rows = 11,
                              .num_cols = 1}),
                   Error);
    }
  }
}

TEST_F(GemmTest, MissingLibraryIsNamedWithTheRemedy) {
  try {
    Gemm gemm({.onednn_path = "/nonexistent/libdnnl.so.3"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SLUICE_STATUS_LIBRARY_MISSING);
    EXPECT_NE(error.text().find("/nonexistent/libdnnl.so.3"), std::string::npos);
    EXPECT_NE(error.text().find("remedy"), std::string::npos);
  }
  EXPECT_FALSE(probe_onednn("/nonexistent/libdnnl.so.3").problem.empty());
  EXPECT_EQ(probe_onednn(SLUICE_TEST_ONEDNN_PATH).problem, "");
  EXPECT_EQ(probe_onednn(SLUICE_TEST_ONEDNN_PATH).version.substr(0, 2), "3.");
}

TEST_F(GemmTest, RefusesByName) {
  Gemm gemm = make(Numerics::kFast);
  const Weight w(Format::kBf16, 8, 8, 1);
  float values[64] = {};
  GemmParams p{.num_rows = 2,
               .x = values,
               .x_format = Format::kF32,
               .x_stride = 8,
               .w = w.view,
               .y = values,
               .y_stride = 8};
  EXPECT_THROW(gemm.run({}, p, nullptr, 0), Error);
  p.x_format = Format::kBf16;
  p.x_stride = 7;
  EXPECT_THROW(gemm.run({}, p, nullptr, 0), Error);
  p.x_stride = 8;
  p.y_format = Format::kBf16;
  p.accumulate = true;
  EXPECT_THROW(gemm.run({}, p, nullptr, 0), Error);
}

}  // namespace
}  // namespace sluice
