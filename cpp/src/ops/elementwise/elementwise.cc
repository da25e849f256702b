#include "ops/elementwise/elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "ops/elementwise/elementwise_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

inline void convert(float value, float* out) { *out = value; }
inline void convert(Bf16 value, float* out) { *out = to_float(value); }
inline void convert(float value, Bf16* out) { *out = to_bf16(value); }
inline void convert(Bf16 value, Bf16* out) { *out = value; }

template <typename In, typename Out>
void convert_range(const ConvertRowsParams& p, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const In* x = static_cast<const In*>(p.x) + r * p.x_stride;
    Out* y = static_cast<Out*>(p.y) + r * p.y_stride;
    for (int64_t c = 0; c < p.cols; ++c) convert(x[c], y + c);
  }
}

}  // namespace

void copy_bytes(const Exec& exec, void* to, const void* from, int64_t bytes) {
  check_at_least("copy bytes", bytes, 0);
  check_memory("copy source", from, bytes);
  check_memory("copy target", to, bytes);
  if (bytes == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda_copy(*exec.cuda, to, from, bytes);
  }
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

void zero_bytes(const Exec& exec, void* to, int64_t bytes) {
  check_at_least("zero bytes", bytes, 0);
  check_memory("zero target", to, bytes);
  if (bytes == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda_fill(*exec.cuda, to, 0, bytes);
  }
  std::memset(to, 0, static_cast<size_t>(bytes));
}

void convert_rows(const Exec& exec, const ConvertRowsParams& p) {
  check_compute_format("convert x_format", p.x_format);
  check_compute_format("convert y_format", p.y_format);
  check_at_least("convert num_rows", p.num_rows, 0);
  check_at_least("convert cols", p.cols, 0);
  check_stride("convert x_stride", p.x_stride, p.cols, p.num_rows);
  check_stride("convert y_stride", p.y_stride, p.cols, p.num_rows);
  check_memory("convert x", p.x, p.num_rows * p.cols);
  check_memory("convert y", p.y, p.num_rows * p.cols);
  if (p.num_rows == 0 || p.cols == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::convert_rows(*exec.cuda, p);
  }
  const bool in = p.x_format == Format::kBf16, out = p.y_format == Format::kBf16;
  const auto kernel = in ? (out ? convert_range<Bf16, Bf16> : convert_range<Bf16, float>)
                         : (out ? convert_range<float, Bf16> : convert_range<float, float>);
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.cols * 8),
                  [&](int64_t begin, int64_t end) { kernel(p, begin, end); });
}

void map_values(const Exec& exec, MapKind kind, float limit, int64_t count, float* x) {
  check_at_least("map count", count, 0);
  check_memory("map x", x, count);
  SLUICE_CHECK_ARG(kind == MapKind::kGate || limit > 0, "map limit: ", limit,
                   " (expected: above 0)");
  if (count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::map_values(*exec.cuda, kind, limit, count, x);
  }
  parallel_ranges(exec, count, grain_for_bytes(64), [&](int64_t begin, int64_t end) {
    switch (kind) {
      case MapKind::kClamp:
        for (int64_t i = begin; i < end; ++i) {
          if (x[i] > limit) x[i] = limit;
          if (x[i] < -limit) x[i] = -limit;
        }
        break;
      case MapKind::kSoftCap:
        for (int64_t i = begin; i < end; ++i) x[i] = limit * std::tanh(x[i] / limit);
        break;
      case MapKind::kGate:
        for (int64_t i = begin; i < end; ++i) {
          const float gate = sigmoid(x[i]);
          x[i] = gate < limit ? 0.0f : gate;
        }
        break;
    }
  });
}

void gate_values(const Exec& exec, int64_t count, const float* gate, void* y, Format format) {
  check_compute_format("gate format", format);
  check_at_least("gate count", count, 0);
  check_memory("gate", gate, count);
  check_memory("gate y", y, count);
  if (count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::gate_values(*exec.cuda, count, gate, y, format);
  }
  const auto multiply = [](float value, float by) { return value / (1 + std::exp(-by)); };
  parallel_ranges(exec, count, grain_for_bytes(32), [&](int64_t begin, int64_t end) {
    if (format == Format::kF32) {
      float* out = static_cast<float*>(y);
      for (int64_t i = begin; i < end; ++i) out[i] = multiply(out[i], gate[i]);
    } else {
      Bf16* out = static_cast<Bf16*>(y);
      for (int64_t i = begin; i < end; ++i) out[i] = to_bf16(multiply(to_float(out[i]), gate[i]));
    }
  });
}

void gated_add(const Exec& exec, const GatedAddParams& p) {
  check_at_least("gated_add num_rows", p.num_rows, 0);
  check_at_least("gated_add cols", p.cols, 1);
  check_memory("gated_add gate", p.gate, p.num_rows);
  check_memory("gated_add x", p.x, p.num_rows);
  check_memory("gated_add y", p.y, p.num_rows);
  if (p.num_rows == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::gated_add(*exec.cuda, p);
  }
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.cols * 12), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float factor = p.multiplier / (1.0f + std::exp(-p.gate[r]));
      const float* x = p.x + r * p.cols;
      float* y = p.y + r * p.cols;
      for (int64_t c = 0; c < p.cols; ++c) y[c] += factor * x[c];
    }
  });
}

void mark_slots(const Exec& exec, const MarkSlotsParams& p) {
  check_at_least("mark num_tokens", p.num_tokens, 0);
  check_memory("mark logits", p.logits, p.num_tokens);
  check_memory("mark slots", p.slots, p.num_tokens);
  check_memory("mark marks", p.marks, p.num_tokens);
  if (p.num_tokens == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::mark_slots(*exec.cuda, p);
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const int64_t slot = p.slots[t * p.slot_stride];
    if (slot >= 0) p.marks[slot] = sigmoid(p.logits[t]) >= p.threshold ? 1 : 0;
  }
}

void merge_attention(const Exec& exec, const MergeAttentionParams& p) {
  check_at_least("merge num_rows", p.num_rows, 0);
  check_at_least("merge cols", p.cols, 1);
  check_memory("merge part", p.part, p.num_rows);
  check_memory("merge part_lse", p.part_lse, p.num_rows);
  check_memory("merge out", p.out, p.num_rows);
  check_memory("merge lse", p.lse, p.num_rows);
  if (p.num_rows == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::merge_attention(*exec.cuda, p);
  }
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.cols * 12), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float top = std::max(p.lse[i], p.part_lse[i]);
      if (std::isinf(top) && top < 0) continue;
      const float a = std::exp(p.lse[i] - top), b = std::exp(p.part_lse[i] - top);
      const float sum = a + b;
      float* out = p.out + i * p.cols;
      const float* part = p.part + i * p.cols;
      for (int64_t c = 0; c < p.cols; ++c) out[c] = out[c] * (a / sum) + part[c] * (b / sum);
      p.lse[i] = top + std::log(sum);
    }
  });
}

void gather_values(const Exec& exec, const GatherValuesParams& p) {
  check_at_least("gather max_count", p.max_count, 0);
  check_memory("gather count", p.count, 1);
  check_memory("gather index", p.index, p.max_count);
  check_memory("gather x", p.x, p.max_count);
  check_memory("gather y", p.y, p.max_count);
  if (p.max_count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::gather_values(*exec.cuda, p);
  }
  SLUICE_CHECK_ARG(*p.count >= 0 && *p.count <= p.max_count, "gather count: ", *p.count,
                   " (expected: 0 to ", p.max_count, ")");
  for (int64_t i = 0; i < *p.count; ++i) p.y[i] = p.x[p.index[i]];
}

void add_lengths(const Exec& exec, int32_t count, const int32_t* offsets, int32_t* counts) {
  check_at_least("lengths count", count, 0);
  check_memory("lengths offsets", offsets, count);
  check_memory("lengths counts", counts, count);
  if (count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::add_lengths(*exec.cuda, count, offsets, counts);
  }
  for (int32_t i = 0; i < count; ++i) counts[i] += offsets[i + 1] - offsets[i];
}

void local_ids(const Exec& exec, int64_t count, const int32_t* x, int64_t first, int64_t size,
               int32_t* y) {
  check_at_least("ids count", count, 0);
  check_memory("ids x", x, count);
  check_memory("ids y", y, count);
  if (count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::local_ids(*exec.cuda, count, x, first, size, y);
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = x[i] - first;
    y[i] = row >= 0 && row < size ? static_cast<int32_t>(row) : -1;
  }
}

void shift_values(const Exec& exec, const ShiftParams& p) {
  check_at_least("shift count", p.count, 0);
  check_memory("shift x", p.x, p.count);
  check_memory("shift y", p.y, p.count);
  SLUICE_CHECK_ARG(p.low <= p.high, "shift low: ", p.low, " (expected: at most ", p.high, ")");
  if (p.count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::shift_values(*exec.cuda, p);
  }
  for (int64_t i = 0; i < p.count; ++i) p.y[i] = std::clamp(p.x[i], p.low, p.high) - p.offset;
}

void number_values(const Exec& exec, int64_t count, int32_t* y) {
  check_at_least("number count", count, 0);
  check_memory("number y", y, count);
  if (count == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::number_values(*exec.cuda, count, y);
  }
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<int32_t>(i);
}

void ragged_rows(const Exec& exec, const RaggedRowsParams& p) {
  check_at_least("ragged num_sequences", p.num_sequences, 0);
  check_at_least("ragged first", p.first, 0);
  check_at_least("ragged limit", p.limit, 1);
  check_at_least("ragged align", p.align, 1);
  check_memory("ragged lengths", p.lengths, p.num_sequences);
  check_memory("ragged num_rows", p.num_rows, p.num_sequences);
  check_memory("ragged row_start", p.row_start, p.num_sequences);
  check_memory("ragged row_block", p.row_block, p.num_sequences);
  if (p.num_sequences == 0) return;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::ragged_rows(*exec.cuda, p);
  }
  int32_t block = 0;
  for (int32_t s = 0; s < p.num_sequences; ++s) {
    p.num_rows[s] = std::clamp(p.lengths[s] - p.first, 0, p.limit);
    p.row_start[s] = block * p.align;
    p.row_block[s] = block;
    block += static_cast<int32_t>(round_up(p.num_rows[s], p.align) / p.align);
  }
}

}  // namespace sluice
