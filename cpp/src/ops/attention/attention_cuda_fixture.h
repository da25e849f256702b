/// @file
/// The fixture of attention_test.cc with its cache on the device, for the CUDA kernels.
#ifndef SLUICE_OPS_ATTENTION_ATTENTION_CUDA_FIXTURE_H_
#define SLUICE_OPS_ATTENTION_ATTENTION_CUDA_FIXTURE_H_

#include <memory>
#include <vector>

#include "ops/attention/attention_cuda.h"
#include "ops/attention/attention_fixture.h"
#include "ops/attention/attention_variants.h"
#include "ops/attention/cudnn_attention.h"
#include "ops/testing/cuda_test.h"

namespace sluice::testing {

/// Every place of the cache that no sequence has written is NaN, as on the host; padding columns of
/// written rows are zero.
class CudaFixture {
 public:
  explicit CudaFixture(const Config& setup) : host_(setup), cache_(host_.cache()) {
    cache_.layout = KvLayout::kRows;
    if (setup.k_dim > 0) {
      k_ = upload(cache_.k_block_stride, setup.k_dim,
                  [&](auto... at) { return host_.key(at...); });
      cache_.k = k_->data();
    } else {
      cache_.k = nullptr;
    }
    v_ = upload(cache_.v_block_stride, setup.v_dim, [&](auto... at) { return host_.val(at...); });
    cache_.v = v_->data();
  }

  Fixture& host() { return host_; }
  const KvCacheView& cache() const { return cache_; }
  /// Of the calls of run(): kFast allows the tuned kernels.
  void set_numerics(Numerics numerics) { numerics_ = numerics; }
  /// Calls of run() ask for no lse then, and take cuDNN's kernel.
  void set_cudnn(CudnnAttention* cudnn) { cudnn_ = cudnn; }
  /// The variant that the last run() took.
  const std::string& variant() const { return variant_; }

  /// Fixture::run() on the device.
  Fixture::Result run(const std::vector<size_t>& which, int64_t begin = 0, int64_t end = -1) {
    const Config& c = host_.config();
    const Exec exec = cuda_exec();
    const Fixture::Batch b = host_.batch(which, begin, end);
    AttentionParams p = host_.params(b);
    const DeviceBytes q = on_device(b.q, b.tokens * b.q_stride);
    const DeviceArray<int32_t> positions(b.positions), start(b.start), context(b.context);
    const DeviceArray<int32_t> rows(b.rows), tables(host_.tables());
    const DeviceArray<float> sinks(host_.sinks());
    const DeviceBytes out(format_bytes(c.out_format, b.tokens * b.out_stride));
    const DeviceArray<float> lse(b.tokens * c.q_heads);
    const DeviceBytes workspace(
        attention_workspace_bytes(exec, b.tokens, p.num_sequences, b.longest, c.q_heads,
                                  c.key_columns(), c.value_columns()));
    p.numerics = numerics_;
    p.kv = cache_;
    p.q = q.data();
    p.positions = positions.get();
    p.query_start = start.get();
    p.context_len = context.get();
    p.table_rows = rows.get();
    p.block_tables = tables.get();
    if (p.sinks != nullptr) p.sinks = sinks.get();
    p.out = out.data();
    p.lse = lse.get();
    if (cudnn_ == nullptr) {
      variant_ = cuda::attention_variant(*exec.cuda, p).name;
      attention(exec, p, workspace.data(), workspace.size());
      return {on_host(out, c.out_format, b.tokens * b.out_stride), lse.host(), b.out_stride};
    }
    p.lse = nullptr;
    p.cudnn = cudnn_;
    p.queries_last = true;
    for (size_t s = 0; s + 1 < b.start.size(); ++s) {
      p.longest_query = std::max<int64_t>(p.longest_query, b.start[s + 1] - b.start[s]);
    }
    variant_ = cuda::kCudnnAttention.name;
    EXPECT_TRUE(cuda::cudnn_runs(*exec.cuda, p));
    cuda::kCudnnAttention.run(*exec.cuda, p, workspace.data(), workspace.size());
    return {on_host(out, c.out_format, b.tokens * b.out_stride), {}, b.out_stride};
  }

 private:
  template <typename Value>
  std::unique_ptr<DeviceBytes> upload(int64_t block_stride, int32_t dim, const Value& value) {
    const Config& c = host_.config();
    const int64_t width = round_up(dim, 16), element = format_bytes(c.format, 1);
    Values rows(c.format, cache_.num_blocks * block_stride / element);
    for (size_t s = 0; s < c.sequences.size(); ++s) {
      const int32_t* table =
          host_.tables().data() + host_.table_rows()[s] * host_.table_stride();
      for (int64_t pos = 0; pos < c.sequences[s].context; ++pos) {
        for (int64_t h = 0; h < c.kv_heads; ++h) {
          const int64_t at = table[pos / c.block_size] * block_stride / element +
                             (h * c.block_size + pos % c.block_size) * width;
          for (int64_t d = 0; d < width; ++d) {
            rows.set(at + d, d < dim ? value(s, pos, h, d) : 0.0f);
          }
        }
      }
    }
    return std::make_unique<DeviceBytes>(rows.data(), cache_.num_blocks * block_stride);
  }

  Fixture host_;
  KvCacheView cache_;
  std::unique_ptr<DeviceBytes> k_, v_;
  Numerics numerics_ = Numerics::kBatchInvariant;
  CudnnAttention* cudnn_ = nullptr;
  std::string variant_;
};

}  // namespace sluice::testing

#endif  // SLUICE_OPS_ATTENTION_ATTENTION_CUDA_FIXTURE_H_
