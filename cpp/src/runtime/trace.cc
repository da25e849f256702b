#include "runtime/trace.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "model/proto_message.h"

namespace sluice {
namespace {

constexpr int64_t kAlignment = 64;
// Of the directory, for the kernels: some sixty.
constexpr int64_t kKernelBytes = 4096;

}  // namespace

Trace::Trace(const EnginePlan& plan, std::span<const uint8_t> request, const StepInput& step)
    : num_tokens_(step.num_tokens()) {
  const auto message =
      unpack<Sluice__Proto__TraceRequest>(sluice__proto__trace_request__descriptor, request);
  const std::vector<TraceEntry> entries =
      list_trace_entries(plan.spec, step, plan.options.max_context_len);
  for (size_t i = 0; i < message->n_names; ++i) add(entries, message->names[i]);
  replays_ = std::make_unique<TraceReplays>(*message, plan.spec, entries, step);
  place_tensors();
}

void Trace::add(const std::vector<TraceEntry>& entries, const std::string& name) {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const TraceEntry& entry) { return entry.name == name; });
  SLUICE_CHECK_ARG(found != entries.end(), "names: ", name,
                   " (expected: ", describe_entries(entries), ")");
  for (const Tensor& earlier : tensors_) {
    SLUICE_CHECK_ARG(earlier.entry.name != name, "names: ", name, " (expected: each name once)");
  }
  tensors_.push_back({*found});
}

void Trace::place_tensors() {
  int64_t end = 0;
  for (Tensor& tensor : tensors_) {
    tensor.offset = end;
    const int64_t bytes = checked_mul(num_tokens_, tensor.entry.row_bytes());
    end = round_up(checked_add(end, bytes), kAlignment);
  }
  message_bytes_ = static_cast<int64_t>(directory({}, 0).size()) + kKernelBytes;
  directory_bytes_ = round_up(static_cast<int64_t>(sizeof(uint64_t)) + message_bytes_, kAlignment);
  bytes_ = checked_add(directory_bytes_, end);
}

// Filled up to `bytes`; 0: as short as it is.
std::vector<uint8_t> Trace::directory(const std::vector<KernelUse>& kernels, int64_t bytes) const {
  ProtoArena arena;
  auto* result = arena.make(sluice__proto__trace_result__init);
  std::vector<Sluice__Proto__TraceTensor*> tensors;
  for (const Tensor& tensor : tensors_) {
    auto* entry = arena.make(sluice__proto__trace_tensor__init);
    entry->name = arena.text(tensor.entry.name);
    entry->has_format = 1;
    entry->format = static_cast<Sluice__Proto__Format>(tensor.entry.format);
    std::vector<uint64_t> shape{static_cast<uint64_t>(num_tokens_)};
    shape.insert(shape.end(), tensor.entry.row_shape.begin(), tensor.entry.row_shape.end());
    entry->n_shape = shape.size();
    entry->shape = arena.array(shape);
    entry->has_offset = 1;
    entry->offset = static_cast<uint64_t>(tensor.offset);
    entry->has_bytes = 1;
    entry->bytes = static_cast<uint64_t>(num_tokens_ * tensor.entry.row_bytes());
    tensors.push_back(entry);
  }
  result->n_tensors = tensors.size();
  result->tensors = arena.array(tensors);
  std::vector<Sluice__Proto__KernelChoice*> choices;
  for (const KernelUse& use : kernels) {
    auto* kernel = arena.make(sluice__proto__kernel_choice__init);
    kernel->op = arena.text(use.op);
    kernel->variant = arena.text(use.variant);
    kernel->reason = arena.text(use.reason);
    choices.push_back(kernel);
  }
  result->n_kernels = choices.size();
  result->kernels = arena.array(choices);
  std::vector<uint8_t> message = pack_message(result->base);
  if (bytes == 0) return message;
  // The field's key takes one byte and its length two.
  const int64_t left = bytes - static_cast<int64_t>(message.size());
  SLUICE_CHECK_INTERNAL(left >= 128 + 3 && left < 16384, "trace: ", kernels.size(),
                        " kernels leave ", left, " bytes of the directory (expected: 131 to 16383)");
  std::vector<uint8_t> room(static_cast<size_t>(left - 3));
  result->has_room = 1;
  result->room.len = room.size();
  result->room.data = room.data();
  message = pack_message(result->base);
  SLUICE_CHECK_INTERNAL(static_cast<int64_t>(message.size()) == bytes, "trace: a directory of ",
                        message.size(), " bytes (expected: ", bytes, ")");
  return message;
}

void Trace::write_directory(uint8_t* buffer, const std::vector<KernelUse>& kernels) const {
  const std::vector<uint8_t> message = directory(kernels, message_bytes_);
  std::memset(buffer, 0, static_cast<size_t>(directory_bytes_));
  const auto length = static_cast<uint64_t>(message.size());
  std::memcpy(buffer, &length, sizeof(length));
  std::memcpy(buffer + sizeof(length), message.data(), message.size());
}

TraceObserver::TraceObserver(StepObserver& base, const Trace& trace, uint8_t* buffer)
    : base_(base),
      trace_(trace),
      tensors_(buffer + trace.directory_bytes()),
      rows_kept_(trace.tensors().size()) {}

int TraceObserver::find(const std::string& name) const {
  for (size_t i = 0; i < rows_kept_.size(); ++i) {
    if (trace_.tensors()[i].entry.name == name) return static_cast<int>(i);
  }
  return -1;
}

void TraceObserver::keep(const std::string& name, const TensorRows& rows) {
  const int i = find(name);
  SLUICE_CHECK_INTERNAL(i >= 0, "trace: ", name, " was not asked for");
  const TraceEntry& entry = trace_.tensors()[i].entry;
  SLUICE_CHECK_INTERNAL(rows.format == entry.format && rows.cols == entry.cols() &&
                            rows_kept_[i] + rows.num_rows <= trace_.num_tokens(),
                        "trace: ", rows.num_rows, " rows of ", name, " with ", rows.cols,
                        " columns of ", format_name(rows.format),
                        " (expected: ", trace_.num_tokens() - rows_kept_[i], " of ", entry.cols(),
                        " of ", format_name(entry.format), ")");
  uint8_t* place = tensors_ + trace_.tensors()[i].offset + rows_kept_[i] * entry.row_bytes();
  const int64_t bytes = rows.num_rows * entry.row_bytes();
  if (bytes > 0) std::memcpy(place, rows.data, static_cast<size_t>(bytes));
  rows_kept_[i] += rows.num_rows;
}

void TraceObserver::check_complete() const {
  for (size_t i = 0; i < rows_kept_.size(); ++i) {
    SLUICE_CHECK_INTERNAL(rows_kept_[i] == trace_.num_tokens(), "trace: ", rows_kept_[i],
                          " rows of ", trace_.tensors()[i].entry.name,
                          " (expected: ", trace_.num_tokens(), ")");
  }
}

}  // namespace sluice
