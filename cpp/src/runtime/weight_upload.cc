#include "runtime/weight_upload.h"

#include "base/error.h"
#include "ops/random_values/random_values.h"
#include "ops/random_values/random_values_cuda.h"

namespace sluice {
namespace {

constexpr int64_t kChunksPerThread = 2;

}  // namespace

int64_t loader_bytes(const WeightPacking& packing) {
  return packing.layout == kCudaPacking.layout ? kNormalQuantiles * int64_t{sizeof(float)} : 0;
}

WeightUpload::WeightUpload(const std::vector<const WeightStore*>& stores, int num_threads) {
  for (const WeightStore* store : stores) {
    if (!store->on_device()) continue;
    const int index = store->space().device;
    Target& target = targets_.emplace_back();
    target.store = store;
    target.device = std::make_unique<CudaDevice>(index);
    target.pinned = Buffer(num_threads * kChunksPerThread * kChunkBytes,
                           "pinned memory of the weight loader (remedy: a lower num_threads)",
                           nullptr, {MemoryKind::kPinned, index});
    std::byte* data = target.pinned.data();
    target.lanes.resize(static_cast<size_t>(num_threads));
    for (Lane& lane : target.lanes) {
      lane.chunks.resize(kChunksPerThread);
      for (Chunk& chunk : lane.chunks) {
        chunk.data = data;
        data += kChunkBytes;
      }
    }
  }
}

WeightUpload::~WeightUpload() = default;

WeightUpload::Target& WeightUpload::target(const WeightStore& store) {
  for (Target& target : targets_) {
    if (target.store == &store) return target;
  }
  SLUICE_FAIL(SLUICE_STATUS_INTERNAL, "weights: a store that the load does not know");
}

std::byte* WeightUpload::take(const WeightStore& store, int thread) {
  Target& to = target(store);
  to.device->make_current();
  Lane& lane = to.lanes[static_cast<size_t>(thread)];
  lane.taken = &lane.chunks[lane.next];
  lane.next = (lane.next + 1) % lane.chunks.size();
  if (lane.taken->in_use) lane.taken->copied.wait();
  lane.taken->in_use = false;
  return lane.taken->data;
}

void WeightUpload::copy(const WeightStore& store, int thread, const std::byte* from,
                        int64_t from_pitch, void* to, int64_t to_pitch, int64_t row_bytes,
                        int64_t num_rows) {
  Target& target_of = target(store);
  Lane& lane = target_of.lanes[static_cast<size_t>(thread)];
  SLUICE_CHECK_INTERNAL(lane.taken != nullptr && from >= lane.taken->data &&
                            from + (num_rows - 1) * from_pitch + row_bytes <=
                                lane.taken->data + kChunkBytes,
                        "weights: ", num_rows, " rows of ", row_bytes,
                        " bytes leave their pinned memory");
  const CudaExec& exec = target_of.device->exec();
  lane.pending = true;
  cuda_copy_rows(exec, to, to_pitch, from, from_pitch, row_bytes, num_rows);
  lane.taken->copied.record(exec);
  lane.taken->in_use = true;
  lane.taken = nullptr;
}

void WeightUpload::fill_normal(const WeightStore& store, int thread, const Normals& normals) {
  Target& to = target(store);
  to.device->make_current();
  const CudaExec& exec = to.device->exec();
  to.lanes[static_cast<size_t>(thread)].pending = true;
  if constexpr (kCudaBuilt) {
    std::call_once(to.table_made, [&] {
      const std::span<const float> quantiles = normal_quantiles();
      SLUICE_CHECK_INTERNAL(store.loader_bytes() >= loader_bytes(kCudaPacking),
                            "weights: no memory for the table of random numbers");
      cuda_copy(exec, store.loader_memory(), quantiles.data(),
                static_cast<int64_t>(quantiles.size_bytes()));
    });
    cuda::NormalFillParams fill;
    fill.seed = normals.seed;
    fill.place = normals.place;
    fill.first = normals.first;
    fill.row_step = normals.row_step;
    fill.std = normals.std;
    fill.quantiles = reinterpret_cast<const float*>(store.loader_memory());
    fill.num_rows = normals.num_rows;
    fill.num_cols = normals.num_cols;
    fill.out = normals.to;
    fill.out_format = normals.format;
    fill.out_stride = normals.to_stride;
    cuda::normal_fill(exec, fill);
  }
}

bool WeightUpload::pending(int thread) const {
  for (const Target& target : targets_) {
    if (target.lanes[static_cast<size_t>(thread)].pending) return true;
  }
  return false;
}

void WeightUpload::finish(int thread) {
  for (Target& target : targets_) {
    Lane& lane = target.lanes[static_cast<size_t>(thread)];
    if (!lane.pending) continue;
    target.device->make_current();
    target.device->synchronize();
    lane.pending = false;
  }
}

}  // namespace sluice
