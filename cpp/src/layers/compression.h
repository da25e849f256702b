/// @file
/// Residual memory compression: h = norm(x + decoder(act(encoder(x)))), in the final norm's place.
#ifndef SLUICE_LAYERS_COMPRESSION_H_
#define SLUICE_LAYERS_COMPRESSION_H_

#include <cstdint>

#include "layers/context.h"
#include "layers/norm.h"
#include "layers/spec.h"
#include "ops/gemm/weight.h"

namespace sluice {

struct CompressionWeights {
  WeightView encoder;                   ///< [compressed_size, hidden_size]
  const float* encoder_bias = nullptr;  ///< [compressed_size]; nullptr: none
  WeightView decoder;                   ///< [hidden_size, compressed_size]
  const float* decoder_bias = nullptr;  ///< [hidden_size]; nullptr: none
  NormWeights norm;
};

/// Immutable; run() keeps nothing between calls.
class Compression {
 public:
  Compression(const CompressionSpec& spec, const CompressionWeights& weights)
      : spec_(spec), weights_(weights) {}

  /// Arena bytes that run() takes for up to `max_rows` rows.
  int64_t workspace_bytes(const LayerContext& context, int64_t max_rows) const;

  /// @param x  [num_rows, hidden_size] float32, dense: the residual stream
  /// @param h  [num_rows, hidden_size] result in the compute format, dense
  void run(LayerContext& context, int64_t num_rows, const float* x, void* h) const;

 private:
  CompressionSpec spec_;
  CompressionWeights weights_;
};

}  // namespace sluice
#endif  // SLUICE_LAYERS_COMPRESSION_H_
