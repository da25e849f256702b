/// @file
/// A small decoder with mixtures of experts and random weights, and its reference in double.
#ifndef SLUICE_TESTS_SUPPORT_MOE_TEST_BASE_H_
#define SLUICE_TESTS_SUPPORT_MOE_TEST_BASE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {

/// Changes the settings of every mixture of experts, and of the model around them.
using MoeChange =
    std::function<void(Sluice__Proto__MoeSpec*, Sluice__Proto__ModelSpec*, ProtoArena*)>;

inline Sluice__Proto__ActivationSpec* make_activation(ProtoArena* arena,
                                                      Sluice__Proto__Activation kind) {
  auto* activation = arena->make(sluice__proto__activation_spec__init);
  activation->has_kind = 1;
  activation->kind = kind;
  return activation;
}

/// The llama fixture's decoder with experts in every layer: 8 of 24, 2 for a token, softmax,
/// normalised, SiLU with a gate.
class MoeModel {
 public:
  explicit MoeModel(const MoeChange& change) : fixture_("llama") {
    auto* spec = fixture_.spec();
    for (size_t l = 0; l < spec->n_layers; ++l) {
      auto* moe = fixture_.arena().make(sluice__proto__moe_spec__init);
      moe->has_num_experts = moe->has_num_experts_per_token = 1;
      moe->num_experts = 8;
      moe->num_experts_per_token = 2;
      moe->has_expert_intermediate_size = moe->has_router = moe->has_normalize_top_k = 1;
      moe->expert_intermediate_size = 24;
      moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
      moe->normalize_top_k = 1;
      moe->activation = make_activation(&fixture_.arena(), SLUICE__PROTO__ACTIVATION__SILU);
      change(moe, spec, &fixture_.arena());
      spec->layers[l]->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
      spec->layers[l]->moe = moe;
    }
    spec_ = pack_message(spec->base);
  }

  Sluice__Proto__ModelSpec* spec() { return fixture_.spec(); }
  int vocab_size() const { return fixture_.vocab_size(); }

  /// Called once, before the first engine's weights are loaded.
  std::function<void(WeightValues*)> edit_weights;

  /// Creates an engine and loads the same random weights into each.
  void open(EngineHandle* engine, const OptionValues& values,
            const std::function<void(Sluice__Proto__EngineOptions*)>& change = nullptr) {
    auto* options = fixture_.options(values);
    if (change) change(options);
    const Outcome created = engine->create(*fixture_.spec(), *options);
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    if (!weights_) {
      sluice_error error = {};
      int64_t size = 0;
      std::vector<uint8_t> buffer(1 << 20);
      ASSERT_EQ(sluice_weights_slots(engine->get(), buffer.data(), 1 << 20, &size, &error),
                SLUICE_STATUS_OK);
      const auto slots = unpack<Sluice__Proto__WeightSlotList>(
          sluice__proto__weight_slot_list__descriptor, {buffer.data(), static_cast<size_t>(size)});
      weights_ = std::make_unique<WeightValues>(*slots);
      if (edit_weights) edit_weights(weights_.get());
    }
    const std::string path = ::testing::TempDir() + "sluice_moe_" + std::to_string(::getpid());
    const Outcome loaded = engine->load(*weights_->write(path, &fixture_.arena()));
    std::remove(path.c_str());
    ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  }

  Rows reference(const std::vector<int32_t>& ids, std::vector<MoeDecisions>* decisions) const {
    return reference_logits(decode_model_spec(spec_), *weights_, ids, decisions);
  }

 private:
  Fixture fixture_;
  std::vector<uint8_t> spec_;
  std::unique_ptr<WeightValues> weights_;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_MOE_TEST_BASE_H_
