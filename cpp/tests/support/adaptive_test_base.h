/// @file
/// Models whose layers differ, adaptive attention among them, for tests against the reference.
#ifndef SLUICE_TESTS_SUPPORT_ADAPTIVE_TEST_BASE_H_
#define SLUICE_TESTS_SUPPORT_ADAPTIVE_TEST_BASE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {

using Layer = Sluice__Proto__LayerSpec;

/// Relative error of logits in float32.
inline constexpr double kBound = 1e-5;

/// The llama fixture with layers that a test changes, and random weights.
class ChangedModel {
 public:
  using Change = std::function<void(Sluice__Proto__ModelSpec*, ProtoArena*)>;

  explicit ChangedModel(const Change& change, const OptionValues& values = {}) : values_(values) {
    change(fixture_.spec(), &fixture_.arena());
    const Outcome created = engine_.create(*fixture_.spec(), *fixture_.options(values_));
    EXPECT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    if (created.status != SLUICE_STATUS_OK) return;
    std::vector<uint8_t> bytes(1 << 20);
    sluice_error error = {};
    int64_t size = 0;
    EXPECT_EQ(sluice_weights_slots(engine_.get(), bytes.data(), 1 << 20, &size, &error),
              SLUICE_STATUS_OK);
    const auto slots = unpack<Sluice__Proto__WeightSlotList>(
        sluice__proto__weight_slot_list__descriptor, {bytes.data(), static_cast<size_t>(size)});
    weights_ = std::make_unique<WeightValues>(*slots);
    const std::string path = ::testing::TempDir() + "sluice_adaptive_" + std::to_string(::getpid());
    const Outcome loaded = engine_.load(*weights_->write(path, &fixture_.arena()));
    std::remove(path.c_str());
    EXPECT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
    driver_ = std::make_unique<Driver>(engine_.get(), static_cast<int>(values_.block_size),
                                       static_cast<int>(fixture_.spec()->n_ropes));
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

  // Logits of `ids` fed in chunks of these sizes to one sequence; the last size repeats.
  std::vector<float> run(int32_t slot, const std::vector<int32_t>& ids,
                         const std::vector<size_t>& chunks) {
    Sequence sequence;
    sequence.slot = slot;
    std::vector<float> all;
    size_t at = 0;
    for (size_t i = 0; at < ids.size(); ++i) {
      const size_t count = std::min(chunks[std::min(i, chunks.size() - 1)], ids.size() - at);
      driver_->begin();
      driver_->feed(&sequence, {ids.data() + at, count});
      const std::vector<float> part = trace();
      all.insert(all.end(), part.begin(), part.end());
      at += count;
    }
    return all;
  }

  Driver& driver() { return *driver_; }
  size_t num_layers() { return static_cast<size_t>(fixture_.num_layers()); }
  size_t vocab() { return static_cast<size_t>(fixture_.vocab_size()); }

 private:
  OptionValues values_;
  Fixture fixture_{"llama"};
  EngineHandle engine_;
  std::unique_ptr<WeightValues> weights_;
  std::unique_ptr<Driver> driver_;
};

inline std::vector<int32_t> prompt(size_t length) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<int32_t>((i * i * 7 + i * 13 + 5) % 120));
  }
  return ids;
}

/// Relative error of logits.
inline double distance(const std::vector<float>& actual, const Rows& wanted) {
  const size_t vocab = wanted[0].size();
  EXPECT_EQ(actual.size(), wanted.size() * vocab);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double b = wanted[i / vocab][i % vocab];
    difference += std::pow(actual[i] - b, 2);
    norm += b * b;
  }
  return std::sqrt(difference / norm);
}

/// Adaptive attention of a kind, with gates, in place of the layer's own.
inline void make_adaptive(Layer* layer, ProtoArena* arena,
                          Sluice__Proto__AdaptiveAttentionKind kind) {
  auto* spec = arena->make(sluice__proto__adaptive_attention_spec__init);
  spec->has_kind = spec->has_num_q_heads = spec->has_head_dim = spec->has_softmax_scale = 1;
  spec->kind = kind;
  spec->num_q_heads = 4;
  spec->head_dim = 16;
  spec->softmax_scale = 0.4;
  spec->has_relative_positions = spec->has_sparse_gate = spec->has_sparse_gate_threshold = 1;
  spec->relative_positions = 11;
  spec->sparse_gate = 1;
  spec->sparse_gate_threshold = 0.4;
  switch (kind) {
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_DENSITY:
      spec->has_density_threshold = 1;
      spec->density_threshold = 0.6;
      [[fallthrough]];
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_SLIDING_WINDOW:
      spec->has_window = 1;
      spec->window = 7;
      break;
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_TOPK:
      spec->has_top_k = 1;
      spec->top_k = 6;
      break;
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_SPARSE:
      spec->has_sparse_block_size = spec->has_num_global_blocks = spec->has_num_local_blocks = 1;
      spec->has_num_random_blocks = spec->has_random_block_seed = 1;
      spec->sparse_block_size = 5;
      spec->num_global_blocks = spec->num_local_blocks = 1;
      spec->num_random_blocks = 2;
      spec->random_block_seed = 2024;
      break;
    case SLUICE__PROTO__ADAPTIVE_ATTENTION_KIND__ADAPTIVE_BLOCK_TOPK:
      spec->has_sparse_block_size = spec->has_block_keep_percent = 1;
      spec->sparse_block_size = 3;
      spec->block_keep_percent = 30;
      break;
    default:
      break;
  }
  layer->attention_case = SLUICE__PROTO__LAYER_SPEC__ATTENTION_ADAPTIVE;
  layer->adaptive = spec;
}

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_ADAPTIVE_TEST_BASE_H_
