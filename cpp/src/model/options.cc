#include "model/options.h"

#include <algorithm>

#include "device/cpu.h"
#include "device/cuda.h"
#include "model/proto_message.h"
#include "model/spec_fields.h"

namespace sluice {
namespace {

constexpr int64_t kMaxCount = 1 << 27;
// More threads than this for each core only get in each other's way.
constexpr int32_t kMaxThreadsPerCore = 4;
constexpr int32_t kMaxThreads = 1024;
constexpr int32_t kMaxRanks = 1024;

int32_t decode_num_threads(const Sluice__Proto__EngineOptions& message, const FieldReader& fields) {
  const auto threads = static_cast<int32_t>(
      fields.required("num_threads", message.has_num_threads, message.num_threads, 1, kMaxThreads));
  const int32_t cores = num_cores();
  SLUICE_CHECK_ARG(threads <= std::max(8, kMaxThreadsPerCore * cores), "num_threads: ", threads,
                   " (expected: at most ", std::max(8, kMaxThreadsPerCore * cores), " with ", cores,
                   " cores at hand; remedy: as many threads as physical cores)");
  return threads;
}

Format decode_format(const FieldReader& fields, const char* name, bool present, int value) {
  fields.require(name, present);
  const auto format = static_cast<Format>(value);
  SLUICE_CHECK(is_compute_format(format), SLUICE_STATUS_UNSUPPORTED, name, ": ",
               proto_enum_name(sluice__proto__format__descriptor, value),
               " not built (built: F32, BF16)");
  return format;
}

void refuse_parallel_size(const FieldReader& fields, const char* name, uint32_t value) {
  fields.integer(name, value, 1, kMaxCount);
  fields.unsupported_if(value != 1, name, "1");
}

void decode_sizes(const Sluice__Proto__EngineOptions& message, const FieldReader& fields,
                  EngineOptions* options) {
  const auto size = [&](const char* name, bool present, uint32_t value, int64_t lowest) {
    return static_cast<int32_t>(fields.required(name, present, value, lowest, kMaxCount));
  };
  const auto optional_size = [&](const char* name, uint32_t value, int64_t lowest) {
    return static_cast<int32_t>(fields.integer(name, value, lowest, kMaxCount));
  };
  options->max_sequences =
      size("max_sequences", message.has_max_sequences, message.max_sequences, 1);
  options->max_context_len =
      size("max_context_len", message.has_max_context_len, message.max_context_len, 1);
  options->max_step_tokens =
      size("max_step_tokens", message.has_max_step_tokens, message.max_step_tokens, 1);
  options->max_step_outputs =
      size("max_step_outputs", message.has_max_step_outputs, message.max_step_outputs, 1);
  options->step_slots =
      static_cast<int32_t>(fields.integer("step_slots", message.step_slots, 1, 64));
  options->max_draft_len =
      static_cast<int32_t>(fields.integer("max_draft_len", message.max_draft_len, 0, kMaxDraftLen));
  options->max_top_n = optional_size("max_top_n", message.max_top_n, 0);
  options->max_step_targets = optional_size("max_step_targets", message.max_step_targets, 0);
  options->max_step_logit_biases =
      optional_size("max_step_logit_biases", message.max_step_logit_biases, 0);
  options->max_step_masks = optional_size("max_step_masks", message.max_step_masks, 0);
  options->max_step_hidden_rows =
      optional_size("max_step_hidden_rows", message.max_step_hidden_rows, 0);
  options->max_step_state_ops = optional_size("max_step_state_ops", message.max_step_state_ops, 0);
  options->max_step_block_updates =
      optional_size("max_step_block_updates", message.max_step_block_updates, 1);
  options->max_step_count_updates =
      optional_size("max_step_count_updates", message.max_step_count_updates, 0);
}

void decode_blocks(const Sluice__Proto__EngineOptions& message, const FieldReader& fields,
                   const ModelSpec& model, bool may_be_empty, EngineOptions* options) {
  if (may_be_empty && message.n_num_blocks == 0) {
    options->num_blocks.assign(model.kv_groups.size(), 0);
    return;
  }
  SLUICE_CHECK_ARG(message.n_num_blocks == model.kv_groups.size(),
                   "num_blocks: ", message.n_num_blocks, " values (expected: one for each of the ",
                   model.kv_groups.size(), " kv groups)");
  for (size_t g = 0; g < message.n_num_blocks; ++g) {
    // KV slots cross as int32.
    options->num_blocks.push_back(fields.integer(indexed("num_blocks", g).c_str(),
                                                 message.num_blocks[g], 1,
                                                 INT32_MAX / options->block_size));
  }
}

}  // namespace

EngineOptions decode_engine_options(std::span<const uint8_t> bytes, const ModelSpec& model,
                                    bool blocks_optional) {
  const auto message =
      unpack<Sluice__Proto__EngineOptions>(sluice__proto__engine_options__descriptor, bytes);
  const FieldReader fields;
  fields.require("options_version", message->has_options_version);
  SLUICE_CHECK(message->options_version == 1, SLUICE_STATUS_UNSUPPORTED,
               "options_version: ", message->options_version, " (expected: 1)");
  fields.require("backend", message->has_backend);
  const auto backend = static_cast<Backend>(message->backend);
  SLUICE_CHECK(kCudaBuilt || backend == Backend::kCpu, SLUICE_STATUS_UNSUPPORTED,
               "backend: CUDA not built (built: CPU; remedy: the natives for cuda13)");
  fields.unsupported_if(message->max_step_embeddings != 0, "max_step_embeddings", "0");
  fields.unsupported_if(message->max_adapters != 0, "max_adapters", "0");
  fields.unsupported_if(message->max_adapter_rank != 0, "max_adapter_rank", "0");
  fields.unsupported_if(message->n_pipeline_layer_begin > 1, "pipeline_layer_begin", "one stage");
  if (message->n_pipeline_layer_begin == 1) {
    fields.integer("pipeline_layer_begin[0]", message->pipeline_layer_begin[0], 0, 0);
  }
  fields.unsupported_if(message->adapter_bytes != 0, "adapter_bytes", "0");
  // Ranks of one process cannot lose each other: a fault or an abort on one ends the wait of all.
  fields.unsupported_if(message->has_comm_timeout_micros, "comm_timeout_micros", "no limit");
  refuse_parallel_size(fields, "pipeline_parallel_size", message->pipeline_parallel_size);
  refuse_parallel_size(fields, "expert_parallel_size", message->expert_parallel_size);

  EngineOptions options;
  options.backend = backend;
  options.compute_format =
      decode_format(fields, "compute_format", message->has_compute_format, message->compute_format);
  options.kv_format =
      decode_format(fields, "kv_format", message->has_kv_format, message->kv_format);
  fields.require("numerics", message->has_numerics);
  options.numerics = static_cast<Numerics>(message->numerics);
  options.num_threads = decode_num_threads(*message, fields);
  options.tensor_parallel_size = static_cast<int32_t>(
      fields.integer("tensor_parallel_size", message->tensor_parallel_size, 1, kMaxRanks));
  SLUICE_CHECK(backend == Backend::kCpu || options.tensor_parallel_size == 1,
               SLUICE_STATUS_UNSUPPORTED, "tensor_parallel_size: ", options.tensor_parallel_size,
               " with backend CUDA not built (built: 1)");
  decode_sizes(*message, fields, &options);

  options.block_size = static_cast<int32_t>(
      fields.required("block_size", message->has_block_size, message->block_size, 4, 256));
  SLUICE_CHECK_ARG((options.block_size & (options.block_size - 1)) == 0,
                   "block_size: ", options.block_size, " (expected: a power of two, 4 to 256)");
  decode_blocks(*message, fields, model, blocks_optional, &options);
  options.penalties = message->penalties;
  options.report_expert_counts = message->report_expert_counts;
  if (message->onednn_path != nullptr) options.onednn_path = message->onednn_path;
  if (message->cublaslt_path != nullptr) options.cublaslt_path = message->cublaslt_path;
  if (message->isa != nullptr) options.isa = message->isa;
  for (size_t i = 0; i < message->n_faults; ++i) {
    const Sluice__Proto__FaultPoint& fault = *message->faults[i];
    const FieldReader inner = fields.child(indexed("faults", i));
    inner.require("name", fault.name != nullptr);
    inner.require("count", fault.has_count);
    inner.require("status", fault.has_status);
    options.faults.push_back({fault.name, fault.count, static_cast<int32_t>(fault.status)});
  }
  return options;
}

}  // namespace sluice
