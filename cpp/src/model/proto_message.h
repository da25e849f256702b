/// @file
/// Unpacking of Protocol Buffers that crossed the border, and packing of answers.
///
/// protobuf-c keeps unknown fields aside and accepts any number for an enum; here both are errors,
/// so that an old library never half-understands a newer caller.
#ifndef SLUICE_MODEL_PROTO_MESSAGE_H_
#define SLUICE_MODEL_PROTO_MESSAGE_H_

#include <protobuf-c/protobuf-c.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice.pb-c.h"

namespace sluice {

struct ProtoFree {
  void operator()(void* message) const {
    protobuf_c_message_free_unpacked(static_cast<ProtobufCMessage*>(message), nullptr);
  }
};

/// An unpacked message, owned.
template <class T>
using ProtoPtr = std::unique_ptr<T, ProtoFree>;

/// Messages may nest this deep; only WeightSource.scale refers to its own type.
inline constexpr int kMaxProtoDepth = 16;

/// Unpacks `bytes` and checks every nested message.
///
/// @throws Error INVALID_ARGUMENT when the bytes are no such message or nest deeper than
///         kMaxProtoDepth; UNSUPPORTED, with the path, for an unknown field number or enum value.
ProtobufCMessage* unpack_message(const ProtobufCMessageDescriptor& descriptor,
                                 std::span<const uint8_t> bytes);

template <class T>
ProtoPtr<T> unpack(const ProtobufCMessageDescriptor& descriptor, std::span<const uint8_t> bytes) {
  return ProtoPtr<T>(reinterpret_cast<T*>(unpack_message(descriptor, bytes)));
}

/// Serialised form of `message`.
std::vector<uint8_t> pack_message(const ProtobufCMessage& message);

/// Name of an enum value as the schema spells it, or "?" for a number that it does not know.
const char* proto_enum_name(const ProtobufCEnumDescriptor& descriptor, int value);

/// Owner of messages that are put together by hand and packed: answers of the engine, and requests
/// in tests. Everything made here lives until the arena goes.
class ProtoArena {
 public:
  /// A message set to its defaults by protobuf-c's generated `init`.
  template <class T>
  T* make(void (*init)(T*)) {
    auto owner = std::make_shared<T>();
    init(owner.get());
    owned_.push_back(owner);
    return owner.get();
  }

  /// A copy of `values` for a repeated field.
  template <class T>
  T* array(const std::vector<T>& values) {
    auto owner = std::make_shared<std::vector<T>>();
    owner->reserve(values.size() + 1);  // so that there is an address for no values too
    owner->insert(owner->end(), values.begin(), values.end());
    owned_.push_back(owner);
    return owner->data();
  }

  /// A NUL-terminated copy of `text`.
  char* text(const std::string& text) {
    auto owner = std::make_shared<std::string>(text);
    owned_.push_back(owner);
    return owner->data();
  }

 private:
  std::vector<std::shared_ptr<void>> owned_;
};

}  // namespace sluice
#endif  // SLUICE_MODEL_PROTO_MESSAGE_H_
