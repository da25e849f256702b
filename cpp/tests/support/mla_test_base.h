/// @file
/// Engines whose layers are latent attention; for mla_test.cc.
#ifndef SLUICE_TESTS_SUPPORT_MLA_TEST_BASE_H_
#define SLUICE_TESTS_SUPPORT_MLA_TEST_BASE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "capi/arguments.h"
#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {

/// Sizes and switches of a latent attention.
struct Shape {
  uint32_t heads = 4, q_rank = 24, rank = 32, nope = 16, rope = 8, v = 16;
  bool interleaved = true, norms = true, bias = false;
  uint32_t window = 0;
};

/// The llama fixture with its attention replaced; YaRN's factor on the angles.
inline void make_mla(Fixture* fixture, const Shape& shape) {
  auto* spec = fixture->spec();
  auto& arena = fixture->arena();
  spec->ropes[0]->rotary_dim = shape.rope;
  spec->ropes[0]->variants[0]->n_inv_freq = shape.rope / 2;
  spec->ropes[0]->variants[0]->has_attention_scale = 1;
  spec->ropes[0]->variants[0]->attention_scale = 1.2;
  spec->ropes[0]->has_interleaved = 1;
  spec->ropes[0]->interleaved = shape.interleaved;
  spec->kv_groups[0]->has_window = 1;
  spec->kv_groups[0]->window = shape.window;
  for (size_t l = 0; l < spec->n_layers; ++l) {
    auto* mla = arena.make(sluice__proto__mla_spec__init);
    mla->has_num_q_heads = mla->has_q_lora_rank = mla->has_kv_lora_rank = 1;
    mla->has_qk_nope_head_dim = mla->has_qk_rope_head_dim = mla->has_v_head_dim = 1;
    mla->num_q_heads = shape.heads;
    mla->q_lora_rank = shape.q_rank;
    mla->kv_lora_rank = shape.rank;
    mla->qk_nope_head_dim = shape.nope;
    mla->qk_rope_head_dim = shape.rope;
    mla->v_head_dim = shape.v;
    mla->has_rope = mla->has_softmax_scale = mla->has_bias = 1;
    mla->rope = 0;
    mla->softmax_scale = 1.3 / std::sqrt(static_cast<double>(shape.nope + shape.rope));
    mla->bias = shape.bias;
    if (shape.norms) {
      if (shape.q_rank > 0) mla->q_a_norm = spec->layers[l]->attention_norm;
      mla->kv_a_norm = spec->layers[l]->attention_norm;
    }
    spec->layers[l]->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_MLA;
    spec->layers[l]->mla = mla;
  }
}

/// An engine over such a model with random weights.
class Model {
 public:
  explicit Model(const Shape& shape, const OptionValues& values = {}) : values_(values) {
    make_mla(&fixture_, shape);
    open();
  }

  void open() {
    const Outcome created = engine_.create(*fixture_.spec(), *fixture_.options(values_));
    EXPECT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    if (created.status != SLUICE_STATUS_OK) return;
    // What lies in the cache before anything is written must never be read: NaN.
    engine_.get()->engine.kv_cache().fill(0, 0xff);
    slots_bytes_.resize(1 << 20);
    sluice_error error = {};
    int64_t size = 0;
    EXPECT_EQ(sluice_weights_slots(engine_.get(), slots_bytes_.data(), 1 << 20, &size, &error),
              SLUICE_STATUS_OK);
    slots_ =
        unpack<Sluice__Proto__WeightSlotList>(sluice__proto__weight_slot_list__descriptor,
                                              {slots_bytes_.data(), static_cast<size_t>(size)});
    weights_ = std::make_unique<WeightValues>(*slots_);
    load(*weights_);
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values_.block_size));
  }

  void load(const WeightValues& weights, int mode = SLUICE_WEIGHTS_LOAD) {
    const std::string path = ::testing::TempDir() + "sluice_mla_" + std::to_string(::getpid());
    const Outcome loaded = engine_.load(*weights.write(path, &fixture_.arena()), mode);
    std::remove(path.c_str());
    EXPECT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  }

  Rows wanted(const std::vector<int32_t>& ids) {
    return reference_logits(decode_model_spec(pack_message(fixture_.spec()->base)), *weights_, ids);
  }

  // Logits of the message in work.
  std::vector<float> trace() {
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver_->trace({"logits"}, &tensors);
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    return tensors.empty() ? std::vector<float>() : tensors[0];
  }

  // Logits of `ids` fed in chunks of these sizes to one sequence.
  std::vector<float> run(Sequence* sequence, const std::vector<int32_t>& ids,
                         const std::vector<size_t>& chunks) {
    std::vector<float> all;
    size_t at = 0;
    for (const size_t count : chunks) {
      driver_->begin();
      driver_->feed(sequence, {ids.data() + at, count});
      const std::vector<float> part = trace();
      all.insert(all.end(), part.begin(), part.end());
      at += count;
    }
    return all;
  }

  size_t vocab() { return static_cast<size_t>(fixture_.vocab_size()); }
  WeightValues& weights() { return *weights_; }
  Driver& driver() { return *driver_; }
  const Sluice__Proto__WeightSlotList& slots() const { return *slots_; }

 private:
  OptionValues values_;
  Fixture fixture_{"llama"};
  EngineHandle engine_;
  std::vector<uint8_t> slots_bytes_;
  decltype(unpack<Sluice__Proto__WeightSlotList>(sluice__proto__weight_slot_list__descriptor,
                                                 {})) slots_;
  std::unique_ptr<WeightValues> weights_;
  std::unique_ptr<Driver> driver_;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_MLA_TEST_BASE_H_
