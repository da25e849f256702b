/// @file
/// How the checkpoint describes a source, checked: the half of decode_transfer() that looks at
/// files.
#ifndef SLUICE_RUNTIME_WEIGHT_LAYOUT_H_
#define SLUICE_RUNTIME_WEIGHT_LAYOUT_H_

#include <memory>
#include <string>
#include <vector>

#include "model/spec_fields.h"
#include "runtime/weight_source.h"

namespace sluice {

/// What the destination makes of a source's dimensions.
struct SourceShape {
  bool has_experts = false;  ///< the outermost dimension counts experts
  bool is_vector = false;
  std::string destination;  ///< for messages

  /// 1 to 3.
  size_t dimensions() const { return (has_experts ? 1u : 0u) + (is_vector ? 1u : 2u); }
};

/// Format, shape, strides, bytes, and the same of the scales. A vector has one column.
/// @throws Error INVALID_ARGUMENT, UNSUPPORTED
WeightSource decode_source(const Sluice__Proto__WeightSource& message, const FieldReader& fields,
                           const std::vector<std::shared_ptr<const FileReader>>& files,
                           const SourceShape& shape);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_WEIGHT_LAYOUT_H_
