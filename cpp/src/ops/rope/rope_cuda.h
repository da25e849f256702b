/// @file
/// CUDA kernels of rope.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_ROPE_ROPE_CUDA_H_
#define SLUICE_OPS_ROPE_ROPE_CUDA_H_

#include "device/cuda.h"
#include "ops/rope/rope.h"

namespace sluice::cuda {

void rope_table(const CudaExec& exec, const RopeTableParams& params);
void rope(const CudaExec& exec, const RopeParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ROPE_ROPE_CUDA_H_
