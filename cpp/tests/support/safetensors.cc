#include "support/safetensors.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace sluice::test {
namespace {

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::abort();
}

// Text between `before`, searched from *at on, and the next `after`; *at moves behind it.
std::string between(const std::string& text, const std::string& before, const std::string& after,
                    size_t* at) {
  const size_t begin = text.find(before, *at);
  if (begin == std::string::npos) die("no " + before + " in a header");
  const size_t end = text.find(after, begin + before.size());
  if (end == std::string::npos) die("no " + after + " in a header");
  *at = end + after.size();
  return text.substr(begin + before.size(), end - begin - before.size());
}

std::vector<uint64_t> numbers(const std::string& list) {
  std::vector<uint64_t> values;
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) values.push_back(std::stoull(item));
  return values;
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) die("cannot read " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

double json_number(const std::string& json, const std::string& key, double fallback) {
  const size_t at = json.find("\"" + key + "\"");
  if (at == std::string::npos) return fallback;
  const char* text = json.c_str() + json.find(':', at) + 1;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  return end == text ? fallback : value;
}

Safetensors::Safetensors(const std::string& path) : path_(path), data_(read_file(path)) {
  uint64_t length = 0;
  if (data_.size() < 8) die(path + " is too short");
  std::memcpy(&length, data_.data(), 8);
  const std::string header = data_.substr(8, length);
  // The fixtures' headers are compact: {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}
  size_t at = 0;
  while (header.find("\"dtype\":", at) != std::string::npos) {
    std::string name = between(header, "\"", "\":{", &at);
    if (name == "__metadata__") {
      between(header, "", "},", &at);
      name = between(header, "\"", "\":{", &at);
    }
    FileTensor tensor;
    tensor.dtype = between(header, "\"dtype\":\"", "\"", &at);
    tensor.shape = numbers(between(header, "\"shape\":[", "]", &at));
    const auto offsets = numbers(between(header, "\"data_offsets\":[", "]", &at));
    tensor.offset = 8 + length + offsets.at(0);
    tensor.bytes = offsets.at(1) - offsets.at(0);
    tensors_[name] = tensor;
  }
  if (tensors_.empty()) die(path + " has no tensors");
}

const FileTensor& Safetensors::tensor(const std::string& name, const char* dtype) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.dtype != dtype) die("no " + name + " in " + path_);
  return found->second;
}

std::vector<float> Safetensors::floats(const std::string& name) const {
  const FileTensor& found = tensor(name, "F32");
  std::vector<float> values(found.bytes / 4);
  std::memcpy(values.data(), data_.data() + found.offset, found.bytes);
  return values;
}

std::vector<int32_t> Safetensors::ids(const std::string& name) const {
  const FileTensor& found = tensor(name, "I64");
  std::vector<int64_t> wide(found.bytes / 8);
  std::memcpy(wide.data(), data_.data() + found.offset, found.bytes);
  return {wide.begin(), wide.end()};
}

}  // namespace sluice::test
