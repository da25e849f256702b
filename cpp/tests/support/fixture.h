/// @file
/// Parity fixtures as engine inputs: spec, options and weight transfers, written as Java would.
#ifndef SLUICE_TESTS_SUPPORT_FIXTURE_H_
#define SLUICE_TESTS_SUPPORT_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/proto_message.h"
#include "support/safetensors.h"

namespace sluice::test {

/// Options that tests vary.
struct OptionValues {
  Sluice__Proto__Format compute_format = SLUICE__PROTO__FORMAT__F32;
  Sluice__Proto__Format kv_format = SLUICE__PROTO__FORMAT__F32;
  Sluice__Proto__Numerics numerics = SLUICE__PROTO__NUMERICS__BATCH_INVARIANT;
  uint32_t num_threads = 2;
  uint32_t tensor_parallel_size = 1;
  uint32_t block_size = 8;
  uint64_t num_blocks = 64;
  uint32_t max_sequences = 4;
  uint32_t max_context_len = 128;
  uint32_t max_step_tokens = 128;
  uint32_t max_step_outputs = 128;
  uint32_t max_draft_len = 0;
  uint32_t max_step_masks = 2;
  std::string isa;
  std::string fault_name;
  uint64_t fault_count = 1;
  uint32_t fault_status = 15;
};

/// Messages of one fixture. The messages belong to the fixture and may be changed before packing.
class Fixture {
 public:
  /// @param name  "llama", "llama3_rope", "mistral" or "qwen2"
  explicit Fixture(const std::string& name);

  Sluice__Proto__ModelSpec* spec() { return spec_; }
  Sluice__Proto__EngineOptions* options(const OptionValues& values);
  Sluice__Proto__WeightTransferList* transfers() { return transfers_; }
  ProtoArena& arena() { return arena_; }

  /// A transfer like those of transfers(): slot of a layer (or -1) from a tensor of the checkpoint.
  Sluice__Proto__WeightTransfer* transfer(Sluice__Proto__Slot slot, int layer,
                                          Sluice__Proto__Part part, const std::string& tensor);

  const Safetensors& weights() const { return weights_; }
  const Safetensors& expected() const { return expected_; }
  int vocab_size() const { return static_cast<int>(spec_->vocab_size); }
  int hidden_size() const { return static_cast<int>(spec_->hidden_size); }
  int num_layers() const { return static_cast<int>(spec_->n_layers); }

 private:
  void make_spec();
  Sluice__Proto__NormSpec* make_norm();
  void make_rope(int head_dim);
  Sluice__Proto__LayerSpec* make_layer(int head_dim);
  void make_transfers();

  std::string name_;
  std::string config_;
  Safetensors weights_;
  Safetensors expected_;
  ProtoArena arena_;
  Sluice__Proto__ModelSpec* spec_ = nullptr;
  Sluice__Proto__WeightTransferList* transfers_ = nullptr;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_FIXTURE_H_
