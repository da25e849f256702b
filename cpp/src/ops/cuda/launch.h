/// @file
/// What the CUDA launchers of ops share. For .cu sources only.
#ifndef SLUICE_OPS_CUDA_LAUNCH_H_
#define SLUICE_OPS_CUDA_LAUNCH_H_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "base/format.h"
#include "device/cuda.h"
#include "device/cuda_check.h"

namespace sluice::cuda {

inline cudaStream_t stream_of(const CudaExec& exec) {
  return static_cast<cudaStream_t>(exec.stream);
}

/// Blocks for `items` things, `per_block` at a time, at most `most`: kernels stride over the rest.
inline unsigned grid_for(int64_t items, int64_t per_block, int64_t most = int64_t{1} << 20) {
  return static_cast<unsigned>(std::clamp<int64_t>((items + per_block - 1) / per_block, 1, most));
}

/// After each launch; `what` (text) names the op and its shape.
#define SLUICE_CHECK_LAUNCH(...) SLUICE_CUDA_CHECK(cudaGetLastError(), __VA_ARGS__)

/// Opts a kernel in to all shared memory that a block of the current device can have. @throws Error
/// INTERNAL when `bytes` are more
void allow_most_shared(const void* kernel, int64_t bytes, const char* what);

/// Opts a kernel in to more than 48 KiB of shared memory. Of those up to 1 KiB can be the kernel's
/// arrays of fixed size, which `bytes` leaves out. Cheap enough for every launch. The limit belongs to
/// the function, which all threads and engines of a device share, so it is always the same: the most.
template <typename Kernel>
void allow_shared(Kernel kernel, int64_t bytes, const char* what) {
  if (bytes > 47 * 1024) allow_most_shared(reinterpret_cast<const void*>(kernel), bytes, what);
}

// Programmatic dependent launch: a kernel launched by launch_overlapped() may begin while the kernel
// before it in the stream ends, or, where that one called start_next_kernel(), while it works. Until
// it has called await_kernel_before() it may read only what no kernel of the stream writes, and
// write nothing. Every kernel launched so calls it, in all its threads that touch memory.

/// Lets the next kernel of the stream begin when all blocks have called this or ended.
__device__ inline void start_next_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits until all kernels before are done and their writes can be seen.
__device__ inline void await_kernel_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

template <typename... Parameters, typename... Arguments>
void launch_overlapped(const CudaExec& exec, void (*kernel)(Parameters...), dim3 grid, int threads,
                       int64_t shared_bytes, const Arguments&... arguments) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream_of(exec);
  config.attrs = &overlap;
  config.numAttrs = exec.has_sm90a() ? 1 : 0;  // elsewhere code for sm_80 runs, which cannot wait
  SLUICE_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, arguments...), "kernel launch");
}

// Values of the two compute formats as floats. Rounding is to nearest even, like the CPU's.
__device__ inline float load(const float* p) { return *p; }
__device__ inline float load(const __nv_bfloat16* p) { return __bfloat162float(*p); }
__device__ inline void store(float* p, float value) { *p = value; }
__device__ inline void store(__nv_bfloat16* p, float value) { *p = __float2bfloat16_rn(value); }

/// Calls f with a null pointer of the type behind a compute format.
template <typename F>
void with_format(Format format, const F& f) {
  if (format == Format::kF32) {
    f(static_cast<float*>(nullptr));
  } else {
    f(static_cast<__nv_bfloat16*>(nullptr));
  }
}

/// The sequence of a token: the last whose queries begin at or before it. Its own end may be before
/// the token too; the caller compares.
/// @param p  with num_sequences and query_start
template <typename Params>
__device__ int32_t sequence_of(const Params& p, int64_t token) {
  int32_t low = 0, high = p.num_sequences;
  while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    if (p.query_start[middle] <= token) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

inline constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline float warp_sum(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int step = 16; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

/// Sum over the block in a fixed order, for every thread. `scratch`: one float a warp, free again
/// after the next barrier. All threads of the block take part.
__device__ inline float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
  __syncthreads();
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < warps; ++w) sum += scratch[w];
  return sum;
}

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_CUDA_LAUNCH_H_
