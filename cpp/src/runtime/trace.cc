#include "runtime/trace.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "model/proto_message.h"

namespace sluice {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

Trace::Trace(const EnginePlan& plan, std::span<const uint8_t> request, int64_t num_tokens)
    : num_tokens_(num_tokens) {
  const auto message =
      unpack<Sluice__Proto__TraceRequest>(sluice__proto__trace_request__descriptor, request);
  SLUICE_CHECK(message->n_replay == 0, SLUICE_STATUS_UNSUPPORTED,
               "replay: not built (built: none)");
  for (size_t i = 0; i < message->n_names; ++i) add(plan, message->names[i]);

  ProtoArena arena;
  auto* result = arena.make(sluice__proto__trace_result__init);
  std::vector<Sluice__Proto__TraceTensor*> tensors;
  int64_t end = 0;
  for (Tensor& tensor : tensors_) {
    tensor.offset = end;
    const int64_t bytes = checked_mul(num_tokens, tensor.cols * 4);
    end = round_up(checked_add(end, bytes), kAlignment);
    auto* entry = arena.make(sluice__proto__trace_tensor__init);
    entry->name = arena.text(tensor.name);
    entry->has_format = 1;
    entry->format = SLUICE__PROTO__FORMAT__F32;
    entry->n_shape = 2;
    entry->shape = arena.array(std::vector<uint64_t>{static_cast<uint64_t>(num_tokens),
                                                     static_cast<uint64_t>(tensor.cols)});
    entry->has_offset = 1;
    entry->offset = static_cast<uint64_t>(tensor.offset);
    entry->has_bytes = 1;
    entry->bytes = static_cast<uint64_t>(bytes);
    tensors.push_back(entry);
  }
  result->n_tensors = tensors.size();
  result->tensors = arena.array(tensors);
  std::vector<Sluice__Proto__KernelChoice*> kernels;
  for (const KernelUse& use : kernel_uses(plan)) {
    auto* kernel = arena.make(sluice__proto__kernel_choice__init);
    kernel->op = arena.text(use.op);
    kernel->variant = arena.text(use.variant);
    kernel->reason = arena.text(use.reason);
    kernels.push_back(kernel);
  }
  result->n_kernels = kernels.size();
  result->kernels = arena.array(kernels);
  message_ = pack_message(result->base);
  directory_bytes_ = round_up(static_cast<int64_t>(sizeof(uint64_t) + message_.size()), kAlignment);
  bytes_ = directory_bytes_ + end;
}

void Trace::add(const EnginePlan& plan, const std::string& name) {
  Tensor tensor;
  tensor.name = name;
  tensor.cols = plan.spec.hidden_size;
  const auto layers = plan.spec.layers.size();
  bool known = name == "embedding" || name == "final_norm";
  if (name == "logits") {
    known = true;
    tensor.cols = plan.spec.vocab_size;
  }
  for (size_t l = 0; !known && l < layers; ++l) known = name == concat("hidden_", l);
  for (const char* later : {"router_", "attention_keep_", "head_logits_"}) {
    SLUICE_CHECK(known || name.rfind(later, 0) != 0, SLUICE_STATUS_UNSUPPORTED, "names: ", name,
                 " not built (built: embedding, hidden_0 to hidden_", layers - 1,
                 ", final_norm, logits)");
  }
  SLUICE_CHECK_ARG(known, "names: ", name, " (expected: embedding, hidden_0 to hidden_", layers - 1,
                   ", final_norm or logits)");
  for (const Tensor& earlier : tensors_) {
    SLUICE_CHECK_ARG(earlier.name != name, "names: ", name, " (expected: each name once)");
  }
  tensors_.push_back(std::move(tensor));
}

void Trace::write_directory(uint8_t* buffer) const {
  std::memset(buffer, 0, static_cast<size_t>(directory_bytes_));
  const auto length = static_cast<uint64_t>(message_.size());
  std::memcpy(buffer, &length, sizeof(length));
  std::memcpy(buffer + sizeof(length), message_.data(), message_.size());
}

TraceObserver::TraceObserver(StepObserver& base, const Trace& trace, uint8_t* buffer)
    : base_(base),
      trace_(trace),
      tensors_(buffer + trace.directory_bytes()),
      rows_kept_(trace.tensors().size()) {}

bool TraceObserver::wants(const std::string& name) const {
  return std::any_of(trace_.tensors().begin(), trace_.tensors().end(),
                     [&](const Trace::Tensor& tensor) { return tensor.name == name; });
}

void TraceObserver::keep(const std::string& name, const TensorRows& rows) {
  SLUICE_CHECK_INTERNAL(rows.format == Format::kF32, "trace: ", name, " is not float32");
  for (size_t i = 0; i < rows_kept_.size(); ++i) {
    const Trace::Tensor& tensor = trace_.tensors()[i];
    if (tensor.name != name) continue;
    SLUICE_CHECK_INTERNAL(
        rows.cols == tensor.cols && rows_kept_[i] + rows.num_rows <= trace_.num_tokens(),
        "trace: ", name, " has more rows or columns than tokens or ", tensor.cols);
    std::memcpy(tensors_ + tensor.offset + rows_kept_[i] * tensor.cols * 4, rows.data,
                static_cast<size_t>(rows.num_rows * rows.cols * 4));
    rows_kept_[i] += rows.num_rows;
  }
}

}  // namespace sluice
