/// @file
/// What the CUDA tests of ops share: the device, and arrays on it.
#ifndef SLUICE_OPS_TESTING_CUDA_TEST_H_
#define SLUICE_OPS_TESTING_CUDA_TEST_H_

#include <cstring>
#include <memory>
#include <vector>

#include "device/cuda.h"
#include "ops/testing/op_test.h"

namespace sluice::testing {

/// Device 0, for the life of the process. Without one the test fails: these tests want a GPU.
inline CudaDevice& cuda_device() {
  static auto* device = new CudaDevice(0);  // never destroyed: after main the driver is gone
  return *device;
}

/// An Exec whose ops run on device 0.
inline Exec cuda_exec() {
  Exec exec;
  exec.cuda = &cuda_device().exec();
  return exec;
}

/// An array on device 0 with bytes around it that must stay as they are.
class DeviceBytes {
 public:
  explicit DeviceBytes(int64_t bytes)
      : bytes_(bytes), buffer_(bytes + 2 * kGuard, "test", nullptr, {MemoryKind::kDevice, 0}) {
    const CudaExec& exec = cuda_device().exec();
    cuda_fill(exec, buffer_.data(), kByte, buffer_.size());  // also NaN in both formats
    cuda_device().synchronize();
  }
  DeviceBytes(const void* from, int64_t bytes) : DeviceBytes(bytes) { upload(from); }
  ~DeviceBytes() { EXPECT_TRUE(guards_whole()) << "bytes around an array were overwritten"; }
  DeviceBytes(DeviceBytes&& other) noexcept = default;

  void* data() const { return buffer_.data() + kGuard; }
  int64_t size() const { return bytes_; }
  void upload(const void* from) {
    cuda_copy(cuda_device().exec(), data(), from, bytes_);
    cuda_device().synchronize();
  }
  void download(void* to) const {
    cuda_copy(cuda_device().exec(), to, data(), bytes_);
    cuda_device().synchronize();
  }

 private:
  static constexpr int64_t kGuard = 256;
  static constexpr int kByte = 0xff;

  bool guards_whole() const {
    if (buffer_.size() == 0) return true;  // moved from
    std::vector<unsigned char> guard(kGuard);
    for (const std::byte* side : {buffer_.data(), buffer_.data() + kGuard + bytes_}) {
      cuda_copy(cuda_device().exec(), guard.data(), side, kGuard);
      cuda_device().synchronize();
      for (const unsigned char byte : guard) {
        if (byte != kByte) return false;
      }
    }
    return true;
  }

  int64_t bytes_;
  Buffer buffer_;
};

/// An array of T on device 0.
template <typename T>
class DeviceArray : public DeviceBytes {
 public:
  explicit DeviceArray(int64_t count) : DeviceBytes(count * static_cast<int64_t>(sizeof(T))) {}
  explicit DeviceArray(const std::vector<T>& from)
      : DeviceBytes(from.data(), static_cast<int64_t>(from.size() * sizeof(T))) {}
  T* get() const { return static_cast<T*>(data()); }
  std::vector<T> host() const {
    std::vector<T> out(static_cast<size_t>(size()) / sizeof(T));
    download(out.data());
    return out;
  }
};

/// The values of a host tensor on device 0, and back.
inline DeviceBytes on_device(const Values& values, int64_t count) {
  return DeviceBytes(values.data(), format_bytes(values.format(), count));
}
inline Values on_host(const DeviceBytes& bytes, Format format, int64_t count) {
  Values out(format, count);
  bytes.download(out.data());
  return out;
}

/// Expects `count` values within `tolerance` times the larger of 1 and the expected value.
inline void expect_close(const Values& actual, const Values& expected, int64_t count,
                         double tolerance) {
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_TRUE(close(actual.get(i), expected.get(i), tolerance))
        << "value " << i << ": " << actual.get(i) << ", expected " << expected.get(i);
  }
}

}  // namespace sluice::testing

#endif  // SLUICE_OPS_TESTING_CUDA_TEST_H_
