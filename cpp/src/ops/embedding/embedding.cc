// Scalar on purpose: a row of a packed table is one pair of values per 256 bytes, so the cache
// misses, not the instructions, are the cost.
#include "ops/embedding/embedding.h"

#include <cstring>

#include "ops/embedding/embedding_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

void store_row(const float* values, int64_t cols, float multiplier, Format format, void* y) {
  for (int64_t c = 0; c < cols; ++c) {
    const float value = values[c] * multiplier;
    if (format == Format::kF32) {
      static_cast<float*>(y)[c] = value;
    } else {
      static_cast<Bf16*>(y)[c] = to_bf16(value);
    }
  }
}

char* row_at(void* base, Format format, int64_t index) {
  return static_cast<char*>(base) + index * (format == Format::kF32 ? 4 : 2);
}

void zero_row(char* row, Format format, int64_t cols) {
  std::memset(row, 0, static_cast<size_t>(format_bytes(format, cols)));
}

// Columns that are unpacked at a time, so that the rows need no workspace.
constexpr int64_t kChunk = 256;

}  // namespace

void embedding(const Exec& exec, const EmbeddingParams& p) {
  check_compute_format("embedding y_format", p.y_format);
  check_compute_format("embedding table format", p.table.format);
  check_at_least("embedding num_tokens", p.num_tokens, 0);
  check_stride("embedding y_stride", p.y_stride, p.table.cols, p.num_tokens);
  check_memory("embedding ids", p.ids, p.num_tokens);
  check_memory("embedding y", p.y, p.num_tokens);
  check_memory("embedding table", p.table.data, p.table.rows);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      SLUICE_CHECK(p.table.layout == WeightLayout::kRowMajor, SLUICE_STATUS_UNSUPPORTED,
                   "embedding table layout: ", static_cast<int32_t>(p.table.layout),
                   " (expected: kRowMajor on CUDA)");
      return cuda::embedding(*exec.cuda, p);
    }
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    SLUICE_CHECK_ARG(p.ids[t] < p.table.rows, "token id ", t, ": ", p.ids[t], " (expected: below ",
                     p.table.rows, ")");
  }
  parallel_ranges(exec, p.num_tokens, grain_for_bytes(p.table.cols * 16),
                  [&](int64_t begin, int64_t end) {
                    float values[kChunk];
                    for (int64_t t = begin; t < end; ++t) {
                      if (p.ids[t] < 0) {
                        zero_row(row_at(p.y, p.y_format, t * p.y_stride), p.y_format,
                                 p.table.cols);
                        continue;
                      }
                      for (int64_t c = 0; c < p.table.cols; c += kChunk) {
                        const int64_t n = p.table.cols - c < kChunk ? p.table.cols - c : kChunk;
                        unpack_row_columns(p.table, p.ids[t], c, n, values);
                        store_row(values, n, p.multiplier, p.y_format,
                                  row_at(p.y, p.y_format, t * p.y_stride + c));
                      }
                    }
                  });
}

void gather_rows(const Exec& exec, const GatherRowsParams& p) {
  check_compute_format("gather x_format", p.x_format);
  check_compute_format("gather y_format", p.y_format);
  check_at_least("gather num_rows", p.num_rows, 0);
  check_at_least("gather cols", p.cols, 0);
  check_stride("gather x_stride", p.x_stride, p.cols, p.num_source_rows);
  check_stride("gather y_stride", p.y_stride, p.cols, p.num_rows);
  check_memory("gather index", p.index, p.num_rows);
  check_memory("gather x", p.x, p.num_rows);
  check_memory("gather y", p.y, p.num_rows);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::gather_rows(*exec.cuda, p);
  }
  for (int64_t r = 0; r < p.num_rows; ++r) {
    SLUICE_CHECK_ARG(p.index[r] < p.num_source_rows, "row index ", r, ": ", p.index[r],
                     " (expected: below ", p.num_source_rows, ")");
  }
  parallel_ranges(exec, p.num_rows, grain_for_bytes(p.cols * 8), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (p.index[r] < 0) {
        zero_row(row_at(p.y, p.y_format, r * p.y_stride), p.y_format, p.cols);
        continue;
      }
      const void* from = row_at(const_cast<void*>(p.x), p.x_format, p.index[r] * p.x_stride);
      void* to = row_at(p.y, p.y_format, r * p.y_stride);
      if (p.x_format == p.y_format) {
        std::memcpy(to, from, static_cast<size_t>(format_bytes(p.x_format, p.cols)));
      } else if (p.x_format == Format::kF32) {
        const auto* in = static_cast<const float*>(from);
        for (int64_t c = 0; c < p.cols; ++c) static_cast<Bf16*>(to)[c] = to_bf16(in[c]);
      } else {
        const auto* in = static_cast<const Bf16*>(from);
        for (int64_t c = 0; c < p.cols; ++c) static_cast<float*>(to)[c] = to_float(in[c]);
      }
    }
  });
}

}  // namespace sluice
