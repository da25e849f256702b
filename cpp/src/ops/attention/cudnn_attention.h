/// @file
/// cuDNN's fused attention as the second backend of prefill: the plans of an engine. The variant
/// "cudnn" of attention_cuda.h takes one where AttentionParams.cudnn is set and cuDNN was measured to
/// be the faster; attention_cudnn.cu says where that is.
#ifndef SLUICE_OPS_ATTENTION_CUDNN_ATTENTION_H_
#define SLUICE_OPS_ATTENTION_CUDNN_ATTENTION_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "device/cuda.h"
#include "ops/attention/attention.h"
#include "ops/attention/cudnn_library.h"
#include "ops/attention/cudnn_plan.h"

namespace sluice {

/// Bounds of a call, rounded up to those that plans are made for: a plan for four times as many
/// sequences, queries and keys costs a call less than five hundredths of its time.
struct CudnnBucket {
  int32_t batch = 0;
  int64_t max_keys = 0;  ///< and queries, of a sequence
  bool operator==(const CudnnBucket&) const = default;
};
CudnnBucket cudnn_bucket(int64_t num_sequences, int64_t longest_context);

/// What plans want was 8,704 bytes; one that wants more than this is not used.
inline constexpr int64_t kCudnnPlanBytes = int64_t{1} << 20;

/// Heads and cache of calls; every layer of one kind has the same.
struct CudnnKind {
  int32_t q_heads = 0;
  float softmax_scale = 1;
  KvCacheView kv{};  ///< without its memory; num_blocks: at most
};

/// Made once by an engine, used by its worker thread. Its plans are built by a thread of its own,
/// from start() on, while weights are loaded; who asks for a plan before waits. So which calls run on
/// cuDNN never depends on time.
class CudnnAttention {
 public:
  /// Calls are within these bounds. Opens cuDNN; takes no memory for itself.
  /// @throws Error LIBRARY_MISSING
  CudnnAttention(const CudaExec& exec, int32_t max_sequences, int64_t max_context_len);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  /// Before start(): calls of this kind will come. Kinds that are wanted already, and those that
  /// cuDNN is never taken for, cost nothing.
  void want(const CudnnKind& kind);
  /// @param every  plans also for bounds whose calls are never given to cuDNN, to measure those
  void start(bool every = false);

  /// The plan for a call that cudnn_runs(); null where cuDNN refused to make one.
  const CudnnPlan* find(const AttentionParams& params);
  void* handle(const CudaExec& exec);

  /// Plans built, the seconds that it took, and why others could not be (empty: none). Waits.
  int64_t num_plans();
  double seconds();
  const std::string& problem();

 private:
  void build(bool every);
  void build_kind(const CudnnKind& kind, bool every);
  void wait();

  const CudaExec exec_;
  const int32_t max_sequences_;
  const int64_t max_context_len_;
  std::vector<CudnnKind> kinds_;
  std::unique_ptr<CudnnHandle> handle_;
  std::vector<std::unique_ptr<CudnnPlan>> plans_;
  std::string problem_;
  double seconds_ = 0;
  std::thread thread_;
};

namespace cuda {

/// Whether cuDNN can run the call at all, plans aside.
bool cudnn_runs(const CudaExec& exec, const AttentionParams& params);

/// Whether it was measured to take less time than our own kernel for such a call.
bool cudnn_is_faster(const AttentionParams& params);

/// Whether cuDNN is used for heads and blocks of this kind at all.
bool cudnn_takes(const KvCacheView& kv);

/// Whether it may be for any call with this longest context.
bool cudnn_may_be_faster(int64_t longest_context);

}  // namespace cuda
}  // namespace sluice
#endif  // SLUICE_OPS_ATTENTION_CUDNN_ATTENTION_H_
