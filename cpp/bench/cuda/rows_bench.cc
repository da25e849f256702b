// Ops that move rows: norm with its residual, activation. All bound by the memory.
#include <string>

#include "base/error.h"
#include "device.h"
#include "ops/activation/activation.h"
#include "ops/norm/norm.h"
#include "ops/rope/rope.h"

namespace sluice::bench {
namespace {

std::vector<float> ones(int64_t count) { return std::vector<float>(static_cast<size_t>(count), 1.0f); }

void add_norm(int64_t rows, int64_t cols, bool residual) {
  add(concat(residual ? "rmsnorm_residual/" : "rmsnorm/", rows, "x", cols),
      [=](benchmark::State& state) {
        Rotation x(Format::kBf16, rows * cols, 1);
        Rotation sum(Format::kF32, residual ? rows * cols : 64, 2);
        Buffer weight = upload(ones(cols));
        Buffer y = device_buffer(rows * cols * 2);
        const Exec ops = exec();
        const double values = static_cast<double>(rows * cols);
        measure(state, {.bytes = values * (residual ? 12 : 4), .flops = 0, .kernel = {}},
                [&](int64_t i) {
                  NormParams p;
                  p.eps = 1e-6;
                  p.weight = reinterpret_cast<const float*>(weight.data());
                  p.num_rows = rows;
                  p.cols = cols;
                  p.x = x.at(i);
                  p.x_format = Format::kBf16;
                  p.x_stride = cols;
                  p.y = y.data();
                  p.y_format = Format::kBf16;
                  p.y_stride = cols;
                  if (residual) {
                    p.residual = static_cast<float*>(sum.at(i));
                    p.residual_stride = cols;
                    p.residual_multiplier = 1e-3f;  // stays finite over many launches
                  }
                  norm(ops, p);
                });
      });
}

void add_swiglu(int64_t rows, int64_t cols) {
  add(concat("swiglu/", rows, "x", cols), [=](benchmark::State& state) {
    Rotation x(Format::kBf16, rows * cols * 2, 1);
    Buffer y = device_buffer(rows * cols * 2);
    const Exec ops = exec();
    measure(state, {.bytes = 6.0 * static_cast<double>(rows * cols), .flops = 0, .kernel = {}},
            [&](int64_t i) {
              ActivationParams p;
              p.num_rows = rows;
              p.cols = cols;
              p.x = x.at(i);
              p.up = static_cast<const char*>(x.at(i)) + cols * 2;
              p.x_format = Format::kBf16;
              p.x_stride = 2 * cols;
              p.y = y.data();
              p.y_format = Format::kBf16;
              p.y_stride = cols;
              activation(ops, p);
            });
  });
}

void add_rope(int64_t tokens, int32_t heads, int32_t dim) {
  add(concat("rope/t", tokens, "_h", heads, "_d", dim), [=](benchmark::State& state) {
    Rotation x(Format::kBf16, tokens * heads * dim, 1);
    Rotation angles(Format::kF32, tokens * dim, 2, 0.3f);
    const Exec ops = exec();
    const double values = static_cast<double>(tokens) * heads * dim;
    measure(state,
            {.bytes = 4.0 * values + 4.0 * static_cast<double>(tokens * dim), .flops = 0, .kernel = {}},
            [&](int64_t i) {
              RopeParams p;
              p.num_tokens = tokens;
              p.num_heads = heads;
              p.head_dim = dim;
              p.rotary_dim = dim;
              p.x = x.at(i);
              p.format = Format::kBf16;
              p.x_stride = static_cast<int64_t>(heads) * dim;
              p.cos = static_cast<const float*>(angles.at(i));
              p.sin = p.cos + tokens * dim / 2;
              rope(ops, p);
            });
  });
}

}  // namespace

void register_rows() {
  add_norm(8192, 8192, false);
  add_norm(16384, 4096, false);
  add_norm(64, 2048, false);
  add_norm(16384, 4096, true);
  add_norm(64, 2048, true);
  add_swiglu(8192, 14336);
  add_swiglu(64, 1408);
  add_rope(8192, 32, 128);
  add_rope(64, 32, 128);
}

}  // namespace sluice::bench
