#include "model/derived_weights.h"

#include <variant>

#include "base/error.h"
#include "layers/mla.h"

namespace sluice {

void derive_weights(const Exec& exec, const ModelSpec& model, const WeightStore& weights,
                    int index) {
  const WeightSlot& slot = weights.slots()[index];
  if (slot.derived.empty()) return;
  SLUICE_CHECK_INTERNAL(slot.slot == SLUICE__PROTO__SLOT__KV_B, slot.name(),
                        ": nothing is known to be derived from it");
  absorb_weights(exec, std::get<MlaSpec>(model.layers[slot.layer].attention),
                 weights.matrix_at(index, 0));
}

}  // namespace sluice
