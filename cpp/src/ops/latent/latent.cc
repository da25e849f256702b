#include "ops/latent/latent.h"

#include "ops/elementwise/elementwise.h"
#include "ops/kv_write/kv_write.h"
#include "ops/latent/latent_cuda.h"
#include "ops/rope/rope.h"
#include "ops/simd/check.h"

namespace sluice {
namespace {

int64_t head_dim(const LatentParams& p) { return int64_t{p.nope_dim} + p.rope_dim; }
int64_t latent_dim(const LatentParams& p) { return int64_t{p.rank} + p.rope_dim; }

void check_params(const LatentParams& p) {
  check_at_least("latent num_tokens", p.num_tokens, 0);
  check_at_least("latent num_heads", p.num_heads, 1);
  check_at_least("latent nope_dim", p.nope_dim, 1);
  check_at_least("latent rank", p.rank, 1);
  SLUICE_CHECK_ARG(p.rotary_dim >= 2 && p.rotary_dim % 2 == 0 && p.rotary_dim <= p.rope_dim,
                   "latent rotary_dim: ", p.rotary_dim, " (expected: even, 2 to ", p.rope_dim, ")");
  check_stride("latent q_stride", p.q_stride, p.num_heads * head_dim(p), p.num_tokens);
  check_stride("latent latent_stride", p.latent_stride, latent_dim(p), p.num_tokens);
  check_memory("latent q", p.q, p.num_tokens);
  check_memory("latent latent", p.latent, p.num_tokens);
  check_memory("latent cos", p.cos, p.num_tokens);
  check_memory("latent sin", p.sin, p.num_tokens);
  check_memory("latent slots", p.slots, p.num_tokens);
  check_kv_cache(p.cache);
  SLUICE_CHECK_ARG(p.cache.k_dim == 0 && p.cache.num_kv_heads == 1 &&
                       p.cache.v_dim == latent_dim(p),
                   "latent cache: ", p.cache.num_kv_heads, " heads of ", p.cache.k_dim, " + ",
                   p.cache.v_dim, " columns (expected: 1 of 0 + ", latent_dim(p), ")");
  SLUICE_CHECK_ARG((p.unrotated == nullptr) == (p.absorbed == nullptr),
                   "latent unrotated and absorbed: one is null (expected: both or none)");
  if (p.unrotated != nullptr) {
    check_compute_format("latent unrotated_format", p.unrotated_format);
    check_compute_format("latent absorbed_format", p.absorbed_format);
  }
}

void norm_latents(const Exec& exec, const LatentParams& p) {
  NormParams params;
  params.kind = p.norm_kind;
  params.eps = p.norm_eps;
  params.weight = p.norm_weight;
  params.bias = p.norm_bias;
  params.weight_offset = p.norm_weight_offset;
  params.num_rows = p.num_tokens;
  params.cols = p.rank;
  params.x = params.y = p.latent;
  params.x_format = params.y_format = Format::kF32;
  params.x_stride = params.y_stride = p.latent_stride;
  norm(exec, params);
}

void turn(const Exec& exec, const LatentParams& p) {
  RopeParams params;
  params.num_tokens = p.num_tokens;
  params.num_heads = p.num_heads;
  params.head_dim = static_cast<int32_t>(head_dim(p));
  params.rotary_dim = p.rotary_dim;
  params.rotary_begin = p.nope_dim;
  params.interleaved = p.interleaved;
  params.x = p.q;
  params.format = Format::kF32;
  params.x_stride = p.q_stride;
  params.cos = p.cos;
  params.sin = p.sin;
  rope(exec, params);
  params.num_heads = 1;
  params.head_dim = p.rope_dim;
  params.rotary_begin = 0;
  params.x = p.latent + p.rank;
  params.x_stride = p.latent_stride;
  rope(exec, params);
}

// `cols` columns of every head from `begin` on, to dense heads of y.
void lay_out(const Exec& exec, const LatentParams& p, int64_t begin, int64_t cols, void* y,
             Format format, int64_t y_head) {
  ConvertRowsParams params;
  params.cols = cols;
  params.x_format = Format::kF32;
  params.x_stride = head_dim(p);
  params.y_format = format;
  params.y_stride = y_head;
  const bool dense = p.q_stride == p.num_heads * head_dim(p);
  const int64_t calls = dense ? 1 : p.num_tokens;
  params.num_rows = p.num_tokens * p.num_heads / calls;
  for (int64_t t = 0; t < calls; ++t) {
    params.x = p.q + t * p.q_stride + begin;
    params.y = static_cast<char*>(y) + format_bytes(format, t * p.num_heads * y_head);
    convert_rows(exec, params);
  }
}

}  // namespace

void latent_rows(const Exec& exec, const LatentParams& p) {
  if (p.num_tokens == 0) return;
  check_params(p);
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) return cuda::latent_rows(*exec.cuda, p);
  }
  if (p.has_norm) norm_latents(exec, p);
  turn(exec, p);
  KvWriteParams write;
  write.num_tokens = p.num_tokens;
  write.v = p.latent;
  write.format = Format::kF32;
  write.v_stride = p.latent_stride;
  write.slots = p.slots;
  write.slot_stride = p.slot_stride;
  write.cache = p.cache;
  kv_write(exec, write);
  if (p.unrotated == nullptr) return;
  lay_out(exec, p, 0, p.nope_dim, p.unrotated, p.unrotated_format, p.nope_dim);
  lay_out(exec, p, p.nope_dim, p.rope_dim,
          static_cast<char*>(p.absorbed) + format_bytes(p.absorbed_format, p.rank),
          p.absorbed_format, latent_dim(p));
}

}  // namespace sluice
