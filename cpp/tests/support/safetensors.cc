#include "support/safetensors.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>

namespace sluice::test {
namespace {

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::abort();
}

std::vector<uint64_t> numbers(const std::string& list) {
  std::vector<uint64_t> values;
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) {
    if (item.find_first_of("0123456789") != std::string::npos) values.push_back(std::stoull(item));
  }
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
  std::smatch match;
  const std::regex pattern("\"" + key + "\"\\s*:\\s*([-+0-9.eE]+)");
  return std::regex_search(json, match, pattern) ? std::stod(match[1]) : fallback;
}

Safetensors::Safetensors(const std::string& path) : path_(path), data_(read_file(path)) {
  uint64_t length = 0;
  if (data_.size() < 8) die(path + " is too short");
  std::memcpy(&length, data_.data(), 8);
  const std::string header = data_.substr(8, length);
  const std::regex entry(
      "\"([^\"]+)\":\\{\"dtype\":\"([A-Z0-9]+)\",\"shape\":\\[([0-9,]*)\\],"
      "\"data_offsets\":\\[([0-9]+),([0-9]+)\\]\\}");
  for (std::sregex_iterator match(header.begin(), header.end(), entry), end; match != end;
       ++match) {
    FileTensor tensor;
    tensor.dtype = (*match)[2];
    tensor.shape = numbers((*match)[3]);
    tensor.offset = 8 + length + std::stoull((*match)[4]);
    tensor.bytes = std::stoull((*match)[5]) - std::stoull((*match)[4]);
    tensors_[(*match)[1]] = tensor;
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
