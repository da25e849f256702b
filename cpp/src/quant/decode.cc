#include "quant/decode.h"

#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "quant/f8_e4m3.h"
#include "quant/f8_e5m2.h"
#include "quant/f8_e8m0.h"
#include "quant/mxfp4.h"
#include "quant/mxfp4_split.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace sluice {
namespace {

inline void store(float value, float* out) { *out = value; }
inline void store(float value, Bf16* out) { *out = to_bf16(value); }

// Plain values: `Stored` is read at any alignment, then turned to float.
template <typename Stored, typename Out>
void decode_plain(const uint8_t* source, int64_t num_values, Out* out) {
  for (int64_t i = 0; i < num_values; ++i) {
    Stored value;
    std::memcpy(&value, source + i * static_cast<int64_t>(sizeof(Stored)), sizeof(Stored));
    if constexpr (std::is_class_v<Stored>) {
      store(to_float(value), out + i);
    } else {
      store(static_cast<float>(value), out + i);
    }
  }
}

template <int kValues, int kBytes, void (*decode)(const uint8_t*, float*), typename Out>
void decode_blocks(const uint8_t* source, int64_t num_values, Out* out) {
  for (int64_t i = 0; i < num_values; i += kValues, source += kBytes) {
    if constexpr (std::is_same_v<Out, float>) {
      decode(source, out + i);
    } else {
      float values[kValues];
      decode(source, values);
      for (int j = 0; j < kValues; ++j) store(values[j], out + i + j);
    }
  }
}

template <typename Out>
void decode_any(Format format, const void* source, int64_t num_values, Out* out) {
  format_bytes(format, num_values);  // refuses broken blocks
  const auto* bytes = static_cast<const uint8_t*>(source);
  switch (format) {
    case Format::kF32:
      return decode_plain<float>(bytes, num_values, out);
    case Format::kF16:
      return decode_plain<F16>(bytes, num_values, out);
    case Format::kBf16:
      return decode_plain<Bf16>(bytes, num_values, out);
    case Format::kF64:
      return decode_plain<double>(bytes, num_values, out);
    case Format::kF8E4m3:
      return decode_blocks<1, 1, decode_f8_e4m3>(bytes, num_values, out);
    case Format::kF8E5m2:
      return decode_blocks<1, 1, decode_f8_e5m2>(bytes, num_values, out);
    case Format::kF8E8m0:
      return decode_blocks<1, 1, decode_f8_e8m0>(bytes, num_values, out);
    case Format::kQ4_0:
      return decode_blocks<kQ4_0Values, kQ4_0Bytes, decode_q4_0>(bytes, num_values, out);
    case Format::kQ4_1:
      return decode_blocks<kQ4_1Values, kQ4_1Bytes, decode_q4_1>(bytes, num_values, out);
    case Format::kQ5_0:
      return decode_blocks<kQ5_0Values, kQ5_0Bytes, decode_q5_0>(bytes, num_values, out);
    case Format::kQ5_1:
      return decode_blocks<kQ5_1Values, kQ5_1Bytes, decode_q5_1>(bytes, num_values, out);
    case Format::kQ8_0:
      return decode_blocks<kQ8_0Values, kQ8_0Bytes, decode_q8_0>(bytes, num_values, out);
    case Format::kQ4_K:
      return decode_blocks<kQ4_KValues, kQ4_KBytes, decode_q4_k>(bytes, num_values, out);
    case Format::kQ5_K:
      return decode_blocks<kQ5_KValues, kQ5_KBytes, decode_q5_k>(bytes, num_values, out);
    case Format::kQ6_K:
      return decode_blocks<kQ6_KValues, kQ6_KBytes, decode_q6_k>(bytes, num_values, out);
    case Format::kMxfp4:
      return decode_blocks<kMxfp4Values, kMxfp4Bytes, decode_mxfp4>(bytes, num_values, out);
    case Format::kMxfp4Split:
      return decode_blocks<kMxfp4SplitValues, kMxfp4SplitBytes, decode_mxfp4_split>(
          bytes, num_values, out);
    default:
      break;
  }
  SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, "weight format: ", format_name(format),
              " (expected: F32, F16, BF16, F64, F8_E4M3, F8_E5M2, F8_E8M0, Q4_0, Q4_1, Q5_0, Q5_1, "
              "Q8_0, Q4_K, Q5_K, Q6_K, MXFP4 or MXFP4_SPLIT)");
}

}  // namespace

bool can_decode(Format format) {
  switch (format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBf16:
    case Format::kF64:
    case Format::kF8E4m3:
    case Format::kF8E5m2:
    case Format::kF8E8m0:
    case Format::kQ4_0:
    case Format::kQ4_1:
    case Format::kQ5_0:
    case Format::kQ5_1:
    case Format::kQ8_0:
    case Format::kQ4_K:
    case Format::kQ5_K:
    case Format::kQ6_K:
    case Format::kMxfp4:
    case Format::kMxfp4Split:
      return true;
    default:
      return false;
  }
}

void decode_values(Format format, const void* source, int64_t num_values, float* out) {
  decode_any(format, source, num_values, out);
}

void decode_values(Format format, const void* source, int64_t num_values, Bf16* out) {
  if (format == Format::kBf16) {
    std::memcpy(out, source, static_cast<size_t>(format_bytes(format, num_values)));
    return;
  }
  decode_any(format, source, num_values, out);
}

}  // namespace sluice
