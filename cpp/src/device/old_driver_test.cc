// CUDA over a driver that is too old: in the place of libcuda.so.1 lies testing/old_driver.c.
#include <gtest/gtest.h>

#include "base/error.h"
#include "device/buffer.h"
#include "device/cuda.h"

namespace sluice {
namespace {

constexpr const char* kProblem =
    "the NVIDIA driver knows CUDA 12.8 (expected: 13.0 or later; remedy: driver 580 or later)";

template <typename Call>
void expect_refused(const Call& call) {
  try {
    call();
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SLUICE_STATUS_UNSUPPORTED);
    EXPECT_NE(error.text().find(kProblem), std::string::npos) << error.text();
  }
}

TEST(OldDriverTest, IsNamedWithItsRemedy) {
  const CudaInfo info = cuda_info();
  EXPECT_EQ(info.problem, kProblem);
  EXPECT_EQ(info.driver, "12.8");
  EXPECT_TRUE(info.devices.empty());
  expect_refused([] { cuda_describe(0); });
  expect_refused([] { const CudaDevice device(0); });
  expect_refused([] { const Buffer buffer(256, "weights", nullptr, {MemoryKind::kDevice, 0}); });
}

}  // namespace
}  // namespace sluice
