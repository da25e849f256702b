// Which kernels the steps of an engine on a device run, asked of the ops' own choosers.
#include <algorithm>
#include <variant>

#include "base/error.h"
#include "ops/attention/attention_cuda.h"
#include "ops/attention/cudnn_library.h"
#include "ops/gemm/product_cuda.h"
#include "runtime/device_runner.h"

namespace sluice {
namespace {

constexpr int64_t kPrefillTokens = 512;

// The part of a call that decides about its kernel. Nothing of it has memory.
AttentionParams attention_call(const EnginePlan& plan, const KvShape& shape, int64_t tokens) {
  AttentionParams call;
  call.num_tokens = tokens;
  call.num_sequences = 1;
  call.q_format = call.out_format = plan.options.compute_format;
  call.longest_context = plan.options.max_context_len;
  call.block_table_stride = plan.rules.limits.max_blocks_per_sequence;
  call.numerics = plan.options.numerics;
  call.kv.format = plan.options.kv_format;
  call.kv.layout = KvLayout::kRows;
  call.kv.block_size = plan.options.block_size;
  call.kv.num_blocks = std::max<int64_t>(plan.options.num_blocks[0], 1);
  call.kv.num_kv_heads = shape.num_kv_heads;
  call.kv.k_dim = shape.k_dim;
  call.kv.v_dim = shape.v_dim;
  return call;
}

void add_attention(const EnginePlan& plan, const KvShape& shape, std::vector<KernelUse>* uses) {
  for (const int64_t tokens : {int64_t{1}, kPrefillTokens}) {
    AttentionParams call = attention_call(plan, shape, tokens);
    const auto& attention = plan.spec.layers[0].attention;
    const char* variant = "plain";
    if (const auto* gqa = std::get_if<GqaSpec>(&attention)) {
      call.num_q_heads = gqa->num_q_heads;
      call.soft_cap = gqa->logit_soft_cap;
      variant = cuda::attention_variant(*plan.cuda, call).name;
    } else if (const auto* mla = std::get_if<MlaSpec>(&attention)) {
      if (tokens > 1) continue;  // long prompts are decompressed first, by the step's own lengths
      call.num_q_heads = mla->num_q_heads;
      call.value_dim = mla->kv_lora_rank;
      variant = cuda::attention_variant(*plan.cuda, call).name;
    }
    uses->push_back({tokens == 1 ? "attention, decode" : "attention, prefill", variant,
                     "layer 0, by formats, widths and numerics"});
  }
}

// The second backend, or why there is none.
void add_cudnn(const EnginePlan& plan, std::vector<KernelUse>* uses) {
  if (plan.options.numerics != Numerics::kFast) return;
  const CudnnInfo& cudnn = cudnn_info();
  std::string reason = concat("cuDNN ", cudnn.version, " where it is faster");
  bool runs = false;
  if (!cudnn.problem.empty()) {
    reason = cudnn.problem;
  } else if (!plan.cuda->has_sm90a() || plan.options.kv_format != Format::kBf16 ||
             plan.options.compute_format != Format::kBf16) {
    reason = "cuDNN: bfloat16 on compute capability 9.0 alone";
  } else {
    runs = true;
  }
  uses->push_back({"attention, short prompts", runs ? "cudnn" : "as one prompt", reason});
}

void add_products(const EnginePlan& plan, std::vector<KernelUse>* uses) {
  const RankPlan& rank = plan.ranks[0];
  const WeightStore store(rank.slots);
  GemmParams product;
  product.w = store.matrix(SLUICE__PROTO__SLOT__O, 0);  // every attention kind has one
  product.x_format = plan.options.compute_format;
  product.x_stride = product.w.cols;
  product.y_stride = product.w.rows;
  const std::string numerics =
      plan.options.numerics == Numerics::kFast ? "FAST" : "BATCH_INVARIANT";
  for (const int64_t rows : {1, 16, 512}) {
    product.num_rows = rows;
    uses->push_back({concat("gemm, ", rows, rows == 1 ? " row" : " rows"),
                     rank.gemm->variant(plan.exec, product), "numerics " + numerics});
  }
}

}  // namespace

std::vector<KernelUse> device_kernel_uses(const EnginePlan& plan) {
  const WeightStore store(plan.ranks[0].slots);
  const Decoder decoder(plan.ranks[0].shard, store);
  std::vector<KernelUse> uses;
  add_attention(plan, decoder.kv_shape(0), &uses);
  add_cudnn(plan, &uses);
  for (const char* op : {"norm", "rope", "activation", "sampling"}) {
    uses.push_back({op, "cuda", "the kernel of any size"});
  }
  add_products(plan, &uses);
  return uses;
}

}  // namespace sluice
