// The decompressed form of latent attention: keys and values of all heads, made from the latents of
// a piece of the context at a time; the pieces' results are put together by their log-sum-exps.
#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "layers/mla.h"
#include "ops/kv_write/kv_write.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

constexpr int32_t kBlock = 64;  // positions per block of the piece's own cache: a tile of keys
// Keys of a piece, at most: what putting a piece's result to the others costs is then small beside
// it.
constexpr int64_t kPieceKeys = 512;
constexpr int64_t kMaxHeadDim = 256;  // of the cache's layout
// Fewer queries than a register tile has rows leave most of a product idle.
constexpr int64_t kFewestTokens = 16;

// Keys of each piece of a context.
int64_t piece_keys(int64_t keys) { return std::min(kPieceKeys, round_up(keys, kBlock)); }

// out = (out e^lse + part e^part_lse) / (e^lse + e^part_lse) for each head of `rows` tokens.
void merge_parts(const Exec& exec, int64_t rows, int64_t heads, int64_t dim, const float* part,
                 const float* part_lse, float* out, float* lse) {
  parallel_ranges(exec, rows * heads, grain_for_bytes(dim * 12), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float top = std::max(lse[i], part_lse[i]);
      if (std::isinf(top) && top < 0) continue;  // neither has seen a key
      const float a = std::exp(lse[i] - top), b = std::exp(part_lse[i] - top);
      const float sum = a + b;
      for (int64_t d = 0; d < dim; ++d) {
        out[i * dim + d] = out[i * dim + d] * (a / sum) + part[i * dim + d] * (b / sum);
      }
      lse[i] = top + std::log(sum);
    }
  });
}

}  // namespace

struct MlaLayer::Piece {
  void* latents;   // [keys, kv_lora_rank + rope]
  void* heads;     // [keys, num_q_heads, nope + v]
  int32_t* slots;  // [keys] identity: slot of a key in the piece's cache, and table of its blocks
  KvCacheView kv;
};

bool MlaLayer::decompresses(int64_t tokens, int64_t keys, int64_t pairs) const {
  if (tokens < kFewestTokens || spec_.qk_head_dim() > kMaxHeadDim ||
      spec_.v_head_dim > kMaxHeadDim) {
    return false;
  }
  const int64_t rank = spec_.kv_lora_rank;
  const int64_t expand = rank * (spec_.qk_nope_head_dim + int64_t{spec_.v_head_dim});
  const int64_t absorbed = pairs * (spec_.latent_size() + rank) + tokens * expand;
  return pairs * (spec_.qk_head_dim() + spec_.v_head_dim) + keys * expand < absorbed;
}

bool MlaLayer::decompresses(const LayerContext& context, const StepBatch& batch,
                            int32_t sequence) const {
  if (context.numerics != Numerics::kFast) return false;
  const int64_t begin = batch.query_start[sequence], end = batch.query_start[sequence + 1];
  if (begin == end) return false;
  int64_t pairs = 0, first = batch.context_len[sequence], last = 0;
  for (int64_t t = begin; t < end; ++t) {
    const int64_t seen = std::min(batch.positions[t] + 1, batch.context_len[sequence]);
    const int64_t from = window_ == 0 ? 0 : std::max(batch.positions[t] - window_ + 1, 0);
    pairs += std::max<int64_t>(seen - from, 0);
    first = std::min(first, from);
    last = std::max(last, seen);
  }
  return decompresses(end - begin, last - first, pairs);
}

MlaLayer::Piece MlaLayer::take_piece(LayerContext& context, int64_t keys) const {
  const int64_t rows = keys * spec_.num_q_heads;
  const int64_t element = context.element_bytes();
  const auto take = [&](int64_t bytes) { return context.workspace.allocate(bytes); };
  Piece piece;
  piece.latents = take(keys * spec_.latent_size() * element);
  piece.heads = take(rows * (spec_.qk_nope_head_dim + spec_.v_head_dim) * element);
  piece.slots = context.workspace.allocate_array<int32_t>(keys);
  for (int64_t i = 0; i < keys; ++i) piece.slots[i] = static_cast<int32_t>(i);
  KvCacheView& kv = piece.kv;
  kv.format = context.compute_format;
  kv.block_size = kBlock;
  kv.num_blocks = keys / kBlock;
  kv.num_kv_heads = spec_.num_q_heads;
  kv.k_dim = static_cast<int32_t>(spec_.qk_head_dim());
  kv.v_dim = spec_.v_head_dim;
  kv.k_block_stride = kv_block_bytes(kv.format, kBlock, kv.num_kv_heads, kv.k_dim);
  kv.v_block_stride = kv_block_bytes(kv.format, kBlock, kv.num_kv_heads, kv.v_dim);
  kv.k = take(kv.num_blocks * kv.k_block_stride);
  kv.v = take(kv.num_blocks * kv.v_block_stride);
  return piece;
}

int64_t MlaLayer::decompressed_bytes_of(const LayerContext& context,
                                        const BatchLimits& limits) const {
  if (spec_.qk_head_dim() > kMaxHeadDim || spec_.v_head_dim > kMaxHeadDim) return 0;
  const int64_t keys = piece_keys(limits.max_context_len);
  const int64_t rows = keys * spec_.num_q_heads;
  const int64_t element = context.element_bytes();
  const int64_t cache =
      arena_bytes(keys / kBlock *
                  kv_block_bytes(context.compute_format, kBlock, spec_.num_q_heads,
                                 static_cast<int32_t>(spec_.qk_head_dim()))) +
      arena_bytes(
          keys / kBlock *
          kv_block_bytes(context.compute_format, kBlock, spec_.num_q_heads, spec_.v_head_dim));
  const int64_t piece = arena_bytes(keys * spec_.latent_size() * element) +
                        arena_bytes(rows * (spec_.qk_nope_head_dim + spec_.v_head_dim) * element) +
                        arena_bytes(keys * 4) + cache;
  const int64_t tokens = limits.max_tokens;
  const int64_t sums = arena_bytes(checked_mul(tokens, spec_.o_size() * 4)) +
                       arena_bytes(checked_mul(tokens, int64_t{spec_.num_q_heads} * 4));
  const int64_t attention =
      attention_workspace_bytes(context.exec, tokens, 1, keys, spec_.num_q_heads,
                                static_cast<int32_t>(spec_.qk_head_dim()), spec_.v_head_dim);
  const int64_t gemm = context.gemm.workspace_bytes(keys, weights_.kv_b.rows, weights_.kv_b.cols);
  return piece + 2 * sums + arena_bytes(tokens * 4) + arena_bytes(std::max(attention, gemm));
}

void MlaLayer::decompress(const Call& call, int32_t sequence, int64_t first_key, int64_t num_keys,
                          const Piece& piece) const {
  LayerContext& context = call.context;
  KvReadParams read;
  read.cache = call.kv;
  const auto positions = static_cast<int32_t>(num_keys);
  const int32_t start = 0;
  read.num_sequences = 1;
  read.num_positions = &positions;
  read.row_start = &start;
  read.block_tables = call.batch.block_tables[kv_group_];
  read.block_table_stride = call.batch.block_table_stride;
  read.table_rows = call.batch.seq_slots + sequence;
  read.first_position = first_key;
  read.num_rows = num_keys;
  read.rows = piece.latents;
  read.format = context.compute_format;
  read.row_stride = spec_.latent_size();
  kv_read_values(context.exec, read);

  GemmParams expand = product(context, num_keys, piece.latents, weights_.kv_b, nullptr, nullptr);
  expand.x_stride = spec_.latent_size();
  expand.y = piece.heads;
  expand.y_format = context.compute_format;
  matrix_product(context, expand);

  const LayerTimer timer(context.times.attention);
  const int64_t element = context.element_bytes();
  const int64_t nope = spec_.qk_nope_head_dim, head = nope + spec_.v_head_dim;
  KvWriteParams write;
  write.num_tokens = num_keys;
  write.k = piece.heads;
  write.v = static_cast<const char*>(piece.heads) + nope * element;
  write.format = context.compute_format;
  write.k_stride = write.v_stride = spec_.num_q_heads * head;
  write.k_head_stride = write.v_head_stride = head;
  write.k_tail = static_cast<const char*>(piece.latents) + spec_.kv_lora_rank * element;
  write.k_tail_dim = spec_.qk_rope_head_dim;
  write.k_tail_stride = spec_.latent_size();
  write.slots = piece.slots;
  write.cache = piece.kv;
  kv_write(context.exec, write);
}

void MlaLayer::attend_decompressed(const Call& call, int32_t sequence) const {
  LayerContext& context = call.context;
  const StepBatch& batch = call.batch;
  const ArenaScope scope(context.workspace);
  const int64_t token_begin = batch.query_start[sequence];
  const int64_t tokens = batch.query_start[sequence + 1] - token_begin;
  const int32_t* positions = batch.positions + token_begin;
  const int64_t keys_begin = window_ == 0 ? 0 : std::max(positions[0] - window_ + 1, 0);
  const int64_t keys_end =
      std::min<int64_t>(batch.context_len[sequence], positions[tokens - 1] + int64_t{1});
  const int64_t step = piece_keys(keys_end - keys_begin);
  const int64_t heads = spec_.num_q_heads, size = spec_.o_size();
  void* const out = static_cast<char*>(call.out) + token_begin * size * context.element_bytes();

  const Piece piece = take_piece(context, step);
  auto* relative = context.workspace.allocate_array<int32_t>(tokens);
  // One piece writes its result where it belongs; more are summed in float32.
  const bool single = keys_end - keys_begin <= step;
  float* sums = single ? nullptr : context.workspace.allocate_array<float>(tokens * size);
  float* sums_lse = single ? nullptr : context.workspace.allocate_array<float>(tokens * heads);
  float* part = single ? nullptr : context.workspace.allocate_array<float>(tokens * size);
  float* part_lse = single ? nullptr : context.workspace.allocate_array<float>(tokens * heads);
  for (int64_t first = keys_begin; first < keys_end; first += step) {
    const bool start = first == keys_begin;
    const auto num_keys = static_cast<int32_t>(std::min(step, keys_end - first));
    decompress(call, sequence, first, num_keys, piece);
    // Positions rise: the tokens before `skip` see no key of this piece.
    const int64_t skip =
        start ? 0 : std::lower_bound(positions, positions + tokens, first) - positions;
    for (int64_t t = skip; t < tokens; ++t) {
      relative[t] = static_cast<int32_t>(positions[t] - first);
    }
    const int32_t query_start[] = {0, static_cast<int32_t>(tokens - skip)};
    AttentionParams params = common_params(call);
    params.num_tokens = tokens - skip;
    params.q = call.q + (token_begin + skip) * spec_.q_size();
    params.q_stride = spec_.q_size();
    params.positions = relative + skip;
    params.num_sequences = 1;
    params.query_start = query_start;
    params.context_len = &num_keys;
    params.block_tables = piece.slots;  // block i is the i-th
    params.block_table_stride = piece.kv.num_blocks;
    params.kv = piece.kv;
    params.out = out;
    params.out_stride = size;
    if (!single) {
      params.out = start ? sums : part;
      params.out_format = Format::kF32;
      params.lse = start ? sums_lse : part_lse;
    }
    const LayerTimer timer(context.times.attention);
    const ArenaScope attention_scope(context.workspace);
    const int64_t bytes = attention_workspace_bytes(
        context.exec, tokens - skip, 1, step, spec_.num_q_heads, piece.kv.k_dim, piece.kv.v_dim);
    attention(context.exec, params, context.workspace.allocate(bytes), bytes);
    if (!start) {
      merge_parts(context.exec, tokens - skip, heads, spec_.v_head_dim, part, part_lse,
                  sums + skip * size, sums_lse + skip * heads);
    }
  }
  if (single) return;
  const LayerTimer timer(context.times.attention);
  if (context.compute_format == Format::kF32) {
    std::copy_n(sums, tokens * size, static_cast<float*>(out));
  } else {
    for (int64_t i = 0; i < tokens * size; ++i) static_cast<Bf16*>(out)[i] = to_bf16(sums[i]);
  }
}

}  // namespace sluice
