#include "base/format.h"

#include <limits>

#include "base/error.h"

namespace sluice {

const FormatTraits& format_traits(Format format) {
  static constexpr FormatTraits kF32{"F32", 1, 4}, kF16{"F16", 1, 2}, kBf16{"BF16", 1, 2},
      kF64{"F64", 1, 8}, kI32{"I32", 1, 4}, kI64{"I64", 1, 8}, kU8{"U8", 1, 1}, kI8{"I8", 1, 1},
      kF8E4m3{"F8_E4M3", 1, 1}, kF8E5m2{"F8_E5M2", 1, 1}, kF8E8m0{"F8_E8M0", 1, 1}, kU16{"U16", 1, 2},
      kQ4_0{"Q4_0", 32, 18}, kQ4_1{"Q4_1", 32, 20}, kQ5_0{"Q5_0", 32, 22}, kQ5_1{"Q5_1", 32, 24},
      kQ8_0{"Q8_0", 32, 34}, kQ4_K{"Q4_K", 256, 144}, kQ5_K{"Q5_K", 256, 176},
      kQ6_K{"Q6_K", 256, 210}, kMxfp4{"MXFP4", 32, 17}, kMxfp4Split{"MXFP4_SPLIT", 32, 16},
      kInt4Grouped{"INT4_GROUPED", 0, 0};
  switch (format) {
    case Format::kF32:
      return kF32;
    case Format::kF16:
      return kF16;
    case Format::kBf16:
      return kBf16;
    case Format::kF64:
      return kF64;
    case Format::kI32:
      return kI32;
    case Format::kI64:
      return kI64;
    case Format::kU8:
      return kU8;
    case Format::kI8:
      return kI8;
    case Format::kF8E4m3:
      return kF8E4m3;
    case Format::kF8E5m2:
      return kF8E5m2;
    case Format::kF8E8m0:
      return kF8E8m0;
    case Format::kU16:
      return kU16;
    case Format::kQ4_0:
      return kQ4_0;
    case Format::kQ4_1:
      return kQ4_1;
    case Format::kQ5_0:
      return kQ5_0;
    case Format::kQ5_1:
      return kQ5_1;
    case Format::kQ8_0:
      return kQ8_0;
    case Format::kQ4_K:
      return kQ4_K;
    case Format::kQ5_K:
      return kQ5_K;
    case Format::kQ6_K:
      return kQ6_K;
    case Format::kMxfp4:
      return kMxfp4;
    case Format::kMxfp4Split:
      return kMxfp4Split;
    case Format::kInt4Grouped:
      return kInt4Grouped;
    case Format::kUnknown:
      break;
  }
  SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, "format: ", static_cast<int32_t>(format),
              " (expected: a number of sluice.proto's Format)");
}

int64_t format_bytes(Format format, int64_t num_values) {
  const FormatTraits& traits = format_traits(format);
  SLUICE_CHECK_ARG(traits.values_per_block > 0, traits.name,
                   ": has no byte size of its own (expected: a format of one tensor)");
  SLUICE_CHECK_ARG(num_values >= 0 && num_values % traits.values_per_block == 0,
                   "number of values: ", num_values, " (expected: a multiple of ",
                   traits.values_per_block, " for ", traits.name, ")");
  const int64_t blocks = num_values / traits.values_per_block;
  SLUICE_CHECK_ARG(blocks <= std::numeric_limits<int64_t>::max() / traits.bytes_per_block,
                   "number of values: ", num_values, " (expected: at most 2^63 bytes)");
  return blocks * traits.bytes_per_block;
}

}  // namespace sluice
