// On the CPU, and for norms of whole rows, the ops that these steps are.
#include "ops/qkv/qkv.h"

#include "ops/kv_write/kv_write.h"
#include "ops/qkv/qkv_cuda.h"
#include "ops/rope/rope.h"
#include "ops/simd/check.h"

namespace sluice {
namespace {

void check_norm(const char* field, const NormParams* norm, int64_t num_heads, int64_t head_dim) {
  if (norm == nullptr) return;
  SLUICE_CHECK(norm->kind == NormKind::kRmsNorm || norm->kind == NormKind::kLayerNorm,
               SLUICE_STATUS_UNSUPPORTED, field, " kind: ", static_cast<int32_t>(norm->kind),
               " (expected: RMS_NORM or LAYER_NORM)");
  SLUICE_CHECK_ARG((norm->num_heads == num_heads && norm->cols == head_dim) ||
                       (norm->num_heads == 1 && norm->cols == num_heads * head_dim),
                   field, ": ", norm->num_heads, " x ", norm->cols, " (expected: ", num_heads,
                   " x ", head_dim, ", or one row of as many)");
}

void check_params(const QkvParams& p) {
  check_at_least("qkv num_tokens", p.num_tokens, 0);
  check_at_least("qkv num_q_heads", p.num_q_heads, 1);
  check_at_least("qkv head_dim", p.head_dim, 1);
  check_kv_cache(p.cache);
  SLUICE_CHECK_ARG(p.cache.k_dim == p.head_dim && p.cache.v_dim == p.head_dim, "qkv cache: ",
                   p.cache.k_dim, " + ", p.cache.v_dim, " columns (expected: ", p.head_dim, " + ",
                   p.head_dim, ")");
  const int64_t heads = p.num_q_heads + 2 * int64_t{p.cache.num_kv_heads};
  check_stride("qkv stride", p.stride, heads * p.head_dim, p.num_tokens);
  check_memory("qkv", p.qkv, p.num_tokens);
  check_memory("qkv slots", p.slots, p.num_tokens);
  check_norm("q_norm", p.q_norm, p.num_q_heads, p.head_dim);
  check_norm("k_norm", p.k_norm, p.cache.num_kv_heads, p.head_dim);
  SLUICE_CHECK_ARG(p.rotary_dim >= 0 && p.rotary_dim % 2 == 0 && p.rotary_dim <= p.head_dim,
                   "rotary_dim: ", p.rotary_dim, " (expected: even, 0 to head_dim, ", p.head_dim,
                   ")");
  check_memory("qkv cos", p.cos, p.rotary_dim == 0 ? 0 : p.num_tokens);
  check_memory("qkv sin", p.sin, p.rotary_dim == 0 ? 0 : p.num_tokens);
}

void norm_in_place(const Exec& exec, const NormParams* of, int64_t num_rows, float* x,
                   int64_t stride) {
  if (of == nullptr) return;
  NormParams params = *of;
  params.num_rows = num_rows;
  params.x = params.y = x;
  params.x_format = params.y_format = Format::kF32;
  params.x_stride = params.y_stride = stride;
  norm(exec, params);
}

void turn(const Exec& exec, const QkvParams& p) {
  RopeParams params;
  params.num_tokens = p.num_tokens;
  params.num_heads = p.num_q_heads + p.cache.num_kv_heads;  // keys lie behind the queries
  params.head_dim = p.head_dim;
  params.rotary_dim = p.rotary_dim;
  params.interleaved = p.interleaved;
  params.x = p.qkv;
  params.format = Format::kF32;
  params.x_stride = p.stride;
  params.cos = p.cos;
  params.sin = p.sin;
  rope(exec, params);
}

bool of_single_heads(const NormParams* norm, int32_t head_dim) {
  return norm == nullptr || norm->cols == head_dim;
}

}  // namespace

void qkv_rows(const Exec& exec, const QkvParams& p) {
  check_params(p);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr && of_single_heads(p.q_norm, p.head_dim) &&
        of_single_heads(p.k_norm, p.head_dim)) {
      SLUICE_CHECK(p.cache.layout == KvLayout::kRows, SLUICE_STATUS_UNSUPPORTED,
                   "kv cache layout: ", static_cast<int32_t>(p.cache.layout),
                   " (expected: kRows on CUDA)");
      return cuda::qkv_rows(*exec.cuda, p);
    }
  }
  float* const keys = p.qkv + int64_t{p.num_q_heads} * p.head_dim;
  if (p.norm_after_rope && p.rotary_dim > 0) turn(exec, p);
  norm_in_place(exec, p.q_norm, p.num_tokens, p.qkv, p.stride);
  norm_in_place(exec, p.k_norm, p.num_tokens, keys, p.stride);
  if (!p.norm_after_rope && p.rotary_dim > 0) turn(exec, p);
  KvWriteParams write;
  write.num_tokens = p.num_tokens;
  write.k = keys;
  write.v = keys + int64_t{p.cache.num_kv_heads} * p.head_dim;
  write.format = Format::kF32;
  write.k_stride = write.v_stride = p.stride;
  write.slots = p.slots;
  write.slot_stride = p.slot_stride;
  write.cache = p.cache;
  kv_write(exec, write);
}

}  // namespace sluice
