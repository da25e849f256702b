// FAST dense products on CUDA through cuBLASLt, against our own kernels.
#include "ops/gemm/cublaslt.h"

#include <vector>

#include "base/error.h"
#include "ops/gemm/product_cuda.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Case {
  int64_t rows, outputs, cols;
  Format format, y_format;
  bool bias = false, accumulate = false;
  float alpha = 1.0f;
};

const Case kCases[] = {
    {64, 256, 512, Format::kBf16, Format::kBf16},
    {65, 257, 520, Format::kBf16, Format::kBf16, true},
    {130, 264, 1000, Format::kBf16, Format::kF32, true},
    {17, 128, 256, Format::kBf16, Format::kF32, true, true, 0.5f},
    {40, 96, 333, Format::kBf16, Format::kBf16, true, false, 2.0f},
    {100, 200, 300, Format::kF32, Format::kF32, true, true},
    {33, 70, 1024, Format::kF32, Format::kF32},
};

// Everything of one product on the device.
struct Data {
  explicit Data(const Case& c)
      : x(Values::random(c.format, c.rows * (c.cols + 8), 1)),
        w(Values::random(c.format, c.outputs * c.cols, 2)),
        bias(Values::random(Format::kF32, c.outputs, 3)),
        y(Values::random(c.y_format, c.rows * (c.outputs + 8), 4)),
        device_x(on_device(x, c.rows * (c.cols + 8))),
        device_w(on_device(w, c.outputs * c.cols)),
        device_bias(on_device(bias, c.outputs)) {
    params.num_rows = c.rows;
    params.x = device_x.data();
    params.x_format = c.format;
    params.x_stride = c.cols + 8;
    params.w = {.format = c.format,
                .layout = WeightLayout::kRowMajor,
                .data = device_w.data(),
                .rows = c.outputs,
                .cols = c.cols};
    params.bias = c.bias ? static_cast<const float*>(device_bias.data()) : nullptr;
    params.alpha = c.alpha;
    params.accumulate = c.accumulate;
    params.y_format = c.y_format;
    params.y_stride = c.outputs + 8;
  }
  Values x, w, bias, y;
  DeviceBytes device_x, device_w, device_bias;
  GemmParams params;
};

TEST(CublasLt, AgreesWithOurKernels) {
  CublasLt library("", 0, 64);
  const Buffer workspace(CublasLt::kWorkspaceBytes, "workspace", nullptr,
                         {MemoryKind::kDevice, 0});
  for (const Case& c : kCases) {
    SCOPED_TRACE(concat(c.rows, " x ", c.outputs, " x ", c.cols, " ", format_name(c.format), " ",
                        format_name(c.y_format)));
    Data data(c);
    const int64_t count = c.rows * (c.outputs + 8);
    const DeviceBytes own = on_device(data.y, count), theirs = on_device(data.y, count);
    data.params.y = own.data();
    cuda::product(cuda_device().exec(), cuda::product_of(data.params));
    data.params.y = theirs.data();
    ASSERT_TRUE(library.run(cuda_device().exec(), data.params, workspace.data(), workspace.size()));
    const double tolerance = (c.y_format == Format::kBf16 ? 0x1p-6 : 0.0) + 2e-6 +
                             static_cast<double>(c.cols) * 0x1p-25 * std::max(1.0f, c.alpha);
    expect_close(on_host(theirs, c.y_format, count), on_host(own, c.y_format, count), count,
                 tolerance);
  }
}

TEST(CublasLt, ProductsAreCapturedAndChosenOnce) {
  GemmOptions options;
  options.cuda_device = 0;
  Gemm gemm(options);
  EXPECT_EQ(gemm.cublaslt_version().substr(0, 3), "13.");
  const Case c{200, 256, 512, Format::kBf16, Format::kF32};
  Data data(c);
  EXPECT_STREQ(gemm.variant(cuda_exec(), data.params), "cublaslt");
  const Buffer workspace(gemm.workspace_bytes(c.rows, c.outputs, c.cols), "workspace", nullptr,
                         {MemoryKind::kDevice, 0});
  const int64_t count = c.rows * (c.outputs + 8);
  const DeviceBytes before = on_device(data.y, count), after = on_device(data.y, count);
  data.params.y = before.data();
  gemm.run(cuda_exec(), data.params, workspace.data(), workspace.size());
  data.params.y = after.data();
  const CudaExec& exec = cuda_device().exec();
  CudaGraph::begin_capture(exec);
  gemm.run(cuda_exec(), data.params, workspace.data(), workspace.size());
  const CudaGraph graph = CudaGraph::end_capture(exec);
  graph.launch(exec);
  EXPECT_TRUE(on_host(after, Format::kF32, count) == on_host(before, Format::kF32, count));
  EXPECT_EQ(gemm.stats().products_compiled, 1);
  EXPECT_EQ(gemm.stats().rows_cublaslt, 2 * c.rows);
}

TEST(CublasLt, MissingLibraryIsNamedWithTheRemedy) {
  GemmOptions options;
  options.cuda_device = 0;
  options.cublaslt_path = "/nonexistent/libcublasLt.so.13";
  try {
    Gemm gemm(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SLUICE_STATUS_LIBRARY_MISSING);
    EXPECT_NE(error.text().find(options.cublaslt_path), std::string::npos);
    EXPECT_NE(error.text().find("remedy"), std::string::npos);
  }
  options.numerics = Numerics::kBatchInvariant;  // does without
  EXPECT_NO_THROW(Gemm{options});
  EXPECT_FALSE(probe_cublaslt("/nonexistent/libcublasLt.so.13").problem.empty());
  EXPECT_EQ(probe_cublaslt("").problem, "");
}

}  // namespace
}  // namespace sluice
