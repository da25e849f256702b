#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/checked.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/shape.h"

namespace sluice {
namespace {

// The nearest bfloat16 by search over both neighbours, as double; ties to the even one.
uint16_t nearest_bf16(float value) {
  const uint16_t below = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
  const uint16_t above = static_cast<uint16_t>(below + 1);
  const double low = std::abs(double{value} - double{to_float(Bf16{below})});
  const double high = std::abs(double{to_float(Bf16{above})} - double{value});
  if (low == high) return (below & 1) == 0 ? below : above;
  return low < high ? below : above;
}

TEST(FormatTest, Bf16RoundsToNearestEven) {
  uint32_t state = 1;
  for (int i = 0; i < 100000; ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = std::bit_cast<float>((state & 0x807fffffu) | 0x3f800000u);
    ASSERT_EQ(to_bf16(value).bits, nearest_bf16(value)) << value;
  }
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(FormatTest, F16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const F16 half{static_cast<uint16_t>(bits)};
    const float value = to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(value))));
    } else {
      ASSERT_EQ(to_f16(value).bits, half.bits) << value;
    }
  }
}

TEST(FormatTest, F16RoundsTiesToEvenAndOverflows) {
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f).bits, 0x3c00);
  EXPECT_EQ(to_f16(1.0f + 3 * 0x1p-11f).bits, 0x3c02);
  EXPECT_EQ(to_f16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0);
  EXPECT_EQ(to_f16(0x1.8p-25f).bits, 1);
  EXPECT_EQ(to_f16(-0x1p-24f).bits, 0x8001);
}

TEST(FormatTest, BytesOfBlocks) {
  EXPECT_EQ(format_bytes(Format::kQ4_K, 512), 288);
  EXPECT_EQ(format_bytes(Format::kF32, 3), 12);
  EXPECT_THROW(format_bytes(Format::kQ8_0, 33), Error);
  EXPECT_THROW(format_bytes(static_cast<Format>(99), 32), Error);
  EXPECT_THROW(format_bytes(Format::kF64, std::numeric_limits<int64_t>::max()), Error);
}

TEST(ErrorTest, TextAndContext) {
  try {
    SLUICE_CHECK_ARG(1 > 2, "head_dim: ", 96, " (expected: ", int64_t{64}, " or ", 1.5, ")");
    FAIL();
  } catch (Error& error) {
    EXPECT_EQ(error.status(), SLUICE_STATUS_INVALID_ARGUMENT);
    EXPECT_STREQ(error.what(), "head_dim: 96 (expected: 64 or 1.5)");
    error.add_context("layers[3]");
    EXPECT_STREQ(error.what(), "layers[3]: head_dim: 96 (expected: 64 or 1.5)");
  }
}

TEST(CheckedTest, RefusesOverflow) {
  EXPECT_EQ(checked_mul(1 << 20, 1 << 20), int64_t{1} << 40);
  EXPECT_THROW(checked_mul(int64_t{1} << 40, int64_t{1} << 40), Error);
  EXPECT_THROW(checked_add(std::numeric_limits<int64_t>::max(), 1), Error);
  EXPECT_THROW(checked_int32(int64_t{1} << 31), Error);
  EXPECT_EQ(round_up(65, 64), 128);
  EXPECT_EQ(round_up(0, 64), 0);
}

TEST(ShapeTest, ElementsAndText) {
  EXPECT_EQ((Shape{2, 3, 4}).num_elements(), 24);
  EXPECT_EQ((Shape{2, 3}).to_string(), "[2, 3]");
  EXPECT_THROW((Shape{int64_t{1} << 40, int64_t{1} << 40}).num_elements(), Error);
  EXPECT_THROW((Shape{-1}), Error);
}

bool take_any(const LogRecord& record, void* out) {
  *static_cast<LogRecord*>(out) = record;
  return true;
}

TEST(LogTest, DropsTheOldestAndSaysHowMany) {
  log_set_level(SLUICE_LOG_INFO);
  for (int i = 0; i < kLogCapacity + 3; ++i) log(SLUICE_LOG_INFO, concat("record ", i));
  log(SLUICE_LOG_DEBUG, "not queued");
  LogRecord record;
  ASSERT_TRUE(log_take([](const LogRecord&, void*) { return false; }, nullptr));
  ASSERT_TRUE(log_take(take_any, &record));
  EXPECT_EQ(record.text, "3 log records were dropped\nrecord 3");
  int rest = 0;
  while (log_take(take_any, &record)) ++rest;
  EXPECT_EQ(rest, kLogCapacity - 1);
  EXPECT_EQ(record.text, concat("record ", kLogCapacity + 2));
  log_set_level(SLUICE_LOG_WARN);
}

}  // namespace
}  // namespace sluice
