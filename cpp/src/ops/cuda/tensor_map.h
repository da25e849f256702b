/// @file
/// Descriptions of bf16 tensors for the bulk tensor copy engine of Hopper.
#ifndef SLUICE_OPS_CUDA_TENSOR_MAP_H_
#define SLUICE_OPS_CUDA_TENSOR_MAP_H_

#include <cuda.h>

#include <cstdint>
#include <initializer_list>

namespace sluice::cuda {

/// A tensor in device memory whose boxes are copied into shared memory in the 128-byte swizzle.
/// What of a box lies outside the tensor becomes zeros.
/// @param data     16-byte aligned
/// @param sizes    elements of each dimension, the dense one first
/// @param strides  bytes between neighbours of the second and later dimensions, multiples of 16
/// @param box      elements of a box; the dense dimension's are 64, the others at most 256
/// @throws Error UNSUPPORTED when the driver lacks the function, INTERNAL when it refuses
CUtensorMap tensor_map(const void* data, std::initializer_list<int64_t> sizes,
                       std::initializer_list<int64_t> strides, std::initializer_list<int64_t> box);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_CUDA_TENSOR_MAP_H_
