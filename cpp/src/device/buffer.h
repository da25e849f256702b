/// @file
/// Memory of a device: counted, aligned, move-only buffers, and arenas that carve them.
#ifndef SLUICE_DEVICE_BUFFER_H_
#define SLUICE_DEVICE_BUFFER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

/// Alignment of every buffer's start and of every arena allocation by default; a cache line.
inline constexpr int64_t kBufferAlignment = 64;

/// Counts the allocations behind SLUICE_STAT_DEVICE_ALLOCATIONS. One per engine; thread-safe.
class AllocationCounter {
 public:
  void add() { count_.fetch_add(1, std::memory_order_relaxed); }
  int64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> count_{0};
};

/// Where memory lies.
enum class MemoryKind {
  kHost,    ///< pageable
  kPinned,  ///< of the host, page-locked, at the same address for the device
  kDevice,  ///< of a CUDA device: the host must not touch it
};
struct MemorySpace {
  MemoryKind kind = MemoryKind::kHost;
  int device = 0;  ///< CUDA device of kPinned and kDevice
};

/// Zeroed memory. Of kind kHost it comes straight from the system, returned to it when the buffer dies. From 2 MiB on
/// it is aligned to huge pages and the kernel is asked for them: a decode step reads every weight
/// once, and with 4 KiB pages the address translation costs a tenth of the bandwidth. Device memory
/// is aligned to 256 bytes.
class Buffer {
 public:
  Buffer() = default;

  /// Throws OUT_OF_HOST_MEMORY or OUT_OF_DEVICE_MEMORY with the bytes needed and free; `purpose`
  /// ("KV cache") is named in the text. The free memory is looked at first, since the system
  /// promises more than it has. UNSUPPORTED for kinds of CUDA in a build without it.
  Buffer(int64_t bytes, std::string_view purpose, AllocationCounter* counter = nullptr,
         MemorySpace space = {});
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() const { return data_; }
  int64_t size() const { return size_; }
  MemorySpace space() const { return space_; }

 private:
  std::byte* data_ = nullptr;
  int64_t size_ = 0;
  MemorySpace space_;
  std::byte* mapping_ = nullptr;
  int64_t mapping_size_ = 0;
};

/// A buffer handed out from front to back. Not thread-safe. What lies in device memory may be handed
/// out again while work that uses it is queued: a stream runs its work in order.
class Arena {
 public:
  Arena() = default;
  Arena(int64_t bytes, std::string_view purpose, AllocationCounter* counter = nullptr,
        MemorySpace space = {});
  Arena(Arena&&) noexcept = default;
  Arena& operator=(Arena&&) noexcept = default;

  /// `bytes` bytes, not zeroed after a reset. Throws OUT_OF_HOST_MEMORY when the arena is too
  /// small. `alignment` is a power of two up to 4096.
  void* allocate(int64_t bytes, int64_t alignment = kBufferAlignment);

  template <typename T>
  T* allocate_array(int64_t count) {
    return static_cast<T*>(allocate(count * static_cast<int64_t>(sizeof(T))));
  }

  /// Everything handed out so far becomes free again.
  void reset() { used_ = 0; }

  /// A point to which rewind() returns.
  int64_t mark() const { return used_; }
  void rewind(int64_t mark) { used_ = mark; }

  int64_t used() const { return used_; }
  int64_t peak() const { return peak_; }
  int64_t capacity() const { return buffer_.size(); }

 private:
  Buffer buffer_;
  std::string purpose_;
  int64_t used_ = 0;
  int64_t peak_ = 0;
};

/// Rewinds an arena to where it stood.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  int64_t mark_;
};

}  // namespace sluice

#endif  // SLUICE_DEVICE_BUFFER_H_
