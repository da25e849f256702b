/// @file
/// A decoder in double precision, written straight from the formulas in sluice.proto, to judge
/// features that no fixture has. Slow and simple on purpose.
#ifndef SLUICE_TESTS_SUPPORT_REFERENCE_H_
#define SLUICE_TESTS_SUPPORT_REFERENCE_H_

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "model/proto_message.h"
#include "model/spec.h"

namespace sluice::test {

using Rows = std::vector<std::vector<double>>;

/// Float32 values of every part of every slot, by (slot, layer, part).
class WeightValues {
 public:
  /// Draws values for all slots of a WeightSlotList: matrices around 0, norm weights around 1.
  explicit WeightValues(const Sluice__Proto__WeightSlotList& slots);

  /// Writes all values to a file and describes them as transfers from it.
  Sluice__Proto__WeightTransferList* write(const std::string& path, ProtoArena* arena) const;

  /// Part of a slot; empty when the model has none.
  const std::vector<float>& get(int slot, int layer, int part) const;

 private:
  struct Tensor {
    std::vector<uint64_t> shape;
    std::vector<float> values;
  };
  std::map<std::tuple<int, int, int>, Tensor> tensors_;
};

/// Logits [tokens][vocab_size] of one sequence at positions 0, 1, ...
Rows reference_logits(const ModelSpec& spec, const WeightValues& weights,
                      const std::vector<int32_t>& ids);

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_REFERENCE_H_
