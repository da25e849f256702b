// Blocks (token, part): part 0 is the latent and the rotary key, each other one a few heads. Sums of
// the norm are taken over a block's threads in a fixed order.
#include "base/error.h"
#include "ops/cuda/launch.h"
#include "ops/kv_write/kv_device.h"
#include "ops/latent/latent_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

// Pairs of the rope_dim columns of `from`, turned, to `to` (which may be `from`); columns beyond
// rotary_dim are copied.
template <typename To>
__device__ void turn_head(const LatentParams& p, int64_t token, const float* from, To* to,
                          int thread, int threads) {
  const int half = p.rotary_dim / 2;
  const float* cos = p.cos + token * half;
  const float* sin = p.sin + token * half;
  for (int i = thread; i < half; i += threads) {
    const int first = p.interleaved ? 2 * i : i, second = p.interleaved ? first + 1 : i + half;
    const float a = from[first], b = from[second];
    store(to + first, a * cos[i] - b * sin[i]);
    store(to + second, b * cos[i] + a * sin[i]);
  }
  for (int c = p.rotary_dim + thread; c < p.rope_dim; c += threads) store(to + c, from[c]);
}

template <typename Cached>
__device__ void latent_part(const LatentParams& p, int64_t token) {
  __shared__ float scratch[kThreads / 32];
  const KvPlace at = place_of(p.cache, p.slots[token * p.slot_stride]);
  if (!at.kept) return;
  const float* x = p.latent + token * p.latent_stride;
  Cached* row = value_row<Cached>(p.cache, at, 0);
  float mean = 0, scale = 1;
  if (p.has_norm) {
    const bool rms = p.norm_kind == NormKind::kRmsNorm;
    float sum = 0;
    for (int c = threadIdx.x; c < p.rank; c += kThreads) sum += rms ? x[c] * x[c] : x[c];
    float square = block_sum(sum, scratch) / static_cast<float>(p.rank);
    if (!rms) {
      mean = square;
      sum = 0;
      for (int c = threadIdx.x; c < p.rank; c += kThreads) sum += (x[c] - mean) * (x[c] - mean);
      square = block_sum(sum, scratch) / static_cast<float>(p.rank);
    }
    scale = 1.0f / sqrtf(square + static_cast<float>(p.norm_eps));
  }
  for (int c = threadIdx.x; c < p.rank; c += kThreads) {
    float value = x[c];
    if (p.has_norm) {
      const float weight = p.norm_weight == nullptr ? 1.0f : p.norm_weight[c];
      value = (value - mean) * scale * (p.norm_weight_offset + weight);
      if (p.norm_bias != nullptr) value += p.norm_bias[c];
    }
    store(row + c, value);
  }
  turn_head(p, token, x + p.rank, row + p.rank, threadIdx.x, kThreads);
  const int end = p.rank + p.rope_dim;
  for (int c = end + threadIdx.x; c < padded_dim(end); c += kThreads) store(row + c, 0.0f);
}

template <typename Cached, typename Unrotated, typename Absorbed>
__global__ void __launch_bounds__(kThreads) latent_kernel(LatentParams p, int heads_per_block) {
  start_next_kernel();  // which may ask for weights already
  await_kernel_before();
  const int64_t token = blockIdx.x;
  if (blockIdx.y == 0) return latent_part<Cached>(p, token);
  const int begin = (static_cast<int>(blockIdx.y) - 1) * heads_per_block;
  const int end = min(begin + heads_per_block, p.num_heads);
  const int head_dim = p.nope_dim + p.rope_dim, latent_dim = p.rank + p.rope_dim;
  float* q = p.q + token * p.q_stride;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int h = begin + warp; h < end; h += kThreads / 32) {
    float* head = q + int64_t{h} * head_dim;
    if (p.unrotated == nullptr) {
      turn_head(p, token, head + p.nope_dim, head + p.nope_dim, lane, 32);
      continue;
    }
    const int64_t row = token * p.num_heads + h;
    auto* unrotated = static_cast<Unrotated*>(p.unrotated) + row * p.nope_dim;
    auto* absorbed = static_cast<Absorbed*>(p.absorbed) + row * latent_dim + p.rank;
    for (int c = lane; c < p.nope_dim; c += 32) store(unrotated + c, head[c]);
    turn_head(p, token, head + p.nope_dim, absorbed, lane, 32);
  }
}

}  // namespace

void latent_rows(const CudaExec& exec, const LatentParams& p) {
  SLUICE_CHECK(p.cache.layout == KvLayout::kRows, SLUICE_STATUS_UNSUPPORTED,
               "latent cache layout: ", static_cast<int32_t>(p.cache.layout), " (expected: ROWS)");
  // A head a warp: enough blocks to be done at once for few tokens.
  const int heads = kThreads / 32;
  const dim3 grid(static_cast<unsigned>(p.num_tokens),
                  1 + static_cast<unsigned>((p.num_heads + heads - 1) / heads));
  const Format unrotated = p.unrotated == nullptr ? Format::kF32 : p.unrotated_format;
  const Format absorbed = p.unrotated == nullptr ? Format::kF32 : p.absorbed_format;
  with_format(p.cache.format, [&](auto* c) {
    with_format(unrotated, [&](auto* u) {
      with_format(absorbed, [&](auto* a) {
        launch_overlapped(
            exec,
            latent_kernel<std::remove_pointer_t<decltype(c)>, std::remove_pointer_t<decltype(u)>,
                          std::remove_pointer_t<decltype(a)>>,
            grid, kThreads, 0, p, heads);
      });
    });
  });
  SLUICE_CHECK_LAUNCH("latent_rows of ", p.num_tokens, " tokens, ", p.num_heads, " heads of ",
                      p.nope_dim, " + ", p.rope_dim, ", rank ", p.rank);
}

}  // namespace sluice::cuda
