#include "ops/cuda/tensor_map.h"

#include <algorithm>
#include <array>

#include "device/cuda_check.h"

namespace sluice::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's library is never linked: a machine without it still loads ours.
Encode find_encode() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  SLUICE_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                     cudaEnableDefault, &result),
                    "cuTensorMapEncodeTiled");
  SLUICE_CHECK(found != nullptr && result == cudaDriverEntryPointSuccess,
               SLUICE_STATUS_UNSUPPORTED,
               "cuTensorMapEncodeTiled: not in the NVIDIA driver (expected: driver 580 or later)");
  return reinterpret_cast<Encode>(found);
}

}  // namespace

CUtensorMap tensor_map(const void* data, std::initializer_list<int64_t> sizes,
                       std::initializer_list<int64_t> strides, std::initializer_list<int64_t> box) {
  static const Encode encode = find_encode();
  constexpr size_t kMost = 5;
  const size_t rank = sizes.size();
  SLUICE_CHECK_INTERNAL(rank >= 1 && rank <= kMost && strides.size() == rank - 1 &&
                            box.size() == rank,
                        "tensor map: ", rank, " sizes, ", strides.size(), " strides, ", box.size(),
                        " of a box");
  std::array<cuuint64_t, kMost> size{}, stride{};
  std::array<cuuint32_t, kMost> extent{}, step{};
  std::transform(sizes.begin(), sizes.end(), size.begin(),
                 [](int64_t v) { return static_cast<cuuint64_t>(v); });
  std::transform(strides.begin(), strides.end(), stride.begin(),
                 [](int64_t v) { return static_cast<cuuint64_t>(v); });
  std::transform(box.begin(), box.end(), extent.begin(),
                 [](int64_t v) { return static_cast<cuuint32_t>(v); });
  step.fill(1);
  CUtensorMap map;
  const CUresult result =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(rank),
             const_cast<void*>(data), size.data(), stride.data(), extent.data(), step.data(),
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  SLUICE_CHECK_INTERNAL(result == CUDA_SUCCESS, "tensor map: refused with ",
                        static_cast<int>(result));
  return map;
}

}  // namespace sluice::cuda
