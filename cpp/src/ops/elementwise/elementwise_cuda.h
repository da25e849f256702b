/// @file
/// CUDA kernels of elementwise.h. Arguments are checked by the callers; pointers are device memory.
#ifndef SLUICE_OPS_ELEMENTWISE_ELEMENTWISE_CUDA_H_
#define SLUICE_OPS_ELEMENTWISE_ELEMENTWISE_CUDA_H_

#include "device/cuda.h"
#include "ops/elementwise/elementwise.h"

namespace sluice::cuda {

void convert_rows(const CudaExec& exec, const ConvertRowsParams& params);
void map_values(const CudaExec& exec, MapKind kind, float limit, int64_t count, float* x);
void gate_values(const CudaExec& exec, int64_t count, const float* gate, void* y, Format format);
void gated_add(const CudaExec& exec, const GatedAddParams& params);
void mark_slots(const CudaExec& exec, const MarkSlotsParams& params);
void merge_attention(const CudaExec& exec, const MergeAttentionParams& params);
void gather_values(const CudaExec& exec, const GatherValuesParams& params);
void add_lengths(const CudaExec& exec, int32_t count, const int32_t* offsets, int32_t* counts);
void local_ids(const CudaExec& exec, int64_t count, const int32_t* x, int64_t first, int64_t size,
               int32_t* y);
void shift_values(const CudaExec& exec, const ShiftParams& params);
void number_values(const CudaExec& exec, int64_t count, int32_t* y);
void ragged_rows(const CudaExec& exec, const RaggedRowsParams& params);

}  // namespace sluice::cuda

#endif  // SLUICE_OPS_ELEMENTWISE_ELEMENTWISE_CUDA_H_
