/// @file
/// CUDA kernel of latent.h. Arguments are checked by the caller; pointers are device memory.
#ifndef SLUICE_OPS_LATENT_LATENT_CUDA_H_
#define SLUICE_OPS_LATENT_LATENT_CUDA_H_

#include "device/cuda.h"
#include "ops/latent/latent.h"

namespace sluice::cuda {

void latent_rows(const CudaExec& exec, const LatentParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_LATENT_LATENT_CUDA_H_
