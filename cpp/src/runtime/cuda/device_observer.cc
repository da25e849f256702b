#include "runtime/cuda/device_observer.h"

#include <cstring>

#include "base/log.h"

namespace sluice {

DeviceObserver::~DeviceObserver() {
  try {
    device_.synchronize();
  } catch (const Error& error) {
    log(SLUICE_LOG_DEBUG, error.text());  // met again by whoever waits for the step
  }
}

void DeviceObserver::before_layer(int layer) {
  if (sync_) device_.synchronize();
  base_.before_layer(layer);
}

void DeviceObserver::before_outputs() {
  if (sync_) device_.synchronize();
  base_.before_outputs();
}

void DeviceObserver::keep(const std::string& name, const TensorRows& rows) {
  const int64_t values = rows.num_rows * rows.cols;
  fetched_.resize(static_cast<size_t>(format_bytes(rows.format, values)));
  cuda_copy(device_.exec(), fetched_.data(), rows.data, static_cast<int64_t>(fetched_.size()));
  device_.synchronize();
  TensorRows host = rows;
  host.data = fetched_.data();
  if (rows.format == Format::kBf16) {
    wide_.resize(static_cast<size_t>(values));
    const auto* from = reinterpret_cast<const Bf16*>(fetched_.data());
    for (int64_t i = 0; i < values; ++i) wide_[static_cast<size_t>(i)] = to_float(from[i]);
    host.data = wide_.data();
    host.format = Format::kF32;
  }
  base_.keep(name, host);
}

const TensorRows* DeviceObserver::replay(const std::string& name) const {
  const TensorRows* from = base_.replay(name);
  if (from == nullptr) return nullptr;
  const auto [place, added] = replays_.try_emplace(name);
  Replay& replay = place->second;
  if (added) {
    const int64_t bytes = format_bytes(from->format, from->num_rows * from->cols);
    replay.memory = Buffer(bytes, "replayed decisions", nullptr,
                           {MemoryKind::kPinned, device_.exec().device});
    if (bytes > 0) std::memcpy(replay.memory.data(), from->data, static_cast<size_t>(bytes));
    replay.rows = *from;
    replay.rows.data = replay.memory.data();
  }
  return &replay.rows;
}

}  // namespace sluice
