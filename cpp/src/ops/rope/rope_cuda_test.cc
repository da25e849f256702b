// CUDA against the CPU's kernel.
#include "base/error.h"
#include "ops/rope/rope.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

TEST(CudaRope, EqualsTheCpu) {
  struct Case {
    int32_t heads, head_dim, rotary_dim, begin;
    int64_t extra;
  };
  for (const Case& c :
       {Case{3, 64, 64, 0, 0}, Case{32, 128, 128, 0, 8}, Case{3, 80, 32, 0, 0},
        Case{16, 192, 64, 128, 0}, Case{2, 10, 6, 0, 1}, Case{3, 50, 34, 16, 7}, Case{1, 2, 2, 0, 0},
        Case{1, 64, 64, 0, 512}, Case{1, 64, 64, 0, 513}}) {
    for (const bool interleaved : {false, true}) {
      for (const Format format : {Format::kF32, Format::kBf16}) {
        SCOPED_TRACE(concat(format_name(format), " ", c.heads, " x ", c.head_dim, " rotary ",
                            c.rotary_dim, interleaved ? " interleaved" : " halves"));
        const int64_t tokens = 7, stride = c.heads * c.head_dim + c.extra;
        const int64_t angles = tokens * (c.rotary_dim / 2);
        Values x = Values::random(format, tokens * stride, 6);
        x.set(stride + c.begin, NAN);
        Values cos = Values::random(Format::kF32, angles, 7);
        Values sin = Values::random(Format::kF32, angles, 8);
        const DeviceBytes device_x = on_device(x, tokens * stride);
        const DeviceBytes device_cos = on_device(cos, angles), device_sin = on_device(sin, angles);
        RopeParams params;
        params.num_tokens = tokens;
        params.num_heads = c.heads;
        params.head_dim = c.head_dim;
        params.rotary_dim = c.rotary_dim;
        params.rotary_begin = c.begin;
        params.interleaved = interleaved;
        params.x = x.data();
        params.format = format;
        params.x_stride = stride;
        params.cos = static_cast<const float*>(cos.data());
        params.sin = static_cast<const float*>(sin.data());
        rope(exec_of(Isa::kPortable, 1), params);
        params.x = device_x.data();
        params.cos = static_cast<const float*>(device_cos.data());
        params.sin = static_cast<const float*>(device_sin.data());
        rope(cuda_exec(), params);
        expect_close(on_host(device_x, format, tokens * stride), x, tokens * stride,
                     format == Format::kBf16 ? 0x1p-7 : 1e-6);
      }
    }
  }
}

// Sequences of one token, of many and of none, a variant that is not there, and tokens before and
// behind all sequences.
TEST(CudaRope, MakesTheAnglesOfTheCpu) {
  for (const int32_t rotary_dim : {6, 64}) {
    for (const int32_t dims : {1, 2}) {
      const int32_t half = rotary_dim / 2;
      std::vector<double> plain, scaled;
      std::vector<int32_t> pair_dims;
      for (int32_t i = 0; i < half; ++i) {
        plain.push_back(std::pow(10000.0, -2.0 * i / rotary_dim));
        scaled.push_back(plain.back() / 3);
        pair_dims.push_back(i % dims);
      }
      Random random(11);
      std::vector<int32_t> start{2}, variant;
      for (int32_t s = 0; s < 90; ++s) {
        const int32_t tokens = s % 7 == 3 ? 0 : s % 11 == 5 ? 40 : 1;
        variant.push_back(s % 3 == 0 ? 1 : 0);
        variant.push_back(7);  // of another rope
        start.push_back(start.back() + tokens);
      }
      const int64_t tokens = start.back() + 3;
      std::vector<int32_t> positions;
      for (int64_t i = 0; i < tokens * dims; ++i) {
        positions.push_back(static_cast<int32_t>(random.below(i % 5 == 0 ? 1 << 30 : 4096)));
      }
      const RopeVariantView variants[] = {{plain.data(), 1.0}, {scaled.data(), 1.25}};
      Values cos(Format::kF32, tokens * half), sin(Format::kF32, tokens * half);
      RopeTableParams params;
      params.num_tokens = tokens;
      params.rotary_dim = rotary_dim;
      params.positions = positions.data();
      params.position_dims = dims;
      params.pair_dims = dims == 1 ? nullptr : pair_dims.data();
      params.num_sequences = 90;
      params.query_start = start.data();
      params.variant = variant.data();
      params.variant_stride = 2;
      params.variants = variants;
      params.num_variants = 2;
      params.cos = static_cast<float*>(cos.data());
      params.sin = static_cast<float*>(sin.data());
      rope_table(exec_of(Isa::kPortable, 1), params);

      std::vector<int32_t> device_variant = variant;
      device_variant[2 * 89] = 2;  // not there
      const int64_t bad = start[90] - start[89];
      ASSERT_EQ(bad, 1);
      for (int32_t i = 0; i < half; ++i) {
        cos.set((start[89]) * half + i, NAN);
        sin.set((start[89]) * half + i, NAN);
      }
      const DeviceArray<double> freq0(plain), freq1(scaled);
      const DeviceArray<RopeVariantView> views(
          std::vector<RopeVariantView>{{freq0.get(), 1.0}, {freq1.get(), 1.25}});
      const DeviceArray<int32_t> d_positions(positions), d_dims(pair_dims), d_start(start);
      const DeviceArray<int32_t> d_variant(device_variant);
      const DeviceBytes d_cos(tokens * half * 4), d_sin(tokens * half * 4);
      params.positions = d_positions.get();
      if (params.pair_dims != nullptr) params.pair_dims = d_dims.get();
      params.query_start = d_start.get();
      params.variant = d_variant.get();
      params.variants = views.get();
      params.cos = static_cast<float*>(d_cos.data());
      params.sin = static_cast<float*>(d_sin.data());
      rope_table(cuda_exec(), params);
      expect_close(on_host(d_cos, Format::kF32, tokens * half), cos, tokens * half, 1e-7);
      expect_close(on_host(d_sin, Format::kF32, tokens * half), sin, tokens * half, 1e-7);
    }
  }
}

}  // namespace
}  // namespace sluice
