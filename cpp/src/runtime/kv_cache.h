/// @file
/// The paged KV cache: one pool of blocks per kv group, sized once.
#ifndef SLUICE_RUNTIME_KV_CACHE_H_
#define SLUICE_RUNTIME_KV_CACHE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "model/decoder.h"
#include "model/options.h"
#include "model/spec.h"
#include "ops/kv_write/kv_cache.h"

namespace sluice {

/// Sizes of one kv group.
struct KvGroupPlan {
  int32_t num_layers = 0;
  int64_t bytes_per_block = 0;  ///< all layers of the group, side channels included
  int64_t num_blocks = 0;
  struct Channel {
    SideChannelShape shape;
    int32_t num_layers = 0;
  };
  std::vector<Channel> channels;  ///< side channels by name
};

/// Sizes of every kv group. @throws Error INVALID_ARGUMENT on overflow
std::vector<KvGroupPlan> plan_kv_groups(const ModelSpec& spec, const EngineOptions& options,
                                        const Decoder& decoder);

/// Owns the blocks. Not thread-safe.
class KvCache {
 public:
  /// Blocks lie in `space`, in the layout of the options' backend.
  /// @throws Error OUT_OF_HOST_MEMORY, OUT_OF_DEVICE_MEMORY
  KvCache(const ModelSpec& spec, const EngineOptions& options, const Decoder& decoder,
          AllocationCounter* counter, MemorySpace space = {});

  /// State of each layer.
  std::span<const LayerState> layers() const { return layers_; }

  /// Block ids are inside the group: the step message was checked. Of the host's memory alone.
  void copy_block(int group, int32_t source, int32_t target);
  void zero_block(int group, int32_t block);

  int num_groups() const { return static_cast<int>(layers_of_.size()); }

  /// Layers of a group.
  std::span<const int> layers_of(int group) const { return layers_of_[group]; }

  /// For tests that poison it: sets the first `bytes` bytes (< 0: all) of a group's memory.
  void fill(int group, int byte, int64_t bytes = -1);

  /// All memory of a group, for tests that look at it; of the space that it lies in.
  std::span<std::byte> memory(int group) const;

 private:
  int32_t block_size_;
  std::vector<Buffer> buffers_;              // [groups]
  std::vector<LayerState> layers_;           // [layers]
  std::vector<std::vector<int>> layers_of_;  // [groups]
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_KV_CACHE_H_
