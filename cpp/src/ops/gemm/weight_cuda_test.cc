// Copies of stacked matrices against the definition.
#include "base/error.h"
#include "ops/gemm/weight_cuda.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

void compare(Format format, int64_t count, int64_t rows, int64_t cols, bool transposed) {
  SCOPED_TRACE(concat(count, " of ", rows, " x ", cols, " ", format_name(format),
                      transposed ? " transposed" : ""));
  const int64_t source_stride = rows * cols + 37;
  const int64_t values = count * source_stride;
  const Values source = Values::random(format, values, 11);
  const DeviceBytes from = on_device(source, values);
  const int64_t stride_bytes = (format_bytes(format, rows * cols) + 255) / 256 * 256;
  const DeviceBytes to(count * stride_bytes);
  cuda::CopyStackParams params;
  params.source = from.data();
  params.source_format = format;
  params.source_stride = source_stride;
  params.row_stride = transposed ? 1 : cols;
  params.col_stride = transposed ? rows : 1;
  params.to.first = {format, WeightLayout::kRowMajor, to.data(), nullptr, nullptr, rows, cols};
  params.to.count = count;
  params.to.stride_bytes = stride_bytes;
  cuda::copy_stack(cuda_device().exec(), params);
  const int64_t stride = stride_bytes / format_bytes(format, 1);
  const Values out = on_host(to, format, count * stride);
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t i = 0; i < stride; ++i) {
      const double value = out.get(b * stride + i);
      if (i >= rows * cols) {
        ASSERT_TRUE(std::isnan(value)) << "padding of matrix " << b << " was written";
        continue;
      }
      const int64_t r = i / cols, c = i % cols;
      ASSERT_EQ(value, source.get(b * source_stride + r * params.row_stride +
                                  c * params.col_stride))
          << "matrix " << b << " row " << r << " column " << c;
    }
  }
}

TEST(CudaCopyStack, EqualsItsDefinition) {
  for (const Format format : {Format::kF32, Format::kBf16}) {
    for (const bool transposed : {false, true}) {
      compare(format, 1, 1, 1, transposed);
      compare(format, 3, 33, 65, transposed);
      compare(format, 2, 8, 40, transposed);
      compare(format, 16, 512, 128, transposed);
    }
  }
}

}  // namespace
}  // namespace sluice
