// Every format in every layout that a checkpoint may use, against values worked out in double from
// the stored bytes, one by one.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "support/weight_ranks.h"

namespace sluice::test {
namespace {

constexpr Slot kGateUp = SLUICE__PROTO__SLOT__EXPERT_GATE_UP;
constexpr Part kGate = SLUICE__PROTO__PART__PART_GATE;
constexpr Part kUp = SLUICE__PROTO__PART__PART_UP;
constexpr Part kWhole = SLUICE__PROTO__PART__WHOLE;

// Sign, exponent and mantissa by their definition; the top exponent of formats with infinity and
// the one NaN of E4M3 are NaN or infinity.
double binary_float(uint64_t bits, int exponent_bits, int mantissa_bits, bool has_infinity) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const uint64_t mantissa = bits & ((uint64_t{1} << mantissa_bits) - 1);
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double sign = (bits >> (exponent_bits + mantissa_bits)) & 1 ? -1 : 1;
  if (has_infinity && exponent == (1 << exponent_bits) - 1) {
    return mantissa == 0 ? sign * HUGE_VAL : std::nan("");
  }
  const double fraction = std::ldexp(static_cast<double>(mantissa), -mantissa_bits);
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias)
                               : std::ldexp(1 + fraction, exponent - bias));
}

uint64_t little_endian(const std::string& bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

// Value `index` of a tensor that begins at `offset`.
double stored_value(const std::string& bytes, Sluice__Proto__Format format, uint64_t offset,
                    uint64_t index) {
  switch (format) {
    case SLUICE__PROTO__FORMAT__F32:
      return binary_float(little_endian(bytes, offset + index * 4, 4), 8, 23, true);
    case SLUICE__PROTO__FORMAT__F16:
      return binary_float(little_endian(bytes, offset + index * 2, 2), 5, 10, true);
    case SLUICE__PROTO__FORMAT__BF16:
      return binary_float(little_endian(bytes, offset + index * 2, 2), 8, 7, true);
    case SLUICE__PROTO__FORMAT__F8_E4M3: {
      const uint64_t code = little_endian(bytes, offset + index, 1);
      return (code & 127) == 127 ? std::nan("") : binary_float(code, 4, 3, false);
    }
    case SLUICE__PROTO__FORMAT__F8_E5M2:
      return binary_float(little_endian(bytes, offset + index, 1), 5, 2, true);
    case SLUICE__PROTO__FORMAT__F8_E8M0: {
      const uint64_t code = little_endian(bytes, offset + index, 1);
      return code == 255 ? std::nan("") : std::ldexp(1, static_cast<int>(code) - 127);
    }
    case SLUICE__PROTO__FORMAT__Q8_0: {
      const uint64_t block = offset + index / 32 * 34;
      const double d = binary_float(little_endian(bytes, block, 2), 5, 10, true);
      return d * static_cast<int8_t>(bytes[block + 2 + index % 32]);
    }
    case SLUICE__PROTO__FORMAT__MXFP4: {
      const uint64_t block = offset + index / 32 * 17;
      const double d = stored_value(bytes, SLUICE__PROTO__FORMAT__F8_E8M0, block, 0);
      const uint64_t byte = little_endian(bytes, block + 1 + index % 16, 1);
      return d * binary_float(index % 32 < 16 ? byte & 15 : byte >> 4, 2, 1, false);
    }
    case SLUICE__PROTO__FORMAT__MXFP4_SPLIT: {
      const uint64_t byte = little_endian(bytes, offset + index / 2, 1);
      return binary_float(index % 2 == 0 ? byte & 15 : byte >> 4, 2, 1, false);
    }
    default:
      ADD_FAILURE() << "format " << format;
      return 0;
  }
}

// Bytes of a file in which every code of the narrow formats turns up. Plain floats are of ordinary
// size: exponents of random bits would overflow under a scale.
std::string random_bytes(Sluice__Proto__Format format, size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  const auto put = [&](size_t at, uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
  };
  for (char& byte : bytes) byte = static_cast<char>(random());
  const auto sign_and_exponent = [&](uint64_t mantissa_bits, uint64_t bias) {
    return (random() % 2 << (mantissa_bits + (bias == 127 ? 8 : 5))) |
           ((bias - 4 + random() % 8) << mantissa_bits);
  };
  for (size_t at = 0; format == SLUICE__PROTO__FORMAT__F32 && at + 4 <= count; at += 4) {
    put(at, sign_and_exponent(23, 127) | (random() & 0x7fffff), 4);
  }
  for (size_t at = 0; format == SLUICE__PROTO__FORMAT__BF16 && at + 2 <= count; at += 2) {
    put(at, sign_and_exponent(7, 127) | (random() & 0x7f), 2);
  }
  for (size_t at = 0; format == SLUICE__PROTO__FORMAT__Q8_0 && at + 34 <= count; at += 34) {
    put(at, sign_and_exponent(10, 15) | (random() & 0x3ff), 2);
  }
  for (size_t at = 0; format == SLUICE__PROTO__FORMAT__MXFP4 && at + 17 <= count; at += 17) {
    put(at, 110 + random() % 32, 1);
  }
  for (char& byte : bytes) {
    if (format == SLUICE__PROTO__FORMAT__F8_E8M0) byte = static_cast<char>(100 + random() % 50);
  }
  return bytes;
}

float rounded(double value, Format format) {
  const auto narrow = static_cast<float>(value);
  return format == Format::kBf16 ? to_float(to_bf16(narrow)) : narrow;
}

bool same(float value, float expected) {
  return std::isnan(expected) ? std::isnan(value) : value == expected;
}

// A tensor in the file, and the scales of its blocks.
struct Stored {
  SourceLayout values;
  std::optional<SourceLayout> scale;
  uint32_t block_rows = 1;
  uint32_t block_cols = 1;

  // Value [expert, row, col], as stored: before `transposed`.
  double at(const std::string& file, uint64_t e, uint64_t r, uint64_t c) const {
    const double value = stored_value(file, values.format, values.offset, place(values, e, r, c));
    if (!scale) return value;
    return value * stored_value(file, scale->format, scale->offset,
                                place(*scale, e, r / block_rows, c / block_cols));
  }

  static uint64_t place(const SourceLayout& layout, uint64_t e, uint64_t r, uint64_t c) {
    const auto& s = layout.shape;
    const bool experts = s.size() == 3;
    const std::vector<uint64_t> strides = !layout.strides.empty() ? layout.strides
                                          : experts ? std::vector<uint64_t>{s[1] * s[2], s[2], 1}
                                                    : std::vector<uint64_t>{s[1], 1};
    return (experts ? e * strides[0] : 0) + r * strides[strides.size() - 2] + c * strides.back();
  }
};

Sluice__Proto__WeightSource* make_source(const Stored& stored, WeightRanks* ranks) {
  auto* source = ranks->source(stored.values);
  if (stored.scale) {
    source->scale = ranks->source(*stored.scale);
    source->has_scale_block_rows = source->has_scale_block_columns = 1;
    source->scale_block_rows = stored.block_rows;
    source->scale_block_columns = stored.block_cols;
  }
  return source;
}

uint64_t size_in_bytes(Sluice__Proto__Format format, uint64_t values) {
  return static_cast<uint64_t>(
      format_bytes(static_cast<Format>(format), static_cast<int64_t>(values)));
}

constexpr uint64_t kExperts = 3;
constexpr uint64_t kRows = 70;   // of gate, and of up
constexpr uint64_t kCols = 288;  // whole blocks of 32, and a ragged one of 128

// Loads gate and up of every expert as `stored` says, for experts in turn or all at once, and
// compares with the bytes.
void check_gate_up(const std::string& file, const Stored& gate, const Stored& up, bool one_by_one,
                   Format kept, const std::string& what) {
  WeightRanks ranks(
      {matrix_slot(kGateUp, 0, {part_of(kGate, int64_t{kRows}), part_of(kUp, int64_t{kRows})},
                   int64_t{kCols}, int{kExperts}, kept)});
  ranks.set_file(file);
  std::vector<Sluice__Proto__WeightTransfer*> transfers;
  for (const auto& [part, stored] : {std::pair(kGate, gate), std::pair(kUp, up)}) {
    if (!one_by_one) {
      transfers.push_back(ranks.transfer(kGateUp, 0, part, -1, make_source(stored, &ranks)));
      continue;
    }
    for (uint64_t e = 0; e < kExperts; ++e) {
      Stored expert = stored;
      for (SourceLayout* layout : {&expert.values, expert.scale ? &*expert.scale : nullptr}) {
        if (layout == nullptr) continue;
        layout->offset += size_in_bytes(layout->format, Stored::place(*layout, e, 0, 0));
        layout->shape.erase(layout->shape.begin());
        if (!layout->strides.empty()) layout->strides.erase(layout->strides.begin());
      }
      transfers.push_back(
          ranks.transfer(kGateUp, 0, part, static_cast<int>(e), make_source(expert, &ranks)));
    }
  }
  const Outcome loaded = ranks.load(transfers);
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << what << ": " << loaded.text;
  const std::vector<float> values = ranks.values(kGateUp, 0);
  size_t i = 0;
  for (uint64_t e = 0; e < kExperts; ++e) {
    for (uint64_t row = 0; row < 2 * kRows; ++row) {
      const Stored& stored = row < kRows ? gate : up;
      const uint64_t r = row % kRows;
      for (uint64_t c = 0; c < kCols; ++c, ++i) {
        const float expected = rounded(
            stored.values.transposed ? stored.at(file, e, c, r) : stored.at(file, e, r, c), kept);
        ASSERT_TRUE(same(values[i], expected))
            << what << ", expert " << e << ", row " << row << ", column " << c << ": " << values[i]
            << " (expected: " << expected << ")";
      }
    }
  }
}

struct Case {
  Sluice__Proto__Format format;
  Sluice__Proto__Format scale = SLUICE__PROTO__FORMAT__FORMAT_UNKNOWN;  // unknown: none
  uint32_t block_rows = 1;
  uint32_t block_cols = 1;
  bool blocked = false;  // innermost stride 1
};

const Case kCases[] = {
    {SLUICE__PROTO__FORMAT__F32},
    {SLUICE__PROTO__FORMAT__F16},
    {SLUICE__PROTO__FORMAT__BF16},
    {SLUICE__PROTO__FORMAT__F8_E4M3},
    {SLUICE__PROTO__FORMAT__F8_E4M3, SLUICE__PROTO__FORMAT__F32, 128, 128},
    {SLUICE__PROTO__FORMAT__F8_E4M3, SLUICE__PROTO__FORMAT__BF16, 32, 100},
    {SLUICE__PROTO__FORMAT__F8_E4M3, SLUICE__PROTO__FORMAT__F8_E8M0, 1, 32},
    {SLUICE__PROTO__FORMAT__F8_E4M3, SLUICE__PROTO__FORMAT__F32, 1000, 1000},
    {SLUICE__PROTO__FORMAT__F8_E5M2, SLUICE__PROTO__FORMAT__F32, 128, 128},
    {SLUICE__PROTO__FORMAT__Q8_0, SLUICE__PROTO__FORMAT__FORMAT_UNKNOWN, 1, 1, true},
    {SLUICE__PROTO__FORMAT__MXFP4, SLUICE__PROTO__FORMAT__FORMAT_UNKNOWN, 1, 1, true},
    {SLUICE__PROTO__FORMAT__MXFP4_SPLIT, SLUICE__PROTO__FORMAT__F8_E8M0, 1, 32, true},
};

// Gate and up of all experts in one file, values first, then their scales.
struct Placed {
  std::string file;
  Stored gate;
  Stored up;
};

// Appends scales for the blocks of `stored`, if the case has any.
void add_scales(const Case& c, uint32_t seed, Stored* stored, std::string* file) {
  if (c.scale == SLUICE__PROTO__FORMAT__FORMAT_UNKNOWN) return;
  stored->block_rows = c.block_rows;
  stored->block_cols = c.block_cols;
  SourceLayout& scale = stored->scale.emplace();
  scale.format = c.scale;
  scale.offset = file->size();
  scale.shape = stored->values.shape;
  const size_t dims = scale.shape.size();
  scale.shape[dims - 2] = (scale.shape[dims - 2] + c.block_rows - 1) / c.block_rows;
  scale.shape[dims - 1] = (scale.shape[dims - 1] + c.block_cols - 1) / c.block_cols;
  uint64_t count = 1;
  for (const uint64_t extent : scale.shape) count *= extent;
  *file += random_bytes(c.scale, size_in_bytes(c.scale, count), seed);
}

// `gate` and `up` say where the values lie in a tensor of `total` values.
Placed place(const Case& c, SourceLayout gate, SourceLayout up, uint64_t total, uint32_t seed) {
  Placed placed;
  placed.file = random_bytes(c.format, size_in_bytes(c.format, total), seed);
  for (auto [stored, layout] : {std::pair(&placed.gate, gate), std::pair(&placed.up, up)}) {
    layout.format = c.format;
    layout.offset = size_in_bytes(c.format, layout.offset);  // given in values
    stored->values = layout;
    add_scales(c, seed + 1, stored, &placed.file);
  }
  return placed;
}

std::string name_of(const Case& c) {
  std::string name(format_name(static_cast<Format>(c.format)));
  if (c.scale == SLUICE__PROTO__FORMAT__FORMAT_UNKNOWN) return name;
  return name + " with " + std::string(format_name(static_cast<Format>(c.scale))) + " of " +
         std::to_string(c.block_rows) + " x " + std::to_string(c.block_cols);
}

// Up lies as gate does, from value `up_offset` on.
void check(const Case& c, const SourceLayout& gate, uint64_t up_offset, uint64_t total,
           const std::string& what) {
  SourceLayout up = gate;
  up.offset = up_offset;
  for (const bool one_by_one : {false, true}) {
    const Placed placed = place(c, gate, up, total, 1);
    for (const Format kept : {Format::kF32, Format::kBf16}) {
      check_gate_up(placed.file, placed.gate, placed.up, one_by_one, kept,
                    name_of(c) + ", " + what + (one_by_one ? ", one by one" : ", all experts"));
    }
  }
}

constexpr uint64_t kMatrix = kRows * kCols;

TEST(WeightLayoutTest, Stacked) {
  for (const Case& c : kCases) {
    SourceLayout gate;
    gate.shape = {kExperts, kRows, kCols};
    check(c, gate, kExperts * kMatrix, 2 * kExperts * kMatrix, "stacked");
  }
}

// Rows of gate and up by turns, as in gpt-oss.
TEST(WeightLayoutTest, InterleavedRows) {
  for (const Case& c : kCases) {
    SourceLayout gate;
    gate.shape = {kExperts, kRows, kCols};
    gate.strides = {2 * kMatrix, 2 * kCols, 1};
    check(c, gate, kCols, 2 * kExperts * kMatrix, "interleaved rows");
  }
}

// Rows with something else behind each of them.
TEST(WeightLayoutTest, SpreadRows) {
  for (const Case& c : kCases) {
    const uint64_t stride = kCols + 64;
    SourceLayout gate;
    gate.shape = {kExperts, kRows, kCols};
    gate.strides = {kRows * stride, stride, 1};
    check(c, gate, kExperts * kRows * stride, 2 * kExperts * kRows * stride, "spread rows");
  }
}

// Rows so far apart that they are read one by one.
TEST(WeightLayoutTest, FarRows) {
  for (const Case& c : kCases) {
    const uint64_t stride = kCols + 32768;
    SourceLayout gate;
    gate.shape = {kExperts, kRows, kCols};
    gate.strides = {kCols, stride, 1};
    check(c, gate, kExperts * kCols, (kRows - 1) * stride + 2 * kExperts * kCols, "far rows");
  }
}

// [in, out]: rows of the file are columns of the weight.
TEST(WeightLayoutTest, Transposed) {
  for (Case c : kCases) {
    if (c.blocked) continue;  // 70 rows are no whole blocks
    SourceLayout gate;
    gate.shape = {kExperts, kCols, kRows};
    gate.transposed = true;
    check(c, gate, kExperts * kMatrix, 2 * kExperts * kMatrix, "transposed");
    // Interleaved as well: columns of the file by turns.
    gate.strides = {2 * kMatrix, 2 * kRows, 2};
    check(c, gate, 1, 2 * kExperts * kMatrix, "transposed and interleaved");
  }
}

// Columns by turns.
TEST(WeightLayoutTest, InterleavedColumns) {
  for (const Case& c : kCases) {
    if (c.blocked) continue;
    SourceLayout gate;
    gate.shape = {kExperts, kRows, kCols};
    gate.strides = {2 * kMatrix, 2 * kCols, 2};
    check(c, gate, 1, 2 * kExperts * kMatrix, "interleaved columns");
  }
}

// Rectangles larger than one read, whose scale blocks the cut divides; also [in, out], in blocks
// too.
TEST(WeightLayoutTest, LongTensor) {
  constexpr uint64_t kLongRows = 1500;
  constexpr uint64_t kLongCols = 1184;  // 37 blocks of 32; reads of 885 rows
  constexpr Slot kO = SLUICE__PROTO__SLOT__O;
  for (const Case& c : kCases) {
    if (c.format == SLUICE__PROTO__FORMAT__F32) continue;
    Stored stored;
    stored.values.format = c.format;
    stored.values.shape = {kLongRows, kLongCols};
    std::string file = random_bytes(c.format, size_in_bytes(c.format, kLongRows * kLongCols), 3);
    add_scales(c, 4, &stored, &file);
    for (const bool transposed : {false, true}) {
      const uint64_t rows = transposed ? kLongCols : kLongRows;
      const uint64_t cols = transposed ? kLongRows : kLongCols;
      stored.values.transposed = transposed;
      WeightRanks ranks({matrix_slot(kO, 0, {part_of(kWhole, static_cast<int64_t>(rows))},
                                     static_cast<int64_t>(cols))});
      ranks.set_file(file);
      const Outcome loaded =
          ranks.load({ranks.transfer(kO, 0, kWhole, -1, make_source(stored, &ranks))});
      ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
      EXPECT_EQ(ranks.progress().bytes_done, ranks.progress().bytes_total);
      const std::vector<float> values = ranks.values(kO, 0);
      for (uint64_t r = 0; r < rows; ++r) {
        for (uint64_t col = 0; col < cols; ++col) {
          const float expected = rounded(
              transposed ? stored.at(file, 0, col, r) : stored.at(file, 0, r, col), Format::kF32);
          ASSERT_TRUE(same(values[r * cols + col], expected))
              << name_of(c) << ", row " << r << ", column " << col << transposed;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
