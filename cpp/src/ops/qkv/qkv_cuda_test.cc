// CUDA against the CPU, which composes the ops: queries, and what the cache then holds.
#include "base/checked.h"
#include "base/error.h"
#include "ops/kv_write/kv_write.h"
#include "ops/qkv/qkv.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Case {
  int32_t q_heads, kv_heads, head_dim, rotary_dim;
  bool interleaved;
  int norm;  // 0: none, 1: RMS of heads, 2: LayerNorm with own weights, 3: RMS of whole rows
  bool after;
  int64_t extra;  // elements between tokens beyond the heads
};

constexpr int32_t kBlock = 16;

KvCacheView cache_view(Format format, KvLayout layout, const Case& c, int64_t blocks) {
  KvCacheView view;
  view.format = format;
  view.layout = layout;
  view.num_blocks = blocks;
  view.block_size = kBlock;
  view.num_kv_heads = c.kv_heads;
  view.k_dim = view.v_dim = c.head_dim;
  view.k_block_stride = view.v_block_stride =
      kv_block_bytes(format, kBlock, c.kv_heads, c.head_dim);
  return view;
}

void compare(const Case& c, Format format) {
  SCOPED_TRACE(concat(c.q_heads, " + 2 x ", c.kv_heads, " heads of ", c.head_dim, " turn ",
                      c.rotary_dim, " norm ", c.norm, c.after ? " after " : " before ",
                      format_name(format)));
  const int64_t tokens = 9, heads = c.q_heads + 2 * c.kv_heads;
  const int64_t stride = heads * c.head_dim + c.extra, angles = tokens * c.rotary_dim / 2;
  Values qkv = Values::random(Format::kF32, tokens * stride, 1, 3.0f);
  qkv.set(2 * stride, NAN);
  const int64_t all = std::max(c.q_heads, c.kv_heads) * c.head_dim;
  const Values weight = Values::random(Format::kF32, all, 2), bias = Values::random(Format::kF32, all, 3);
  const Values cos = Values::random(Format::kF32, angles, 4), sin = Values::random(Format::kF32, angles, 5);
  const std::vector<int32_t> slots{3, 47, -1, 17, 0, 30, 2, 46, 20};
  const DeviceBytes d_qkv = on_device(qkv, tokens * stride);
  const DeviceBytes d_weight = on_device(weight, all), d_bias = on_device(bias, all);
  const DeviceBytes d_cos = on_device(cos, angles), d_sin = on_device(sin, angles);
  const DeviceArray<int32_t> d_slots(slots);

  QkvParams params;
  params.num_tokens = tokens;
  params.num_q_heads = c.q_heads;
  params.head_dim = c.head_dim;
  params.stride = stride;
  params.norm_after_rope = c.after;
  params.rotary_dim = c.rotary_dim;
  params.interleaved = c.interleaved;
  NormParams q_norm, k_norm;
  const auto norm_of = [&](int32_t num_heads, const void* w, const void* b) {
    NormParams out;
    out.eps = 1e-5;
    out.kind = c.norm == 2 ? NormKind::kLayerNorm : NormKind::kRmsNorm;
    out.weight = static_cast<const float*>(w);
    out.bias = c.norm == 2 ? static_cast<const float*>(b) : nullptr;
    out.weight_offset = 0.5f;
    out.num_heads = c.norm == 3 ? 1 : num_heads;
    out.cols = c.norm == 3 ? num_heads * c.head_dim : c.head_dim;
    out.weight_head_stride = c.norm == 2 ? c.head_dim : 0;
    return out;
  };
  if (c.norm != 0) {
    params.q_norm = &q_norm;
    params.k_norm = &k_norm;
  }
  // The CPU's cache has another layout; see kv_cache.h.
  const KvCacheView host_view = cache_view(format, KvLayout::kInterleaved, c, 3);
  const int64_t cache_count = 3 * host_view.k_block_stride / format_bytes(format, 1);
  Values host_k(format, cache_count), host_v(format, cache_count);
  q_norm = norm_of(c.q_heads, weight.data(), bias.data());
  k_norm = norm_of(c.kv_heads, weight.data(), bias.data());
  params.qkv = static_cast<float*>(qkv.data());
  params.cos = static_cast<const float*>(cos.data());
  params.sin = static_cast<const float*>(sin.data());
  params.slots = slots.data();
  params.cache = host_view;
  params.cache.k = host_k.data();
  params.cache.v = host_v.data();
  qkv_rows(exec_of(Isa::kPortable, 1), params);

  const DeviceBytes d_k(3 * host_view.k_block_stride), d_v(3 * host_view.v_block_stride);
  q_norm = norm_of(c.q_heads, d_weight.data(), d_bias.data());
  k_norm = norm_of(c.kv_heads, d_weight.data(), d_bias.data());
  params.qkv = static_cast<float*>(d_qkv.data());
  params.cos = static_cast<const float*>(d_cos.data());
  params.sin = static_cast<const float*>(d_sin.data());
  params.slots = d_slots.get();
  params.cache = cache_view(format, KvLayout::kRows, c, 3);
  params.cache.k = d_k.data();
  params.cache.v = d_v.data();
  qkv_rows(cuda_exec(), params);

  const Values rows = on_host(d_qkv, Format::kF32, tokens * stride);
  const Values k = on_host(d_k, format, cache_count), v = on_host(d_v, format, cache_count);
  const int64_t dim16 = round_up(c.head_dim, 16), group = kBlock;
  const double tolerance = format == Format::kBf16 ? 0x1p-7 : 5e-6;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < c.q_heads * c.head_dim; ++i) {
      ASSERT_TRUE(close(rows.get(t * stride + i), qkv.get(t * stride + i), 5e-6))
          << "token " << t << " query column " << i << ": " << rows.get(t * stride + i)
          << ", expected " << qkv.get(t * stride + i);
    }
    for (int64_t i = heads * c.head_dim; i < stride; ++i) {
      ASSERT_EQ(rows.get(t * stride + i), qkv.get(t * stride + i));
    }
    const int32_t slot = slots[static_cast<size_t>(t)];
    if (slot < 0) continue;
    const int64_t offset = slot % kBlock;
    for (int64_t h = 0; h < c.kv_heads; ++h) {
      const int64_t base = (slot / kBlock * c.kv_heads + h) * kBlock * dim16;
      for (int64_t d = 0; d < dim16; ++d) {
        const bool pairs = format == Format::kBf16;
        const int64_t key = pairs ? (d / 2) * group * 2 + offset * 2 + d % 2 : d * group + offset;
        const int64_t value = pairs ? offset / 2 * dim16 * 2 + d * 2 + offset % 2
                                    : offset * dim16 + d;
        const int64_t at = base + offset * dim16 + d;
        ASSERT_TRUE(close(k.get(at), host_k.get(base + key), tolerance))
            << "token " << t << " key " << h << " column " << d << ": " << k.get(at)
            << ", expected " << host_k.get(base + key);
        ASSERT_EQ(v.get(at), host_v.get(base + value))
            << "token " << t << " value " << h << " column " << d;
      }
    }
  }
  // Nothing else was written: as many values are still what the memory was filled with.
  const auto blank = [](const Values& values, int64_t count) {
    int64_t out = 0;
    for (int64_t i = 0; i < count; ++i) out += std::isnan(values.get(i)) ? 1 : 0;
    return out;
  };
  EXPECT_EQ(blank(k, cache_count), blank(host_k, cache_count));
  EXPECT_EQ(blank(v, cache_count), blank(host_v, cache_count));
}

TEST(CudaQkv, EqualsTheCpu) {
  for (const Case& c : {Case{4, 2, 128, 128, false, 1, false, 0},
                        {32, 8, 128, 128, false, 0, false, 0},
                        {3, 1, 64, 32, true, 1, true, 8},
                        {2, 2, 20, 6, false, 2, false, 3},
                        {4, 2, 256, 256, true, 2, true, 0},
                        {2, 1, 80, 0, false, 1, false, 0},
                        {5, 1, 37, 36, true, 1, false, 1},
                        {4, 4, 64, 64, false, 3, false, 0}}) {
    for (const Format format : {Format::kF32, Format::kBf16}) compare(c, format);
  }
}

TEST(CudaQkv, RefusesByName) {
  float value[48] = {};
  int32_t slot = 0;
  QkvParams params;
  params.num_tokens = 1;
  params.num_q_heads = 1;
  params.head_dim = 16;
  params.qkv = value;
  params.slots = &slot;
  const Case c{1, 1, 16, 0, false, 0, false, 0};
  params.cache = cache_view(Format::kF32, KvLayout::kInterleaved, c, 1);
  params.cache.k = params.cache.v = value;
  EXPECT_THROW(qkv_rows(cuda_exec(), params), Error);  // not CUDA's layout
  params.rotary_dim = 18;
  EXPECT_THROW(qkv_rows({}, params), Error);
  params.rotary_dim = 0;
  NormParams norm;
  norm.cols = 8;
  params.k_norm = &norm;
  EXPECT_THROW(qkv_rows({}, params), Error);
}

}  // namespace
}  // namespace sluice
