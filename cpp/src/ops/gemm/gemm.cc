#include "ops/gemm/gemm.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <list>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "device/buffer.h"
#include "ops/gemm/cublaslt.h"
#include "ops/gemm/onednn.h"
#include "ops/gemm/panel_kernel.h"
#include "ops/gemm/product_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// From this many rows on oneDNN is taken, for whole multiples of it; the rest are ours, which is as
// fast. Row counts then take few values, so few products are compiled (0.7 ms each), and no row
// needs padding.
constexpr int64_t kOneDnnRows = 32;

// Where our kernels are faster than cuBLASLt, measured on an H200 (docs/benchmarks.md): few rows of
// matrices that take a few microseconds, where what counts is how soon the first bytes are asked for.
bool is_ours(const GemmParams& p) {
  const int64_t bytes = format_bytes(p.w.format, p.w.rows * p.w.cols);
  return (p.num_rows <= 8 && p.w.cols <= 2048 && bytes <= int64_t{17} << 20) ||
         (p.num_rows <= 32 && bytes <= int64_t{4} << 20);
}

// What oneDNN's blocked products want for nearly every shape (measured: 66 KiB a thread). The few
// that want more, up to 1.6 MiB, go through our kernel.
constexpr int64_t kScratchBytesPerThread = int64_t{256} << 10;

struct CachedProduct {
  ProductKey key;
  OneDnn::ProductPtr product;  // null: oneDNN has no kernel for it here
};

void check_params(const Exec& exec, const GemmParams& p) {
  check_compute_format("gemm weight format", p.w.format);
  check_product_layout("gemm weight layout", exec, p.w.layout);
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

// A grid of equal pieces of a product, one for each call of oneDNN at the same time.
struct Grid {
  int64_t row_units = 1;     // of kOneDnnRows
  int64_t weight_units = 1;  // of kPanelRows
  int row_pieces = 1;
  int weight_pieces = 1;
};

// The grid whose largest piece is smallest; of equal ones the one that reads each weight once.
Grid make_grid(int64_t num_rows, int64_t weight_rows, int num_pieces) {
  Grid grid;
  grid.row_units = num_rows / kOneDnnRows;
  grid.weight_units = ceil_div(weight_rows, kPanelRows);
  int64_t best = std::numeric_limits<int64_t>::max();
  for (int rows = 1; rows <= num_pieces && rows <= grid.row_units; ++rows) {
    const int weights = static_cast<int>(std::min<int64_t>(num_pieces / rows, grid.weight_units));
    const int64_t largest = ceil_div(grid.row_units, rows) * ceil_div(grid.weight_units, weights);
    if (largest >= best) continue;
    best = largest;
    grid.row_pieces = rows;
    grid.weight_pieces = weights;
  }
  return grid;
}

// Rows [row_begin, row_end) of the result, columns [weight_begin, weight_end); weight_begin is a
// multiple of kPanelRows.
GemmParams piece_of(const GemmParams& p, int64_t row_begin, int64_t row_end, int64_t weight_begin,
                    int64_t weight_end) {
  GemmParams piece = p;
  piece.num_rows = row_end - row_begin;
  piece.x = static_cast<const char*>(p.x) + format_bytes(p.x_format, row_begin * p.x_stride);
  piece.w.rows = weight_end - weight_begin;
  piece.w.data =
      static_cast<char*>(p.w.data) +
      packed_bytes(p.w.format, p.w.layout, kPanelRows, p.w.cols) * (weight_begin / kPanelRows);
  if (p.bias != nullptr) piece.bias = p.bias + weight_begin;
  piece.y =
      static_cast<char*>(p.y) + format_bytes(p.y_format, row_begin * p.y_stride + weight_begin);
  return piece;
}

ProductKey key_of(int calls, const GemmParams& p) {
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
          .calls = calls};
}

}  // namespace

struct Gemm::State {
  GemmOptions options;
  std::unique_ptr<OneDnn> onednn;      // of the CPU
  std::unique_ptr<CublasLt> cublaslt;  // of CUDA, FAST
  GemmStats stats;
  std::list<CachedProduct> cache;          // most recently used first
  std::vector<OneDnn::Product*> products;  // of the pieces of one product

  explicit State(const GemmOptions& o) : options(o) {
    if (o.cuda_device >= 0) {
      if (o.numerics == Numerics::kFast) {
        cublaslt = std::make_unique<CublasLt>(o.cublaslt_path, o.cuda_device, o.max_cached_products);
      }
      return;
    }
    onednn = std::make_unique<OneDnn>(o.onednn_path);
    products.resize(static_cast<size_t>(o.num_threads));
  }

  OneDnn::Product* product(const ProductKey& key) {
    for (auto it = cache.begin(); it != cache.end(); ++it) {
      if (it->key == key) {
        cache.splice(cache.begin(), cache, it);
        return it->product.get();
      }
    }
    const auto start = std::chrono::steady_clock::now();
    cache.push_front({key, onednn->compile(key)});
    ++stats.products_compiled;
    stats.compile_micros += std::chrono::duration_cast<std::chrono::microseconds>(
                                std::chrono::steady_clock::now() - start)
                                .count();
    return cache.front().product.get();
  }

  void trim_cache() {
    while (cache.size() > static_cast<size_t>(options.max_cached_products)) cache.pop_back();
  }

  // Whether oneDNN took the product, whose rows are a multiple of kOneDnnRows.
  bool run_onednn(const Exec& exec, const GemmParams& p, void* workspace, int64_t workspace_size) {
    const int64_t most = std::min<int64_t>(
        {exec.num_threads, options.num_threads, workspace_size / kScratchBytesPerThread});
    if (most <= 0) return false;
    const Grid grid = make_grid(p.num_rows, p.w.rows, static_cast<int>(most));
    const int pieces = grid.row_pieces * grid.weight_pieces;
    const auto piece = [&](int64_t i) {
      const int64_t r = i / grid.weight_pieces, w = i % grid.weight_pieces;
      return piece_of(
          p, grid.row_units * r / grid.row_pieces * kOneDnnRows,
          grid.row_units * (r + 1) / grid.row_pieces * kOneDnnRows,
          grid.weight_units * w / grid.weight_pieces * kPanelRows,
          std::min(grid.weight_units * (w + 1) / grid.weight_pieces * kPanelRows, p.w.rows));
    };
    trim_cache();  // before, not after: what is compiled now stays until it has run
    for (int i = 0; i < pieces; ++i) {
      products[i] = product(key_of(pieces, piece(i)));
      if (products[i] == nullptr || OneDnn::scratch_bytes(*products[i]) > kScratchBytesPerThread) {
        return false;
      }
    }
    parallel_tasks(exec, pieces, [&](int64_t i, int /*thread*/) {
      onednn->run(*products[i], static_cast<int>(i), piece(i),
                 static_cast<char*>(workspace) + i * kScratchBytesPerThread);
    });
    return true;
  }

  // Whether a product on CUDA is cuBLASLt's.
  bool takes_cublaslt(const GemmParams& p) const {
    return cublaslt != nullptr && !is_ours(p) && !cuda::product_one_row_fits(cuda_product(p));
  }

  cuda::Product cuda_product(const GemmParams& p) const {
    cuda::Product product = cuda::product_of(p);
    product.fast = options.numerics == Numerics::kFast;
    return product;
  }

  void run_cuda(const CudaExec& exec, const GemmParams& p, void* workspace,
                int64_t workspace_size) {
    if (takes_cublaslt(p) && cublaslt->run(exec, p, workspace, workspace_size)) {
      stats.rows_cublaslt += p.num_rows;
      return;
    }
    cuda::product(exec, cuda_product(p));
    stats.rows_native += p.num_rows;
  }

  // Rows that oneDNN may take. None when a row's bits must not depend on their number: oneDNN sums
  // the inputs in blocks whose size depends on the shape, our kernel in one chain.
  int64_t onednn_rows(const GemmParams& p) const {
    if (options.numerics == Numerics::kBatchInvariant) return 0;
    return p.num_rows / kOneDnnRows * kOneDnnRows;
  }
};

Gemm::Gemm(const GemmOptions& options) : state_(std::make_unique<State>(options)) {
  SLUICE_CHECK_ARG(options.num_threads > 0, "num_threads: ", options.num_threads,
                   " (expected: above 0)");
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
  if (state_->options.cuda_device >= 0) {
    if (state_->cublaslt == nullptr) return kBufferAlignment;
    return CublasLt::kWorkspaceAlignment + CublasLt::kWorkspaceBytes;
  }
  if (state_->options.numerics == Numerics::kBatchInvariant || max_rows < kOneDnnRows) {
    return kBufferAlignment;
  }
  return kBufferAlignment + state_->options.num_threads * kScratchBytesPerThread;
}

void Gemm::run(const Exec& exec, const GemmParams& params, void* workspace,
               int64_t workspace_size) {
  check_params(exec, params);
  const int32_t device = exec.cuda == nullptr ? -1 : exec.cuda->device;
  SLUICE_CHECK_ARG(std::max(state_->options.cuda_device, -1) == device, "gemm: of cuda_device ",
                   state_->options.cuda_device, ", ran on ", device, " (expected: the same)");
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      return state_->run_cuda(*exec.cuda, params, workspace, workspace_size);
    }
  }
  GemmParams rest = params;
  const int64_t rows = state_->onednn_rows(params);
  if (rows > 0 && state_->run_onednn(exec, piece_of(params, 0, rows, 0, params.w.rows), workspace,
                                     workspace_size)) {
    state_->stats.rows_onednn += rows;
    rest = piece_of(params, rows, params.num_rows, 0, params.w.rows);
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
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      if (state_->takes_cublaslt(p)) return "cublaslt";
      return cuda::kernel_name(cuda::choose_kernel(*exec.cuda, state_->cuda_product(p)));
    }
  }
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

std::string Gemm::onednn_version() const {
  return state_->onednn == nullptr ? std::string() : state_->onednn->version();
}
std::string Gemm::cublaslt_version() const {
  return state_->cublaslt == nullptr ? std::string() : state_->cublaslt->version();
}

GemmStats Gemm::stats() const {
  GemmStats stats = state_->stats;
  if (state_->cublaslt != nullptr) {
    stats.products_compiled = state_->cublaslt->products_chosen();
    stats.compile_micros = state_->cublaslt->choosing_micros();
  }
  return stats;
}

}  // namespace sluice
