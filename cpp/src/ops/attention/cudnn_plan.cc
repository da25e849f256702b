#include "ops/attention/cudnn_plan.h"

#include "base/error.h"

#ifdef SLUICE_CUDNN

#include <cudnn_frontend.h>

namespace sluice {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

enum Uid : int64_t {
  kQ = 1,
  kK,
  kV,
  kOut,
  kNumQueries,
  kNumKeys,
  kQStart,
  kOutStart,
  kPagesK,
  kPagesV,
};

void check(fe::error_t error, const char* what) {
  SLUICE_CHECK(error.is_good(), SLUICE_STATUS_UNSUPPORTED, "cuDNN: ", what, ": ",
               error.get_message());
}

}  // namespace

struct CudnnPlan::Graph {
  fe::graph::Graph graph;
};

CudnnPlan::CudnnPlan(void* handle, const CudnnShape& s)
    : shape_(s), graph_(std::make_unique<Graph>()) {
  fe::graph::Graph& graph = graph_->graph;
  graph.set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const auto attributes = [](const char* name, Uid uid) {
    return fe::graph::Tensor_attributes().set_name(name).set_uid(uid);
  };
  const auto integers = [&](const char* name, Uid uid, int64_t rows, int64_t cols) {
    return graph.tensor(attributes(name, uid)
                            .set_dim({rows, 1, cols, 1})
                            .set_stride({cols, cols, 1, 1})
                            .set_data_type(fe::DataType_t::INT32));
  };
  const auto pages = [&](const char* name, Uid uid, int64_t dim, int64_t block_stride) {
    return graph.tensor(attributes(name, uid)
                            .set_dim({s.num_blocks, s.kv_heads, s.block_size, dim})
                            .set_stride({block_stride, s.block_size * dim, dim, 1}));
  };
  const auto row_strides = [&](int64_t dim) -> std::vector<int64_t> {
    return {s.max_queries * s.q_heads * dim, dim, s.q_heads * dim, 1};
  };
  const Tensor q = graph.tensor(attributes("q", kQ)
                                    .set_dim({s.batch, s.q_heads, s.max_queries, s.k_dim})
                                    .set_stride(row_strides(s.k_dim))
                                    .set_ragged_offset(
                                        integers("q_start", kQStart, s.batch + int64_t{1}, 1)));
  const Tensor k = pages("k", kK, s.k_dim, s.k_block_stride);
  const Tensor v = pages("v", kV, s.v_dim, s.v_block_stride);
  const int64_t table = s.max_keys / s.block_size;
  auto options = fe::graph::SDPA_attributes()
                     .set_name("attention")
                     .set_generate_stats(false)
                     .set_attn_scale(s.softmax_scale)
                     .set_diagonal_alignment(fe::DiagonalAlignment_t::BOTTOM_RIGHT)
                     .set_diagonal_band_right_bound(0)
                     .set_padding_mask(true)
                     .set_seq_len_q(integers("num_queries", kNumQueries, s.batch, 1))
                     .set_seq_len_kv(integers("num_keys", kNumKeys, s.batch, 1))
                     .set_paged_attention_k_table(integers("pages_k", kPagesK, s.batch, table))
                     .set_paged_attention_v_table(integers("pages_v", kPagesV, s.batch, table))
                     .set_paged_attention_max_seq_len_kv(static_cast<int>(s.max_keys));
  const Tensor out = graph.sdpa(q, k, v, options)[0];
  out->set_output(true)
      .set_uid(kOut)
      .set_dim({s.batch, s.q_heads, s.max_queries, s.v_dim})
      .set_stride(row_strides(s.v_dim))
      .set_ragged_offset(integers("out_start", kOutStart, s.batch + int64_t{1}, 1));

  auto* library = static_cast<cudnnHandle_t>(handle);
  check(graph.validate(), "graph");
  check(graph.build_operation_graph(library), "operations");
  check(graph.create_execution_plans({fe::HeurMode_t::A}), "engines");
  check(graph.check_support(), "support");
  check(graph.build_plans(fe::BuildPlanPolicy_t::HEURISTICS_CHOICE), "plan");
  check(graph.get_workspace_size(workspace_bytes_), "workspace");
}

CudnnPlan::~CudnnPlan() = default;

void CudnnPlan::run(void* handle, const CudnnArguments& a, void* workspace) const {
  const auto pointer = [](const void* p) { return const_cast<void*>(p); };
  std::unordered_map<int64_t, void*> pack{{kQ, pointer(a.q)},
                                          {kK, pointer(a.k)},
                                          {kV, pointer(a.v)},
                                          {kOut, a.out},
                                          {kNumQueries, pointer(a.num_queries)},
                                          {kNumKeys, pointer(a.num_keys)},
                                          {kQStart, pointer(a.q_start)},
                                          {kOutStart, pointer(a.out_start)},
                                          {kPagesK, pointer(a.pages)},
                                          {kPagesV, pointer(a.pages)}};
  auto error = graph_->graph.execute(static_cast<cudnnHandle_t>(handle), pack, workspace);
  SLUICE_CHECK(error.is_good(), SLUICE_STATUS_INTERNAL, "cuDNN: attention of up to ",
               shape_.batch, " sequences of ", shape_.max_queries, " queries and ",
               shape_.max_keys, " keys: ", error.get_message());
}

}  // namespace sluice

#else  // SLUICE_CUDNN

namespace sluice {

struct CudnnPlan::Graph {};
CudnnPlan::CudnnPlan(void* /*handle*/, const CudnnShape& shape) : shape_(shape) {
  SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, "cuDNN: this library was built without its headers");
}
CudnnPlan::~CudnnPlan() = default;
void CudnnPlan::run(void* /*handle*/, const CudnnArguments& /*arguments*/,
                    void* /*workspace*/) const {}

}  // namespace sluice

#endif  // SLUICE_CUDNN
