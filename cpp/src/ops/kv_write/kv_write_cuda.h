/// @file
/// CUDA kernels of kv_write.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_KV_WRITE_KV_WRITE_CUDA_H_
#define SLUICE_OPS_KV_WRITE_KV_WRITE_CUDA_H_

#include "device/cuda.h"
#include "ops/kv_write/kv_write.h"

namespace sluice::cuda {

void kv_write(const CudaExec& exec, const KvWriteParams& params);
void kv_read_values(const CudaExec& exec, const KvReadParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_KV_WRITE_KV_WRITE_CUDA_H_
