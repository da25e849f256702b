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
  /// @throws Error OUT_OF_HOST_MEMORY
  KvCache(const ModelSpec& spec, const EngineOptions& options, const Decoder& decoder,
          AllocationCounter* counter);

  /// State of each layer.
  std::span<const LayerState> layers() const { return layers_; }

  /// Block ids are inside the group: the step message was checked.
  void copy_block(int group, int32_t source, int32_t target);
  void zero_block(int group, int32_t block);

  /// All memory of a group, for tests that poison it.
  std::span<std::byte> memory(int group) const;

 private:
  int32_t block_size_;
  std::vector<Buffer> buffers_;              // [groups]
  std::vector<LayerState> layers_;           // [layers]
  std::vector<std::vector<int>> layers_of_;  // [groups]
};

}  // namespace sluice
#endif  // SLUICE_RUNTIME_KV_CACHE_H_
