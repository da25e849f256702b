#include "runtime/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"

namespace sluice {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace

FileReader::FileReader(std::string path) : path_(std::move(path)) {
  SLUICE_CHECK_ARG(!path_.empty() && path_[0] == '/', "files: ", path_,
                   " (expected: an absolute path)");
  // O_NONBLOCK: opening a pipe without a writer would wait for ever.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  SLUICE_CHECK(descriptor_ >= 0, SLUICE_STATUS_IO, path_, ": cannot be opened: ", reason(errno));
  struct stat info = {};
  const bool regular = ::fstat(descriptor_, &info) == 0 && S_ISREG(info.st_mode);
  if (!regular) {
    ::close(descriptor_);
    SLUICE_FAIL(SLUICE_STATUS_IO, path_, ": no regular file");
  }
}

FileReader::~FileReader() { ::close(descriptor_); }

int64_t FileReader::size() const {
  struct stat info = {};
  SLUICE_CHECK(::fstat(descriptor_, &info) == 0, SLUICE_STATUS_IO, path_, ": ", reason(errno));
  return info.st_size;
}

void FileReader::read(int64_t offset, int64_t bytes, std::byte* out) const {
  constexpr int64_t kMaxCall = int64_t{1} << 30;  // the system caps a call below 2^31
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t count =
        ::pread(descriptor_, out + done, static_cast<size_t>(std::min(bytes - done, kMaxCall)),
                offset + done);
    if (count < 0 && errno == EINTR) continue;
    SLUICE_CHECK(count >= 0, SLUICE_STATUS_IO, path_, ": cannot be read: ", reason(errno));
    SLUICE_CHECK(count > 0, SLUICE_STATUS_CORRUPT_DATA, path_, ": ends at byte ", offset + done,
                 " (expected: bytes ", offset, " to ", offset + bytes - 1, ")");
    done += count;
  }
}

}  // namespace sluice
