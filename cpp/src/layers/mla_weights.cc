// The per-head copies of KV_B that the absorbed form multiplies by.
#include <vector>

#include "base/checked.h"
#include "device/cuda.h"
#include "layers/mla.h"
#include "ops/gemm/weight_cuda.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// Bytes from matrix to matrix of a stack.
int64_t stack_stride(Format format, const WeightPacking& packing, int64_t rows, int64_t cols) {
  return round_up(packed_bytes(format, packing.layout, rows, cols), packing.alignment);
}

WeightStack make_stack(Format format, const WeightPacking& packing, void* data, int64_t count,
                       int64_t rows, int64_t cols) {
  WeightStack stack;
  stack.first.format = format;
  stack.first.layout = packing.layout;
  stack.first.data = data;
  stack.first.rows = rows;
  stack.first.cols = cols;
  stack.count = count;
  stack.stride_bytes = stack_stride(format, packing, rows, cols);
  return stack;
}

}  // namespace

int64_t absorbed_bytes(const MlaSpec& spec, Format format, const WeightPacking& packing) {
  const int64_t uk = stack_stride(format, packing, spec.kv_lora_rank, spec.qk_nope_head_dim);
  const int64_t uv = stack_stride(format, packing, spec.v_head_dim, spec.kv_lora_rank);
  return checked_mul(spec.num_q_heads, checked_add(uk, uv));
}

AbsorbedWeights absorbed_weights(const MlaSpec& spec, const WeightView& kv_b) {
  const WeightPacking& packing =
      kv_b.layout == kCudaPacking.layout ? kCudaPacking : kCpuPacking;
  char* data = static_cast<char*>(kv_b.data);
  const auto behind = [&](int64_t bytes) { return data == nullptr ? nullptr : data += bytes; };
  AbsorbedWeights absorbed;
  void* const uk = behind(
      round_up(packed_bytes(kv_b.format, kv_b.layout, kv_b.rows, kv_b.cols), packing.alignment));
  absorbed.uk = make_stack(kv_b.format, packing, uk, spec.num_q_heads, spec.kv_lora_rank,
                           spec.qk_nope_head_dim);
  void* const uv = behind(spec.num_q_heads * absorbed.uk.stride_bytes);
  absorbed.uv = make_stack(kv_b.format, packing, uv, spec.num_q_heads, spec.v_head_dim,
                           spec.kv_lora_rank);
  return absorbed;
}

void absorb_weights(const Exec& exec, const MlaSpec& spec, const WeightView& kv_b) {
  const AbsorbedWeights absorbed = absorbed_weights(spec, kv_b);
  const int64_t head_rows = int64_t{spec.qk_nope_head_dim} + spec.v_head_dim;
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      cuda::CopyStackParams uk;  // transposed: its row is a column of the key rows
      uk.source = kv_b.data;
      uk.source_format = kv_b.format;
      uk.source_stride = head_rows * spec.kv_lora_rank;
      uk.row_stride = 1;
      uk.col_stride = spec.kv_lora_rank;
      uk.to = absorbed.uk;
      cuda::copy_stack(*exec.cuda, uk);
      cuda::CopyStackParams uv = uk;
      uv.source = static_cast<const char*>(kv_b.data) +
                  format_bytes(kv_b.format, int64_t{spec.qk_nope_head_dim} * spec.kv_lora_rank);
      uv.row_stride = spec.kv_lora_rank;
      uv.col_stride = 1;
      uv.to = absorbed.uv;
      cuda::copy_stack(*exec.cuda, uv);
      return;
    }
  }
  std::vector<float> rows(
      static_cast<size_t>(checked_mul(exec.num_threads, head_rows * spec.kv_lora_rank)));
  const int64_t threads = exec.num_threads;
  parallel_ranges(exec, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t share = begin; share < end; ++share) {
      float* head = rows.data() + share * head_rows * spec.kv_lora_rank;
      for (int64_t h = spec.num_q_heads * share / threads;
           h < spec.num_q_heads * (share + 1) / threads; ++h) {
        unpack_rows(kv_b, h * head_rows, head_rows, head, spec.kv_lora_rank);
        PackParams uk;  // transposed: its row is a column of the key rows
        uk.weight = absorbed.uk.at(h);
        uk.source = head;
        uk.row_stride = 1;
        uk.col_stride = spec.kv_lora_rank;
        uk.num_rows = spec.kv_lora_rank;
        uk.num_cols = spec.qk_nope_head_dim;
        pack_rows(uk);
        PackParams uv;
        uv.weight = absorbed.uv.at(h);
        uv.source = head + int64_t{spec.qk_nope_head_dim} * spec.kv_lora_rank;
        uv.row_stride = spec.kv_lora_rank;
        uv.num_rows = spec.v_head_dim;
        uv.num_cols = spec.kv_lora_rank;
        pack_rows(uv);
      }
    }
  });
}

}  // namespace sluice
