/// @file
/// The way of weights into device memory: pinned memory that loader threads fill, and streams that
/// copy from it while the threads read on.
#ifndef SLUICE_RUNTIME_WEIGHT_UPLOAD_H_
#define SLUICE_RUNTIME_WEIGHT_UPLOAD_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "device/buffer.h"
#include "device/cuda.h"
#include "model/weight_store.h"

namespace sluice {

/// Memory that a load needs behind the weights of a store with this packing (WeightStore's
/// loader_bytes): on CUDA the table of random numbers.
int64_t loader_bytes(const WeightPacking& packing);

/// For each store in device memory a stream of its own, and for each thread two chunks of pinned
/// memory: one is filled while the other is copied. Does nothing for stores in host memory. A
/// thread passes its own number; different threads may call at once.
class WeightUpload {
 public:
  /// What take() gives.
  static constexpr int64_t kChunkBytes = int64_t{4} << 20;

  /// @throws Error OUT_OF_HOST_MEMORY, UNSUPPORTED, DEVICE_LOST
  WeightUpload(const std::vector<const WeightStore*>& stores, int num_threads);
  /// Waits for what is being copied.
  ~WeightUpload();
  WeightUpload(const WeightUpload&) = delete;
  WeightUpload& operator=(const WeightUpload&) = delete;

  /// kChunkBytes of pinned memory that nothing is copied from any longer, until the next take() of
  /// the thread for this store. @throws Error DEVICE_LOST
  std::byte* take(const WeightStore& store, int thread);

  /// Copies rows of the chunk that take() gave last: `row_bytes` of each, `from_pitch` apart there
  /// and `to_pitch` apart on the device. Returns at once. @throws Error DEVICE_LOST
  void copy(const WeightStore& store, int thread, const std::byte* from, int64_t from_pitch,
            void* to, int64_t to_pitch, int64_t row_bytes, int64_t num_rows);

  /// Random numbers, made by the device.
  struct Normals {
    uint64_t seed = 0;
    uint64_t place = 0;
    uint64_t first = 0;
    double std = 0;
    int64_t row_step = 0;  ///< numbers from row to row
    int64_t num_rows = 0;
    int64_t num_cols = 0;
    Format format = Format::kF32;
    void* to = nullptr;
    int64_t to_stride = 0;  ///< elements
  };
  /// Returns at once. @throws Error DEVICE_LOST
  void fill_normal(const WeightStore& store, int thread, const Normals& normals);

  /// Whether the thread enqueued anything since its last finish().
  bool pending(int thread) const;

  /// Waits until all that the thread enqueued is done. @throws Error DEVICE_LOST
  void finish(int thread);

 private:
  struct Chunk {
    std::byte* data = nullptr;
    CudaEvent copied;
    bool in_use = false;  // copied was recorded
  };
  struct Lane {  // of one thread, for one store
    std::vector<Chunk> chunks;
    size_t next = 0;
    Chunk* taken = nullptr;
    bool pending = false;
  };
  struct Target {
    const WeightStore* store = nullptr;
    Buffer pinned;  // before the stream, which waits for its copies when it goes
    std::unique_ptr<CudaDevice> device;
    std::vector<Lane> lanes;  // [threads]
    std::once_flag table_made;
  };

  Target& target(const WeightStore& store);

  std::deque<Target> targets_;  // stores in device memory
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_WEIGHT_UPLOAD_H_
