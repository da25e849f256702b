/// @file
/// launch_overlapped() for grids of two dimensions. For .cu sources only.
#ifndef SLUICE_OPS_CUDA_LAUNCH_GRID_H_
#define SLUICE_OPS_CUDA_LAUNCH_GRID_H_

#include "ops/cuda/launch.h"

namespace sluice::cuda {

template <typename... Parameters, typename... Arguments>
void launch_overlapped_grid(const CudaExec& exec, void (*kernel)(Parameters...), dim3 grid,
                            unsigned threads, const Arguments&... arguments) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.stream = stream_of(exec);
  config.attrs = &overlap;
  config.numAttrs = exec.has_sm90a() ? 1 : 0;  // as there
  SLUICE_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, arguments...), "kernel launch");
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_CUDA_LAUNCH_GRID_H_
