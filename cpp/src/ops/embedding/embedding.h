/// @file
/// Gathers rows of a matrix: token embeddings, and output rows of the hidden states.
#ifndef SLUICE_OPS_EMBEDDING_EMBEDDING_H_
#define SLUICE_OPS_EMBEDDING_EMBEDDING_H_

#include <cstdint>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/gemm/weight.h"

namespace sluice {

/// y[t] = multiplier * table[ids[t]]. The table may be packed (kPanel64): a tied head and the
/// embedding share one copy of the matrix. On CUDA it is kRowMajor.
struct EmbeddingParams {
  int64_t num_tokens = 0;
  const int32_t* ids =
      nullptr;  ///< [num_tokens], below table.rows; a negative id makes its row of y zero
  WeightView table{};  ///< [vocab_size, hidden_size], F32 or BF16
  float multiplier = 1.0f;
  void* y = nullptr;                   ///< [num_tokens, table.cols]
  Format y_format = Format::kUnknown;  ///< F32 or BF16
  int64_t y_stride = 0;
};

/// Throws INVALID_ARGUMENT for an id >= table.rows. CUDA, which cannot throw for it, makes that row
/// NaN.
void embedding(const Exec& exec, const EmbeddingParams& params);

/// y[r] = x[index[r]], converted to y's format; zero for a negative index. Throws INVALID_ARGUMENT
/// for an index >= num_source_rows. CUDA, which cannot throw for it, makes that row NaN.
struct GatherRowsParams {
  int64_t num_rows = 0;
  int64_t cols = 0;
  const int32_t* index = nullptr;  ///< [num_rows], below num_source_rows
  int64_t num_source_rows = 0;
  const void* x = nullptr;             ///< [num_source_rows, cols]
  Format x_format = Format::kUnknown;  ///< F32 or BF16
  int64_t x_stride = 0;
  void* y = nullptr;  ///< [num_rows, cols]
  Format y_format = Format::kUnknown;
  int64_t y_stride = 0;
};
void gather_rows(const Exec& exec, const GatherRowsParams& params);

}  // namespace sluice

#endif  // SLUICE_OPS_EMBEDDING_EMBEDDING_H_
