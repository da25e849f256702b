/// @file
/// Copies of weights in other shapes, made when a load finishes (WeightSlot::derived).
#ifndef SLUICE_MODEL_DERIVED_WEIGHTS_H_
#define SLUICE_MODEL_DERIVED_WEIGHTS_H_

#include "device/cpu.h"
#include "model/spec.h"
#include "model/weight_store.h"

namespace sluice {

/// Makes what is derived from slot `index` of the store, which is filled. No step may run.
void derive_weights(const Exec& exec, const ModelSpec& model, const WeightStore& weights,
                    int index);

}  // namespace sluice
#endif  // SLUICE_MODEL_DERIVED_WEIGHTS_H_
