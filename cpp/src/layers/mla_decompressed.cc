// The decompressed form of latent attention: keys and values of all heads, made from the latents of
// a piece of the context at a time; the pieces' results are put together by their log-sum-exps.
#include <algorithm>

#include "base/checked.h"
#include "layers/mla.h"
#include "ops/attention/cudnn_attention.h"
#include "ops/elementwise/elementwise.h"
#include "ops/kv_write/kv_write.h"

namespace sluice {
namespace {

constexpr int32_t kBlock = 64;  // positions per block of the piece's own cache: a tile of keys
// Keys of a piece on the CPU, at most: what putting a piece's result to the others costs is then
// small beside it.
constexpr int64_t kPieceKeys = 512;
// On CUDA a piece is as large as memory allows, so that most contexts, and many short ones
// together, are one.
constexpr int64_t kPieceBytesCuda = int64_t{1} << 30;
constexpr int64_t kPieceKeysCuda = 32768;
constexpr int64_t kMaxHeadDim = 256;  // of the cache's layout
// Fewer queries than a register tile has rows leave most of a product idle.
constexpr int64_t kFewestTokens = 16;

}  // namespace

// Memory of a piece: rows of keys, one sequence's after another's, each from a block on.
struct MlaLayer::Piece {
  void* latents;      // [rows, kv_lora_rank + rope]
  void* heads;        // [rows, num_q_heads, nope + v]
  int32_t* identity;  // [rows] slot of a row in the piece's cache, and table of its blocks
  // [sequences] keys of each, its first row, and the block of that
  int32_t* num_keys;
  int32_t* row_start;
  int32_t* row_block;
  KvCacheView kv;
};

// Sequences of a step and the keys of theirs that are one piece.
struct MlaLayer::Span {
  int32_t first_sequence;
  int32_t num_sequences;
  int64_t first_key;  // of each
  int64_t num_keys;   // of each at most
  int64_t num_rows;   // of the piece
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

bool MlaLayer::decompresses(const StepBatch& batch, int32_t sequence) const {
  const HostBatch& host = *batch.host;
  const int64_t begin = host.query_start[sequence], end = host.query_start[sequence + 1];
  if (begin == end) return false;
  int64_t pairs = 0, first = host.context_len[sequence], last = 0;
  for (int64_t t = begin; t < end; ++t) {
    const int64_t seen = std::min(host.positions[t] + 1, host.context_len[sequence]);
    const int64_t from = window_ == 0 ? 0 : std::max(host.positions[t] - window_ + 1, 0);
    pairs += std::max<int64_t>(seen - from, 0);
    first = std::min(first, from);
    last = std::max(last, seen);
  }
  return decompresses(end - begin, last - first, pairs);
}

int64_t MlaLayer::decompressed_rows(const StepBatch& batch, int32_t sequence) const {
  return round_up(batch.host->context_len[sequence], kBlock);
}

int64_t MlaLayer::most_decompressed_rows(const LayerContext& context) const {
  if (context.exec.cuda == nullptr) return kPieceKeys;
  const int64_t head = 2 * (spec_.qk_nope_head_dim + int64_t{spec_.v_head_dim}) +
                       spec_.qk_rope_head_dim;  // the product, and its parts in the cache
  const int64_t bytes =
      (spec_.num_q_heads * head + spec_.latent_size()) * context.element_bytes();
  return std::clamp(kPieceBytesCuda / bytes / kBlock * kBlock, kPieceKeys, kPieceKeysCuda);
}

KvCacheView MlaLayer::piece_cache(const LayerContext& context, int64_t rows) const {
  KvCacheView kv;
  kv.format = context.compute_format;
  kv.layout = context.exec.cuda == nullptr ? KvLayout::kInterleaved : KvLayout::kRows;
  kv.block_size = kBlock;
  kv.num_blocks = rows / kBlock;
  kv.num_kv_heads = spec_.num_q_heads;
  kv.k_dim = static_cast<int32_t>(spec_.qk_head_dim());
  kv.v_dim = spec_.v_head_dim;
  kv.k_block_stride = kv_block_bytes(kv.format, kBlock, kv.num_kv_heads, kv.k_dim);
  kv.v_block_stride = kv_block_bytes(kv.format, kBlock, kv.num_kv_heads, kv.v_dim);
  return kv;
}

void MlaLayer::prepare(const LayerContext& context, const BatchLimits& limits,
                       const KvCacheView& /*kv*/) const {
  if (context.cudnn == nullptr || window_ != 0) return;
  if (spec_.qk_head_dim() > kMaxHeadDim || spec_.v_head_dim > kMaxHeadDim) return;
  const int64_t rows =
      std::min(most_decompressed_rows(context),
               checked_mul(round_up(limits.max_context_len, kBlock), limits.max_sequences));
  if constexpr (kCudaBuilt) {
    context.cudnn->want({spec_.num_q_heads, spec_.softmax_scale, piece_cache(context, rows)});
  }
}

MlaLayer::Piece MlaLayer::take_piece(LayerContext& context, int64_t rows,
                                     int32_t sequences) const {
  const int64_t element = context.element_bytes();
  Arena& arena = context.workspace;
  Piece piece;
  piece.latents = arena.allocate(rows * spec_.latent_size() * element);
  piece.heads = arena.allocate(rows * weights_.kv_b.rows * element);
  piece.identity = arena.allocate_array<int32_t>(rows);
  number_values(context.exec, rows, piece.identity);
  piece.num_keys = arena.allocate_array<int32_t>(sequences);
  piece.row_start = arena.allocate_array<int32_t>(sequences);
  piece.row_block = arena.allocate_array<int32_t>(sequences);
  piece.kv = piece_cache(context, rows);
  piece.kv.k = arena.allocate(piece.kv.num_blocks * piece.kv.k_block_stride);
  piece.kv.v = arena.allocate(piece.kv.num_blocks * piece.kv.v_block_stride);
  return piece;
}

int64_t MlaLayer::decompressed_bytes_of(const LayerContext& context,
                                        const BatchLimits& limits) const {
  if (spec_.qk_head_dim() > kMaxHeadDim || spec_.v_head_dim > kMaxHeadDim) return 0;
  const int64_t longest = round_up(limits.max_context_len, kBlock);
  const bool cuda = context.exec.cuda != nullptr;
  const int32_t sequences = cuda ? limits.max_sequences : 1;
  const int64_t most = most_decompressed_rows(context);
  // Several sequences share a piece only where all their keys fit it.
  const int64_t rows = std::min(most, checked_mul(longest, sequences));
  const int64_t element = context.element_bytes();
  const KvCacheView kv = piece_cache(context, rows);
  const int64_t piece = arena_bytes(rows * spec_.latent_size() * element) +
                        arena_bytes(rows * weights_.kv_b.rows * element) + arena_bytes(rows * 4) +
                        3 * arena_bytes(sequences * int64_t{4}) +
                        arena_bytes(kv.num_blocks * kv.k_block_stride) +
                        arena_bytes(kv.num_blocks * kv.v_block_stride);
  const int64_t tokens = limits.max_tokens;
  const int64_t sums = longest <= most
                           ? 0
                           : arena_bytes(checked_mul(tokens, spec_.o_size() * 4)) +
                                 arena_bytes(checked_mul(tokens, int64_t{spec_.num_q_heads} * 4));
  const int64_t attention = attention_workspace_bytes(context.exec, tokens, sequences,
                                                      std::min(rows, longest), spec_.num_q_heads,
                                                      kv.k_dim, kv.v_dim);
  const int64_t gemm = context.gemm.workspace_bytes(rows, weights_.kv_b.rows, weights_.kv_b.cols);
  return piece + 2 * sums + arena_bytes(tokens * 4) +
         arena_bytes((sequences + int64_t{1}) * 4) + arena_bytes(std::max(attention, gemm));
}

// Fills the piece's cache with the keys and values of a span.
void MlaLayer::decompress(const Call& call, const Span& span, const Piece& piece) const {
  LayerContext& context = call.context;
  const StepBatch& batch = call.batch;
  RaggedRowsParams ragged;
  ragged.num_sequences = span.num_sequences;
  ragged.lengths = batch.context_len + span.first_sequence;
  ragged.first = static_cast<int32_t>(span.first_key);
  ragged.limit = static_cast<int32_t>(span.num_keys);
  ragged.align = kBlock;
  ragged.num_rows = piece.num_keys;
  ragged.row_start = piece.row_start;
  ragged.row_block = piece.row_block;
  ragged_rows(context.exec, ragged);

  KvReadParams read;
  read.cache = call.kv;
  read.num_sequences = span.num_sequences;
  read.num_positions = piece.num_keys;
  read.row_start = piece.row_start;
  read.block_tables = batch.block_tables[kv_group_];
  read.block_table_stride = batch.block_table_stride;
  read.table_rows = batch.seq_slots + span.first_sequence;
  read.first_position = span.first_key;
  read.num_rows = span.num_rows;
  read.rows = piece.latents;
  read.format = context.compute_format;
  read.row_stride = spec_.latent_size();
  kv_read_values(context.exec, read);

  GemmParams expand =
      product(context, span.num_rows, piece.latents, weights_.kv_b, nullptr, nullptr);
  expand.x_stride = spec_.latent_size();
  expand.y = piece.heads;
  expand.y_format = context.compute_format;
  matrix_product(context, expand);

  const LayerTimer timer(context, &LayerTimes::attention);
  const int64_t element = context.element_bytes();
  const int64_t nope = spec_.qk_nope_head_dim;
  KvWriteParams write;
  write.num_tokens = span.num_rows;
  write.k = piece.heads;
  write.v = static_cast<const char*>(piece.heads) + nope * element;
  write.format = context.compute_format;
  write.k_stride = write.v_stride = weights_.kv_b.rows;
  write.k_head_stride = write.v_head_stride = nope + spec_.v_head_dim;
  write.k_tail = static_cast<const char*>(piece.latents) + spec_.kv_lora_rank * element;
  write.k_tail_dim = spec_.qk_rope_head_dim;
  write.k_tail_stride = spec_.latent_size();
  write.slots = piece.identity;
  write.cache = piece.kv;
  kv_write(context.exec, write);
}

// Sequences [first, last): one, or several whose keys together are one piece.
void MlaLayer::attend_decompressed(const Call& call, int32_t first_sequence,
                                   int32_t last_sequence) const {
  LayerContext& context = call.context;
  const StepBatch& batch = call.batch;
  const HostBatch& host = *batch.host;
  const ArenaScope scope(context.workspace);
  const bool cuda = context.exec.cuda != nullptr;
  const bool several = last_sequence - first_sequence > 1;
  const int32_t sequences = last_sequence - first_sequence;
  const int64_t token_begin = host.query_start[first_sequence];
  const int64_t token_end = host.query_start[last_sequence];
  const int64_t tokens = token_end - token_begin;
  const int32_t* positions = host.positions + token_begin;
  int64_t keys_begin = 0, keys_end = 0, rows = 0, longest_query = 0;
  for (int32_t s = first_sequence; s < last_sequence; ++s) {
    longest_query =
        std::max<int64_t>(longest_query, host.query_start[s + 1] - host.query_start[s]);
    keys_end = std::max<int64_t>(keys_end, host.context_len[s]);
    rows += decompressed_rows(batch, s);
  }
  if (!several) {
    if (window_ != 0) keys_begin = std::max(positions[0] - window_ + 1, 0);
    keys_end = std::min(keys_end, positions[tokens - 1] + int64_t{1});
    rows = std::min(most_decompressed_rows(context), round_up(keys_end - keys_begin, kBlock));
  }
  const int64_t step = several ? keys_end : rows;
  const int64_t heads = spec_.num_q_heads, size = spec_.o_size();
  void* const out = static_cast<char*>(call.out) + token_begin * size * context.element_bytes();

  const Piece piece = take_piece(context, rows, sequences);
  // One piece writes its result where it belongs; more are summed in float32.
  const bool single = keys_end - keys_begin <= step;
  float* sums = single ? nullptr : context.workspace.allocate_array<float>(tokens * size);
  float* sums_lse = single ? nullptr : context.workspace.allocate_array<float>(tokens * heads);
  float* part = single ? nullptr : context.workspace.allocate_array<float>(tokens * size);
  float* part_lse = single ? nullptr : context.workspace.allocate_array<float>(tokens * heads);
  ShiftParams starts;  // of the queries, where a piece's tokens begin
  starts.count = sequences + 1;
  starts.x = batch.query_start + first_sequence;
  starts.high = static_cast<int32_t>(token_end);
  starts.y = context.workspace.allocate_array<int32_t>(sequences + 1);
  ShiftParams relative;  // positions, where the keys begin
  relative.y = context.workspace.allocate_array<int32_t>(tokens);
  for (int64_t first = keys_begin; first < keys_end; first += step) {
    const bool start = first == keys_begin;
    const int64_t num_keys = std::min(step, keys_end - first);
    // Rows behind the keys are made too where a kernel may multiply them by zero.
    const int64_t num_rows = several ? rows : cuda ? round_up(num_keys, kBlock) : num_keys;
    decompress(call, {first_sequence, sequences, first, num_keys, num_rows}, piece);
    // Positions rise: the tokens before `skip` see no key of this piece.
    const int64_t skip =
        start ? 0 : std::lower_bound(positions, positions + tokens, first) - positions;
    starts.low = starts.offset = static_cast<int32_t>(token_begin + skip);
    shift_values(context.exec, starts);
    relative.count = tokens - skip;
    relative.x = batch.positions + token_begin + skip;
    relative.offset = static_cast<int32_t>(first);
    if (first > 0) shift_values(context.exec, relative);
    AttentionParams params = common_params(call);
    params.num_tokens = tokens - skip;
    params.q = call.q + (token_begin + skip) * spec_.q_size();
    params.q_stride = spec_.q_size();
    params.positions = first > 0 ? relative.y : relative.x;
    params.num_sequences = sequences;
    params.query_start = starts.y;
    params.context_len = piece.num_keys;
    params.block_tables = piece.identity;  // from its first block on, a sequence's block i is next
    params.block_table_stride = 1;
    params.table_rows = piece.row_block;
    params.longest_context = num_keys;
    params.longest_query = longest_query;
    params.queries_last = single && keys_begin == 0;
    params.cudnn = context.cudnn;
    params.kv = piece.kv;
    params.out = out;
    params.out_stride = size;
    if (!single) {
      params.out = start ? sums : part;
      params.out_format = Format::kF32;
      params.lse = start ? sums_lse : part_lse;
    }
    const LayerTimer timer(context, &LayerTimes::attention);
    const ArenaScope attention_scope(context.workspace);
    const int64_t bytes =
        attention_workspace_bytes(context.exec, tokens - skip, sequences, num_keys,
                                  spec_.num_q_heads, piece.kv.k_dim, piece.kv.v_dim);
    attention(context.exec, params, context.workspace.allocate(bytes), bytes);
    if (start) continue;
    MergeAttentionParams merge;
    merge.num_rows = (tokens - skip) * heads;
    merge.cols = spec_.v_head_dim;
    merge.part = part;
    merge.part_lse = part_lse;
    merge.out = sums + skip * size;
    merge.lse = sums_lse + skip * heads;
    merge_attention(context.exec, merge);
  }
  if (single) return;
  const LayerTimer timer(context, &LayerTimes::attention);
  round_rows(context, tokens, size, sums, out);
}

}  // namespace sluice
