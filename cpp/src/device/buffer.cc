#include "device/buffer.h"

#include <sys/mman.h>

#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "device/cpu.h"
#include "device/cuda.h"

namespace sluice {
namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;
constexpr int64_t kPageBytes = 4096;

}  // namespace

Buffer::Buffer(int64_t bytes, std::string_view purpose, AllocationCounter* counter,
               MemorySpace space)
    : space_(space) {
  SLUICE_CHECK_ARG(bytes >= 0 && bytes < (int64_t{1} << 62), purpose, ": ", bytes,
                   " bytes (expected: 0 to 2^62)");
  if (bytes == 0) return;
  if (space.kind != MemoryKind::kHost) {
    data_ = cuda_allocate(bytes, purpose, space);
    size_ = bytes;
    if (counter != nullptr) counter->add();
    return;
  }
  const int64_t free = host_memory_free();
  if (free >= 0 && bytes > free) {
    throw Error(SLUICE_STATUS_OUT_OF_HOST_MEMORY,
                concat(purpose, ": ", bytes, " bytes (expected: at most the ", free,
                       " bytes of free memory)"),
                __FILE__, __LINE__)
        .with_bytes(bytes, free);
  }
  const bool huge = bytes >= kHugePageBytes;
  const int64_t alignment = huge ? kHugePageBytes : kPageBytes;
  mapping_size_ = round_up(bytes, alignment) + (huge ? alignment : 0);
  void* mapping = mmap(nullptr, static_cast<size_t>(mapping_size_), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(SLUICE_STATUS_OUT_OF_HOST_MEMORY,
                concat(purpose, ": ", bytes, " bytes were refused by the system"), __FILE__,
                __LINE__)
        .with_bytes(bytes, free);
  }
  mapping_ = static_cast<std::byte*>(mapping);
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  const uintptr_t aligned =
      (address + static_cast<uintptr_t>(alignment) - 1) & ~(static_cast<uintptr_t>(alignment) - 1);
  data_ = mapping_ + (aligned - address);
  size_ = bytes;
  // Advice only: a system without huge pages runs all the same.
  if (huge) madvise(data_, static_cast<size_t>(round_up(bytes, kHugePageBytes)), MADV_HUGEPAGE);
  if (counter != nullptr) counter->add();
}

Buffer::~Buffer() {
  if (data_ != nullptr && space_.kind != MemoryKind::kHost) cuda_free(data_, space_);
  if (mapping_ != nullptr) munmap(mapping_, static_cast<size_t>(mapping_size_));
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      space_(other.space_),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_size_(std::exchange(other.mapping_size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(space_, other.space_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_size_, other.mapping_size_);
  return *this;
}

Arena::Arena(int64_t bytes, std::string_view purpose, AllocationCounter* counter, MemorySpace space)
    : buffer_(bytes, purpose, counter, space), purpose_(purpose) {}

void* Arena::allocate(int64_t bytes, int64_t alignment) {
  SLUICE_CHECK_INTERNAL(
      bytes >= 0 && alignment > 0 && alignment <= kPageBytes && (alignment & (alignment - 1)) == 0,
      purpose_, ": allocation of ", bytes, " bytes aligned to ", alignment);
  const int64_t begin = round_up(used_, alignment);
  if (bytes > buffer_.size() - begin) {
    throw Error(buffer_.space().kind == MemoryKind::kDevice ? SLUICE_STATUS_OUT_OF_DEVICE_MEMORY
                                                            : SLUICE_STATUS_OUT_OF_HOST_MEMORY,
                concat(purpose_, ": ", bytes, " bytes more (expected: at most ",
                       buffer_.size() - begin, " of ", buffer_.size(), ")"),
                __FILE__, __LINE__)
        .with_bytes(bytes, buffer_.size() - begin);
  }
  used_ = begin + bytes;
  if (used_ > peak_) peak_ = used_;
  return buffer_.data() + begin;
}

}  // namespace sluice
