#include "quant/decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

// Builds blocks field by field, from the values they shall hold, so that the decoder is checked
// against the definition of each layout and not against itself.
class BlockWriter {
 public:
  void f16(float value) {
    const uint16_t bits = to_f16(value).bits;
    byte(bits & 255);
    byte(bits >> 8);
  }
  void byte(int value) { bytes_.push_back(static_cast<uint8_t>(value)); }
  void u32(uint32_t value) {
    for (int i = 0; i < 4; ++i) byte(static_cast<int>(value >> (8 * i)) & 255);
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

int pattern(int i, int modulus) { return (i * 7 + i / 5 + 3) % modulus; }

std::vector<float> decode(Format format, const BlockWriter& writer, int64_t num_values) {
  // One byte of misalignment, and the source ends where the block ends: ASan sees an overread.
  std::vector<uint8_t> shifted(writer.bytes().size() + 1);
  std::memcpy(shifted.data() + 1, writer.bytes().data(), writer.bytes().size());
  EXPECT_EQ(static_cast<int64_t>(writer.bytes().size()), format_bytes(format, num_values));
  std::vector<float> out(static_cast<size_t>(num_values));
  decode_values(format, shifted.data() + 1, num_values, out.data());
  std::vector<Bf16> narrow(out.size());
  decode_values(format, shifted.data() + 1, num_values, narrow.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(narrow[i].bits, to_bf16(out[i]).bits);
  return out;
}

void write_nibbles(BlockWriter& writer, const int* q, int count) {
  for (int j = 0; j < count; ++j) writer.byte((q[j] & 15) | (q[j + count] & 15) << 4);
}

// One test for the formats of 32 values: two blocks with different scales.
void check_legacy(Format format, int bits, bool has_minimum) {
  const float d[2] = {0.25f, -0.0625f}, m[2] = {-1.5f, 3.0f};
  const int levels = 1 << bits;
  BlockWriter writer;
  std::vector<double> expected;
  for (int block = 0; block < 2; ++block) {
    int q[32];
    for (int j = 0; j < 32; ++j) q[j] = pattern(j + 9 * block, levels);
    writer.f16(d[block]);
    if (has_minimum) writer.f16(m[block]);
    if (bits == 8) {
      for (int j = 0; j < 32; ++j) writer.byte(q[j]);
    } else {
      uint32_t high = 0;
      for (int j = 0; j < 32; ++j) high |= static_cast<uint32_t>(q[j] >> 4) << j;
      if (bits == 5) writer.u32(high);
      write_nibbles(writer, q, 16);
    }
    for (int j = 0; j < 32; ++j) {
      const int value = bits == 8     ? static_cast<int8_t>(q[j])
                        : has_minimum ? q[j]
                                      : q[j] - levels / 2;
      expected.push_back(double{d[block]} * value + (has_minimum ? double{m[block]} : 0.0));
    }
  }
  const std::vector<float> out = decode(format, writer, 64);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], expected[i]) << format_name(format) << " " << i;
}

TEST(DecodeTest, FormatsOf32Values) {
  check_legacy(Format::kQ4_0, 4, false);
  check_legacy(Format::kQ4_1, 4, true);
  check_legacy(Format::kQ5_0, 5, false);
  check_legacy(Format::kQ5_1, 5, true);
  check_legacy(Format::kQ8_0, 8, false);
}

void check_k(Format format, int bits) {
  const float d = 0.03125f, dmin = 0.5f;
  int scale[8], minimum[8], q[256];
  for (int j = 0; j < 8; ++j) {
    scale[j] = pattern(5 * j, 64);
    minimum[j] = pattern(11 * j + 1, 64);
  }
  for (int i = 0; i < 256; ++i) q[i] = pattern(i, 1 << bits);
  BlockWriter writer;
  writer.f16(d);
  writer.f16(dmin);
  for (int j = 0; j < 4; ++j) writer.byte(scale[j] | (scale[j + 4] >> 4) << 6);
  for (int j = 0; j < 4; ++j) writer.byte(minimum[j] | (minimum[j + 4] >> 4) << 6);
  for (int j = 4; j < 8; ++j) writer.byte((scale[j] & 15) | (minimum[j] & 15) << 4);
  if (bits == 5) {
    for (int l = 0; l < 32; ++l) {
      int byte = 0;
      for (int s = 0; s < 8; ++s) byte |= (q[32 * s + l] >> 4) << s;
      writer.byte(byte);
    }
  }
  for (int c = 0; c < 4; ++c) write_nibbles(writer, q + 64 * c, 32);
  const std::vector<float> out = decode(format, writer, 256);
  for (int i = 0; i < 256; ++i) {
    const double expected = double{d} * scale[i / 32] * q[i] - double{dmin} * minimum[i / 32];
    EXPECT_EQ(out[i], expected) << format_name(format) << " " << i;
  }
}

TEST(DecodeTest, Q4KAndQ5K) {
  check_k(Format::kQ4_K, 4);
  check_k(Format::kQ5_K, 5);
}

TEST(DecodeTest, Q6K) {
  const float d = -0.125f;
  int scale[16], q[256];
  for (int j = 0; j < 16; ++j) scale[j] = pattern(13 * j, 256) - 128;
  for (int i = 0; i < 256; ++i) q[i] = pattern(i, 64);
  uint8_t low[128] = {}, upper[64] = {};
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, r = i % 128 / 32, l = i % 32;
    low[64 * half + 32 * (r % 2) + l] |= static_cast<uint8_t>((q[i] & 15) << (r < 2 ? 0 : 4));
    upper[32 * half + l] |= static_cast<uint8_t>((q[i] >> 4) << (2 * r));
  }
  BlockWriter writer;
  for (const uint8_t byte : low) writer.byte(byte);
  for (const uint8_t byte : upper) writer.byte(byte);
  for (const int s : scale) writer.byte(s & 255);
  writer.f16(d);
  const std::vector<float> out = decode(Format::kQ6_K, writer, 256);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(out[i], double{d} * scale[i / 16] * (q[i] - 32)) << i;
  }
}

TEST(DecodeTest, PlainFormats) {
  const std::vector<float> values{0.0f, -1.5f, 3.0f, 0x1p-20f, 1e30f};
  std::vector<float> out(values.size());
  decode_values(Format::kF32, values.data(), 5, out.data());
  EXPECT_EQ(out, values);
  const std::vector<double> wide{1.0, 1.0 + 0x1p-25, 1.0 + 3 * 0x1p-24, -2.5, 1e300};
  decode_values(Format::kF64, wide.data(), 5, out.data());
  EXPECT_EQ(out, (std::vector<float>{1.0f, 1.0f, 1.0f + 0x1p-22f, -2.5f,
                                     std::numeric_limits<float>::infinity()}));
  const std::vector<uint16_t> half{0x3c00, 0xbe00, 0x0001, 0x7c00, 0x7bff};
  decode_values(Format::kF16, half.data(), 5, out.data());
  EXPECT_EQ(out, (std::vector<float>{1.0f, -1.5f, 0x1p-24f, std::numeric_limits<float>::infinity(),
                                     65504.0f}));
  const std::vector<uint16_t> brain{0x3f80, 0xbfc0, 0x7fa1, 0x0001, 0x7f80};
  std::vector<Bf16> narrow(5);
  decode_values(Format::kBf16, brain.data(), 5, narrow.data());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(narrow[i].bits, brain[i]);  // a signalling NaN too
}

// A minifloat by its definition; infinity and NaN are the caller's.
double minifloat(int code, int exponent_bits, int mantissa_bits, int bias) {
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const int exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
  return (code >> (exponent_bits + mantissa_bits)) & 1 ? -magnitude : magnitude;
}

// Every code of a format of one byte, in order.
std::vector<float> all_codes(Format format) {
  BlockWriter writer;
  for (int code = 0; code < 256; ++code) writer.byte(code);
  return decode(format, writer, 256);
}

void expect_same(float value, double expected, int code) {
  EXPECT_EQ(double{value}, expected) << "code " << code;
  EXPECT_EQ(std::signbit(value), std::signbit(expected)) << "code " << code;
}

TEST(DecodeTest, F8E4M3) {
  const std::vector<float> out = all_codes(Format::kF8E4m3);
  for (int code = 0; code < 256; ++code) {
    if ((code & 127) == 127) {
      EXPECT_TRUE(std::isnan(out[code])) << code;
    } else {
      expect_same(out[code], minifloat(code, 4, 3, 7), code);
    }
  }
  EXPECT_EQ(out[0x7e], 448.0f);
  EXPECT_EQ(out[0x01], 0x1p-9f);
}

TEST(DecodeTest, F8E5M2) {
  const std::vector<float> out = all_codes(Format::kF8E5m2);
  for (int code = 0; code < 256; ++code) {
    if ((code & 127) > 124) {
      EXPECT_TRUE(std::isnan(out[code])) << code;
    } else if ((code & 127) == 124) {
      expect_same(out[code], code < 128 ? HUGE_VAL : -HUGE_VAL, code);
    } else {
      expect_same(out[code], minifloat(code, 5, 2, 15), code);
    }
  }
  EXPECT_EQ(out[0x7b], 57344.0f);
}

TEST(DecodeTest, F8E8M0) {
  const std::vector<float> out = all_codes(Format::kF8E8m0);
  for (int code = 0; code < 255; ++code) expect_same(out[code], std::ldexp(1.0, code - 127), code);
  EXPECT_TRUE(std::isnan(out[255]));
}

// Every pair of nibbles under every scale.
TEST(DecodeTest, Mxfp4) {
  for (int scale = 0; scale < 256; ++scale) {
    BlockWriter writer;
    for (int block = 0; block < 16; ++block) {
      writer.byte(scale);
      for (int j = 0; j < 16; ++j) writer.byte(16 * block + j);
    }
    const std::vector<float> out = decode(Format::kMxfp4, writer, 16 * 32);
    for (int i = 0; i < 16 * 32; ++i) {
      const int byte = 16 * (i / 32) + i % 16;
      const int q = i % 32 < 16 ? byte & 15 : byte >> 4;
      if (scale == 255) {
        EXPECT_TRUE(std::isnan(out[i]));
        continue;
      }
      // Only the largest scale overflows float32.
      const auto expected = static_cast<float>(std::ldexp(minifloat(q, 2, 1, 1), scale - 127));
      expect_same(out[i], double{expected}, q);
    }
  }
}

TEST(DecodeTest, Mxfp4Split) {
  BlockWriter writer;
  for (int byte = 0; byte < 256; ++byte) writer.byte(byte);
  const std::vector<float> out = decode(Format::kMxfp4Split, writer, 512);
  for (int byte = 0; byte < 256; ++byte) {
    expect_same(out[2 * byte], minifloat(byte & 15, 2, 1, 1), byte);
    expect_same(out[2 * byte + 1], minifloat(byte >> 4, 2, 1, 1), byte);
  }
}

TEST(DecodeTest, RefusesByName) {
  uint8_t bytes[64] = {};
  float out[64];
  EXPECT_FALSE(can_decode(Format::kInt4Grouped));
  EXPECT_THROW(decode_values(Format::kInt4Grouped, bytes, 32, out), Error);
  EXPECT_THROW(decode_values(Format::kQ4_0, bytes, 31, out), Error);
}

}  // namespace
}  // namespace sluice
