#include "layers/mla.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/latent/latent.h"

namespace sluice {
namespace {

// Rows (token, head) of absorbed queries at a time: bounds the workspace, since such a row is
// several times as wide as a query. Attention's results do not depend on where tokens are cut. A GPU
// takes more of them to be busy.
constexpr int64_t kAbsorbedRows = 4096;
constexpr int64_t kAbsorbedRowsCuda = 32768;

}  // namespace

MlaLayer::MlaLayer(const MlaSpec& spec, int32_t kv_group, int32_t window,
                   const MlaWeights& weights)
    : spec_(spec), kv_group_(kv_group), window_(window), weights_(weights) {
  const WeightView& q = weights.q_b;
  const WeightView& kv = weights.kv_a;
  // Rows behind rows are one matrix.
  if (spec.q_lora_rank == 0 && weights.kv_a_bias == nullptr && q.data != nullptr &&
      q.layout == WeightLayout::kRowMajor && kv.layout == q.layout && q.cols == kv.cols &&
      q.format == kv.format &&
      static_cast<char*>(q.data) + format_bytes(q.format, q.rows * q.cols) == kv.data) {
    merged_ = q;
    merged_.rows = q.rows + kv.rows;
  }
}

int64_t MlaLayer::absorbed_tokens(const LayerContext& context) const {
  const int64_t rows = context.exec.cuda == nullptr ? kAbsorbedRows : kAbsorbedRowsCuda;
  return std::max<int64_t>(1, rows / spec_.num_q_heads);
}

// On CUDA the tokens of decode are one piece.
int64_t MlaLayer::absorbed_tokens(const LayerContext& context, const StepBatch& batch) const {
  const int64_t tokens = absorbed_tokens(context);
  const bool decode = context.exec.cuda != nullptr && batch.longest_query <= 1;
  return decode ? std::max<int64_t>(tokens, batch.num_tokens) : tokens;
}

int64_t MlaLayer::projection_bytes(const LayerContext& context, int64_t tokens) const {
  const auto gemm = [&](const WeightView& w) {
    return arena_bytes(context.gemm.workspace_bytes(tokens, w.rows, w.cols));
  };
  int64_t bytes = std::max({gemm(weights_.q_b), gemm(weights_.kv_a), gemm(weights_.o)});
  if (merged_.data != nullptr) bytes = std::max(bytes, gemm(merged_));
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
  return arena_bytes(checked_mul(tokens, (spec_.q_size() + spec_.latent_size()) * 4)) +
         arena_bytes(checked_mul(tokens, spec_.o_size() * context.element_bytes())) +
         std::max(projection_bytes(context, tokens), attention);
}

void MlaLayer::run(LayerContext& context, const StepBatch& batch, const KvCacheView& kv,
                   const SideChannelView& /*channel*/, const void* x,
                   const ResidualTarget& target) const {
  const ArenaScope scope(context.workspace);
  const int64_t tokens = batch.num_tokens;
  void* out = context.workspace.allocate(tokens * spec_.o_size() * context.element_bytes());
  {
    const ArenaScope rows_scope(context.workspace);
    // Decode, and what a graph must do for every step, is absorbed: there is nothing to decide.
    const bool absorbed = context.numerics != Numerics::kFast || batch.host == nullptr ||
                          batch.longest_query <= 1;
    const bool one_piece = absorbed && tokens <= absorbed_tokens(context, batch);
    const Rows rows = project(context, tokens, x, one_piece);
    const Call call{context, batch, kv, rows.q, out};
    if (one_piece) {
      const Absorbed queries = take_absorbed(call, tokens);
      prepare(call, rows, &queries);
      attend_absorbed_piece(call, queries, 0, tokens);
    } else {
      prepare(call, rows, nullptr);
      absorbed ? attend_absorbed(call, 0, tokens) : attend(call);
    }
  }
  matrix_product(context, product(context, tokens, out, weights_.o, weights_.o_bias, target));
}

// Float32 until the cache rounds: norms and rotation cost no precision.
MlaLayer::Rows MlaLayer::project(LayerContext& context, int64_t num_tokens, const void* x,
                                 bool together) const {
  Rows rows;
  const int64_t q_size = spec_.q_size(), latent_size = spec_.latent_size();
  rows.q = context.workspace.allocate_array<float>(num_tokens * (q_size + latent_size));
  rows.q_stride = rows.latent_stride = q_size + latent_size;
  rows.latent = rows.q + q_size;
  if (together && merged_.data != nullptr) {
    matrix_product(context, product(context, num_tokens, x, merged_, nullptr, rows.q));
    return rows;
  }
  rows.q_stride = q_size;
  rows.latent_stride = latent_size;
  rows.latent = rows.q + num_tokens * q_size;
  project_queries(context, num_tokens, x, rows.q);
  matrix_product(context,
                 product(context, num_tokens, x, weights_.kv_a, weights_.kv_a_bias, rows.latent));
  return rows;
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

// The cache's rows, and the queries turned: in place, or where the absorbed form reads them.
void MlaLayer::prepare(const Call& call, const Rows& rows, const Absorbed* queries) const {
  LayerContext& context = call.context;
  const StepBatch& batch = call.batch;
  const LayerTimer timer(context, &LayerTimes::attention);
  const RopeAngles& angles = batch.ropes[spec_.rope];
  LatentParams params;
  params.num_tokens = batch.num_tokens;
  params.num_heads = spec_.num_q_heads;
  params.nope_dim = spec_.qk_nope_head_dim;
  params.rope_dim = spec_.qk_rope_head_dim;
  params.rank = spec_.kv_lora_rank;
  params.q = rows.q;
  params.q_stride = rows.q_stride;
  params.latent = rows.latent;
  params.latent_stride = rows.latent_stride;
  if (spec_.kv_a_norm) {
    // The latent alone: the rotary key behind it is not normed.
    const NormWeights& weights = weights_.kv_a_norm;
    params.has_norm = true;
    params.norm_kind = spec_.kv_a_norm->kind;
    params.norm_eps = spec_.kv_a_norm->eps;
    params.norm_weight = weights.weight;
    params.norm_bias = weights.bias;
    params.norm_weight_offset = weights.weight == nullptr ? 0 : spec_.kv_a_norm->weight_offset;
  }
  params.rotary_dim = angles.rotary_dim;
  params.interleaved = angles.interleaved;
  params.cos = angles.cos;
  params.sin = angles.sin;
  params.cache = call.kv;
  params.slots = batch.kv_slots + kv_group_;
  params.slot_stride = batch.num_kv_groups;
  if (queries != nullptr) {
    params.unrotated = queries->unrotated;
    params.unrotated_format = context.compute_format;
    params.absorbed = queries->rows;
    params.absorbed_format = queries->format;
  }
  latent_rows(context.exec, params);
}

void MlaLayer::attend(const Call& call) const {
  const StepBatch& batch = call.batch;
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
  const int64_t step = absorbed_tokens(call.context, call.batch);
  for (int64_t at = token_begin; at < token_end; at += step) {
    const ArenaScope scope(call.context.workspace);
    const int64_t end = std::min(at + step, token_end);
    const Absorbed queries = take_absorbed(call, end - at);
    const float* q = call.q + at * spec_.q_size();
    const int64_t rows = (end - at) * spec_.num_q_heads;
    const int64_t nope = spec_.qk_nope_head_dim;
    convert_columns(call.context, rows, nope, q, spec_.qk_head_dim(), queries.unrotated,
                    call.context.compute_format, nope);
    convert_columns(call.context, rows, spec_.qk_rope_head_dim, q + nope, spec_.qk_head_dim(),
                    queries.rows + format_bytes(queries.format, spec_.kv_lora_rank),
                    queries.format, spec_.latent_size());
    attend_absorbed_piece(call, queries, at, end);
  }
}

MlaLayer::Absorbed MlaLayer::take_absorbed(const Call& call, int64_t tokens) const {
  const LayerContext& context = call.context;
  const int64_t rows = tokens * spec_.num_q_heads;
  Absorbed out;
  // Attention rounds its queries to the cache's format in any case.
  out.format = call.kv.format == Format::kBf16 ? context.compute_format : Format::kF32;
  out.unrotated =
      context.workspace.allocate(rows * spec_.qk_nope_head_dim * context.element_bytes());
  out.rows = static_cast<std::byte*>(
      context.workspace.allocate(format_bytes(out.format, rows * spec_.latent_size())));
  return out;
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

void MlaLayer::attend_absorbed_piece(const Call& call, const Absorbed& queries,
                                     int64_t token_begin, int64_t token_end) const {
  LayerContext& context = call.context;
  const StepBatch& batch = call.batch;
  const ArenaScope scope(context.workspace);
  const int64_t tokens = token_end - token_begin;
  const int64_t heads = spec_.num_q_heads;
  const int64_t rank = spec_.kv_lora_rank, nope = spec_.qk_nope_head_dim;
  const int64_t element = context.element_bytes();
  void* latents = context.workspace.allocate(tokens * heads * rank * element);
  const int32_t* query_start = batch.query_start;
  if (tokens < batch.num_tokens) {
    auto* cut = context.workspace.allocate_array<int32_t>(batch.num_sequences + 1);
    cut_query_start(context, batch, token_begin, token_end, cut);
    query_start = cut;
  }
  BatchedGemmParams uk;
  uk.num_rows = tokens;
  uk.x = queries.unrotated;
  uk.x_format = context.compute_format;
  uk.x_stride = heads * nope;
  uk.x_batch_stride = nope;
  uk.w = weights_.absorbed.uk;
  uk.y = queries.rows;
  uk.y_format = queries.format;
  uk.y_stride = heads * spec_.latent_size();
  uk.y_batch_stride = spec_.latent_size();
  {
    const LayerTimer timer(context, &LayerTimes::dense);
    batched_gemm(context.exec, uk);
  }
  {
    const LayerTimer timer(context, &LayerTimes::attention);
    AttentionParams params = common_params(call);
    params.num_tokens = tokens;
    params.q = queries.rows;
    params.q_format = queries.format;
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
