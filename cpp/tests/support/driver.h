/// @file
/// Drives an engine through sluice.h as the scheduler in Java does: block ids, step messages,
/// waits.
#ifndef SLUICE_TESTS_SUPPORT_DRIVER_H_
#define SLUICE_TESTS_SUPPORT_DRIVER_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "sluice/sluice.h"
#include "support/fixture.h"

namespace sluice::test {

/// A status with the error's text; for tests that look at both.
struct Outcome {
  int32_t status = SLUICE_STATUS_OK;
  std::string text;
};

/// Owner of an engine handle.
class EngineHandle {
 public:
  EngineHandle() = default;
  ~EngineHandle() { sluice_engine_destroy(engine_); }
  EngineHandle(EngineHandle&& other) noexcept : engine_(other.engine_) { other.engine_ = nullptr; }
  EngineHandle(const EngineHandle&) = delete;
  EngineHandle& operator=(const EngineHandle&) = delete;

  Outcome create(const Sluice__Proto__ModelSpec& spec, const Sluice__Proto__EngineOptions& options);
  /// @param num_ranks  as the options say
  Outcome create(std::span<const uint8_t> spec, std::span<const uint8_t> options,
                 int num_ranks = 1);
  Outcome enqueue(const Sluice__Proto__WeightTransferList& list);
  /// begin, enqueue, poll, finish.
  Outcome load(const Sluice__Proto__WeightTransferList& list, int mode = SLUICE_WEIGHTS_LOAD);

  sluice_engine* get() const { return engine_; }

 private:
  sluice_engine* engine_ = nullptr;
};

/// One tensor of a trace, and one decision of a request.
struct TracedTensor {
  std::string name;
  Sluice__Proto__Format format = SLUICE__PROTO__FORMAT__F32;
  std::vector<uint64_t> shape;
  std::vector<uint8_t> bytes;

  template <class T>
  std::vector<T> values() const {
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }
};

/// A kernel that a trace names.
struct TracedKernel {
  std::string op, variant, reason;
};

/// One sequence of a driver.
struct Sequence {
  int32_t slot = 0;
  int32_t context_len = 0;
  std::vector<int32_t> blocks;
  int32_t rope_variant = 0;
};

/// Writes step messages. One kv group.
class Driver {
 public:
  Driver(sluice_engine* engine, int block_size, int num_ropes = 1);

  /// Empties the message of a slot.
  void begin(int slot = 0);

  /// Appends tokens of a sequence; blocks come from the driver's pool. Returns the first's index.
  int32_t feed(Sequence* sequence, std::span<const int32_t> ids);

  /// Appends an output row with everything off.
  sluice_output_row& add_row(int32_t kind, int32_t token_index);

  /// Lists of the message; the caller may change them until write().
  std::vector<int32_t> token_id, position, kv_slot, seq_slot, query_start, context_len, adapter,
      rope_variant, target;
  std::vector<sluice_state_op> state_op;
  std::vector<sluice_block_update> block_update;
  std::vector<sluice_count_update> count_update;
  std::vector<sluice_output_row> output_row;
  std::vector<sluice_logit_bias> logit_bias;
  std::vector<uint32_t> mask;
  std::vector<sluice_rope_update> rope_update;
  std::vector<double> rope_inv_freq;

  /// Writes the message into the slot's input area.
  void write();
  Outcome submit();
  Outcome wait(int slot, int64_t timeout_us = -1);
  /// write, submit, wait.
  Outcome run();
  /// write, then a trace that takes over the decisions of `replay`.
  Outcome trace(const std::vector<std::string>& names, const std::vector<TracedTensor>& replay,
                std::vector<TracedTensor>* tensors);
  /// What the last trace says ran.
  std::vector<TracedKernel> kernels;
  /// The same of float32 tensors: one per name, [tokens, columns] each.
  Outcome trace(const std::vector<std::string>& names, std::vector<std::vector<float>>* tensors);

  sluice_step_header& header() { return *static_cast<sluice_step_header*>(input_[slot_]); }
  const sluice_step_layout& layout() const { return layout_; }
  /// A section of the input area of the slot in work.
  template <class T>
  T* input(int section) {
    return reinterpret_cast<T*>(static_cast<uint8_t*>(input_[slot_]) + layout_.offset[section]);
  }
  template <class T>
  const T* output(int slot, int section) const {
    return reinterpret_cast<const T*>(static_cast<const uint8_t*>(output_[slot]) +
                                      layout_.offset[section]);
  }
  const sluice_step_result& result(int slot) const {
    return *static_cast<const sluice_step_result*>(output_[slot]);
  }
  int32_t new_block() { return next_block_++; }
  /// Steps of another driver on the same engine came before; `last` of them.
  void set_step_id(uint64_t last) { step_id_ = last; }
  /// The driver never frees blocks; a test that needs many starts over.
  void set_next_block(int32_t block) { next_block_ = block; }

 private:
  template <class T>
  void put(int section, const std::vector<T>& values);

  sluice_engine* engine_;
  int block_size_;
  int num_ropes_;
  int slot_ = 0;
  uint64_t step_id_ = 0;  // of the last step that the engine took
  int32_t next_block_ = 0;
  sluice_step_layout layout_ = {};
  std::vector<void*> input_;
  std::vector<void*> output_;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_DRIVER_H_
