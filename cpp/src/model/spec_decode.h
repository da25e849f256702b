/// @file
/// Decoding of the messages inside a ModelSpec; shared by the sources that check it.
#ifndef SLUICE_MODEL_SPEC_DECODE_H_
#define SLUICE_MODEL_SPEC_DECODE_H_

#include <cstdint>
#include <optional>

#include "model/proto_message.h"
#include "model/spec.h"
#include "model/spec_fields.h"

namespace sluice {

// Far above every known model, low enough that no product of a few of them overflows int64.
inline constexpr int64_t kMaxVocab = 1 << 24;
inline constexpr int64_t kMaxWidth = 1 << 20;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxHeadDim = 1 << 16;
inline constexpr int64_t kBuiltHeadDim = 256;  // what the KV cache's layout holds
inline constexpr int64_t kBuiltLatentSize = 1024;
// No layer turns more; dynamic variants take rotary_dim / 2 doubles each before a step fills them.
inline constexpr int64_t kMaxRotaryDim = kBuiltLatentSize;
inline constexpr int64_t kMaxContext = 1 << 27;
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxGroups = 64;
inline constexpr int64_t kMaxVariants = 1024;
inline constexpr int64_t kMaxExperts = 1 << 16;  // the side channel keeps an expert in 16 bits

NormSpec decode_norm(const Sluice__Proto__NormSpec& norm, const FieldReader& fields);

/// A norm over rows of the hidden state.
std::optional<NormSpec> decode_row_norm(const Sluice__Proto__NormSpec* norm, const char* name,
                                        const FieldReader& fields);

std::optional<NormSpec> decode_head_norm(const Sluice__Proto__NormSpec* norm, const char* name,
                                         const FieldReader& fields);

ActivationSpec decode_activation(const Sluice__Proto__ActivationSpec* activation,
                                 const FieldReader& parent);

/// `model` has its sizes, ropes and kv groups already.
GqaSpec decode_gqa(const Sluice__Proto__GqaSpec& gqa, const FieldReader& fields,
                   const ModelSpec& model);
MlaSpec decode_mla(const Sluice__Proto__MlaSpec& mla, const FieldReader& fields,
                   const ModelSpec& model);
AdaptiveSpec decode_adaptive(const Sluice__Proto__AdaptiveAttentionSpec& adaptive,
                             const FieldReader& fields);

DenseSpec decode_dense(const Sluice__Proto__DenseSpec& dense, const FieldReader& fields);
MoeSpec decode_moe(const Sluice__Proto__MoeSpec& moe, const FieldReader& fields);

}  // namespace sluice
#endif  // SLUICE_MODEL_SPEC_DECODE_H_
