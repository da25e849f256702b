/// @file
/// The llama fixture with layers that a test changes, and random weights: engines and their
/// reference in double.
#ifndef SLUICE_TESTS_SUPPORT_RANDOM_MODEL_H_
#define SLUICE_TESTS_SUPPORT_RANDOM_MODEL_H_

#include <functional>
#include <memory>
#include <vector>

#include "support/driver.h"
#include "support/reference.h"

namespace sluice::test {

class RandomModel {
 public:
  using Change = std::function<void(Fixture*)>;

  explicit RandomModel(const Change& change = nullptr);

  Fixture& fixture() { return fixture_; }
  Sluice__Proto__ModelSpec* spec() { return fixture_.spec(); }
  int vocab_size() const { return fixture_.vocab_size(); }

  /// Called once, before the first engine's weights are loaded.
  std::function<void(WeightValues*)> edit_weights;

  /// Creates an engine, fills its caches with NaN (what was not written must not be read) and loads
  /// the same random weights into each. Fails the test when a call fails.
  void open(EngineHandle* engine, const OptionValues& values,
            const std::function<void(Sluice__Proto__EngineOptions*)>& change = nullptr);

  /// Loads values into an open engine.
  void load(EngineHandle* engine, const WeightValues& weights, int mode = SLUICE_WEIGHTS_LOAD);

  /// Those of the engines; there are some once the first is open.
  WeightValues& weights() { return *weights_; }

  Rows reference(const std::vector<int32_t>& ids,
                 std::vector<MoeDecisions>* decisions = nullptr) const;

 private:
  Fixture fixture_{"llama"};
  std::unique_ptr<WeightValues> weights_;
};

/// Relative error of logits, [tokens, vocab_size] dense.
double relative_error(const std::vector<float>& actual, const Rows& wanted);

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_RANDOM_MODEL_H_
