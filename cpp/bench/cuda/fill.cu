#include <cuda_bf16.h>

#include "device.h"
#include "device/cuda_check.h"

namespace sluice::bench {
namespace {

__device__ uint32_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return static_cast<uint32_t>(x >> 32);
}

template <typename T>
__global__ void fill_kernel(T* data, int64_t count, uint64_t seed, float scale) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    // Four bytes' sum is near enough to normal: mean 510, deviation 147.8.
    const uint32_t bits = mix(static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15ull + seed);
    const int sum = static_cast<int>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) +
                                     (bits >> 24)) - 510;
    data[i] = static_cast<T>(scale * (static_cast<float>(sum) + 0.5f) / 147.8f);
  }
}

}  // namespace

void fill_random(Format format, void* data, int64_t count, uint64_t seed, float scale) {
  if (count == 0) return;
  auto* stream = static_cast<cudaStream_t>(device().exec().stream);
  const int blocks = device().exec().num_sms * 8;
  if (format == Format::kBf16) {
    fill_kernel<<<blocks, 256, 0, stream>>>(static_cast<__nv_bfloat16*>(data), count, seed, scale);
  } else {
    fill_kernel<<<blocks, 256, 0, stream>>>(static_cast<float*>(data), count, seed, scale);
  }
  SLUICE_CUDA_CHECK(cudaGetLastError(), "fill");
}

}  // namespace sluice::bench
