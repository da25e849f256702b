// The per-head copies of KV_B that the absorbed form multiplies by.
#include <vector>

#include "base/checked.h"
#include "layers/mla.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

WeightStack make_stack(Format format, void* data, int64_t count, int64_t rows, int64_t cols) {
  WeightStack stack;
  stack.first.format = format;
  stack.first.layout = WeightLayout::kPanel64;
  stack.first.data = data;
  stack.first.rows = rows;
  stack.first.cols = cols;
  stack.count = count;
  stack.stride_bytes = packed_bytes(format, WeightLayout::kPanel64, rows, cols);
  return stack;
}

}  // namespace

int64_t absorbed_bytes(const MlaSpec& spec, Format format) {
  const int64_t uk =
      packed_bytes(format, WeightLayout::kPanel64, spec.kv_lora_rank, spec.qk_nope_head_dim);
  const int64_t uv =
      packed_bytes(format, WeightLayout::kPanel64, spec.v_head_dim, spec.kv_lora_rank);
  return checked_mul(spec.num_q_heads, checked_add(uk, uv));
}

AbsorbedWeights absorbed_weights(const MlaSpec& spec, const WeightView& kv_b) {
  char* data = static_cast<char*>(kv_b.data);
  const auto behind = [&](int64_t bytes) { return data == nullptr ? nullptr : data += bytes; };
  AbsorbedWeights absorbed;
  void* const uk = behind(packed_bytes(kv_b.format, kv_b.layout, kv_b.rows, kv_b.cols));
  absorbed.uk =
      make_stack(kv_b.format, uk, spec.num_q_heads, spec.kv_lora_rank, spec.qk_nope_head_dim);
  void* const uv = behind(spec.num_q_heads * absorbed.uk.stride_bytes);
  absorbed.uv = make_stack(kv_b.format, uv, spec.num_q_heads, spec.v_head_dim, spec.kv_lora_rank);
  return absorbed;
}

void absorb_weights(const Exec& exec, const MlaSpec& spec, const WeightView& kv_b) {
  const AbsorbedWeights absorbed = absorbed_weights(spec, kv_b);
  const int64_t head_rows = int64_t{spec.qk_nope_head_dim} + spec.v_head_dim;
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
