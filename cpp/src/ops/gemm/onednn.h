/// @file
/// oneDNN, opened at run time: the only place that knows its C interface.
#ifndef SLUICE_OPS_GEMM_ONEDNN_H_
#define SLUICE_OPS_GEMM_ONEDNN_H_

#include <cstdint>
#include <memory>
#include <string>

#include "base/format.h"
#include "device/cpu.h"
#include "ops/gemm/gemm.h"

namespace sluice {

/// What a compiled product depends on.
struct ProductKey {
  int64_t num_rows = 0, weight_rows = 0, weight_cols = 0, x_stride = 0, y_stride = 0;
  Format format = Format::kUnknown, y_format = Format::kUnknown;
  bool bias = false, accumulate = false;
  float alpha = 1.0f;
  int calls = 1;  ///< runs of the product at the same time, at most
  bool operator==(const ProductKey&) const = default;
};

/// An opened library with its engine and streams. Products run on the calling thread alone, so that
/// the OpenMP of the library makes no threads: ours and those would take the cores from each other.
/// Not thread-safe but for run(); move-only by pointer.
class OneDnn {
 public:
  /// Throws LIBRARY_MISSING with the loader's reason and the remedy.
  explicit OneDnn(const std::string& path);
  ~OneDnn();
  OneDnn(const OneDnn&) = delete;
  OneDnn& operator=(const OneDnn&) = delete;

  const std::string& path() const;
  const std::string& version() const;

  /// One compiled product; valid while its OneDnn lives.
  class Product;
  struct ProductDeleter {
    void operator()(Product* product) const;
  };
  using ProductPtr = std::unique_ptr<Product, ProductDeleter>;

  /// Compiles the product (about 0.7 ms). Null when oneDNN has no blocked kernel for it on this
  /// processor (it would fall back to its slow reference).
  ProductPtr compile(const ProductKey& key);

  static int64_t scratch_bytes(const Product& product);

  /// Runs the product; `scratch` is scratch_bytes() long, 64-byte aligned. Runs at the same time
  /// differ in `call`, in [0, key.calls), and in their scratch.
  void run(Product& product, int call, const GemmParams& params, void* scratch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice

#endif  // SLUICE_OPS_GEMM_ONEDNN_H_
