// What an engine on a device promises beyond the CPU's: graphs change nothing, a sequence does not
// feel its neighbours or the padding, nothing is allocated after it is ready, and what does not fit or
// is not built is named.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "support/adaptive_test_base.h"
#include "support/mla_test_base.h"
#include "support/moe_test_base.h"
#include "support/random_model.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr int kSequences = 6;
constexpr int kDecodeSteps = 24;

void make_dense(Fixture* /*fixture*/) {}

void make_latent(Fixture* fixture) { make_mla(fixture, Shape{}); }

void make_experts(Fixture* fixture) {
  auto* spec = fixture->spec();
  for (size_t l = 0; l < spec->n_layers; ++l) {
    auto* moe = fixture->arena().make(sluice__proto__moe_spec__init);
    moe->has_num_experts = moe->has_num_experts_per_token = 1;
    moe->num_experts = 8;
    moe->num_experts_per_token = 2;
    moe->has_expert_intermediate_size = moe->has_router = moe->has_normalize_top_k = 1;
    moe->expert_intermediate_size = 24;
    moe->router = SLUICE__PROTO__ROUTER_SCORE__ROUTER_SOFTMAX;
    moe->normalize_top_k = 1;
    moe->activation = make_activation(&fixture->arena(), SLUICE__PROTO__ACTIVATION__SILU);
    spec->layers[l]->feed_forward_case = SLUICE__PROTO__LAYER_SPEC__FEED_FORWARD_MOE;
    spec->layers[l]->moe = moe;
  }
}

struct Setup {
  const char* name;
  void (*change)(Fixture*);
  Sluice__Proto__Numerics numerics;
  Sluice__Proto__Format format;
};

// The same steps with graphs or without.
class SyncLaunch {
 public:
  SyncLaunch() { setenv("SLUICE_SYNC_LAUNCH", "1", 1); }
  ~SyncLaunch() { unsetenv("SLUICE_SYNC_LAUNCH"); }
};

int64_t stat(sluice_engine* engine, int which) {
  std::array<int64_t, SLUICE_STAT_COUNT> values = {};
  EXPECT_EQ(sluice_engine_stats(engine, values.data(), SLUICE_STAT_COUNT, nullptr),
            SLUICE_STATUS_OK);
  return values[which];
}

class CudaStepTest : public ::testing::TestWithParam<Setup> {
 protected:
  CudaStepTest() : model_(GetParam().change) {}

  OptionValues values() const {
    OptionValues values;
    values.numerics = GetParam().numerics;
    values.compute_format = values.kv_format = GetParam().format;
    values.num_blocks = 256;
    values.max_sequences = 8;
    return values;
  }

  static sluice_output_row& sample(Driver* driver, int32_t token, int sequence) {
    sluice_output_row& row = driver->add_row(SLUICE_OUTPUT_SAMPLE, token);
    row.flags = SLUICE_OUTPUT_FLAG_COUNT | SLUICE_OUTPUT_FLAG_LOGPROB;
    row.temperature = sequence % 2 == 0 ? 0.0f : 0.8f;
    row.top_p = 0.95f;
    row.repetition_penalty = 1.1f;
    row.seed = 77 + static_cast<uint64_t>(sequence);
    row.draw_position = driver->position[token] + 1;
    row.top_n = 3;
    return row;
  }

  // What row `r` of the step in slot 0 gave, as bytes.
  static void append_row(const Driver& driver, int r, std::vector<int32_t>* out) {
    for (const int section : {SLUICE_SECTION_ACCEPTED_COUNT, SLUICE_SECTION_FINITE,
                              SLUICE_SECTION_TOKENS, SLUICE_SECTION_LOGPROB, SLUICE_SECTION_RANK}) {
      out->push_back(driver.output<int32_t>(0, section)[r]);
    }
    const int64_t top_n = driver.layout().capacity[SLUICE_SECTION_TOP_TOKEN] /
                          driver.layout().capacity[SLUICE_SECTION_TOKENS];
    for (const int section : {SLUICE_SECTION_TOP_TOKEN, SLUICE_SECTION_TOP_LOGPROB}) {
      for (int i = 0; i < 3; ++i) {
        out->push_back(driver.output<int32_t>(0, section)[r * top_n + i]);
      }
    }
  }

  // Prompts of `who`, then decode steps in which some of them take part, each fed its last token in
  // one of three ways. What the rows of each gave.
  static std::vector<std::vector<int32_t>> run(sluice_engine* engine, const std::vector<int>& who,
                                               bool ragged) {
    Driver driver(engine, 8);
    driver.set_step_id(static_cast<uint64_t>(stat(engine, SLUICE_STAT_STEPS)));
    std::vector<Sequence> sequences(kSequences);
    std::vector<std::vector<int32_t>> out(kSequences);
    std::vector<int32_t> last(kSequences);
    const auto step = [&](const std::vector<int>& members,
                          const std::function<std::vector<int32_t>(int)>& ids) {
      driver.begin();
      for (const int s : members) {
        sequences[s].slot = s;
        const std::vector<int32_t> tokens = ids(s);
        const int32_t first = driver.feed(&sequences[s], tokens);
        if (driver.context_len.back() == static_cast<int32_t>(tokens.size())) {
          for (const int32_t id : tokens) driver.count_update.push_back({s, id, 1, 0});
        }
        sample(&driver, first + static_cast<int32_t>(tokens.size()) - 1, s);
      }
      const Outcome ran = driver.run();
      ASSERT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
      for (size_t r = 0; r < members.size(); ++r) {
        append_row(driver, static_cast<int>(r), &out[members[r]]);
        last[members[r]] = driver.output<int32_t>(0, SLUICE_SECTION_TOKENS)[r];
      }
    };
    step(who, [](int s) {
      std::vector<int32_t> ids;
      for (int i = 0; i < 2 + 5 * s; ++i) ids.push_back(1 + (i * 7 + s * 3) % 50);
      return ids;
    });
    for (int k = 0; k < kDecodeSteps; ++k) {
      std::vector<int> members;
      for (const int s : who) {
        if (!ragged || (k + s) % 3 != 0) members.push_back(s);
      }
      if (members.empty()) continue;
      step(members, [&](int s) {
        return std::vector{(k + s) % 2 == 0 ? last[s] : SLUICE_TOKEN_LAST};
      });
    }
    return out;
  }

  RandomModel model_;
};

const std::vector<int> kAll = {0, 1, 2, 3, 4, 5};

TEST_P(CudaStepTest, GraphsChangeNothing) {
  EngineHandle with, without;
  ASSERT_NO_FATAL_FAILURE(model_.open(&with, values()));
  {
    const SyncLaunch sync;
    ASSERT_NO_FATAL_FAILURE(model_.open(&without, values()));
  }
  const auto eager = run(without.get(), kAll, true);
  EXPECT_EQ(run(with.get(), kAll, true), eager);  // graphs are made on the way
  EXPECT_EQ(run(with.get(), kAll, true), eager);  // every decode step from a graph
}

TEST_P(CudaStepTest, NothingIsAllocatedAfterReady) {
  EngineHandle engine;
  ASSERT_NO_FATAL_FAILURE(model_.open(&engine, values()));
  const int64_t before = stat(engine.get(), SLUICE_STAT_DEVICE_ALLOCATIONS);
  EXPECT_GT(before, 0);
  run(engine.get(), kAll, true);
  EXPECT_EQ(stat(engine.get(), SLUICE_STAT_DEVICE_ALLOCATIONS), before);
}

TEST_P(CudaStepTest, NeighboursAndPaddingChangeNothing) {
  if (GetParam().numerics != SLUICE__PROTO__NUMERICS__BATCH_INVARIANT) {
    GTEST_SKIP() << "promised by BATCH_INVARIANT alone";
  }
  EngineHandle together;
  ASSERT_NO_FATAL_FAILURE(model_.open(&together, values()));
  const auto all = run(together.get(), kAll, false);
  for (const int s : {0, 3, 5}) {
    EngineHandle alone;
    ASSERT_NO_FATAL_FAILURE(model_.open(&alone, values()));
    EXPECT_EQ(run(alone.get(), {s}, false)[s], all[s]) << "sequence " << s;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Setups, CudaStepTest,
    ::testing::Values(Setup{"Dense", make_dense, SLUICE__PROTO__NUMERICS__BATCH_INVARIANT,
                            SLUICE__PROTO__FORMAT__F32},
                      Setup{"DenseFastBf16", make_dense, SLUICE__PROTO__NUMERICS__FAST,
                            SLUICE__PROTO__FORMAT__BF16},
                      Setup{"Latent", make_latent, SLUICE__PROTO__NUMERICS__BATCH_INVARIANT,
                            SLUICE__PROTO__FORMAT__F32},
                      Setup{"LatentFastBf16", make_latent, SLUICE__PROTO__NUMERICS__FAST,
                            SLUICE__PROTO__FORMAT__BF16},
                      Setup{"Experts", make_experts, SLUICE__PROTO__NUMERICS__BATCH_INVARIANT,
                            SLUICE__PROTO__FORMAT__F32},
                      Setup{"ExpertsFastBf16", make_experts, SLUICE__PROTO__NUMERICS__FAST,
                            SLUICE__PROTO__FORMAT__BF16}),
    [](const auto& each) { return std::string(each.param.name); });

// Tokens and log-probabilities of a prompt of 1020 tokens and of eight decode steps behind it.
std::vector<int32_t> cross_1024(sluice_engine* engine, int block_size) {
  Driver driver(engine, block_size);
  Sequence sequence;
  std::vector<int32_t> prompt, out;
  for (int i = 0; i < 1020; ++i) prompt.push_back(1 + (i * i * 7 + i * 13) % 50);
  for (int k = 0; k < 9; ++k) {
    driver.begin();
    const std::vector<int32_t> ids = k == 0 ? prompt : std::vector{SLUICE_TOKEN_LAST};
    const int32_t first = driver.feed(&sequence, ids);
    driver.add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(ids.size()) - 1).flags =
        SLUICE_OUTPUT_FLAG_LOGPROB;
    const Outcome ran = driver.run();
    EXPECT_EQ(ran.status, SLUICE_STATUS_OK) << ran.text;
    if (ran.status != SLUICE_STATUS_OK) break;
    for (const int section : {SLUICE_SECTION_TOKENS, SLUICE_SECTION_LOGPROB}) {
      out.push_back(driver.output<int32_t>(0, section)[0]);
    }
  }
  return out;
}

// Adaptive layers are told of the longest context by powers of four from 1024 on, others of the most
// that there can be.
TEST(CudaEngineTest, GraphsFollowTheLongestContextOfAdaptiveLayers) {
  using Kind = Sluice__Proto__AdaptiveAttentionKind;
  static constexpr Kind kNone{};
  for (const auto& [kind, graphs] : std::vector<std::pair<Kind, int64_t>>{
           {SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK, 2},
           {SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK, 2},
           {SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_FULL, 2},
           {kNone, 1}}) {
    SCOPED_TRACE(static_cast<int>(kind));
    RandomModel model([kind = kind](Fixture* fixture) {
      if (kind == kNone) return;
      for (size_t l = 0; l < fixture->spec()->n_layers; ++l) {
        make_adaptive(fixture->spec()->layers[l], &fixture->arena(), kind);
      }
    });
    OptionValues values;
    values.numerics = SLUICE__PROTO__NUMERICS__FAST;
    values.block_size = 16;
    values.num_blocks = 100;
    values.max_context_len = 4500;
    values.max_step_tokens = 1100;
    EngineHandle with, without;
    ASSERT_NO_FATAL_FAILURE(model.open(&with, values));
    {
      const SyncLaunch sync;
      ASSERT_NO_FATAL_FAILURE(model.open(&without, values));
    }
    const auto tokens = cross_1024(with.get(), 16);
    EXPECT_EQ(tokens.size(), 18u);
    EXPECT_EQ(tokens, cross_1024(without.get(), 16));
    EXPECT_EQ(stat(with.get(), SLUICE_STAT_GRAPHS), graphs);
    EXPECT_EQ(stat(without.get(), SLUICE_STAT_GRAPHS), 0);
  }
}

TEST(CudaEngineTest, TooManyBlocksAreNamed) {
  Fixture fixture("llama");
  OptionValues values;
  values.num_blocks = uint64_t{1} << 27;
  EngineHandle engine;
  const auto options = pack_message(fixture.options(values)->base);
  const auto spec = pack_message(fixture.spec()->base);
  const int32_t device = 0;
  sluice_engine* made = nullptr;
  sluice_error error = {};
  EXPECT_EQ(sluice_engine_create(spec.data(), static_cast<int64_t>(spec.size()), options.data(),
                                 static_cast<int64_t>(options.size()), &device, 1, 0, 1, nullptr, 0,
                                 0, &made, &error),
            SLUICE_STATUS_OUT_OF_DEVICE_MEMORY);
  EXPECT_NE(std::string(error.text).find("num_blocks"), std::string::npos) << error.text;
  EXPECT_GT(error.needed_bytes, error.free_bytes);
  EXPECT_GT(error.free_bytes, 0);
}

TEST(CudaEngineTest, TensorParallelismIsRefusedByName) {
  Fixture fixture("llama");
  OptionValues values;
  values.tensor_parallel_size = 2;
  EngineHandle engine;
  const Outcome created = engine.create(*fixture.spec(), *fixture.options(values));
  EXPECT_EQ(created.status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_NE(created.text.find("tensor_parallel_size"), std::string::npos) << created.text;
}

}  // namespace
}  // namespace sluice::test
