// What a description of experts asks of the steps and of the options.
#include <gtest/gtest.h>

#include "model/spec.h"
#include "support/driver.h"

namespace sluice::test {
namespace {

class MoeSpecTest : public ::testing::Test {
 protected:
  // Layer 1 of the llama fixture gets experts.
  Sluice__Proto__MoeSpec* make_experts(uint32_t num_experts, uint32_t num_experts_per_token) {
    auto* moe = fixture_.arena().make(sluice__proto__moe_spec__init);
    moe->has_num_experts = moe->has_num_experts_per_token = 1;
    moe->has_expert_intermediate_size = moe->has_router = 1;
    moe->num_experts = num_experts;
    moe->num_experts_per_token = num_experts_per_token;
    moe->expert_intermediate_size = 1;
    moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
    Sluice__Proto__LayerSpec* layer = fixture_.spec()->layers[1];
    moe->activation = layer->dense->activation;
    layer->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
    layer->moe = moe;
    return moe;
  }

  Fixture fixture_{"llama"};
};

// A step must name every block that a layer of the group reads, for its keys or for its counts.
TEST_F(MoeSpecTest, ReachOfAGroup) {
  auto* spec = fixture_.spec();
  const auto reach = [&] { return decode_model_spec(pack_message(spec->base)).reach(0); };
  EXPECT_EQ(reach(), 0);
  spec->kv_groups[0]->has_window = 1;
  spec->kv_groups[0]->window = 6;
  EXPECT_EQ(reach(), 6);
  auto* moe = make_experts(4, 2);
  EXPECT_EQ(reach(), 6);
  moe->has_expert_capacity = moe->has_capacity_window = 1;
  moe->expert_capacity = 3;
  moe->capacity_window = 16;
  EXPECT_EQ(reach(), 16);
  moe->capacity_window = 0;
  EXPECT_EQ(reach(), 0);
}

TEST_F(MoeSpecTest, MoreChoicesThanNumbersForThem) {
  make_experts(64, 64);
  auto* options = fixture_.options(OptionValues());
  options->max_step_tokens = 1 << 25;
  EngineHandle engine;
  const Outcome outcome = engine.create(*fixture_.spec(), *options);
  EXPECT_EQ(outcome.status, SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(outcome.text,
            "max_step_tokens: 33554432 with 64 experts a token (expected: at most 33554431)");
}

}  // namespace
}  // namespace sluice::test
