#include "ops/rope/rope_cuda.h"
#include "ops/rope/rope_device.h"

namespace sluice::cuda {
namespace {

constexpr int kTableThreads = 128;

// One thread an angle.
__global__ void __launch_bounds__(kTableThreads) table_kernel(RopeTableParams p) {
  start_next_kernel();
  await_kernel_before();
  const int half = p.rotary_dim / 2;
  const int64_t i = int64_t{blockIdx.x} * kTableThreads + threadIdx.x;
  const int64_t token = i / half;
  const int pair = static_cast<int>(i % half);
  if (token >= p.num_tokens || token < p.query_start[0] ||
      token >= p.query_start[p.num_sequences]) {
    return;  // of no sequence
  }
  const int sequence = sequence_of(p, token);
  const int32_t variant = p.variant[sequence * p.variant_stride];
  const int32_t dim = p.pair_dims == nullptr ? 0 : p.pair_dims[pair];
  double cosine = __longlong_as_double(0x7fffffffffffffff), sine = cosine;  // NaN
  if (variant >= 0 && variant < p.num_variants) {
    const RopeVariantView& view = p.variants[variant];
    sincos(p.positions[token * p.position_dims + dim] * view.inv_freq[pair], &sine, &cosine);
    cosine *= view.attention_scale;
    sine *= view.attention_scale;
  }
  p.cos[i] = static_cast<float>(cosine);
  p.sin[i] = static_cast<float>(sine);
}

// One block a token.
template <int n, typename T>
__global__ void rope_kernel(RopeParams p) {
  start_next_kernel();
  await_kernel_before();
  const int64_t token = blockIdx.x;
  const int half = p.rotary_dim / 2, groups = half / n;
  T* x = static_cast<T*>(p.x) + token * p.x_stride + p.rotary_begin;
  const float* cos = p.cos + token * half;
  const float* sin = p.sin + token * half;
  for (int i = threadIdx.x; i < p.num_heads * groups; i += blockDim.x) {
    const int head = i / groups;
    turn_pairs<n>(x + int64_t{head} * p.head_dim, (i - head * groups) * n, half, p.interleaved,
                  cos, sin);
  }
}

}  // namespace

void rope_table(const CudaExec& exec, const RopeTableParams& p) {
  if (p.num_tokens == 0 || p.num_sequences == 0) return;
  launch_overlapped(exec, table_kernel,
                    grid_for(p.num_tokens * (p.rotary_dim / 2), kTableThreads, INT32_MAX),
                    kTableThreads, 0, p);
  SLUICE_CHECK_LAUNCH("rope_table of ", p.num_tokens, " tokens, rotary_dim ", p.rotary_dim);
}

void rope(const CudaExec& exec, const RopeParams& p) {
  if (p.num_tokens == 0) return;
  with_format(p.format, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr int kWide = 4;  // pairs, for the angles' sake
    const int half = p.rotary_dim / 2;
    const auto whole = [](int64_t value) { return value % (2 * kWide) == 0; };
    const bool vectors =
        half % kWide == 0 && whole(p.head_dim) && whole(p.rotary_begin) && whole(p.x_stride) &&
        allows_vectors(p.x, p.format, p.x_stride, 2 * kWide) &&
        allows_vectors(p.cos, Format::kF32, half, kWide) &&
        allows_vectors(p.sin, Format::kF32, half, kWide);
    with_width<kWide>(vectors, [&](auto width) {
      constexpr int n = decltype(width)::value;
      launch_overlapped(exec, rope_kernel<n, T>, static_cast<unsigned>(p.num_tokens),
                        threads_for(int64_t{p.num_heads} * half / n, 512), 0, p);
    });
  });
  SLUICE_CHECK_LAUNCH("rope of ", p.num_tokens, " tokens of ", p.num_heads, " x ", p.head_dim);
}

}  // namespace sluice::cuda
