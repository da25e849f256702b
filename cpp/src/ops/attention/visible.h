/// @file
/// Which keys a position sees, and how wide they are. Internal linkage: also included by
/// per-instruction-set sources, and by kernels of CUDA.
#ifndef SLUICE_OPS_ATTENTION_VISIBLE_H_
#define SLUICE_OPS_ATTENTION_VISIBLE_H_

#include "ops/attention/attention.h"

namespace sluice {

/// Whether the value rows are the keys too.
static constexpr bool shares_rows(const AttentionParams& p) { return p.kv.k_dim == 0; }

/// Columns of a key, and of a value.
static constexpr int32_t key_columns(const AttentionParams& p) {
  return shares_rows(p) ? p.kv.v_dim : p.kv.k_dim;
}
static constexpr int32_t value_columns(const AttentionParams& p) {
  return shares_rows(p) ? p.value_dim : p.kv.v_dim;
}

/// Keys [begin, end); begin >= end: none.
struct KeyRange {
  int64_t begin;
  int64_t end;
};

static constexpr KeyRange visible_keys(const AttentionParams& p, int64_t position,
                                    int64_t context_len) {
  KeyRange range{0, context_len};
  if (p.causal && position + 1 < range.end) range.end = position + 1;
  if (p.window > 0 && position - p.window + 1 > range.begin) {
    range.begin = position - p.window + 1;
  }
  if (p.chunk > 0) {
    const int64_t begin = position / p.chunk * p.chunk;
    if (begin > range.begin) range.begin = begin;
    if (begin + p.chunk < range.end) range.end = begin + p.chunk;
  }
  return range;
}

}  // namespace sluice

#endif  // SLUICE_OPS_ATTENTION_VISIBLE_H_
