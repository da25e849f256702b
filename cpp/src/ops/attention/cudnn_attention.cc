#include "ops/attention/cudnn_attention.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "device/cuda_check.h"

namespace sluice {
namespace {

// The least, and each next four times as much.
constexpr int64_t kBatch = 4, kKeys = 1024;

int64_t bucket(int64_t value, int64_t least) {
  int64_t bound = least;
  while (bound < value) bound *= 4;
  return bound;
}

bool same_heads(const KvCacheView& a, const KvCacheView& b) {
  return a.num_kv_heads == b.num_kv_heads && a.k_dim == b.k_dim && a.v_dim == b.v_dim &&
         a.block_size == b.block_size && a.k_block_stride == b.k_block_stride &&
         a.v_block_stride == b.v_block_stride && a.format == b.format;
}

CudnnShape shape_of(const CudnnKind& kind, const CudnnBucket& bounds) {
  const KvCacheView& kv = kind.kv;
  return {.batch = bounds.batch,
          .max_queries = bounds.max_keys,
          .max_keys = bounds.max_keys,
          .q_heads = kind.q_heads,
          .kv_heads = kv.num_kv_heads,
          .k_dim = kv.k_dim,
          .v_dim = kv.v_dim,
          .block_size = kv.block_size,
          .num_blocks = kv.num_blocks,
          .k_block_stride = kv.k_block_stride / 2,
          .v_block_stride = kv.v_block_stride / 2,
          .softmax_scale = kind.softmax_scale};
}

}  // namespace

CudnnBucket cudnn_bucket(int64_t num_sequences, int64_t longest_context) {
  return {static_cast<int32_t>(bucket(num_sequences, kBatch)), bucket(longest_context, kKeys)};
}

CudnnAttention::CudnnAttention(const CudaExec& exec, int32_t max_sequences, int64_t max_context_len)
    : exec_(exec), max_sequences_(max_sequences), max_context_len_(max_context_len) {
  SLUICE_CHECK(cudnn_info().problem.empty(), SLUICE_STATUS_LIBRARY_MISSING, cudnn_info().problem);
}

CudnnAttention::~CudnnAttention() { wait(); }

void CudnnAttention::want(const CudnnKind& kind) {
  SLUICE_CHECK(!thread_.joinable() && plans_.empty(), SLUICE_STATUS_INTERNAL,
               "a kind of attention wanted after its plans were begun");
  if (!cuda::cudnn_takes(kind.kv)) return;
  for (CudnnKind& known : kinds_) {
    if (known.q_heads == kind.q_heads && known.softmax_scale == kind.softmax_scale &&
        same_heads(known.kv, kind.kv)) {
      known.kv.num_blocks = std::max(known.kv.num_blocks, kind.kv.num_blocks);
      return;
    }
  }
  kinds_.push_back(kind);
}

void CudnnAttention::start(bool every) {
  if (!kinds_.empty()) thread_ = std::thread([this, every] { build(every); });
}

void CudnnAttention::wait() {
  if (thread_.joinable()) thread_.join();
}

// Every bucket of calls that cuDNN may be taken for. A kind that it refuses is left out whole.
void CudnnAttention::build(bool every) {
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = [&](const std::exception& error) {  // the headers throw others than ours
    if (!problem_.empty()) return;
    problem_ = error.what();
    log(SLUICE_LOG_WARN, concat("prompts stay on our own attention: ", problem_));
  };
  try {
    SLUICE_CUDA_CHECK(cudaSetDevice(exec_.device), "device ", exec_.device);
    handle_ = std::make_unique<CudnnHandle>(exec_);
  } catch (const std::exception& error) {
    return refused(error);
  }
  for (const CudnnKind& kind : kinds_) {
    const size_t before = plans_.size();
    try {
      build_kind(kind, every);
    } catch (const std::exception& error) {
      plans_.resize(before);
      refused(error);
    }
  }
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void CudnnAttention::build_kind(const CudnnKind& kind, bool every) {
  const CudnnBucket most = cudnn_bucket(max_sequences_, max_context_len_);
  for (int64_t keys = kKeys; keys <= most.max_keys; keys *= 4) {
    const int64_t shortest = keys == kKeys ? 1 : keys / 4 + 1;
    if (!every && !cuda::cudnn_may_be_faster(shortest)) continue;
    for (int64_t batch = kBatch; batch <= most.batch; batch *= 4) {
      auto plan = std::make_unique<CudnnPlan>(
          handle_->get(), shape_of(kind, {static_cast<int32_t>(batch), keys}));
      SLUICE_CHECK(plan->workspace_bytes() <= kCudnnPlanBytes, SLUICE_STATUS_UNSUPPORTED,
                   "cuDNN: a plan wants ", plan->workspace_bytes(), " bytes (expected: up to ",
                   kCudnnPlanBytes, ")");
      plans_.push_back(std::move(plan));
    }
  }
}

const CudnnPlan* CudnnAttention::find(const AttentionParams& p) {
  wait();
  const CudnnBucket bounds = cudnn_bucket(p.num_sequences, p.longest_context);
  for (const auto& plan : plans_) {
    const CudnnShape& s = plan->shape();
    if (CudnnBucket{s.batch, s.max_keys} != bounds) continue;
    if (p.kv.num_blocks > s.num_blocks) continue;
    CudnnKind kind{p.num_q_heads, p.softmax_scale, p.kv};
    kind.kv.num_blocks = s.num_blocks;
    if (shape_of(kind, bounds) == s) return plan.get();
  }
  return nullptr;
}

void* CudnnAttention::handle(const CudaExec& exec) {
  wait();
  handle_->set_stream(exec.stream);
  return handle_->get();
}

int64_t CudnnAttention::num_plans() {
  wait();
  return static_cast<int64_t>(plans_.size());
}

double CudnnAttention::seconds() {
  wait();
  return seconds_;
}

const std::string& CudnnAttention::problem() {
  wait();
  return problem_;
}

}  // namespace sluice
