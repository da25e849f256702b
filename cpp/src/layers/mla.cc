#include "layers/mla.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/elementwise/elementwise.h"
#include "ops/kv_write/kv_write.h"
#include "ops/rope/rope.h"

namespace sluice {
namespace {

// Rows (token, head) of absorbed queries at a time: bounds the workspace, since such a row is
// several times as wide as a query. Attention's results do not depend on where tokens are cut. A GPU
// takes more of them to be busy.
constexpr int64_t kAbsorbedRows = 4096;
constexpr int64_t kAbsorbedRowsCuda = 32768;

// Columns of dense-headed rows, converted.
void convert_columns(LayerContext& context, int64_t num_rows, int64_t cols, const float* x,
                     int64_t x_stride, void* y, Format y_format, int64_t y_stride) {
  ConvertRowsParams params;
  params.num_rows = num_rows;
  params.cols = cols;
  params.x = x;
  params.x_format = Format::kF32;
  params.x_stride = x_stride;
  params.y = y;
  params.y_format = y_format;
  params.y_stride = y_stride;
  convert_rows(context.exec, params);
}

}  // namespace

int64_t MlaLayer::absorbed_tokens(const LayerContext& context) const {
  const int64_t rows = context.exec.cuda == nullptr ? kAbsorbedRows : kAbsorbedRowsCuda;
  return std::max<int64_t>(1, rows / spec_.num_q_heads);
}

int64_t MlaLayer::projection_bytes(const LayerContext& context, int64_t tokens) const {
  const auto gemm = [&](const WeightView& w) {
    return arena_bytes(context.gemm.workspace_bytes(tokens, w.rows, w.cols));
  };
  int64_t bytes = std::max({gemm(weights_.q_b), gemm(weights_.kv_a), gemm(weights_.o)});
  if (spec_.q_lora_rank > 0) {
    const int64_t values = checked_mul(tokens, spec_.q_lora_rank);
    bytes = std::max(bytes, gemm(weights_.q_a));
    bytes += arena_bytes(checked_mul(values, 4)) + arena_bytes(values * context.element_bytes());
  }
  return bytes;
}

int64_t MlaLayer::absorbed_bytes_of(const LayerContext& context, const BatchLimits& limits) const {
  // On CUDA the tokens of decode are one piece.
  const int64_t most = context.exec.cuda == nullptr
                           ? absorbed_tokens(context)
                           : std::max<int64_t>(absorbed_tokens(context), limits.max_sequences);
  const int64_t tokens = std::min(limits.max_tokens, most);
  const int64_t rows = tokens * spec_.num_q_heads;
  return arena_bytes(rows * spec_.qk_nope_head_dim * context.element_bytes()) +
         arena_bytes(rows * spec_.latent_size() * 4) +
         arena_bytes(rows * spec_.kv_lora_rank * context.element_bytes()) +
         arena_bytes((int64_t{limits.max_sequences} + 1) * 4) +
         arena_bytes(attention_workspace_bytes(
             context.exec, tokens, limits.max_sequences, limits.max_context_len, spec_.num_q_heads,
             static_cast<int32_t>(spec_.latent_size()), spec_.kv_lora_rank));
}

int64_t MlaLayer::workspace_bytes(const LayerContext& context, const BatchLimits& limits) const {
  const int64_t tokens = limits.max_tokens;
  int64_t attention = absorbed_bytes_of(context, limits);
  if (context.numerics == Numerics::kFast) {
    attention = std::max(attention, decompressed_bytes_of(context, limits));
  }
  return arena_bytes(checked_mul(tokens, spec_.q_size() * 4)) +
         arena_bytes(checked_mul(tokens, spec_.latent_size() * 4)) +
         arena_bytes(checked_mul(tokens, spec_.o_size() * context.element_bytes())) +
         std::max(projection_bytes(context, tokens), attention);
}

void MlaLayer::run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                   const SideChannelView& /*channel*/, const void* x,
                   const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  // Float32 until the cache rounds: norms and rotation cost no precision.
  float* q = context.workspace.allocate_array<float>(batch.num_tokens * spec_.q_size());
  float* latent = context.workspace.allocate_array<float>(batch.num_tokens * spec_.latent_size());
  void* out =
      context.workspace.allocate(batch.num_tokens * spec_.o_size() * context.element_bytes());
  project_queries(context, batch.num_tokens, x, q);
  project_latent(context, batch.num_tokens, x, latent);
  rotate(context, batch, q, latent);
  store(context, batch, kv, latent);
  attend({context, batch, kv, q, out});

  matrix_product(context,
                 product(context, batch.num_tokens, out, weights_.o, weights_.o_bias, target));
}

void MlaLayer::project_queries(LayerContext& context, int64_t num_tokens, const void* x,
                               float* q) const {
  if (spec_.q_lora_rank == 0) {
    matrix_product(context, product(context, num_tokens, x, weights_.q_b, nullptr, q));
    return;
  }
  const ArenaScope scope(context.workspace);
  const int64_t rank = spec_.q_lora_rank;
  float* wide = context.workspace.allocate_array<float>(num_tokens * rank);
  void* normed = context.workspace.allocate(num_tokens * rank * context.element_bytes());
  matrix_product(context, product(context, num_tokens, x, weights_.q_a, weights_.q_a_bias, wide));
  if (spec_.q_a_norm) {
    norm_rows(context, *spec_.q_a_norm, weights_.q_a_norm, num_tokens, rank, wide, normed,
              context.compute_format);
  } else {
    round_rows(context, num_tokens, rank, wide, normed);
  }
  matrix_product(context, product(context, num_tokens, normed, weights_.q_b, nullptr, q));
}

void MlaLayer::project_latent(LayerContext& context, int64_t num_tokens, const void* x,
                              float* latent) const {
  matrix_product(context,
                 product(context, num_tokens, x, weights_.kv_a, weights_.kv_a_bias, latent));
  if (spec_.kv_a_norm) {
    // The latent alone: the rotary key behind it is not normed.
    norm_heads(context, *spec_.kv_a_norm, weights_.kv_a_norm, num_tokens, 1, spec_.kv_lora_rank,
               latent, spec_.latent_size());
  }
}

void MlaLayer::rotate(LayerContext& context, const StepBatch& batch, float* q,
                      float* latent) const {
  const RopeAngles& angles = batch.ropes[spec_.rope];
  RopeParams params;
  params.num_tokens = batch.num_tokens;
  params.num_heads = spec_.num_q_heads;
  params.head_dim = static_cast<int32_t>(spec_.qk_head_dim());
  params.rotary_dim = angles.rotary_dim;
  params.rotary_begin = spec_.qk_nope_head_dim;
  params.interleaved = angles.interleaved;
  params.x = q;
  params.format = Format::kF32;
  params.x_stride = spec_.q_size();
  params.cos = angles.cos;
  params.sin = angles.sin;
  rope(context.exec, params);
  params.num_heads = 1;
  params.head_dim = spec_.qk_rope_head_dim;
  params.rotary_begin = 0;
  params.x = latent + spec_.kv_lora_rank;
  params.x_stride = spec_.latent_size();
  rope(context.exec, params);
}

void MlaLayer::store(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                     const float* latent) const {
  const LayerTimer timer(context, &LayerTimes::attention);
  KvWriteParams params;
  params.num_tokens = batch.num_tokens;
  params.v = latent;
  params.format = Format::kF32;
  params.v_stride = spec_.latent_size();
  params.slots = batch.kv_slots + kv_group_;
  params.slot_stride = batch.num_kv_groups;
  params.cache = kv;
  kv_write(context.exec, params);
}

void MlaLayer::attend(const Call& call) const {
  const StepBatch& batch = call.batch;
  // Decode, and what a graph must do for every step, is absorbed: there is nothing to decide.
  if (call.context.numerics != Numerics::kFast || batch.host == nullptr ||
      batch.longest_query <= 1) {
    return attend_absorbed(call, 0, batch.num_tokens);
  }
  const auto whole = [&](int32_t s) { return decompresses(batch, s); };
  for (int32_t s = 0; s < batch.num_sequences;) {
    const int32_t first = s;
    if (!whole(s)) {
      while (s < batch.num_sequences && !whole(s)) ++s;
      attend_absorbed(call, batch.host->query_start[first], batch.host->query_start[s]);
      continue;
    }
    // A GPU takes several sequences at once, as many as one piece holds.
    int64_t rows = decompressed_rows(batch, s++);
    while (call.context.exec.cuda != nullptr && s < batch.num_sequences && whole(s) &&
           rows + decompressed_rows(batch, s) <= most_decompressed_rows(call.context)) {
      rows += decompressed_rows(batch, s++);
    }
    attend_decompressed(call, first, s);
  }
}

void MlaLayer::attend_absorbed(const Call& call, int64_t token_begin, int64_t token_end) const {
  const bool decode = call.context.exec.cuda != nullptr && call.batch.longest_query <= 1;
  const int64_t step =
      decode ? std::max<int64_t>(1, call.batch.num_tokens) : absorbed_tokens(call.context);
  for (int64_t at = token_begin; at < token_end; at += step) {
    attend_absorbed_piece(call, at, std::min(at + step, token_end));
  }
}

AttentionParams MlaLayer::common_params(const Call& call) const {
  AttentionParams params;
  params.num_q_heads = spec_.num_q_heads;
  params.q_format = Format::kF32;
  params.softmax_scale = spec_.softmax_scale;
  params.window = window_;
  params.numerics = call.context.numerics;
  params.out_format = call.context.compute_format;
  return params;
}

void MlaLayer::attend_absorbed_piece(const Call& call, int64_t token_begin,
                                     int64_t token_end) const {
  LayerContext& context = call.context;
  const StepBatch& batch = call.batch;
  const ArenaScope scope(context.workspace);
  const int64_t tokens = token_end - token_begin;
  const int64_t heads = spec_.num_q_heads;
  const int64_t rows = tokens * heads;
  const int64_t rank = spec_.kv_lora_rank, nope = spec_.qk_nope_head_dim;
  const int64_t element = context.element_bytes();
  // Attention rounds its queries to the cache's format in any case.
  const Format format = call.kv.format == Format::kBf16 ? context.compute_format : Format::kF32;
  const float* q = call.q + token_begin * spec_.q_size();
  void* unrotated = context.workspace.allocate(rows * nope * element);
  auto* absorbed = static_cast<std::byte*>(
      context.workspace.allocate(format_bytes(format, rows * spec_.latent_size())));
  void* latents = context.workspace.allocate(rows * rank * element);
  const int32_t* query_start = batch.query_start;
  if (tokens < batch.num_tokens) {
    ShiftParams cut;
    cut.count = int64_t{batch.num_sequences} + 1;
    cut.x = batch.query_start;
    cut.low = static_cast<int32_t>(token_begin);
    cut.high = static_cast<int32_t>(token_end);
    cut.offset = cut.low;
    cut.y = context.workspace.allocate_array<int32_t>(cut.count);
    shift_values(context.exec, cut);
    query_start = cut.y;
  }
  convert_columns(context, rows, nope, q, spec_.qk_head_dim(), unrotated, context.compute_format,
                  nope);
  BatchedGemmParams uk;
  uk.num_rows = tokens;
  uk.x = unrotated;
  uk.x_format = context.compute_format;
  uk.x_stride = heads * nope;
  uk.x_batch_stride = nope;
  uk.w = weights_.absorbed.uk;
  uk.y = absorbed;
  uk.y_format = format;
  uk.y_stride = heads * spec_.latent_size();
  uk.y_batch_stride = spec_.latent_size();
  {
    const LayerTimer timer(context, &LayerTimes::dense);
    batched_gemm(context.exec, uk);
  }
  {
    const LayerTimer timer(context, &LayerTimes::attention);
    convert_columns(context, rows, spec_.qk_rope_head_dim, q + nope, spec_.qk_head_dim(),
                    absorbed + format_bytes(format, rank), format, spec_.latent_size());
    AttentionParams params = common_params(call);
    params.num_tokens = tokens;
    params.q = absorbed;
    params.q_format = format;
    params.q_stride = heads * spec_.latent_size();
    params.positions = batch.positions + token_begin;
    params.num_sequences = batch.num_sequences;
    params.query_start = query_start;
    params.context_len = batch.context_len;
    params.block_tables = batch.block_tables[kv_group_];
    params.block_table_stride = batch.block_table_stride;
    params.table_rows = batch.seq_slots;
    params.longest_context = batch.longest_context;
    params.kv = call.kv;
    params.value_dim = spec_.kv_lora_rank;
    params.out = latents;
    params.out_stride = heads * rank;
    const int64_t bytes = attention_workspace_bytes(
        context.exec, tokens, batch.num_sequences, batch.longest_context, spec_.num_q_heads,
        static_cast<int32_t>(spec_.latent_size()), spec_.kv_lora_rank);
    attention(context.exec, params, context.workspace.allocate(bytes), bytes);
  }
  const LayerTimer timer(context, &LayerTimes::dense);
  BatchedGemmParams uv;
  uv.num_rows = tokens;
  uv.x = latents;
  uv.x_format = context.compute_format;
  uv.x_stride = heads * rank;
  uv.x_batch_stride = rank;
  uv.w = weights_.absorbed.uv;
  uv.y = static_cast<char*>(call.out) + token_begin * spec_.o_size() * element;
  uv.y_format = context.compute_format;
  uv.y_stride = spec_.o_size();
  uv.y_batch_stride = spec_.v_head_dim;
  batched_gemm(context.exec, uv);
}

}  // namespace sluice
