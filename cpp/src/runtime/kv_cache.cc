#include "runtime/kv_cache.h"

#include <cstring>

#include "base/checked.h"
#include "device/cuda.h"
#include "ops/kv_write/kv_write.h"

namespace sluice {
namespace {

// The view of a layer without memory: its sizes and strides.
KvCacheView make_view(const KvShape& shape, const EngineOptions& options, int64_t num_blocks) {
  KvCacheView view;
  view.format = options.kv_format;
  view.layout =
      options.backend == Backend::kCuda ? KvLayout::kRows : KvLayout::kInterleaved;
  view.num_blocks = num_blocks;
  view.block_size = options.block_size;
  view.num_kv_heads = shape.num_kv_heads;
  view.k_dim = shape.k_dim;
  view.v_dim = shape.v_dim;
  view.k_block_stride =
      round_up(kv_block_bytes(view.format, view.block_size, shape.num_kv_heads, shape.k_dim),
               kBufferAlignment);
  view.v_block_stride =
      round_up(kv_block_bytes(view.format, view.block_size, shape.num_kv_heads, shape.v_dim),
               kBufferAlignment);
  return view;
}

// Bytes of one position; 0 without a channel.
int64_t channel_bytes(const std::optional<SideChannelShape>& shape) {
  return shape ? format_bytes(shape->format, shape->values_per_token) : 0;
}

// Bytes of one block, so that the next region starts aligned.
int64_t channel_block_bytes(const std::optional<SideChannelShape>& shape, int32_t block_size) {
  return round_up(checked_mul(channel_bytes(shape), block_size), kBufferAlignment);
}

void count_channel(const std::optional<SideChannelShape>& shape, KvGroupPlan* group) {
  if (!shape) return;
  for (KvGroupPlan::Channel& channel : group->channels) {
    if (std::strcmp(channel.shape.name, shape->name) == 0 &&
        channel.shape.values_per_token == shape->values_per_token) {
      ++channel.num_layers;
      return;
    }
  }
  group->channels.push_back({*shape, 1});
}

void copy_channel(const SideChannelView& channel, int32_t block_size, int32_t source,
                  int32_t target) {
  const int64_t bytes = channel.bytes_per_token * block_size;
  if (bytes == 0) return;
  std::memcpy(channel.data + target * bytes, channel.data + source * bytes,
              static_cast<size_t>(bytes));
}

void zero_channel(const SideChannelView& channel, int32_t block_size, int32_t block) {
  const int64_t bytes = channel.bytes_per_token * block_size;
  if (bytes > 0) std::memset(channel.data + block * bytes, 0, static_cast<size_t>(bytes));
}

}  // namespace

std::vector<KvGroupPlan> plan_kv_groups(const ModelSpec& spec, const EngineOptions& options,
                                        const Decoder& decoder) {
  std::vector<KvGroupPlan> groups(spec.kv_groups.size());
  for (size_t g = 0; g < groups.size(); ++g) groups[g].num_blocks = options.num_blocks[g];
  for (int layer = 0; layer < decoder.num_layers(); ++layer) {
    KvGroupPlan& group = groups[spec.layers[layer].kv_group];
    const KvCacheView view = make_view(decoder.kv_shape(layer), options, group.num_blocks);
    ++group.num_layers;
    int64_t bytes = checked_add(view.k_block_stride, view.v_block_stride);
    for (const auto& channel :
         {decoder.attention_channel(layer), decoder.feed_forward_channel(layer)}) {
      bytes = checked_add(bytes, channel_block_bytes(channel, options.block_size));
      count_channel(channel, &group);
    }
    group.bytes_per_block = checked_add(group.bytes_per_block, bytes);
    checked_mul(group.bytes_per_block, group.num_blocks);
  }
  return groups;
}

KvCache::KvCache(const ModelSpec& spec, const EngineOptions& options, const Decoder& decoder,
                 AllocationCounter* counter, MemorySpace space)
    : block_size_(options.block_size),
      layers_(decoder.num_layers()),
      layers_of_(spec.kv_groups.size()) {
  const std::vector<KvGroupPlan> groups = plan_kv_groups(spec, options, decoder);
  for (size_t g = 0; g < groups.size(); ++g) {
    buffers_.emplace_back(groups[g].bytes_per_block * groups[g].num_blocks,
                          "KV cache (remedy: a lower num_blocks)", counter, space);
  }
  std::vector<int64_t> used(groups.size());
  for (int layer = 0; layer < decoder.num_layers(); ++layer) {
    const int group = spec.layers[layer].kv_group;
    LayerState& state = layers_[layer];
    state.kv = make_view(decoder.kv_shape(layer), options, groups[group].num_blocks);
    const auto take = [&](int64_t block_bytes) {
      std::byte* const at = buffers_[group].data() + used[group];
      used[group] += block_bytes * state.kv.num_blocks;
      return at;
    };
    state.kv.k = take(state.kv.k_block_stride);
    state.kv.v = take(state.kv.v_block_stride);
    check_kv_cache(state.kv);
    const auto take_channel = [&](const std::optional<SideChannelShape>& shape) {
      return SideChannelView{take(channel_block_bytes(shape, block_size_)), channel_bytes(shape),
                             block_size_, groups[group].num_blocks};
    };
    state.attention_channel = take_channel(decoder.attention_channel(layer));
    state.feed_forward_channel = take_channel(decoder.feed_forward_channel(layer));
    layers_of_[group].push_back(layer);
  }
}

void KvCache::copy_block(int group, int32_t source, int32_t target) {
  for (int layer : layers_of_[group]) {
    kv_copy_block({}, layers_[layer].kv, source, target);
    copy_channel(layers_[layer].attention_channel, block_size_, source, target);
    copy_channel(layers_[layer].feed_forward_channel, block_size_, source, target);
  }
}

void KvCache::zero_block(int group, int32_t block) {
  for (int layer : layers_of_[group]) {
    kv_zero_block({}, layers_[layer].kv, block);
    zero_channel(layers_[layer].attention_channel, block_size_, block);
    zero_channel(layers_[layer].feed_forward_channel, block_size_, block);
  }
}

void KvCache::fill(int group, int byte, int64_t bytes) {
  const Buffer& buffer = buffers_[group];
  if (bytes < 0) bytes = buffer.size();
  if (buffer.space().kind == MemoryKind::kHost) {
    std::memset(buffer.data(), byte, static_cast<size_t>(bytes));
    return;
  }
  const CudaDevice device(buffer.space().device);
  cuda_fill(device.exec(), buffer.data(), byte, bytes);
  device.synchronize();
}

std::span<std::byte> KvCache::memory(int group) const {
  return {buffers_[group].data(), static_cast<size_t>(buffers_[group].size())};
}

}  // namespace sluice
