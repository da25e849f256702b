// CUDA against the CPU's composition of norm, rope, kv_write and convert_rows.
#include "base/error.h"
#include "ops/latent/latent.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Shape {
  int64_t tokens;
  int32_t heads, nope, rope, rotary, rank;
};

void compare(const Shape& s, Format format, bool split, bool interleaved, NormKind kind) {
  SCOPED_TRACE(concat(s.tokens, " tokens, ", s.heads, " heads, ", format_name(format),
                      split ? " split" : "", interleaved ? " interleaved" : ""));
  const int64_t dim = int64_t{s.rank} + s.rope, q_size = s.heads * (int64_t{s.nope} + s.rope);
  const int64_t stride = q_size + dim + 3;  // queries and latent side by side
  Values rows = Values::random(Format::kF32, s.tokens * stride, 1);
  const Values weight = Values::random(Format::kF32, s.rank, 2);
  const Values bias = Values::random(Format::kF32, s.rank, 3);
  const Values angles = Values::random(Format::kF32, s.tokens * s.rotary, 4);
  const int64_t half = s.tokens * s.rotary / 2;
  std::vector<int32_t> slots;
  for (int64_t t = 0; t < s.tokens; ++t) {
    slots.push_back(t == 1 ? -1 : static_cast<int32_t>(s.tokens - 1 - t));
    slots.push_back(1 << 30);  // another kv group's
  }
  LatentParams p;
  p.num_tokens = s.tokens;
  p.num_heads = s.heads;
  p.nope_dim = s.nope;
  p.rope_dim = s.rope;
  p.rank = s.rank;
  p.q_stride = p.latent_stride = stride;
  p.has_norm = true;
  p.norm_kind = kind;
  p.norm_eps = 1e-5;
  p.norm_weight_offset = 0.5f;
  p.rotary_dim = s.rotary;
  p.interleaved = interleaved;
  p.slot_stride = 2;
  p.cache.format = format;
  p.cache.block_size = 16;
  p.cache.num_blocks = (s.tokens + 15) / 16;
  p.cache.num_kv_heads = 1;
  p.cache.v_dim = static_cast<int32_t>(dim);
  p.cache.v_block_stride = kv_block_bytes(format, 16, 1, p.cache.v_dim);
  p.unrotated_format = p.absorbed_format = format;
  LatentParams g = p;

  const DeviceBytes device_rows = on_device(rows, s.tokens * stride);
  const DeviceBytes device_weight = on_device(weight, s.rank), device_bias = on_device(bias, s.rank);
  const DeviceBytes device_angles = on_device(angles, 2 * half);
  const DeviceArray<int32_t> device_slots(slots);
  const int64_t width = (dim + 15) / 16 * 16;
  const int64_t cached = p.cache.num_blocks * 16 * width;
  Values cache(format, cached);  // interleaved; NaN where nothing is written
  const DeviceBytes device_cache(format_bytes(format, cached));
  const int64_t unrotated_count = s.tokens * s.heads * s.nope, absorbed_count = s.tokens * s.heads * dim;
  Values unrotated(format, unrotated_count), absorbed(format, absorbed_count);
  const DeviceBytes device_unrotated(format_bytes(format, unrotated_count));
  const DeviceBytes device_absorbed(format_bytes(format, absorbed_count));

  p.q = static_cast<float*>(rows.data());
  p.latent = p.q + q_size;
  p.norm_weight = static_cast<const float*>(weight.data());
  p.norm_bias = static_cast<const float*>(bias.data());
  p.cos = static_cast<const float*>(angles.data());
  p.sin = p.cos + half;
  p.slots = slots.data();
  p.cache.v = cache.data();
  g.q = static_cast<float*>(device_rows.data());
  g.latent = g.q + q_size;
  g.norm_weight = static_cast<const float*>(device_weight.data());
  g.norm_bias = static_cast<const float*>(device_bias.data());
  g.cos = static_cast<const float*>(device_angles.data());
  g.sin = g.cos + half;
  g.slots = device_slots.get();
  g.cache.layout = KvLayout::kRows;
  g.cache.v = device_cache.data();
  if (split) {
    p.unrotated = unrotated.data();
    p.absorbed = absorbed.data();
    g.unrotated = device_unrotated.data();
    g.absorbed = device_absorbed.data();
  }
  latent_rows(exec_of(detect_isa(), 1), p);
  latent_rows(cuda_exec(), g);

  const double tolerance = format == Format::kF32 ? 3e-6 : 0x1p-7;
  const Values actual = on_host(device_cache, format, cached);
  for (int64_t slot = 0; slot < p.cache.num_blocks * 16; ++slot) {
    for (int64_t c = 0; c < width; ++c) {
      const int64_t offset = slot % 16, block = slot / 16 * 16 * width;
      const int64_t there = format == Format::kF32 ? offset * width + c
                                                   : offset / 2 * width * 2 + c * 2 + offset % 2;
      ASSERT_TRUE(close(actual.get(slot * width + c), cache.get(block + there), tolerance))
          << "slot " << slot << " column " << c;
    }
  }
  if (split) {
    expect_close(on_host(device_unrotated, format, unrotated_count), unrotated, unrotated_count,
                 tolerance);
    expect_close(on_host(device_absorbed, format, absorbed_count), absorbed, absorbed_count,
                 tolerance);
    return;
  }
  const Values turned = on_host(device_rows, Format::kF32, s.tokens * stride);
  for (int64_t t = 0; t < s.tokens; ++t) {
    for (int64_t c = 0; c < q_size; ++c) {
      ASSERT_TRUE(close(turned.get(t * stride + c), rows.get(t * stride + c), 3e-6)) << t << c;
    }
  }
}

TEST(CudaLatentRows, EqualTheCpu) {
  for (const Shape& shape : {Shape{1, 1, 3, 2, 2, 5}, {37, 5, 24, 20, 16, 40},
                             {9, 16, 128, 64, 64, 512}, {3, 128, 128, 64, 64, 512}}) {
    for (const Format format : {Format::kF32, Format::kBf16}) {
      for (const bool split : {false, true}) {
        compare(shape, format, split, true, NormKind::kRmsNorm);
        compare(shape, format, split, false, NormKind::kLayerNorm);
      }
    }
  }
}

}  // namespace
}  // namespace sluice
