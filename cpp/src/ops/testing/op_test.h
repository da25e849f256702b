/// @file
/// What the tests of ops share: instruction sets to try, random values, conversions, comparison.
#ifndef SLUICE_OPS_TESTING_OP_TEST_H_
#define SLUICE_OPS_TESTING_OP_TEST_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "base/format.h"
#include "device/buffer.h"
#include "device/cpu.h"
#include "device/thread_pool.h"

namespace sluice::testing {

/// Every instruction set that this processor has.
inline std::vector<Isa> isas() {
  std::vector<Isa> out;
  for (int i = 0; i <= static_cast<int>(detect_isa()); ++i) out.push_back(static_cast<Isa>(i));
  return out;
}

/// An Exec with threads, which stay for the next test.
inline Exec exec_of(Isa isa, int num_threads) {
  static std::map<int, std::unique_ptr<ThreadPool>> pools;
  std::unique_ptr<ThreadPool>& pool = pools[num_threads];
  if (!pool) pool = std::make_unique<ThreadPool>(num_threads);
  return {isa, num_threads, pool.get()};
}

/// A small generator with the same numbers everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  int64_t below(int64_t end) { return static_cast<int64_t>(next() % static_cast<uint64_t>(end)); }
  /// In [-1, 1), never zero.
  float value() { return static_cast<float>(2 * uniform() - 1) + 1e-9f; }

 private:
  uint64_t state_;
};

/// A tensor of F32 or BF16 values with padding around it that must stay as it is.
class Values {
 public:
  Values(Format format, int64_t count) : format_(format), bytes_(format_bytes(format, count)) {
    if (!bytes_.empty()) std::memset(data(), 0xff, bytes_.size());  // NaN in both formats
  }
  static Values random(Format format, int64_t count, uint64_t seed, float scale = 1.0f) {
    Values out(format, count);
    Random random(seed);
    for (int64_t i = 0; i < count; ++i) out.set(i, scale * random.value());
    return out;
  }
  void* data() { return bytes_.data(); }
  const void* data() const { return bytes_.data(); }
  Format format() const { return format_; }
  void* at(int64_t i) { return bytes_.data() + format_bytes(format_, i); }
  void set(int64_t i, float value) {
    if (format_ == Format::kF32) {
      std::memcpy(at(i), &value, 4);
    } else {
      const Bf16 narrow = to_bf16(value);
      std::memcpy(at(i), &narrow, 2);
    }
  }
  float get(int64_t i) const {
    if (format_ == Format::kF32) {
      float value;
      std::memcpy(&value, bytes_.data() + 4 * i, 4);
      return value;
    }
    Bf16 narrow;
    std::memcpy(&narrow, bytes_.data() + 2 * i, 2);
    return to_float(narrow);
  }
  bool operator==(const Values& other) const { return bytes_ == other.bytes_; }

 private:
  Format format_;
  std::vector<char> bytes_;
};

/// |actual - expected| within `tolerance` times the larger of 1 and |expected|.
inline bool close(double actual, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected)) return actual == expected;
  return std::abs(actual - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

/// Relative rounding of one value of a format.
inline double epsilon(Format format) { return format == Format::kBf16 ? 0x1p-8 : 0x1p-23; }

}  // namespace sluice::testing

#endif  // SLUICE_OPS_TESTING_OP_TEST_H_
