#include "ops/grouped_gemm/grouped_gemm.h"

#include <algorithm>

#include "base/checked.h"
#include "ops/gemm/panel_kernel.h"
#include "ops/gemm/product_cuda.h"
#include "ops/simd/check.h"
#include "ops/simd/parallel.h"

namespace sluice {
namespace {

// A panel's weights take as long to read from memory as the products of about this many rows with
// them (27 GB/s and 200 bf16 GFLOP/s, or 100 at float32, of a Zen 4 core).
constexpr int64_t kMemoryRows = 8;

constexpr int64_t kSharesPerThread = 4;
constexpr int64_t kPanelUnits = kPanelRows / kUnitRows;

// Work in the order of experts, then outputs, in estimated time. A thread's share begins and ends
// at a point of this line.
struct Line {
  const GroupedGemmParams& p;
  int64_t units;  // of one expert
  int64_t align;  // cuts fall on multiples of so many units
  int64_t length = 0;
  int64_t num_units = 0;  // of all experts that have rows

  Line(const GroupedGemmParams& params, int64_t threads)
      : p(params), units(ceil_div(params.w.rows, kUnitRows)) {
    for (int32_t e = 0; e < p.num_experts; ++e) {
      if (rows(e) == 0) continue;
      length += units * unit_time(e);
      num_units += units;
    }
    // Parts of a panel waste the multiply units, but with few panels a thread would have none.
    align = num_units >= 4 * kPanelUnits * kSharesPerThread * threads ? kPanelUnits : 1;
  }

  int64_t rows(int32_t e) const { return p.expert_offsets[e + 1] - p.expert_offsets[e]; }
  int64_t unit_time(int32_t e) const { return rows(e) + kMemoryRows; }

  // Calls body(expert, unit_begin, unit_end) for what lies in [begin, end).
  template <typename Body>
  void walk(int64_t begin, int64_t end, const Body& body) const {
    int64_t at = 0;
    for (int32_t e = 0; e < p.num_experts && at < end; ++e) {
      if (rows(e) == 0) continue;
      const int64_t time = unit_time(e);
      const auto unit = [&](int64_t point) {
        return point >= at + units * time ? units
                                          : std::max<int64_t>(point - at, 0) / time / align * align;
      };
      const int64_t first = unit(begin);
      const int64_t last = unit(end);
      if (first < last) body(e, first, last);
      at += units * time;
    }
  }
};

// What host-side numbers tell; `rows` bounds the rows of all experts.
void check_params(const Exec& exec, const GroupedGemmParams& p, int64_t rows) {
  check_compute_format("grouped_gemm weight format", p.w.format);
  check_product_layout("grouped_gemm weight layout", exec, p.w.layout);
  SLUICE_CHECK(p.x_format == p.w.format, SLUICE_STATUS_UNSUPPORTED,
               "grouped_gemm x_format: ", format_name(p.x_format), " (expected: the weight's, ",
               format_name(p.w.format), ")");
  check_compute_format("grouped_gemm y_format", p.y_format);
  SLUICE_CHECK(p.y_format == Format::kF32 || p.w.format == Format::kBf16, SLUICE_STATUS_UNSUPPORTED,
               "grouped_gemm y_format: ", format_name(p.y_format),
               " (expected: F32, or BF16 from BF16 weights)");
  check_at_least("grouped_gemm weight rows", p.w.rows, 1);
  check_at_least("grouped_gemm weight cols", p.w.cols, 1);
  SLUICE_CHECK(exec.cuda != nullptr || (p.alpha == 1.0f && !p.accumulate), SLUICE_STATUS_UNSUPPORTED,
               "grouped_gemm alpha ", p.alpha, ", accumulate ", p.accumulate,
               " (expected: 1 and false on the CPU; remedy: Gemm)");
  SLUICE_CHECK(!p.accumulate || p.y_format == Format::kF32, SLUICE_STATUS_UNSUPPORTED,
               "grouped_gemm y_format: ", format_name(p.y_format), " (expected: F32 to accumulate)");
  int64_t outputs = p.w.rows;
  if (p.activation.has_value()) {
    const GroupedActivation& a = *p.activation;
    SLUICE_CHECK(exec.cuda != nullptr, SLUICE_STATUS_UNSUPPORTED,
                 "grouped_gemm activation: set (expected: none on the CPU; remedy: activation())");
    SLUICE_CHECK(a.kind >= ActivationKind::kSilu && a.kind <= ActivationKind::kSigmoid,
                 SLUICE_STATUS_UNSUPPORTED, "grouped_gemm activation: ",
                 static_cast<int32_t>(a.kind), " (expected: a number of sluice.proto's Activation)");
    SLUICE_CHECK_ARG(a.kind != ActivationKind::kClampedSwiglu || (a.gated && a.limit > 0),
                     "grouped_gemm activation CLAMPED_SWIGLU: limit ", a.limit,
                     " (expected: gated, with a limit above 0)");
    SLUICE_CHECK_ARG(!a.gated || p.w.rows % 2 == 0, "grouped_gemm weight rows: ", p.w.rows,
                     " (expected: even, as many gates as ups)");
    if (a.gated) outputs /= 2;
  }
  check_stride("grouped_gemm x_stride", p.x_stride, p.w.cols, rows);
  check_stride("grouped_gemm y_stride", p.y_stride, outputs, rows);
  check_memory("grouped_gemm x", p.x, rows);
  check_memory("grouped_gemm y", p.y, rows);
  check_memory("grouped_gemm weights", p.w.data, rows);
  const int64_t bytes = packed_bytes(p.w.format, p.w.layout, p.w.rows, p.w.cols);
  SLUICE_CHECK_ARG(p.num_experts == 1 || (p.expert_bytes >= bytes && p.expert_bytes % 64 == 0),
                   "expert_bytes: ", p.expert_bytes, " (expected: a multiple of 64, at least ",
                   bytes, ")");
}

// Of offsets in host memory.
void check_offsets(const GroupedGemmParams& p) {
  SLUICE_CHECK_ARG(p.expert_offsets[0] == 0, "expert_offsets[0]: ", p.expert_offsets[0],
                   " (expected: 0)");
  for (int32_t e = 0; e < p.num_experts; ++e) {
    SLUICE_CHECK_ARG(p.expert_offsets[e] <= p.expert_offsets[e + 1], "expert_offsets[", e + 1,
                     "]: ", p.expert_offsets[e + 1], " (expected: at least ", p.expert_offsets[e],
                     ")");
  }
}

// The rows of one expert as a product of their own.
PanelParams product_of(const GroupedGemmParams& p, int32_t expert) {
  const int64_t first = p.expert_offsets[expert];
  PanelParams out;
  out.num_rows = p.expert_offsets[expert + 1] - first;
  out.x = p.row_index != nullptr
              ? p.x
              : static_cast<const char*>(p.x) + format_bytes(p.x_format, first * p.x_stride);
  out.x_rows = p.row_index == nullptr ? nullptr : p.row_index + first;
  out.row_scale = p.row_scale == nullptr ? nullptr : p.row_scale + first;
  out.x_format = p.x_format;
  out.x_stride = p.x_stride;
  out.w = p.w;
  out.w.data = static_cast<char*>(p.w.data) + expert * p.expert_bytes;
  out.bias = p.bias == nullptr ? nullptr : p.bias + expert * p.w.rows;
  out.y = static_cast<char*>(p.y) + format_bytes(p.y_format, first * p.y_stride);
  out.y_format = p.y_format;
  out.y_stride = p.y_stride;
  return out;
}

}  // namespace

void grouped_gemm(const Exec& exec, const GroupedGemmParams& params) {
  GroupedGemmParams p = params;
  check_at_least("num_experts", p.num_experts, 1);
  check_at_least("grouped_gemm max_rows", p.max_rows, 0);
  SLUICE_CHECK_ARG(p.expert_offsets != nullptr || p.num_experts == 1,
                   "expert_offsets: null (expected: ", p.num_experts + 1, " elements)");
  if constexpr (kCudaBuilt) {
    if (exec.cuda != nullptr) {
      check_params(exec, p, p.max_rows);
      return cuda::product(*exec.cuda, cuda::product_of(p));
    }
  }
  const int32_t one_expert[] = {0, static_cast<int32_t>(p.max_rows)};
  if (p.expert_offsets == nullptr) p.expert_offsets = one_expert;
  check_offsets(p);
  check_params(exec, p, p.expert_offsets[p.num_experts]);
  const Line line(p, exec.num_threads);
  if (line.num_units == 0) return;
  const auto kernel = SLUICE_SELECT_ISA(exec.isa, gemm_units);
  // As many shares as are worth a thread each, and a few per thread: on a machine that does other
  // work too, whoever is free takes the next.
  const int64_t worth = line.length / (kMemoryRows * grain_for_bytes(p.w.cols * 64));
  const int64_t most = exec.num_threads == 1 ? 1 : kSharesPerThread * exec.num_threads;
  const int64_t shares = std::clamp<int64_t>(worth, 1, most);
  const auto run = [&](int64_t share, int /*thread*/) {
    line.walk(line.length * share / shares, line.length * (share + 1) / shares,
              [&](int32_t expert, int64_t unit_begin, int64_t unit_end) {
                kernel(product_of(p, expert), unit_begin, unit_end);
              });
  };
  if (shares == 1) return run(0, 0);
  parallel_tasks(exec, shares, run);
}

}  // namespace sluice
