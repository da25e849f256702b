/// @file
/// A decoder in double precision, written straight from the formulas in sluice.proto, to judge
/// features that no fixture has. Slow and simple on purpose.
#ifndef SLUICE_TESTS_SUPPORT_REFERENCE_H_
#define SLUICE_TESTS_SUPPORT_REFERENCE_H_

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "model/proto_message.h"
#include "model/spec.h"

namespace sluice::test {

using Rows = std::vector<std::vector<double>>;

/// Float32 values of every part of every slot, by (slot, layer, part, head). Expert slots: one
/// expert after another.
class WeightValues {
 public:
  /// Draws values for all slots of a WeightSlotList: matrices around 0, norm weights around 1.
  explicit WeightValues(const Sluice__Proto__WeightSlotList& slots);

  /// Writes all values to a file and describes them as transfers from it.
  Sluice__Proto__WeightTransferList* write(const std::string& path, ProtoArena* arena) const;

  /// Part of a slot; empty when the model has none.
  const std::vector<float>& get(int slot, int layer, int part, int head = 0) const;

  /// New values, as many as before.
  void set(int slot, int layer, int part, std::vector<float> values) {
    tensors_.at({slot, layer, part, 0}).values = std::move(values);
  }

  /// Drops everything but this part, for an update of it alone.
  void keep_only(int slot, int layer, int part) {
    std::erase_if(tensors_,
                  [&](const auto& each) { return each.first != std::tuple(slot, layer, part, 0); });
  }

 private:
  struct Tensor {
    std::vector<uint64_t> shape;
    std::vector<float> values;
  };
  std::map<std::tuple<int, int, int, int>, Tensor> tensors_;
};

/// What the routers of one layer decided, by token and choice.
struct MoeDecisions {
  std::vector<std::vector<int>> experts;
  std::vector<std::vector<double>> weights;
  std::vector<std::vector<bool>> kept;
  double gap = 1;  ///< least distance between a score that was chosen and one that was not
};

/// Logits [tokens][vocab_size] of one sequence at positions 0, 1, ...
/// @param decisions  of each layer, or nullptr
Rows reference_logits(const ModelSpec& spec, const WeightValues& weights,
                      const std::vector<int32_t>& ids,
                      std::vector<MoeDecisions>* decisions = nullptr);

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_REFERENCE_H_
