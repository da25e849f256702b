/// @file
/// Just enough of the safetensors format to read the parity fixtures. Tests only: the product reads
/// checkpoints in Java.
#ifndef SLUICE_TESTS_SUPPORT_SAFETENSORS_H_
#define SLUICE_TESTS_SUPPORT_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice::test {

struct FileTensor {
  std::string dtype;  ///< "F32", "BF16", "I64"
  std::vector<uint64_t> shape;
  uint64_t offset = 0;  ///< absolute in the file
  uint64_t bytes = 0;
};

class Safetensors {
 public:
  /// Aborts the test program when the file is not as expected.
  explicit Safetensors(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, FileTensor>& tensors() const { return tensors_; }
  bool has(const std::string& name) const { return tensors_.count(name) > 0; }

  std::vector<float> floats(const std::string& name) const;  ///< of an F32 tensor
  std::vector<int32_t> ids(const std::string& name) const;   ///< of an I64 tensor

 private:
  const FileTensor& tensor(const std::string& name, const char* dtype) const;

  std::string path_;
  std::string data_;
  std::map<std::string, FileTensor> tensors_;
};

/// The whole file; aborts the test program when it cannot be read.
std::string read_file(const std::string& path);

/// The number behind `"key":` in a flat JSON text, or `fallback`.
double json_number(const std::string& json, const std::string& key, double fallback);

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_SAFETENSORS_H_
