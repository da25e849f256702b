/// @file
/// Files that weights are read from.
#ifndef SLUICE_RUNTIME_FILE_READER_H_
#define SLUICE_RUNTIME_FILE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice {

/// A regular file opened for reading by position, never mapped: a file that shrinks must not kill
/// the process. Reading is thread-safe.
class FileReader {
 public:
  /// @throws Error INVALID_ARGUMENT for a relative path, IO when it cannot be opened or is no
  ///         regular file
  explicit FileReader(std::string path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  const std::string& path() const { return path_; }

  /// Size at this moment. @throws Error IO
  int64_t size() const;

  /// Reads exactly `bytes` bytes from `offset`.
  /// @throws Error IO, or CORRUPT_DATA when the file ends before
  void read(int64_t offset, int64_t bytes, std::byte* out) const;

 private:
  std::string path_;
  int descriptor_ = -1;
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_FILE_READER_H_
