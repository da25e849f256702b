#include "support/driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice::test {
namespace {

Outcome outcome(sluice_status status, const sluice_error& error) {
  Outcome result;
  result.status = status;
  if (status != SLUICE_STATUS_OK && status != SLUICE_STATUS_TIMEOUT) result.text = error.text;
  return result;
}

void must(sluice_status status, const sluice_error& error) {
  if (status == SLUICE_STATUS_OK) return;
  std::fprintf(stderr, "%s: %s\n", sluice_status_name(status), error.text);
  std::abort();
}

}  // namespace

Outcome EngineHandle::create(const Sluice__Proto__ModelSpec& spec,
                             const Sluice__Proto__EngineOptions& options) {
  return create(
      pack_message(spec.base), pack_message(options.base),
      options.tensor_parallel_size <= 1024 ? static_cast<int>(options.tensor_parallel_size) : 1);
}

Outcome EngineHandle::create(std::span<const uint8_t> spec, std::span<const uint8_t> options,
                             int num_ranks) {
  sluice_engine_destroy(engine_);
  engine_ = nullptr;
  sluice_error error = {};
  const std::vector<int32_t> devices(static_cast<size_t>(num_ranks), 0);
  const sluice_status status =
      sluice_engine_create(spec.data(), static_cast<int64_t>(spec.size()), options.data(),
                           static_cast<int64_t>(options.size()), devices.data(), num_ranks, 0,
                           num_ranks, nullptr, 0, 0, &engine_, &error);
  return outcome(status, error);
}

Outcome EngineHandle::enqueue(const Sluice__Proto__WeightTransferList& list) {
  const auto bytes = pack_message(list.base);
  sluice_error error = {};
  const sluice_status status =
      sluice_weights_enqueue(engine_, bytes.data(), static_cast<int64_t>(bytes.size()), &error);
  return outcome(status, error);
}

Outcome EngineHandle::load(const Sluice__Proto__WeightTransferList& list, int mode) {
  sluice_error error = {};
  sluice_status status = sluice_weights_begin(engine_, mode, &error);
  if (status != SLUICE_STATUS_OK) return outcome(status, error);
  const Outcome queued = enqueue(list);
  if (queued.status != SLUICE_STATUS_OK) return queued;
  sluice_weights_progress progress = {};
  status = sluice_weights_poll(engine_, -1, &progress, &error);
  if (status == SLUICE_STATUS_OK) status = sluice_weights_finish(engine_, &error);
  return outcome(status, error);
}

Driver::Driver(sluice_engine* engine, int block_size, int num_ropes)
    : engine_(engine), block_size_(block_size), num_ropes_(num_ropes) {
  sluice_error error = {};
  must(sluice_engine_step_layout(engine, &layout_, &error), error);
  for (int slot = 0; slot < layout_.num_slots; ++slot) {
    void* input = nullptr;
    void* output = nullptr;
    must(sluice_engine_step_buffers(engine, slot, &input, &output, &error), error);
    input_.push_back(input);
    output_.push_back(output);
  }
  begin();
}

void Driver::begin(int slot) {
  slot_ = slot;
  for (auto* list : {&token_id, &position, &kv_slot, &seq_slot, &query_start, &context_len,
                     &adapter, &rope_variant, &target}) {
    list->clear();
  }
  state_op.clear();
  block_update.clear();
  count_update.clear();
  output_row.clear();
  logit_bias.clear();
  mask.clear();
  rope_update.clear();
  rope_inv_freq.clear();
  query_start.push_back(0);
}

int32_t Driver::feed(Sequence* sequence, std::span<const int32_t> ids) {
  const auto first = static_cast<int32_t>(token_id.size());
  if (sequence->context_len == 0) {
    state_op.push_back({SLUICE_STATE_OP_RESET_SEQ, 0, 0, sequence->slot});
  }
  for (int32_t id : ids) {
    const int32_t at = sequence->context_len++;
    if (at % block_size_ == 0) {
      sequence->blocks.push_back(new_block());
      block_update.push_back({sequence->slot, 0, at / block_size_, sequence->blocks.back()});
    }
    token_id.push_back(id);
    position.push_back(at);
    kv_slot.push_back(sequence->blocks[at / block_size_] * block_size_ + at % block_size_);
  }
  seq_slot.push_back(sequence->slot);
  query_start.push_back(static_cast<int32_t>(token_id.size()));
  context_len.push_back(sequence->context_len);
  adapter.push_back(0);
  for (int rope = 0; rope < num_ropes_; ++rope) rope_variant.push_back(sequence->rope_variant);
  return first;
}

sluice_output_row& Driver::add_row(int32_t kind, int32_t token_index) {
  sluice_output_row row = {};
  row.token_index = token_index;
  row.kind = kind;
  row.top_p = 1;
  row.repetition_penalty = 1;
  row.mask_index = -1;
  output_row.push_back(row);
  return output_row.back();
}

template <class T>
void Driver::put(int section, const std::vector<T>& values) {
  header().counts[section] = static_cast<int32_t>(values.size());
  if (values.empty()) return;
  std::memcpy(input<T>(section), values.data(), values.size() * sizeof(T));
  const uint64_t end = layout_.offset[section] + values.size() * sizeof(T);
  if (end > header().used_bytes) header().used_bytes = end;
}

void Driver::write() {
  header() = {};
  header().magic = SLUICE_STEP_MAGIC;
  header().abi_version = SLUICE_ABI_VERSION;
  header().step_id = step_id_ + 1;
  header().used_bytes = sizeof(sluice_step_header);
  put(SLUICE_SECTION_TOKEN_ID, token_id);
  put(SLUICE_SECTION_TOKEN_POSITION, position);
  put(SLUICE_SECTION_TOKEN_KV_SLOT, kv_slot);
  put(SLUICE_SECTION_SEQ_SLOT, seq_slot);
  put(SLUICE_SECTION_QUERY_START, query_start);
  put(SLUICE_SECTION_CONTEXT_LEN, context_len);
  put(SLUICE_SECTION_ADAPTER, adapter);
  put(SLUICE_SECTION_ROPE_VARIANT, rope_variant);
  put(SLUICE_SECTION_STATE_OP, state_op);
  put(SLUICE_SECTION_BLOCK_UPDATE, block_update);
  put(SLUICE_SECTION_COUNT_UPDATE, count_update);
  put(SLUICE_SECTION_OUTPUT_ROW, output_row);
  put(SLUICE_SECTION_LOGIT_BIAS, logit_bias);
  put(SLUICE_SECTION_TARGET, target);
  put(SLUICE_SECTION_MASK, mask);
  put(SLUICE_SECTION_ROPE_UPDATE, rope_update);
  put(SLUICE_SECTION_ROPE_INV_FREQ, rope_inv_freq);
}

Outcome Driver::submit() {
  sluice_error error = {};
  const sluice_status status = sluice_engine_submit(engine_, slot_, &error);
  step_id_ += status == SLUICE_STATUS_OK;
  return outcome(status, error);
}

Outcome Driver::wait(int slot, int64_t timeout_us) {
  sluice_error error = {};
  const sluice_status status = sluice_engine_wait(engine_, slot, timeout_us, &error);
  return outcome(status, error);
}

Outcome Driver::run() {
  write();
  const Outcome submitted = submit();
  return submitted.status == SLUICE_STATUS_OK ? wait(slot_) : submitted;
}

Outcome Driver::trace(const std::vector<std::string>& names,
                      const std::vector<TracedTensor>& replay, std::vector<TracedTensor>* tensors) {
  write();
  ProtoArena arena;
  auto* request = arena.make(sluice__proto__trace_request__init);
  std::vector<char*> list;
  for (const std::string& name : names) list.push_back(arena.text(name));
  request->n_names = list.size();
  request->names = arena.array(list);
  std::vector<Sluice__Proto__TraceReplay*> decisions;
  for (const TracedTensor& from : replay) {
    auto* decision = arena.make(sluice__proto__trace_replay__init);
    decision->name = arena.text(from.name);
    decision->has_format = decision->has_data = 1;
    decision->format = from.format;
    decision->n_shape = from.shape.size();
    decision->shape = arena.array(from.shape);
    decision->data.len = from.bytes.size();
    decision->data.data = arena.array(from.bytes);
    decisions.push_back(decision);
  }
  request->n_replay = decisions.size();
  request->replay = arena.array(decisions);
  const auto bytes = pack_message(request->base);
  sluice_error error = {};
  int64_t size = 0;
  sluice_status status = sluice_engine_trace(
      engine_, slot_, bytes.data(), static_cast<int64_t>(bytes.size()), nullptr, 0, &size, &error);
  if (status != SLUICE_STATUS_BUFFER_TOO_SMALL) return outcome(status, error);
  std::vector<uint8_t> buffer(size);
  status = sluice_engine_trace(engine_, slot_, bytes.data(), static_cast<int64_t>(bytes.size()),
                               buffer.data(), size, &size, &error);
  if (status != SLUICE_STATUS_OK) return outcome(status, error);
  ++step_id_;
  uint64_t length = 0;
  std::memcpy(&length, buffer.data(), 8);
  const auto result = unpack<Sluice__Proto__TraceResult>(sluice__proto__trace_result__descriptor,
                                                         {buffer.data() + 8, length});
  const size_t directory = (8 + length + 63) / 64 * 64;
  kernels.clear();
  for (size_t i = 0; i < result->n_kernels; ++i) {
    const Sluice__Proto__KernelChoice& from = *result->kernels[i];
    kernels.push_back({from.op, from.variant, from.reason});
  }
  tensors->clear();
  for (size_t i = 0; i < result->n_tensors; ++i) {
    const Sluice__Proto__TraceTensor& from = *result->tensors[i];
    const uint8_t* data = buffer.data() + directory + from.offset;
    tensors->push_back({from.name,
                        from.format,
                        {from.shape, from.shape + from.n_shape},
                        {data, data + from.bytes}});
  }
  return outcome(status, error);
}

Outcome Driver::trace(const std::vector<std::string>& names,
                      std::vector<std::vector<float>>* tensors) {
  std::vector<TracedTensor> traced;
  Outcome ran = trace(names, {}, &traced);
  tensors->clear();
  for (const TracedTensor& tensor : traced) tensors->push_back(tensor.values<float>());
  return ran;
}

}  // namespace sluice::test
