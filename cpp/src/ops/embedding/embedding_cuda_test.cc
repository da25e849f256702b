// CUDA against the CPU's kernel, bit by bit: nothing is added up.
#include "base/error.h"
#include "ops/embedding/embedding.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr Format kFormats[] = {Format::kF32, Format::kBf16};

TEST(CudaEmbedding, EqualsTheCpu) {
  const int64_t vocab = 130;
  for (const int64_t cols : {int64_t{1}, int64_t{20}, int64_t{301}, int64_t{2048}}) {
    for (const Format format : kFormats) {
      for (const Format out : kFormats) {
        SCOPED_TRACE(concat(cols, " columns ", format_name(format), " to ", format_name(out)));
        Values dense = Values::random(format, vocab * cols, 3);
        dense.set(64 * cols, NAN);
        std::vector<int32_t> ids{0, 129, 64, 63, -1, 64, -7};
        for (int i = 0; i < 60; ++i) ids.push_back(i * 37 % 130);
        const auto tokens = static_cast<int64_t>(ids.size());
        // An odd stride takes the narrow kernel.
        for (const int64_t stride : {cols, cols + 1, cols + 8}) {
          Values y(out, tokens * stride);
          EmbeddingParams params;
          params.num_tokens = tokens;
          params.ids = ids.data();
          params.table = {.format = format,
                          .layout = WeightLayout::kRowMajor,
                          .data = dense.data(),
                          .rows = vocab,
                          .cols = cols};
          params.multiplier = 3.25f;
          params.y = y.data();
          params.y_format = out;
          params.y_stride = stride;
          embedding(exec_of(Isa::kPortable, 1), params);
          const DeviceBytes table = on_device(dense, vocab * cols);
          const DeviceArray<int32_t> device_ids(ids);
          const DeviceBytes device_y(format_bytes(out, tokens * stride));
          params.ids = device_ids.get();
          params.table.data = table.data();
          params.y = device_y.data();
          embedding(cuda_exec(), params);
          const Values actual = on_host(device_y, out, tokens * stride);
          for (int64_t i = 0; i < tokens * stride; ++i) {
            if (std::isnan(y.get(i))) {
              ASSERT_TRUE(std::isnan(actual.get(i))) << i;
            } else {
              ASSERT_EQ(actual.get(i), y.get(i)) << i;
            }
          }
        }
      }
    }
  }
}

TEST(CudaEmbedding, AnIdBeyondTheTableIsNan) {
  const Values dense = Values::random(Format::kBf16, 4 * 64, 1);
  const DeviceBytes table = on_device(dense, 4 * 64), y(3 * 64 * 4);
  const DeviceArray<int32_t> ids(std::vector<int32_t>{3, 4, 0});
  EmbeddingParams params;
  params.num_tokens = 3;
  params.ids = ids.get();
  params.table = {.format = Format::kBf16,
                  .layout = WeightLayout::kRowMajor,
                  .data = table.data(),
                  .rows = 4,
                  .cols = 64};
  params.y = y.data();
  params.y_format = Format::kF32;
  params.y_stride = 64;
  embedding(cuda_exec(), params);
  const Values actual = on_host(y, Format::kF32, 3 * 64);
  for (int64_t c = 0; c < 64; ++c) {
    ASSERT_EQ(actual.get(c), dense.get(3 * 64 + c));
    ASSERT_TRUE(std::isnan(actual.get(64 + c)));
    ASSERT_EQ(actual.get(128 + c), dense.get(c));
  }
  params.table.layout = WeightLayout::kPanel64;
  EXPECT_THROW(embedding(cuda_exec(), params), Error);
}

TEST(CudaEmbedding, GathersRows) {
  for (const int64_t cols : {int64_t{33}, int64_t{256}, int64_t{5000}}) {
    for (const Format in : kFormats) {
      for (const Format out : kFormats) {
        const Values x = Values::random(in, 10 * cols, 1);
        const std::vector<int32_t> index{9, 0, 4, 4, -1, 7};
        Values y(out, 6 * cols);
        GatherRowsParams params;
        params.num_rows = 6;
        params.cols = cols;
        params.index = index.data();
        params.num_source_rows = 10;
        params.x = x.data();
        params.x_format = in;
        params.x_stride = cols;
        params.y = y.data();
        params.y_format = out;
        params.y_stride = cols;
        gather_rows(exec_of(Isa::kPortable, 1), params);
        const DeviceBytes device_x = on_device(x, 10 * cols);
        const DeviceBytes device_y(format_bytes(out, 6 * cols));
        const DeviceArray<int32_t> device_index(index);
        params.index = device_index.get();
        params.x = device_x.data();
        params.y = device_y.data();
        gather_rows(cuda_exec(), params);
        EXPECT_TRUE(on_host(device_y, out, 6 * cols) == y) << cols;
      }
    }
  }
}

}  // namespace
}  // namespace sluice
