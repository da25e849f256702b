#include "model/proto_message.h"

#include <cstring>

#include "base/error.h"

namespace sluice {
namespace {

// Protocol Buffers' wire format, only as much as finding the nesting depth takes.
class WireReader {
 public:
  explicit WireReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool at_end() const { return at_ == bytes_.size(); }

  bool varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_end()) return false;
      const uint8_t byte = bytes_[at_++];
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool take(uint64_t count, std::span<const uint8_t>* taken) {
    if (count > bytes_.size() - at_) return false;
    *taken = bytes_.subspan(at_, count);
    at_ += count;
    return true;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

// protobuf-c unpacks nested messages by recursion without a limit, so depth is bounded beforehand.
bool depth_within(const ProtobufCMessageDescriptor& descriptor, std::span<const uint8_t> bytes,
                  int levels) {
  if (levels == 0) return false;
  WireReader reader(bytes);
  while (!reader.at_end()) {
    uint64_t key = 0;
    uint64_t value = 0;
    std::span<const uint8_t> body;
    if (!reader.varint(&key)) return true;  // malformed: the unpacker says so
    switch (key & 7) {
      case 0:
        if (!reader.varint(&value)) return true;
        break;
      case 1:
        if (!reader.take(8, &body)) return true;
        break;
      case 2: {
        if (!reader.varint(&value) || !reader.take(value, &body)) return true;
        if ((key >> 3) > UINT32_MAX) return true;
        const ProtobufCFieldDescriptor* field =
            protobuf_c_message_descriptor_get_field(&descriptor, static_cast<unsigned>(key >> 3));
        if (field == nullptr || field->type != PROTOBUF_C_TYPE_MESSAGE) break;
        const auto* inner = static_cast<const ProtobufCMessageDescriptor*>(field->descriptor);
        if (!depth_within(*inner, body, levels - 1)) return false;
        break;
      }
      case 5:
        if (!reader.take(4, &body)) return true;
        break;
      default:
        return true;
    }
  }
  return true;
}

void check_message(const ProtobufCMessage& message, const std::string& path);

void check_value(const ProtobufCFieldDescriptor& field, const void* value,
                 const std::string& path) {
  if (field.type == PROTOBUF_C_TYPE_ENUM) {
    int number = 0;
    std::memcpy(&number, value, sizeof(number));
    const auto& known = *static_cast<const ProtobufCEnumDescriptor*>(field.descriptor);
    if (protobuf_c_enum_descriptor_get_value(&known, number) == nullptr) {
      SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, path + ": " + std::to_string(number) +
                                                 " is no value of " + known.name +
                                                 " that this library knows");
    }
  } else if (field.type == PROTOBUF_C_TYPE_MESSAGE) {
    const ProtobufCMessage* inner = nullptr;
    std::memcpy(&inner, value, sizeof(inner));
    if (inner != nullptr) check_message(*inner, path);
  }
}

void check_message(const ProtobufCMessage& message, const std::string& path) {
  const ProtobufCMessageDescriptor& descriptor = *message.descriptor;
  if (message.n_unknown_fields != 0) {
    SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED, (path.empty() ? descriptor.short_name : path) +
                                               ": unknown field number " +
                                               std::to_string(message.unknown_fields[0].tag) +
                                               " (the caller is newer than this library)");
  }
  const auto* base = reinterpret_cast<const uint8_t*>(&message);
  for (unsigned f = 0; f < descriptor.n_fields; ++f) {
    const ProtobufCFieldDescriptor& field = descriptor.fields[f];
    if (field.type != PROTOBUF_C_TYPE_ENUM && field.type != PROTOBUF_C_TYPE_MESSAGE) continue;
    const std::string name = path.empty() ? field.name : path + "." + field.name;
    if (field.label == PROTOBUF_C_LABEL_REPEATED) {
      size_t count = 0;
      const uint8_t* elements = nullptr;
      std::memcpy(&count, base + field.quantifier_offset, sizeof(count));
      std::memcpy(&elements, base + field.offset, sizeof(elements));
      const size_t stride = field.type == PROTOBUF_C_TYPE_ENUM ? sizeof(int) : sizeof(void*);
      for (size_t i = 0; i < count; ++i) {
        check_value(field, elements + i * stride, name + "[" + std::to_string(i) + "]");
      }
      continue;
    }
    if ((field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
      uint32_t chosen = 0;
      std::memcpy(&chosen, base + field.quantifier_offset, sizeof(chosen));
      if (chosen != field.id) continue;
    } else if (field.type == PROTOBUF_C_TYPE_ENUM) {
      protobuf_c_boolean present = 0;
      std::memcpy(&present, base + field.quantifier_offset, sizeof(present));
      if (!present) continue;
    }
    check_value(field, base + field.offset, name);
  }
}

}  // namespace

ProtobufCMessage* unpack_message(const ProtobufCMessageDescriptor& descriptor,
                                 std::span<const uint8_t> bytes) {
  const std::string root = descriptor.short_name;
  if (!depth_within(descriptor, bytes, kMaxProtoDepth)) {
    SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT,
                root + ": messages nest deeper than " + std::to_string(kMaxProtoDepth));
  }
  static constexpr uint8_t kNothing = 0;  // protobuf-c wants a pointer even for zero bytes
  ProtoPtr<ProtobufCMessage> message(protobuf_c_message_unpack(
      &descriptor, nullptr, bytes.size(), bytes.empty() ? &kNothing : bytes.data()));
  if (!message) {
    SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT,
                root + ": " + std::to_string(bytes.size()) + " bytes are no such message");
  }
  check_message(*message, "");
  return message.release();
}

std::vector<uint8_t> pack_message(const ProtobufCMessage& message) {
  std::vector<uint8_t> bytes(protobuf_c_message_get_packed_size(&message));
  protobuf_c_message_pack(&message, bytes.data());
  return bytes;
}

const char* proto_enum_name(const ProtobufCEnumDescriptor& descriptor, int value) {
  const ProtobufCEnumValue* known = protobuf_c_enum_descriptor_get_value(&descriptor, value);
  return known == nullptr ? "?" : known->name;
}

}  // namespace sluice
