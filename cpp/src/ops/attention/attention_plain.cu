// The plain kernel: any size, float32 arithmetic on CUDA cores.
//
// A block takes up to 16 rows (token, query head) of one kv head and walks their keys in tiles of 64
// absolute positions; 16 threads share a row. A row's softmax starts anew at its spans' borders
// (attention_variants.h), so its bits depend on its position and on its keys alone: not on the rows
// beside it, not on where a chunk of queries begins, and not on whether blocks share its spans. They
// do (kSplit) where there are too few rows to fill the GPU; then all rows of a block are one token's.
#include "ops/attention/attention_device.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 16;
constexpr int kLanesOfRow = kThreads / kRows;
constexpr int kKeys = 64;
constexpr int kCols = 64;          // of a tile of keys or values in shared memory
constexpr int kStride = kCols + 4; // so that 8 threads' float4 of 8 rows lie in all banks
constexpr int kKeysOfThread = kKeys / kLanesOfRow;

struct Plain {
  AttentionParams p;
  int32_t group;      // query heads per kv head
  int32_t q_stride;   // floats of a row of queries in shared memory
  int32_t parts;      // spans that have a state; kSplit
  float* states;      // [num_tokens, num_q_heads, parts, state_floats]
  int64_t state_floats;
};

struct Block {
  int32_t sequence;
  int32_t kv_head;
  int64_t token;      // of row 0 of the sequence
  int32_t row_begin;  // rows of the sequence: token * group + head of the group
  int32_t row_end;
  int32_t part;  // kSplit
};

template <bool kSplit>
__device__ bool find_block(const Plain& w, Block* b) {
  const AttentionParams& p = w.p;
  int64_t index = blockIdx.x;
  b->kv_head = static_cast<int32_t>(index % p.kv.num_kv_heads);
  index /= p.kv.num_kv_heads;
  if constexpr (kSplit) {
    b->part = static_cast<int32_t>(index % w.parts);
    index /= w.parts;
    const int32_t tiles = (w.group + kRows - 1) / kRows;
    const int64_t token = index / tiles;
    b->sequence = sequence_of(p, token);
    if (token >= p.query_start[b->sequence + 1] || token < p.query_start[b->sequence]) return false;
    b->token = p.query_start[b->sequence];
    b->row_begin = static_cast<int32_t>((token - b->token) * w.group + index % tiles * kRows);
    b->row_end = min(b->row_begin + kRows, static_cast<int32_t>((token - b->token + 1) * w.group));
    return true;
  } else {
    // The last tiles of a sequence have the most keys.
    const RowTile tile =
        find_tile(p, gridDim.x / p.kv.num_kv_heads - 1 - index, w.group, kRows);
    if (tile.sequence < 0) return false;
    b->part = 0;
    b->sequence = tile.sequence;
    b->token = p.query_start[tile.sequence];
    b->row_begin = tile.row_begin;
    b->row_end = tile.row_end;
    return true;
  }
}

// Rows of the cache, of one head.
template <typename T>
struct Rows {
  const char* head;
  int64_t block_stride;  // bytes
  int32_t columns;       // between rows, padding included
};

// Columns [col, col + 64) of keys [first, first + 64): zeros for what is not in `seen`, which may
// be anything in memory, and beyond the columns.
template <typename T>
__device__ void load_tile(const AttentionParams& p, const Rows<T>& rows, const int32_t* table,
                          int64_t first, KeyRange seen, int32_t col, float* tile) {
  constexpr int kWide = 16 / sizeof(T);
  constexpr int kPieces = kCols / kWide;
  const int shift = __ffs(p.kv.block_size) - 1;
  for (int i = threadIdx.x; i < kKeys * kPieces; i += kThreads) {
    const int key = i / kPieces, c = i % kPieces * kWide;
    const int64_t position = first + key;
    float value[kWide] = {};
    if (position >= seen.begin && position < seen.end && col + c < rows.columns) {
      const int32_t block = table[position >> shift];
      if (block >= 0 && block < p.kv.num_blocks) {
        const int64_t offset = position & (p.kv.block_size - 1);
        const char* from = rows.head + block * rows.block_stride +
                           (offset * rows.columns + col + c) * static_cast<int64_t>(sizeof(T));
        const uint4 bits = *reinterpret_cast<const uint4*>(from);
        const T* values = reinterpret_cast<const T*>(&bits);
        for (int j = 0; j < kWide; ++j) value[j] = load(values + j);
      } else {
        for (int j = 0; j < kWide; ++j) value[j] = not_a_number();
      }
    }
    float4* to = reinterpret_cast<float4*>(tile + key * kStride + c);
    for (int j = 0; j < kWide / 4; ++j) {
      to[j] = make_float4(value[4 * j], value[4 * j + 1], value[4 * j + 2], value[4 * j + 3]);
    }
  }
}

template <typename T>
__device__ void load_queries(const Plain& w, const Block& b, float* q) {
  const AttentionParams& p = w.p;
  const int32_t columns = key_columns(p);
  for (int i = threadIdx.x; i < kRows * w.q_stride; i += kThreads) {
    const int row = i / w.q_stride, col = i % w.q_stride;
    float value = 0;
    if (b.row_begin + row < b.row_end && col < columns) {
      const int32_t r = b.row_begin + row;
      const int64_t head = b.kv_head * int64_t{w.group} + r % w.group;
      const int64_t at = (b.token + r / w.group) * p.q_stride + head * columns + col;
      value = p.q_format == Format::kF32 ? load(static_cast<const float*>(p.q) + at)
                                         : load(static_cast<const __nv_bfloat16*>(p.q) + at);
      T rounded;
      store(&rounded, value);
      value = load(&rounded);
    }
    q[i] = value;
  }
}

// Of the 16 threads of a row, for all of them.
__device__ inline float row_max(float value) {
  for (int step = kLanesOfRow / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}
__device__ inline float row_sum(float value) {
  for (int step = kLanesOfRow / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

template <int kChunks>
struct Values {
  float v[kChunks][4];
};

template <typename T, int kChunks, bool kSplit>
__global__ void __launch_bounds__(kThreads, 1) attention_kernel(const __grid_constant__ Plain w) {
  const AttentionParams& p = w.p;
  extern __shared__ float4 shared[];
  float* const q = reinterpret_cast<float*>(shared);  // [kRows][q_stride]
  float* const tile = q + kRows * w.q_stride;         // [kKeys][kStride]
  float* const probs = tile + kKeys * kStride;        // [kRows][kStride]
  float* const whole = probs + kRows * kStride;       // [kRows][kChunks * 64]; not kSplit

  Block b;
  if (!find_block<kSplit>(w, &b)) return;
  const int row = threadIdx.x / kLanesOfRow, lane = threadIdx.x % kLanesOfRow;
  const int32_t r = b.row_begin + row;
  const bool live = r < b.row_end;
  const int64_t token = b.token + r / w.group;
  const int64_t head = b.kv_head * int64_t{w.group} + r % w.group;
  const int64_t context_len = p.context_len[b.sequence];

  // What this thread's row sees, and what any row of the block does.
  KeyRange keys{0, 0};
  if (live) keys = visible_keys(p, p.positions[token * p.position_stride], context_len);
  if (keys.begin >= keys.end) keys = {0, 0};
  const int32_t span = keys.end == 0 ? kAttentionSpan : span_keys(keys);
  if constexpr (kSplit) {
    const int64_t begin = (keys.begin / span + b.part) * span;
    keys = {max(keys.begin, begin), min(keys.end, begin + span)};
    if (keys.begin >= keys.end) keys = {0, 0};
  }
  __shared__ int64_t begins[kRows], ends[kRows];
  if (lane == 0) {
    begins[row] = keys.end == 0 ? INT64_MAX : keys.begin;
    ends[row] = keys.end;
  }
  load_queries<T>(w, b, q);
  __syncthreads();
  KeyRange seen{INT64_MAX, 0};
  for (int i = 0; i < kRows; ++i) {
    seen.begin = min(seen.begin, begins[i]);
    seen.end = max(seen.end, ends[i]);
  }
  if (kSplit && seen.end == 0) return;  // no such span

  const int32_t* const table = table_of(p, b.sequence);
  const int32_t key_cols = key_columns(p);
  const Rows<T> values{static_cast<const char*>(p.kv.v) + b.kv_head * int64_t{p.kv.block_size} *
                                                              round_up16(p.kv.v_dim) * sizeof(T),
                       p.kv.v_block_stride, round_up16(p.kv.v_dim)};
  const Rows<T> key_rows =
      shares_rows(p) ? values
                     : Rows<T>{static_cast<const char*>(p.kv.k) +
                                   b.kv_head * int64_t{p.kv.block_size} * round_up16(p.kv.k_dim) *
                                       sizeof(T),
                               p.kv.k_block_stride, round_up16(p.kv.k_dim)};

  SpanState state{minus_infinity(), 0}, all{minus_infinity(), 0};
  Values<kChunks> acc = {};
  if constexpr (!kSplit) {
    for (int c = 0; c < kChunks; ++c) {
      float* to = whole + (row * kChunks + c) * kCols + lane * 4;
      for (int j = 0; j < 4; ++j) to[j] = 0;
    }
  }
  // Puts the span's state to that of the spans before it. Every thread keeps to its own values.
  const auto end_span = [&]() {
    const MergeFactors f = merge(&all, state);
    state = {minus_infinity(), 0};
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      float* to = whole + (row * kChunks + c) * kCols + lane * 4;
      for (int j = 0; j < 4; ++j) {
        to[j] = merge_value(to[j], acc.v[c][j], f);
        acc.v[c][j] = 0;
      }
    }
  };

  for (int64_t first = seen.begin / kKeys * kKeys; first < seen.end; first += kKeys) {
    const bool mine = keys.begin < first + kKeys && keys.end > first;
    float s[kKeysOfThread] = {};
    for (int32_t col = 0; col < key_cols; col += kCols) {
      __syncthreads();
      load_tile(p, key_rows, table, first, seen, col, tile);
      __syncthreads();
      if (!mine) continue;
      const int steps = min(kCols, round_up16(key_cols - col)) / 4;
      const float4* query = reinterpret_cast<const float4*>(q + row * w.q_stride + col);
      for (int d = 0; d < steps; ++d) {
        const float4 a = query[d];
#pragma unroll
        for (int j = 0; j < kKeysOfThread; ++j) {
          const float4 k =
              *reinterpret_cast<const float4*>(tile + (lane + j * kLanesOfRow) * kStride + d * 4);
          s[j] = __fmaf_rn(a.x, k.x, s[j]);
          s[j] = __fmaf_rn(a.y, k.y, s[j]);
          s[j] = __fmaf_rn(a.z, k.z, s[j]);
          s[j] = __fmaf_rn(a.w, k.w, s[j]);
        }
      }
    }
    float top = minus_infinity();
#pragma unroll
    for (int j = 0; j < kKeysOfThread; ++j) {
      const int64_t key = first + lane + j * kLanesOfRow;
      s[j] = exponent_of(p, s[j]);
      if (key < keys.begin || key >= keys.end) s[j] = minus_infinity();
      top = fmaxf(top, s[j]);
    }
    top = row_max(top);
    const float m = state.m < top ? top : state.m;
    const float correction = m == state.m ? 1.0f : exp2f(state.m - safe_max(m));
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kKeysOfThread; ++j) {
      const float e = exp2f(s[j] - safe_max(m));
      probs[row * kStride + lane + j * kLanesOfRow] = e;
      sum += e;
    }
    state.l = __fmaf_rn(state.l, correction, row_sum(sum));
    state.m = m;
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (c * kCols >= value_columns(p)) break;
      __syncthreads();
      load_tile(p, values, table, first, seen, c * kCols, tile);
      __syncthreads();
      if (!mine) continue;
      float* v = acc.v[c];
      for (int j = 0; j < 4; ++j) v[j] = __fmul_rn(v[j], correction);
      // Only the row's own keys: what another row sees may be NaN, and 0 * NaN is NaN.
      const int begin = static_cast<int>(max(keys.begin - first, int64_t{0}));
      const int end = static_cast<int>(min(keys.end - first, int64_t{kKeys}));
      for (int k = begin / 4 * 4; k < end; k += 4) {
        const float4 e = *reinterpret_cast<const float4*>(probs + row * kStride + k);
        const float weights[4] = {e.x, e.y, e.z, e.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (k + j < begin || k + j >= end) continue;
          const float4 x =
              *reinterpret_cast<const float4*>(tile + (k + j) * kStride + lane * 4);
          v[0] = __fmaf_rn(weights[j], x.x, v[0]);
          v[1] = __fmaf_rn(weights[j], x.y, v[1]);
          v[2] = __fmaf_rn(weights[j], x.z, v[2]);
          v[3] = __fmaf_rn(weights[j], x.w, v[3]);
        }
      }
    }
    if constexpr (!kSplit) {
      if ((first + kKeys) % span == 0) end_span();
    }
  }

  if (!live) return;
  if constexpr (kSplit) {
    if (keys.end == 0) return;
    float* to = w.states + ((token * p.num_q_heads + head) * w.parts + b.part) * w.state_floats;
    if (lane == 0) {
      to[0] = state.m;
      to[1] = state.l;
    }
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      const int col = c * kCols + lane * 4;
      if (col < value_columns(p)) {
        *reinterpret_cast<float4*>(to + 4 + col) =
            make_float4(acc.v[c][0], acc.v[c][1], acc.v[c][2], acc.v[c][3]);
      }
    }
  } else {
    end_span();
    const float scale = finish_row(p, all, token, head, lane == 0);
    const int32_t columns = value_columns(p);
    const int64_t at = token * p.out_stride + head * columns;
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      for (int j = 0; j < 4; ++j) {
        const int col = c * kCols + lane * 4 + j;
        if (col >= columns) break;
        store_out(p, at + col, whole[row * kChunks * kCols + col] * scale);
      }
    }
  }
}

int64_t split_rows(const CudaExec& exec) { return int64_t{exec.num_sms} * kRows; }

// Whether blocks share a row's spans: where there are fewer blocks than multiprocessors otherwise.
bool splits(const CudaExec& exec, const AttentionParams& p) {
  const int64_t group = p.num_q_heads / p.kv.num_kv_heads;
  return attention_parts(longest_context(p)) > 1 &&
         p.num_tokens * ceil_div(group, kRows) * p.kv.num_kv_heads <= exec.num_sms;
}

int64_t states_bytes(int64_t rows, int64_t context, int32_t v_dim) {
  return rows * attention_parts(context) * attention_state_floats(v_dim) * 4;
}

int64_t workspace_bytes(const CudaExec& exec, const AttentionBounds& bounds) {
  if (attention_parts(bounds.max_context_len) == 1) return 0;
  const int64_t rows = std::min(bounds.max_tokens * bounds.num_q_heads, split_rows(exec));
  return states_bytes(rows, bounds.max_context_len, bounds.v_dim);
}

template <typename T, int kChunks, bool kSplit>
void launch(const CudaExec& exec, const Plain& w) {
  const AttentionParams& p = w.p;
  const int64_t tiles = kSplit ? p.num_tokens * ceil_div(w.group, kRows) * w.parts
                               : most_tiles(p, w.group, kRows);
  const int64_t floats = kRows * int64_t{w.q_stride} + (kKeys + kRows) * kStride +
                         (kSplit ? 0 : kRows * kChunks * kCols);
  allow_shared(attention_kernel<T, kChunks, kSplit>, floats * 4, "attention");
  attention_kernel<T, kChunks, kSplit>
      <<<static_cast<unsigned>(tiles * p.kv.num_kv_heads), kThreads, floats * 4,
         stream_of(exec)>>>(w);
  SLUICE_CHECK_LAUNCH("attention of ", p.num_tokens, " tokens, ", p.num_q_heads, " heads of ",
                      key_columns(p), " and ", value_columns(p));
}

template <typename T, bool kSplit>
void launch(const CudaExec& exec, const Plain& w) {
  const int32_t columns = value_columns(w.p);
  if (columns <= 128) return launch<T, 2, kSplit>(exec, w);
  if (columns <= 256) return launch<T, 4, kSplit>(exec, w);
  if (columns <= 512) return launch<T, 8, kSplit>(exec, w);
  launch<T, 16, kSplit>(exec, w);
}

template <bool kSplit>
void launch(const CudaExec& exec, const Plain& w) {
  if (w.p.kv.format == Format::kF32) return launch<float, kSplit>(exec, w);
  launch<__nv_bfloat16, kSplit>(exec, w);
}

void run(const CudaExec& exec, const AttentionParams& p, void* workspace, int64_t bytes) {
  Plain w{};
  w.p = p;
  w.group = p.num_q_heads / p.kv.num_kv_heads;
  w.q_stride = static_cast<int32_t>(round_up(key_columns(p), 16)) + 4;
  if (!splits(exec, p)) return launch<false>(exec, w);
  w.parts = attention_parts(longest_context(p));
  w.states = static_cast<float*>(workspace);
  w.state_floats = attention_state_floats(value_columns(p));
  check_attention_workspace(
      workspace, bytes,
      states_bytes(p.num_tokens * p.num_q_heads, longest_context(p), value_columns(p)));
  launch<true>(exec, w);
  combine_attention(exec, p, w.states, w.parts);
}

}  // namespace

const AttentionVariant kPlainAttention{
    "plain", [](const CudaExec&, const AttentionParams&) { return true; }, workspace_bytes, run};

}  // namespace sluice::cuda
