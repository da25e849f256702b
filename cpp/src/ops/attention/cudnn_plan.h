/// @file
/// One fused attention of cuDNN for one bounded shape. cudnn_plan.cc is the only source that sees
/// cuDNN's headers of templates, which take a minute to compile: what changes is kept out of it.
#ifndef SLUICE_OPS_ATTENTION_CUDNN_PLAN_H_
#define SLUICE_OPS_ATTENTION_CUDNN_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>

namespace sluice {

/// Causal attention over pages, bfloat16. Numbers of sequences, queries and keys are bounds: what
/// there is, the lengths on the device say. Strides are elements.
struct CudnnShape {
  int32_t batch = 0;        ///< sequences
  int64_t max_queries = 0;  ///< of a sequence
  int64_t max_keys = 0;     ///< of a sequence, a multiple of block_size
  int32_t q_heads = 0, kv_heads = 0, k_dim = 0, v_dim = 0;
  int32_t block_size = 0;  ///< keys of a page [kv_heads, block_size, dim]
  int64_t num_blocks = 0;
  int64_t k_block_stride = 0, v_block_stride = 0;
  float softmax_scale = 1;
  bool operator==(const CudnnShape&) const = default;
};

/// Device memory of a call.
struct CudnnArguments {
  const void* q = nullptr;  ///< rows [q_heads, k_dim] of all sequences
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;                   ///< rows [q_heads, v_dim]
  const int32_t* num_queries = nullptr;  ///< [batch], the last ones of num_keys
  const int32_t* num_keys = nullptr;     ///< [batch]
  const int32_t* q_start = nullptr;      ///< [batch + 1] first element of each sequence
  const int32_t* out_start = nullptr;    ///< [batch + 1]
  const int32_t* pages = nullptr;        ///< [batch, max_keys / block_size]
};

class CudnnPlan {
 public:
  /// Takes a second for the first of a kind of heads, else some hundredths.
  /// @param handle  cudnnHandle_t
  /// @throws Error UNSUPPORTED with cuDNN's reason
  CudnnPlan(void* handle, const CudnnShape& shape);
  ~CudnnPlan();
  CudnnPlan(const CudnnPlan&) = delete;
  CudnnPlan& operator=(const CudnnPlan&) = delete;

  const CudnnShape& shape() const { return shape_; }
  int64_t workspace_bytes() const { return workspace_bytes_; }
  /// Enqueues on the handle's stream. @throws Error INTERNAL
  void run(void* handle, const CudnnArguments& arguments, void* workspace) const;

 private:
  struct Graph;
  CudnnShape shape_;
  std::unique_ptr<Graph> graph_;
  int64_t workspace_bytes_ = 0;
};

}  // namespace sluice
#endif  // SLUICE_OPS_ATTENTION_CUDNN_PLAN_H_
