/// @file
/// CUDA kernels of embedding.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_EMBEDDING_EMBEDDING_CUDA_H_
#define SLUICE_OPS_EMBEDDING_EMBEDDING_CUDA_H_

#include "device/cuda.h"
#include "ops/embedding/embedding.h"

namespace sluice::cuda {

void embedding(const CudaExec& exec, const EmbeddingParams& params);
void gather_rows(const CudaExec& exec, const GatherRowsParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_EMBEDDING_EMBEDDING_CUDA_H_
