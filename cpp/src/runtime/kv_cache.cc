#include "runtime/kv_cache.h"

#include "base/checked.h"
#include "ops/kv_write/kv_write.h"

namespace sluice {
namespace {

// The view of a layer without memory: its sizes and strides.
KvCacheView make_view(const KvShape& shape, const EngineOptions& options, int64_t num_blocks) {
  KvCacheView view;
  view.format = options.kv_format;
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

}  // namespace

std::vector<KvGroupPlan> plan_kv_groups(const ModelSpec& spec, const EngineOptions& options,
                                        const Decoder& decoder) {
  std::vector<KvGroupPlan> groups(spec.kv_groups.size());
  for (size_t g = 0; g < groups.size(); ++g) groups[g].num_blocks = options.num_blocks[g];
  for (int layer = 0; layer < decoder.num_layers(); ++layer) {
    KvGroupPlan& group = groups[spec.layers[layer].kv_group];
    const KvCacheView view = make_view(decoder.kv_shape(layer), options, group.num_blocks);
    ++group.num_layers;
    group.bytes_per_block =
        checked_add(group.bytes_per_block, checked_add(view.k_block_stride, view.v_block_stride));
    checked_mul(group.bytes_per_block, group.num_blocks);
  }
  return groups;
}

KvCache::KvCache(const ModelSpec& spec, const EngineOptions& options, const Decoder& decoder,
                 AllocationCounter* counter)
    : views_(decoder.num_layers()), layers_of_(spec.kv_groups.size()) {
  const std::vector<KvGroupPlan> groups = plan_kv_groups(spec, options, decoder);
  for (size_t g = 0; g < groups.size(); ++g) {
    buffers_.emplace_back(groups[g].bytes_per_block * groups[g].num_blocks,
                          "KV cache (remedy: a lower num_blocks)", counter);
  }
  std::vector<int64_t> used(groups.size());
  for (int layer = 0; layer < decoder.num_layers(); ++layer) {
    const int group = spec.layers[layer].kv_group;
    KvCacheView view = make_view(decoder.kv_shape(layer), options, groups[group].num_blocks);
    std::byte* memory = buffers_[group].data();
    view.k = memory + used[group];
    used[group] += view.k_block_stride * view.num_blocks;
    view.v = memory + used[group];
    used[group] += view.v_block_stride * view.num_blocks;
    check_kv_cache(view);
    views_[layer] = view;
    layers_of_[group].push_back(layer);
  }
}

void KvCache::copy_block(int group, int32_t source, int32_t target) {
  for (int layer : layers_of_[group]) kv_copy_block(views_[layer], source, target);
}

void KvCache::zero_block(int group, int32_t block) {
  for (int layer : layers_of_[group]) kv_zero_block(views_[layer], block);
}

std::span<std::byte> KvCache::memory(int group) const {
  return {buffers_[group].data(), static_cast<size_t>(buffers_[group].size())};
}

}  // namespace sluice
