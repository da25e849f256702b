// A warp for each head of each token, its columns in shared memory, where pairs meet.
#include "ops/cuda/vector.h"
#include "ops/kv_write/kv_device.h"
#include "ops/qkv/qkv_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxHead = 256;  // columns of a cached head (kv_cache.h)

// What the kernels need of a norm.
struct Norm {
  bool there = false;
  bool layer = false;  // LAYER_NORM
  float eps = 0, weight_offset = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  int64_t head_stride = 0;
};

Norm norm_of(const NormParams* p) {
  if (p == nullptr) return {};
  return {true,
          p->kind == NormKind::kLayerNorm,
          static_cast<float>(p->eps),
          p->weight_offset,
          p->weight,
          p->bias,
          p->weight_head_stride};
}

// Norms x[0, cols) in shared memory by one warp.
__device__ void norm_shared(const Norm& norm, int64_t head, float* x, int cols) {
  const int lane = threadIdx.x % 32;
  float mean = 0;
  if (norm.layer) {
    float all = 0;
    for (int c = lane; c < cols; c += 32) all += x[c];
    mean = warp_sum(all) / static_cast<float>(cols);
  }
  float squares = 0;
  for (int c = lane; c < cols; c += 32) {
    const float d = x[c] - mean;
    squares += d * d;
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(cols) + norm.eps);
  const float* weight = norm.weight == nullptr ? nullptr : norm.weight + head * norm.head_stride;
  const float* bias = norm.bias == nullptr ? nullptr : norm.bias + head * norm.head_stride;
  for (int c = lane; c < cols; c += 32) {
    float out = (x[c] - mean) * scale * (norm.weight_offset + (weight ? weight[c] : 1.0f));
    if (bias != nullptr) out += bias[c];
    x[c] = out;
  }
}

__device__ void turn_one(const QkvParams& p, int64_t token, float* x, int pair) {
  const int half = p.rotary_dim / 2;
  const int first = p.interleaved ? 2 * pair : pair;
  const int second = p.interleaved ? first + 1 : pair + half;
  const float c = p.cos[token * half + pair], s = p.sin[token * half + pair];
  const float a = x[first], b = x[second];
  x[first] = a * c - b * s;
  x[second] = b * c + a * s;
}

// Columns of a cached row, 4 at a time; those beyond `dim` are zero.
template <typename Cached>
__device__ void write_cached(const float* x, int dim, Cached* row) {
  for (int c = threadIdx.x % 32 * 4; c < padded_dim(dim); c += 32 * 4) {
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = c + i < dim ? x[c + i] : 0.0f;
    store_values(row + c, v);
  }
}

template <int n>
__device__ void copy_row(const float* from, int cols, float* to) {
  for (int c = threadIdx.x % 32 * n; c < cols; c += 32 * n) {
    float v[n];
    load_values(from + c, v);
    store_values(to + c, v);
  }
}

struct Heads {
  QkvParams p;
  Norm q_norm, k_norm;
};

template <int n, typename Cached>
__global__ void __launch_bounds__(32 * kWarps) qkv_kernel(Heads h) {
  start_next_kernel();  // which may ask for weights already
  await_kernel_before();
  __shared__ alignas(16) float rows[kWarps][kMaxHead];
  const QkvParams& p = h.p;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = p.head_dim;
  const int kv_heads = p.cache.num_kv_heads, heads = p.num_q_heads + 2 * kv_heads;
  const int64_t item = int64_t{blockIdx.x} * kWarps + warp;
  const int64_t token = item / heads;
  if (token >= p.num_tokens) return;
  const int head = static_cast<int>(item - token * heads);
  const bool is_query = head < p.num_q_heads, is_value = head >= p.num_q_heads + kv_heads;
  float* const from = p.qkv + token * p.stride + int64_t{head} * dim;
  float* const x = rows[warp];
  copy_row<n>(from, dim, x);
  KvPlace at{};
  if (!is_query) at = place_of(p.cache, p.slots[token * p.slot_stride]);
  __syncwarp();
  if (!is_value) {
    const Norm& norm = is_query ? h.q_norm : h.k_norm;
    const int of_kind = is_query ? head : head - p.num_q_heads;
    const auto norm_row = [&] {
      if (!norm.there) return;
      norm_shared(norm, of_kind, x, dim);
      __syncwarp();
    };
    if (!p.norm_after_rope) norm_row();
    for (int pair = lane; pair < p.rotary_dim / 2; pair += 32) turn_one(p, token, x, pair);
    __syncwarp();
    if (p.norm_after_rope) norm_row();
  }
  if (is_query) {
    copy_row<n>(x, dim, from);
  } else if (at.kept) {
    const int of_kind = is_value ? head - p.num_q_heads - kv_heads : head - p.num_q_heads;
    write_cached(x, dim,
                 is_value ? value_row<Cached>(p.cache, at, of_kind)
                          : key_row<Cached>(p.cache, at, of_kind));
  }
}

}  // namespace

void qkv_rows(const CudaExec& exec, const QkvParams& p) {
  if (p.num_tokens == 0) return;
  const int64_t items = p.num_tokens * (p.num_q_heads + 2 * p.cache.num_kv_heads);
  const Heads heads{p, norm_of(p.q_norm), norm_of(p.k_norm)};
  const bool vectors =
      p.head_dim % 4 == 0 && allows_vectors(p.qkv, Format::kF32, p.stride, 4);
  with_format(p.cache.format, [&](auto* cached) {
    with_width<4>(vectors, [&](auto width) {
      launch_overlapped(
          exec, qkv_kernel<decltype(width)::value, std::remove_pointer_t<decltype(cached)>>,
          grid_for(items, kWarps, INT32_MAX), 32 * kWarps, 0, heads);
    });
  });
  SLUICE_CHECK_LAUNCH("qkv_rows of ", p.num_tokens, " tokens, ", p.num_q_heads, " + 2 x ",
                      p.cache.num_kv_heads, " heads of ", p.head_dim);
}

}  // namespace sluice::cuda
