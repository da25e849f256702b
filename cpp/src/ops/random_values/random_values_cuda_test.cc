// The device's random numbers are the CPU's, bit for bit.
#include <vector>

#include "base/error.h"
#include "ops/random_values/random_values.h"
#include "ops/random_values/random_values_cuda.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Case {
  uint64_t first;
  int64_t rows, cols, row_step, out_stride;
};

void compare(const Case& c, Format format) {
  SCOPED_TRACE(concat("first ", c.first, " rows ", c.rows, " cols ", c.cols, " step ", c.row_step,
                      " stride ", c.out_stride, " ", format_name(format)));
  const std::span<const float> table = normal_quantiles();
  const DeviceBytes quantiles(table.data(), static_cast<int64_t>(table.size_bytes()));
  const int64_t values = (c.rows - 1) * c.out_stride + c.cols;
  const DeviceBytes out(format_bytes(format, values));
  cuda::NormalFillParams params;
  params.seed = 0x123456789abcdef0u;
  params.place = 0xfedcba987654u;
  params.first = c.first;
  params.row_step = c.row_step;
  params.std = 0.0371;
  params.quantiles = static_cast<const float*>(quantiles.data());
  params.num_rows = c.rows;
  params.num_cols = c.cols;
  params.out = out.data();
  params.out_format = format;
  params.out_stride = c.out_stride;
  cuda::normal_fill(cuda_device().exec(), params);
  const Values actual = on_host(out, format, values);
  std::vector<float> expected(static_cast<size_t>(c.cols));
  for (int64_t r = 0; r < c.rows; ++r) {
    normal_values(params.seed, params.place, c.first + static_cast<uint64_t>(r * c.row_step),
                  c.cols, params.std, expected.data());
    for (int64_t i = 0; i < c.out_stride && r * c.out_stride + i < values; ++i) {
      const double value = actual.get(r * c.out_stride + i);
      if (i >= c.cols) {  // between rows nothing is written
        ASSERT_TRUE(std::isnan(value)) << "row " << r << " column " << i;
      } else {
        const float wanted = expected[static_cast<size_t>(i)];
        ASSERT_EQ(value, format == Format::kF32 ? wanted : to_float(to_bf16(wanted)))
            << "row " << r << " column " << i;
      }
    }
  }
}

TEST(CudaRandomValues, EqualTheCpu) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const Case& c :
         {Case{0, 1, 1, 1, 1}, {0, 1, 8, 8, 8}, {7, 1, 2, 2, 2}, {5, 3, 20, 20, 20},
          {16, 4, 24, 48, 24}, {3, 5, 17, 100, 32}, {0, 33, 2048, 2048, 2048},
          {(uint64_t{1} << 40) + 11, 7, 1408, 2816, 1408}, {0, 1, 1 << 20, 1 << 20, 1 << 20}}) {
      compare(c, format);
    }
  }
}

}  // namespace
}  // namespace sluice
