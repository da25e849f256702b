/// @file
/// normal_values() made on the device: the same numbers, bit for bit.
#ifndef SLUICE_OPS_RANDOM_VALUES_RANDOM_VALUES_CUDA_H_
#define SLUICE_OPS_RANDOM_VALUES_RANDOM_VALUES_CUDA_H_

#include <cstdint>

#include "base/format.h"
#include "device/cuda.h"

namespace sluice::cuda {

/// out[r, c] = number first + r * row_step + c of the sequence (seed, place).
struct NormalFillParams {
  uint64_t seed = 0;
  uint64_t place = 0;
  uint64_t first = 0;
  int64_t row_step = 0;
  double std = 0;
  const float* quantiles = nullptr;  ///< device copy of normal_quantiles()
  int64_t num_rows = 0;
  int64_t num_cols = 0;
  void* out = nullptr;
  Format out_format = Format::kF32;  ///< F32, or BF16, rounded to nearest even
  int64_t out_stride = 0;            ///< elements between rows, >= num_cols
};
void normal_fill(const CudaExec& exec, const NormalFillParams& params);

}  // namespace sluice::cuda
#endif  // SLUICE_OPS_RANDOM_VALUES_RANDOM_VALUES_CUDA_H_
