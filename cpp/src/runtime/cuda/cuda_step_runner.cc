// The way of a step; its outputs are in cuda_outputs.cc.
#include "runtime/cuda/cuda_step_runner.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <variant>

#include "base/checked.h"
#include "base/log.h"
#include "ops/sampling/sampling_cuda.h"
#include "runtime/cuda/device_observer.h"
#include "runtime/rope_state.h"

namespace sluice {
namespace {

// Batch sizes that decode steps are padded to: no more than a third is wasted, and few graphs are
// made.
constexpr std::array<int64_t, 20> kBuckets = {1,  2,  3,  4,   6,   8,   12,  16,  24,  32,
                                              48, 64, 96, 128, 192, 256, 384, 512, 768, 1024};

bool sync_launch_asked() {
  const char* value = std::getenv("SLUICE_SYNC_LAUNCH");
  return value != nullptr && std::strcmp(value, "1") == 0;
}

// Whether a test asked for a fault that is met between layers, which a graph has none of.
bool wants_layers(const std::vector<FaultRequest>& faults) {
  return std::any_of(faults.begin(), faults.end(), [](const FaultRequest& fault) {
    return fault.name == "step.layer" || fault.name == "step.sample";
  });
}

BatchLimits batch_limits(const StepLimits& limits) {
  BatchLimits batch;
  batch.max_tokens = limits.max_step_tokens;
  batch.max_sequences =
      static_cast<int32_t>(std::min(limits.max_sequences, limits.max_step_tokens));
  batch.max_context_len = limits.max_context_len;
  return batch;
}

// cuDNN where attention may run on it. A machine without it is told so once.
std::unique_ptr<CudnnAttention> open_cudnn(const CudaExec& exec, const EngineOptions& options,
                                           const BatchLimits& limits) {
  if (options.numerics != Numerics::kFast || options.kv_format != Format::kBf16 ||
      options.compute_format != Format::kBf16 || !exec.has_sm90a()) {
    return nullptr;
  }
  if (!cudnn_info().problem.empty()) {
    static std::once_flag told;
    std::call_once(told, [] { log(SLUICE_LOG_WARN, cudnn_info().problem); });
    return nullptr;
  }
  return std::make_unique<CudnnAttention>(exec, limits.max_sequences, limits.max_context_len);
}

int32_t* section(const sluice_step_layout& layout, uint8_t* message, int section) {
  return reinterpret_cast<int32_t*>(message + layout.offset[section]);
}

}  // namespace

std::unique_ptr<DeviceRunner> make_device_runner(const EnginePlan& plan, const CudaDevice& device,
                                                 const Decoder& decoder,
                                                 const LayerContext& context, const KvCache& kv,
                                                 const FaultPoints& faults,
                                                 AllocationCounter* counter) {
  return std::make_unique<CudaStepRunner>(plan, device, decoder, context, kv, faults, counter);
}

DeviceRunnerBytes device_runner_bytes(const EnginePlan& plan, const Decoder& decoder,
                                      const LayerContext& context) {
  DeviceRunnerBytes bytes;
  bytes.arena = CudaStepRunner::workspace_bytes(plan, decoder, context);
  bytes.message = RowLists(plan.rules.limits, round_up(plan.layout.input_bytes, 64)).end;
  bytes.state = DeviceState::bytes(plan, bytes.message);
  if (plan.options.penalties) {
    bytes.state = checked_add(
        bytes.state,
        cuda::DeviceTokenCounts::bytes(static_cast<int32_t>(plan.rules.limits.max_sequences),
                                       static_cast<int32_t>(plan.rules.limits.vocab_size),
                                       plan.rules.limits.max_context_len));
  }
  return bytes;
}

CudaStepRunner::CudaStepRunner(const EnginePlan& plan, const CudaDevice& device,
                               const Decoder& decoder, const LayerContext& context,
                               const KvCache& kv, const FaultPoints& faults,
                               AllocationCounter* counter)
    : limits_(plan.rules.limits),
      layout_(plan.layout),
      heads_(plan.rules.heads),
      device_(device),
      decoder_(decoder),
      context_(context),
      kv_(kv),
      faults_(faults),
      state_(plan, device, kv, counter),
      lists_(plan.rules.limits, round_up(plan.layout.input_bytes, 64)),
      rows_(plan.rules.limits, decoder.num_heads()),
      sync_launch_(sync_launch_asked()),
      makes_graphs_(!sync_launch_ && !wants_layers(plan.options.faults)),
      bounds_contexts_(std::any_of(plan.spec.layers.begin(), plan.spec.layers.end(),
                                   [](const LayerSpec& layer) {
                                     return std::holds_alternative<AdaptiveSpec>(layer.attention);
                                   })),
      timers_(static_cast<size_t>(plan.options.step_slots)),
      cudnn_(open_cudnn(device.exec(), plan.options, batch_limits(limits_))) {
  context_.cudnn = cudnn_.get();
  decoder_.prepare(context_, batch_limits(limits_), kv_.layers());
  if (cudnn_) cudnn_->start();
}

CudaStepRunner::~CudaStepRunner() { drain(); }

void CudaStepRunner::drain() noexcept {
  try {
    device_.make_current();
    device_.synchronize();
  } catch (const Error& error) {
    log(SLUICE_LOG_DEBUG, error.text());  // whoever waited for the step was told
  }
}

int64_t CudaStepRunner::workspace_bytes(const EnginePlan& plan, const Decoder& decoder,
                                        const LayerContext& context) {
  const StepLimits& limits = plan.rules.limits;
  const BatchLimits batch = batch_limits(limits);
  // A trace sends all tokens through the head, so the rows may be more than the output rows.
  const int64_t rows = kMaxDeviceHeadRows;
  int64_t values = 0;
  for (int h = 0; h < decoder.num_heads(); ++h) {
    values = std::max(values, decoder.head(h).num_values());
  }
  int64_t outputs = 2 * arena_bytes(checked_mul(rows, limits.hidden_size * 4));  // rows, input
  outputs = checked_add(outputs, arena_bytes(checked_mul(rows, values * 4)));
  const int64_t sampling = arena_bytes(cuda::sampling_workspace_bytes(
      rows, static_cast<int32_t>(limits.vocab_size), static_cast<int32_t>(limits.max_top_n)));
  outputs = checked_add(outputs, std::max(decoder.output_bytes(context, rows), sampling));
  int64_t bytes = checked_add(arena_bytes(limits.max_step_tokens * 4),
                              arena_bytes(checked_mul(limits.max_step_tokens,
                                                      limits.hidden_size * 4)));
  bytes = checked_add(bytes, RopeState::workspace_bytes(plan.spec.ropes, limits.max_step_tokens));
  return checked_add(bytes, std::max(outputs, decoder.forward_bytes(context, batch)));
}

void CudaStepRunner::launch(int slot, uint8_t* message, const StepOutput& output,
                            StepObserver& observer) {
  Timer& timer = timers_[static_cast<size_t>(slot)];
  Work work;
  work.host = view_input(layout_, message);
  work.device = state_.view(work.host);
  work.num_tokens = work.host.num_tokens();
  work.num_sequences = work.host.num_sequences();
  rows_.make(work.host, lists_, message);
  if (const int64_t bucket = bucket_of(work.host, observer, &work.head); bucket > 0) {
    pad_message(message, work.host, bucket);
    rows_.pad(lists_, message, bucket);
    work.num_tokens = work.num_sequences = bucket;
    work.longest_context = context_bound(work.host);
  }
  timer.start.record(device_.exec());
  upload(work, message);
  state_.apply(work.device);
  if (output.head_value != nullptr) {
    cuda_fill(device_.exec(), state_.output().head_value, 0,
              work.host.num_rows() * limits_.head_values * 4);
  }
  if (output.expert_count != nullptr) {
    cuda_fill(device_.exec(), state_.output().expert_count, 0,
              limits_.num_layers * limits_.expert_count_stride * 4);
  }
  if (work.head >= 0) {
    run_decode(work, observer);
  } else if (work.num_tokens > 0) {
    if (observer.tracing() || sync_launch_) {
      DeviceObserver device_observer(observer, device_, sync_launch_);
      compute(work, device_observer);
    } else {
      compute(work, observer);
    }
  }
  download(work, output);
  timer.end.record(device_.exec());
}

StepReport CudaStepRunner::wait(int slot, const StepInput& step, const StepOutput& output,
                                int64_t* micros) {
  const Timer& timer = timers_[static_cast<size_t>(slot)];
  timer.end.wait();
  *micros = static_cast<int64_t>(timer.end.millis_since(timer.start) * 1000);
  StepReport report;
  for (const sluice_state_op& op : step.state_op) {
    report.block_copies += op.kind == SLUICE_STATE_OP_COPY_BLOCK;
  }
  for (int64_t r = 0; r < step.num_rows(); ++r) report.non_finite_rows += output.finite[r] == 0;
  return report;
}

// The batch size of a decode step, 0 for others. What is traced shows the tokens that there are.
int64_t CudaStepRunner::bucket_of(const StepInput& step, const StepObserver& observer,
                                  int* head) const {
  if (observer.tracing()) return 0;
  const int decode_head = RowPlan::decode_head(step, heads_);
  if (decode_head < 0) return 0;
  const auto bucket = std::lower_bound(kBuckets.begin(), kBuckets.end(), step.num_sequences());
  // Sequences, tokens and rows of a step all have place for as many.
  const int64_t most =
      std::min({limits_.max_sequences, limits_.max_step_tokens, limits_.max_step_outputs});
  if (bucket == kBuckets.end()) return 0;
  const int64_t size = std::min(*bucket, most);
  if (size < step.num_sequences()) return 0;
  *head = decode_head;
  return size;
}

// What a decode step is told of its longest context. Measured on an H200 with 32 sequences of 1024
// positions: adaptive layers take 1.2 to 6.5 times as long under a bound of 131072, other attention
// does not change.
int64_t CudaStepRunner::context_bound(const StepInput& step) const {
  if (!bounds_contexts_) return limits_.max_context_len;
  const int64_t longest = *std::max_element(step.context_len.begin(), step.context_len.end());
  int64_t bound = 1024;
  while (bound < longest) bound *= 4;
  return std::min(bound, limits_.max_context_len);
}

// Sequences without a context: their token is embedded as zeros, attends to nothing and leaves
// nothing. Behind the used part of the sections there is room, and their counts stay.
void CudaStepRunner::pad_message(uint8_t* message, const StepInput& step, int64_t bucket) const {
  const int64_t used = step.num_sequences();
  const auto fill = [&](int which, int64_t width, int32_t value) {
    int32_t* values = section(layout_, message, which);
    std::fill(values + used * width, values + bucket * width, value);
  };
  fill(SLUICE_SECTION_TOKEN_ID, 1, 0);
  fill(SLUICE_SECTION_TOKEN_POSITION, limits_.position_dims, 0);
  fill(SLUICE_SECTION_TOKEN_KV_SLOT, limits_.num_kv_groups, -1);
  fill(SLUICE_SECTION_SEQ_SLOT, 1, 0);
  fill(SLUICE_SECTION_CONTEXT_LEN, 1, 0);
  if (limits_.num_ropes > 0) fill(SLUICE_SECTION_ROPE_VARIANT, limits_.num_ropes, 0);
  int32_t* query_start = section(layout_, message, SLUICE_SECTION_QUERY_START);
  for (int64_t s = used + 1; s <= bucket; ++s) query_start[s] = static_cast<int32_t>(s);
}

void CudaStepRunner::upload(const Work& work, const uint8_t* message) {
  const sluice_step_header& header = *work.host.header;
  cuda::CopyRanges ranges;
  const auto add = [&](int64_t offset, int64_t bytes) {
    ranges.add(message + offset, state_.message() + offset, bytes);
  };
  add(0, sizeof(sluice_step_header));
  for (int which = 0; which < SLUICE_SECTION_INPUT_COUNT; ++which) {
    if (layout_.offset[which] < 0 || which == SLUICE_SECTION_ADAPTER) continue;
    int64_t count = header.counts[which];
    switch (which) {
      case SLUICE_SECTION_TOKEN_ID:
        count = work.num_tokens;
        break;
      case SLUICE_SECTION_TOKEN_POSITION:
        count = work.num_tokens * limits_.position_dims;
        break;
      case SLUICE_SECTION_TOKEN_KV_SLOT:
        count = work.num_tokens * limits_.num_kv_groups;
        break;
      case SLUICE_SECTION_SEQ_SLOT:
      case SLUICE_SECTION_CONTEXT_LEN:
        count = work.num_sequences;
        break;
      case SLUICE_SECTION_QUERY_START:
        count = work.num_sequences + 1;
        break;
      case SLUICE_SECTION_ROPE_VARIANT:
        count = work.num_sequences * limits_.num_ropes;
        break;
      default:
        break;
    }
    add(layout_.offset[which], count * section_element_bytes(which));
  }
  for (const int64_t offset : {lists_.row_index, lists_.seq_slot, lists_.first_value}) {
    add(offset, rows_.num_rows() * 4);
  }
  add(lists_.value_token, rows_.num_values() * 4);
  for (const int64_t offset : {lists_.hidden_token, lists_.hidden_row, lists_.hidden_place}) {
    add(offset, rows_.num_hidden() * 4);
  }
  cuda::copy_ranges(device_.exec(), ranges);
}

void CudaStepRunner::compute(const Work& work, StepObserver& observer) {
  Arena& workspace = context_.workspace;
  workspace.reset();
  auto* ids = workspace.allocate_array<int32_t>(work.num_tokens);
  cuda::ResolveTokensParams tokens;
  tokens.num_tokens = work.num_tokens;
  tokens.num_sequences = work.num_sequences;
  tokens.header = work.device.header;
  tokens.token_id = work.device.token_id.data();
  tokens.query_start = work.device.query_start.data();
  tokens.seq_slot = work.device.seq_slot.data();
  tokens.last_token = state_.tables().last_token;
  tokens.previous_tokens = state_.previous_tokens();
  tokens.ids = ids;
  cuda::resolve_tokens(device_.exec(), tokens);

  StepBatch batch;
  batch.num_tokens = work.num_tokens;
  batch.num_sequences = static_cast<int32_t>(work.num_sequences);
  batch.positions = work.device.position.data();
  batch.query_start = work.device.query_start.data();
  batch.context_len = work.device.context_len.data();
  batch.seq_slots = work.device.seq_slot.data();
  batch.kv_slots = work.device.kv_slot.data();
  batch.num_kv_groups = limits_.num_kv_groups;
  batch.block_tables = state_.block_tables();
  batch.block_table_stride = limits_.max_blocks_per_sequence;
  const HostBatch host{work.host.position.data(), work.host.query_start.data(),
                       work.host.context_len.data()};
  if (work.head >= 0) {
    batch.longest_context = work.longest_context;
  } else {
    batch.host = &host;
    for (int64_t s = 0; s < work.num_sequences; ++s) {
      batch.longest_context = std::max<int64_t>(batch.longest_context, host.context_len[s]);
      batch.longest_query = std::max<int64_t>(batch.longest_query,
                                              host.query_start[s + 1] - host.query_start[s]);
    }
  }
  batch.ropes = state_.make_angles(context_.exec, batch, work.device.rope_variant.data(), workspace);
  auto* residual = workspace.allocate_array<float>(work.num_tokens * limits_.hidden_size);
  const ExpertCounts experts{state_.output().expert_count, limits_.expert_count_stride};
  decoder_.forward(context_, batch, ids, kv_.layers(), residual, experts, observer);
  observer.before_outputs();
  if (observer.tracing()) show_outputs(work.num_tokens, residual, observer);
  run_outputs(work, ids, residual);
}

void CudaStepRunner::run_decode(const Work& work, StepObserver& observer) {
  CudaGraph& graph = graph_[{work.num_tokens, work.longest_context, work.head}];
  if (graph) {
    observer.before_layer(0);
    observer.before_outputs();
    graph.launch(device_.exec());
    return;
  }
  if (sync_launch_) {
    DeviceObserver device_observer(observer, device_, sync_launch_);
    compute(work, device_observer);
    return;
  }
  // Run first: while work is captured no kernel can be loaded for the first time.
  compute(work, observer);
  if (makes_graphs_) make_graph(work, observer, &graph);
}

void CudaStepRunner::make_graph(const Work& work, StepObserver& observer, CudaGraph* graph) {
  CudaGraph::begin_capture(device_.exec());
  try {
    compute(work, observer);
    faults_.pass(FaultPoint::kStepGraph);
    *graph = CudaGraph::end_capture(device_.exec());
  } catch (const Error& error) {
    CudaGraph::cancel_capture(device_.exec());
    if (error.status() != SLUICE_STATUS_OUT_OF_DEVICE_MEMORY) throw;
    // The step itself has run.
    makes_graphs_ = false;
    ++graphs_refused_;
    log(SLUICE_LOG_WARN,
        concat("no memory for the graph of a decode step of ", work.num_tokens,
               " sequences: new batch sizes run without, slower (remedy: a lower num_blocks; ",
               error.text(), ")"));
    return;
  } catch (...) {
    CudaGraph::cancel_capture(device_.exec());
    throw;
  }
  ++graphs_made_;
  if (log_enabled(SLUICE_LOG_DEBUG)) {
    log(SLUICE_LOG_DEBUG, concat("graph of a decode step of ", work.num_tokens, " sequences: ",
                                 graph->num_nodes(), " nodes"));
  }
}

}  // namespace sluice
