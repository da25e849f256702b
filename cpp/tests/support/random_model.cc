#include "support/random_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "capi/arguments.h"

namespace sluice::test {

RandomModel::RandomModel(const Change& change) {
  if (change) change(&fixture_);
}

void RandomModel::open(EngineHandle* engine, const OptionValues& values,
                       const std::function<void(Sluice__Proto__EngineOptions*)>& change) {
  auto* options = fixture_.options(values);
  if (change) change(options);
  const Outcome created = engine->create(*fixture_.spec(), *options);
  ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
  for (int rank = 0; rank < static_cast<int>(values.tensor_parallel_size); ++rank) {
    for (size_t group = 0; group < fixture_.spec()->n_kv_groups; ++group) {
      engine->get()->engine.kv_cache(rank).fill(static_cast<int>(group), 0xff);
    }
  }
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
  load(engine, *weights_);
}

void RandomModel::load(EngineHandle* engine, const WeightValues& weights, int mode) {
  const std::string path = ::testing::TempDir() + "sluice_random_" + std::to_string(::getpid());
  const Outcome loaded = engine->load(*weights.write(path, &fixture_.arena()), mode);
  std::remove(path.c_str());
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
}

Rows RandomModel::reference(const std::vector<int32_t>& ids,
                            std::vector<MoeDecisions>* decisions) const {
  const auto spec = decode_model_spec(pack_message(const_cast<Fixture&>(fixture_).spec()->base));
  return reference_logits(spec, *weights_, ids, decisions);
}

double relative_error(const std::vector<float>& actual, const Rows& wanted) {
  const size_t vocab = wanted.at(0).size();
  EXPECT_EQ(actual.size(), wanted.size() * vocab);
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double b = wanted[i / vocab][i % vocab];
    difference += (actual[i] - b) * (actual[i] - b);
    norm += b * b;
  }
  return std::sqrt(difference / norm);
}

}  // namespace sluice::test
