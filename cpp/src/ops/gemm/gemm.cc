#include "ops/gemm/gemm.h"

#include <omp.h>

#include <chrono>
#include <list>
#include <utility>

#include "base/checked.h"
#include "device/buffer.h"
#include "ops/gemm/onednn.h"
#include "ops/gemm/panel_kernel.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// From this many rows on oneDNN is taken, for whole multiples of it; the rest are ours, which is as
// fast. Row counts then take few values, so few products are compiled (0.7 ms each), and no row
// needs padding.
constexpr int64_t kOneDnnRows = 32;

// What oneDNN's blocked products want for nearly every shape (measured: 66 KiB a thread). The few
// that want more, up to 1.6 MiB, go through our kernel.
constexpr int64_t kScratchBytesPerThread = int64_t{256} << 10;

struct CachedProduct {
  ProductKey key;
  OneDnn::ProductPtr product;  // null: oneDNN has no kernel for it here
};

void check_params(const GemmParams& p) {
  check_compute_format("gemm weight format", p.w.format);
  SLUICE_CHECK(p.w.layout == WeightLayout::kPanel64, SLUICE_STATUS_UNSUPPORTED,
               "gemm weight layout: ", static_cast<int32_t>(p.w.layout), " (expected: kPanel64)");
  SLUICE_CHECK(p.x_format == p.w.format, SLUICE_STATUS_UNSUPPORTED,
               "gemm x_format: ", format_name(p.x_format), " (expected: the weight's, ",
               format_name(p.w.format), ")");
  check_compute_format("gemm y_format", p.y_format);
  SLUICE_CHECK(p.y_format == Format::kF32 || (p.w.format == Format::kBf16 && !p.accumulate),
               SLUICE_STATUS_UNSUPPORTED, "gemm y_format: ", format_name(p.y_format),
               " (expected: F32, or BF16 without accumulation from BF16 weights)");
  check_at_least("gemm num_rows", p.num_rows, 0);
  check_at_least("gemm weight rows", p.w.rows, 1);
  check_at_least("gemm weight cols", p.w.cols, 1);
  check_stride("gemm x_stride", p.x_stride, p.w.cols, p.num_rows);
  check_stride("gemm y_stride", p.y_stride, p.w.rows, p.num_rows);
  check_memory("gemm x", p.x, p.num_rows);
  check_memory("gemm y", p.y, p.num_rows);
  check_memory("gemm weight data", p.w.data, p.w.rows);
}

ProductKey key_of(const Exec& exec, const GemmParams& p) {
  return {.num_rows = p.num_rows,
          .weight_rows = p.w.rows,
          .weight_cols = p.w.cols,
          .x_stride = p.x_stride,
          .y_stride = p.y_stride,
          .format = p.w.format,
          .y_format = p.y_format,
          .bias = p.bias != nullptr,
          .accumulate = p.accumulate,
          .alpha = p.alpha,
          .num_threads = exec.num_threads};
}

}  // namespace

struct Gemm::State {
  GemmOptions options;
  OneDnn onednn;
  GemmStats stats;
  std::list<CachedProduct> cache;  // most recently used first

  explicit State(const GemmOptions& o) : options(o), onednn(o.onednn_path) {}

  OneDnn::Product* product(const ProductKey& key) {
    for (auto it = cache.begin(); it != cache.end(); ++it) {
      if (it->key == key) {
        cache.splice(cache.begin(), cache, it);
        return it->product.get();
      }
    }
    const auto start = std::chrono::steady_clock::now();
    cache.push_front({key, onednn.compile(key)});
    ++stats.products_compiled;
    stats.compile_micros += std::chrono::duration_cast<std::chrono::microseconds>(
                                std::chrono::steady_clock::now() - start)
                                .count();
    if (cache.size() > static_cast<size_t>(options.max_cached_products)) cache.pop_back();
    return cache.front().product.get();
  }

  // Rows that oneDNN may take. None when a row's bits must not depend on their number: oneDNN sums
  // the inputs in blocks whose size depends on the shape, our kernel in one chain.
  int64_t onednn_rows(const GemmParams& p) const {
    if (options.numerics == Numerics::kBatchInvariant) return 0;
    return p.num_rows / kOneDnnRows * kOneDnnRows;
  }
};

Gemm::Gemm(const GemmOptions& options) : state_(std::make_unique<State>(options)) {
  SLUICE_CHECK_ARG(options.max_cached_products > 0,
                   "max_cached_products: ", options.max_cached_products, " (expected: above 0)");
  SLUICE_CHECK_ARG(
      options.numerics == Numerics::kFast || options.numerics == Numerics::kBatchInvariant,
      "numerics: ", static_cast<int32_t>(options.numerics), " (expected: FAST or BATCH_INVARIANT)");
}

Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;

int64_t Gemm::workspace_bytes(int64_t max_rows, int64_t /*max_weight_rows*/,
                              int64_t /*max_cols*/) const {
  if (state_->options.numerics == Numerics::kBatchInvariant || max_rows < kOneDnnRows) {
    return kBufferAlignment;
  }
  return kBufferAlignment + omp_get_num_procs() * kScratchBytesPerThread;
}

void Gemm::run(const Exec& exec, const GemmParams& params, void* workspace,
               int64_t workspace_size) {
  check_params(params);
  GemmParams rest = params;
  const int64_t rows = state_->onednn_rows(params);
  if (rows > 0) {
    GemmParams many = params;
    many.num_rows = rows;
    OneDnn::Product* product = state_->product(key_of(exec, many));
    if (product != nullptr && OneDnn::scratch_bytes(*product) <= workspace_size) {
      state_->onednn.run(*product, many, workspace);
      state_->stats.rows_onednn += rows;
      rest.num_rows -= rows;
      rest.x = static_cast<const char*>(params.x) +
               format_bytes(params.x_format, rows * params.x_stride);
      rest.y = static_cast<char*>(params.y) + format_bytes(params.y_format, rows * params.y_stride);
    }
  }
  if (rest.num_rows == 0) return;
  state_->stats.rows_native += rest.num_rows;
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, gemm_units);
  const int64_t units = ceil_div(params.w.rows, kUnitRows);
  const PanelParams panel{rest, nullptr, nullptr};
  parallel_ranges(exec, units, grain_for_bytes(params.w.cols * 64),
                  [&](int64_t begin, int64_t end) { kernel(panel, begin, end); });
}

const char* Gemm::variant(const Exec& exec, const GemmParams& p) const {
  if (state_->onednn_rows(p) > 0) return "onednn";
  switch (exec.isa) {
    case Isa::kPortable:
      return "panel_portable";
    case Isa::kAvx2:
      return "panel_avx2";
    case Isa::kAvx512:
      return "panel_avx512";
    case Isa::kAvx512Bf16:
      return "panel_avx512_bf16";
  }
  return "panel_portable";
}

std::string Gemm::onednn_version() const { return state_->onednn.version(); }
GemmStats Gemm::stats() const { return state_->stats; }

}  // namespace sluice
