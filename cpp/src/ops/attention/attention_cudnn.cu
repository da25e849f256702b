// Attention of prompts by cuDNN: its plans take rounded queries, dense tables of pages and lengths,
// which one kernel makes out of a call.
//
// A row's bits depend on its own sequence and on the plan, that is on the bounds of the batch.
#include <cuda_bf16.h>

#include "ops/attention/attention_variants.h"
#include "ops/attention/cudnn_attention.h"
#include "ops/cuda/launch.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kAlignment = 256;
constexpr int32_t kLeastBlock = 16;
constexpr int64_t kMostEntries = int64_t{4} << 20;  // of the tables of a plan
constexpr int64_t kMostElements = INT32_MAX;        // of queries: starts are int32
// Of cudnn_is_faster().
constexpr int64_t kFewestTiles = 500;
constexpr int64_t kMostKeys = 512;        // of a query on average, behind queries in bfloat16
constexpr int64_t kMostKeysRounded = 256;  // where they must be rounded first
constexpr int64_t kMostKeysRoundedWide = 64;  // the same of heads of 192 columns

struct Prepare {
  AttentionParams p;
  int32_t batch, pages_each;
  int32_t *num_queries, *num_keys, *q_start, *out_start, *pages;
  __nv_bfloat16* q;  // null: the call's own serve
};

// The workspace of a call in the order of its parts.
struct Parts {
  int64_t num_queries, num_keys, q_start, out_start, pages, plan, q, end;

  Parts(int32_t batch, int64_t entries, int64_t q_bytes) {
    int64_t at = 0;
    const auto take = [&](int64_t bytes) {
      const int64_t begin = at;
      at += round_up(bytes, kAlignment);
      return begin;
    };
    num_queries = take(batch * int64_t{4});
    num_keys = take(batch * int64_t{4});
    q_start = take((batch + int64_t{1}) * 4);
    out_start = take((batch + int64_t{1}) * 4);
    pages = take(entries * 4);
    plan = take(kCudnnPlanBytes);
    q = take(q_bytes);
    end = at;
  }
};

bool has_kernel(int32_t k_dim, int32_t v_dim) {
  return (k_dim == 64 && v_dim == 64) || (k_dim == 128 && v_dim == 128) ||
         (k_dim == 192 && v_dim == 128);
}

bool own_queries(const AttentionParams& p) {
  return p.q_format == Format::kBf16 && p.q_stride == int64_t{p.num_q_heads} * p.kv.k_dim;
}

// One block: lengths and pages of a sequence. One that sees a block outside the cache gets NaN, one
// without keys zeros, and cuDNN neither.
__device__ void prepare_sequence(const Prepare& w, int32_t s) {
  const AttentionParams& p = w.p;
  const int32_t row_q = p.num_q_heads * p.kv.k_dim, row_out = p.num_q_heads * p.kv.v_dim;
  const bool there = s < p.num_sequences;
  const int32_t begin = p.query_start[min(s, p.num_sequences)];
  const int32_t end = there ? p.query_start[s + 1] : begin;
  const int32_t keys = there ? p.context_len[s] : 0;
  int32_t* pages = w.pages + int64_t{s} * w.pages_each;
  const int32_t used = min((keys + p.kv.block_size - 1) / p.kv.block_size, w.pages_each);
  bool outside = false;
  if (there && used > 0) {
    const int64_t row = p.table_rows == nullptr ? s : p.table_rows[s];
    const int32_t* table = p.block_tables + row * p.block_table_stride;
    for (int32_t i = threadIdx.x; i < w.pages_each; i += kThreads) {
      // Behind the last page the last again: its keys are known to be the sequence's own.
      const int32_t block = table[min(i, used - 1)];
      const bool good = block >= 0 && block < p.kv.num_blocks;
      outside = outside || !good;
      pages[i] = good ? block : 0;
    }
  } else {
    for (int32_t i = threadIdx.x; i < w.pages_each; i += kThreads) pages[i] = 0;
  }
  outside = __syncthreads_or(outside);
  const bool skipped = outside || keys < end - begin;
  if (threadIdx.x == 0) {
    w.num_queries[s] = skipped ? 0 : end - begin;
    w.num_keys[s] = skipped ? 0 : keys;
    w.q_start[s] = begin * row_q;
    w.out_start[s] = begin * row_out;
    if (s == w.batch - 1) {
      w.q_start[w.batch] = end * row_q;
      w.out_start[w.batch] = end * row_out;
    }
  }
  if (!skipped || end == begin) return;
  auto* out = static_cast<__nv_bfloat16*>(p.out) + int64_t{begin} * row_out;
  const __nv_bfloat16 value = __float2bfloat16_rn(outside ? NAN : 0.0f);
  for (int64_t i = threadIdx.x; i < int64_t{end - begin} * row_out; i += kThreads) out[i] = value;
}

// One block: positions of a sequence's last block behind its keys become zeros for one kv head.
// cuDNN multiplies them by weights of zero, and what an earlier owner left may be NaN.
__device__ void clear_behind(const Prepare& w, int32_t s, int32_t head) {
  const AttentionParams& p = w.p;
  const int32_t keys = p.context_len[s], block_size = p.kv.block_size;
  const int32_t first = keys % block_size;
  if (keys <= 0 || first == 0) return;
  const int64_t row = p.table_rows == nullptr ? s : p.table_rows[s];
  const int32_t block = p.block_tables[row * p.block_table_stride + keys / block_size];
  if (block < 0 || block >= p.kv.num_blocks) return;
  const auto clear = [&](void* data, int64_t block_stride, int32_t dim) {
    auto* tile = static_cast<char*>(data) + block * block_stride +
                 int64_t{head} * block_size * dim * 2;
    auto* rows = reinterpret_cast<uint4*>(tile + int64_t{first} * dim * 2);
    for (int32_t i = threadIdx.x; i < (block_size - first) * dim / 8; i += kThreads) {
      rows[i] = make_uint4(0, 0, 0, 0);
    }
  };
  clear(p.kv.k, p.kv.k_block_stride, p.kv.k_dim);
  clear(p.kv.v, p.kv.v_block_stride, p.kv.v_dim);
}

// Eight columns of a query a thread.
__device__ void round_queries(const Prepare& w, int64_t item) {
  const AttentionParams& p = w.p;
  const int32_t eights = p.num_q_heads * p.kv.k_dim / 8;
  const int64_t token = item / eights;
  if (token >= p.num_tokens) return;
  const int64_t from = token * p.q_stride + item % eights * 8;
  uint4 eight;
  if (p.q_format == Format::kBf16) {
    eight = *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(p.q) + from);
  } else {
    const auto* four = reinterpret_cast<const float4*>(static_cast<const float*>(p.q) + from);
    const float4 a = four[0], b = four[1];
    const __nv_bfloat162 pairs[4] = {
        __floats2bfloat162_rn(a.x, a.y), __floats2bfloat162_rn(a.z, a.w),
        __floats2bfloat162_rn(b.x, b.y), __floats2bfloat162_rn(b.z, b.w)};
    eight = *reinterpret_cast<const uint4*>(pairs);
  }
  reinterpret_cast<uint4*>(w.q)[item] = eight;
}

__global__ void __launch_bounds__(kThreads) prepare_kernel(const __grid_constant__ Prepare w) {
  int64_t block = blockIdx.x;
  if (block < w.batch) return prepare_sequence(w, static_cast<int32_t>(block));
  block -= w.batch;
  const int64_t tails = int64_t{w.p.num_sequences} * w.p.kv.num_kv_heads;
  if (block < tails) {
    return clear_behind(w, static_cast<int32_t>(block / w.p.kv.num_kv_heads),
                        static_cast<int32_t>(block % w.p.kv.num_kv_heads));
  }
  round_queries(w, (block - tails) * kThreads + threadIdx.x);
}

int64_t table_entries(const CudnnBucket& bounds, int32_t block_size) {
  return bounds.batch * (bounds.max_keys / block_size);
}

bool fits(const CudaExec& exec, const AttentionParams& p) {
  return cudnn_runs(exec, p) && cudnn_is_faster(p) && p.cudnn->find(p) != nullptr;
}

int64_t workspace_bytes(const CudaExec& exec, const AttentionBounds& b) {
  if (!exec.has_sm90a() || !has_kernel(b.k_dim, b.v_dim)) return 0;
  const CudnnBucket bounds = cudnn_bucket(b.max_sequences, b.max_context_len);
  return kAlignment + Parts(bounds.batch,
                            std::min(kMostEntries, table_entries(bounds, kLeastBlock)),
                            b.max_tokens * b.num_q_heads * b.k_dim * 2)
                          .end;
}

void run(const CudaExec& exec, const AttentionParams& p, void* workspace, int64_t bytes) {
  const CudnnPlan* plan = p.cudnn->find(p);
  SLUICE_CHECK(plan != nullptr, SLUICE_STATUS_INTERNAL, "cuDNN: no plan for ", p.num_sequences,
               " sequences of up to ", p.longest_query, " queries and ", p.longest_context, " keys");
  const CudnnShape& shape = plan->shape();
  const int32_t pages_each = static_cast<int32_t>(shape.max_keys / shape.block_size);
  const bool own = own_queries(p);
  const Parts parts(shape.batch, int64_t{shape.batch} * pages_each,
                    own ? 0 : p.num_tokens * p.num_q_heads * p.kv.k_dim * 2);
  const auto address = reinterpret_cast<uintptr_t>(workspace);
  const auto skipped = static_cast<int64_t>(round_up(address, kAlignment) - address);
  check_attention_workspace(workspace, bytes, skipped + parts.end);
  auto* memory = static_cast<char*>(workspace) + skipped;
  const auto at = [&](int64_t offset) { return reinterpret_cast<int32_t*>(memory + offset); };
  Prepare w{p,
            shape.batch,
            pages_each,
            at(parts.num_queries),
            at(parts.num_keys),
            at(parts.q_start),
            at(parts.out_start),
            at(parts.pages),
            own ? nullptr : reinterpret_cast<__nv_bfloat16*>(memory + parts.q)};
  const int64_t eights = own ? 0 : p.num_tokens * p.num_q_heads * p.kv.k_dim / 8;
  const int64_t blocks = shape.batch + int64_t{p.num_sequences} * p.kv.num_kv_heads +
                         ceil_div(eights, kThreads);
  prepare_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream_of(exec)>>>(w);
  SLUICE_CHECK_LAUNCH("attention of ", p.num_tokens, " tokens, for cuDNN");
  CudnnArguments arguments;
  arguments.q = own ? p.q : w.q;
  arguments.k = p.kv.k;
  arguments.v = p.kv.v;
  arguments.out = p.out;
  arguments.num_queries = w.num_queries;
  arguments.num_keys = w.num_keys;
  arguments.q_start = w.q_start;
  arguments.out_start = w.out_start;
  arguments.pages = w.pages;
  plan->run(p.cudnn->handle(exec), arguments, memory + parts.plan);
}

}  // namespace

bool cudnn_takes(const KvCacheView& kv) {
  return has_kernel(kv.k_dim, kv.v_dim) && kv.format == Format::kBf16 &&
         kv.block_size >= kLeastBlock && kv.num_blocks > 0;
}

bool cudnn_runs(const CudaExec& exec, const AttentionParams& p) {
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  const KvCacheView& kv = p.kv;
  if (p.cudnn == nullptr || !exec.has_sm90a() || p.numerics != Numerics::kFast ||
      !cudnn_takes(kv)) {
    return false;
  }
  const int64_t columns = int64_t{p.num_q_heads} * kv.k_dim;
  const CudnnBucket bounds = cudnn_bucket(p.num_sequences, p.longest_context);
  return p.queries_last && p.longest_query > 0 && p.longest_context > 0 && p.causal &&
         p.window == 0 && p.chunk == 0 && p.soft_cap == 0 && p.sinks == nullptr && p.lse == nullptr &&
         p.out_format == Format::kBf16 && p.out_stride == int64_t{p.num_q_heads} * kv.v_dim &&
         aligned(p.q) && aligned(p.out) && p.q_stride % 8 == 0 &&
         p.num_tokens * columns < kMostElements &&
         table_entries(bounds, kv.block_size) <= kMostEntries;
}

// Our own kernel takes its tiles of 128 queries one after the other: what it does before and after a
// tile's keys counts where tiles are many and keys few. cuDNN overlaps that, but loses time to lengths
// and, where queries must be rounded first, to that. Measured on one H200 with cuDNN 9.19.0; docs/gpu.md
// has the numbers.
bool cudnn_is_faster(const AttentionParams& p) {
  const int64_t tiles = ceil_div(p.num_tokens, int64_t{128}) * p.num_q_heads;
  const int64_t keys = p.longest_context - p.longest_query / 2;  // of a query, on average
  const int64_t rounded = p.kv.k_dim > 128 ? kMostKeysRoundedWide : kMostKeysRounded;
  return tiles >= kFewestTiles && keys <= (own_queries(p) ? kMostKeys : rounded);
}

bool cudnn_may_be_faster(int64_t longest_context) {
  return longest_context - longest_context / 2 <= kMostKeys;
}

const AttentionVariant kCudnnAttention{"cudnn", fits, workspace_bytes, run};

}  // namespace sluice::cuda
