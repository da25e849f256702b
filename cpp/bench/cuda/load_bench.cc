// Loading weights into device memory beside the limits of its way: reading the disk, and copying
// from pinned memory. The file lies in $TMPDIR and is as large as an eighth of DeepSeek-V2-Lite.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <thread>

#include "base/error.h"
#include "device.h"
#include "model/slot_list.h"
#include "ops/sampling/philox.h"
#include "runtime/weight_session.h"

namespace sluice::bench {
namespace {

constexpr int kThreads = 8;  // as many as the engine takes
constexpr int64_t kLayers = 11, kExperts = 64, kRows = 2048, kCols = 1408;
constexpr int64_t kMatrixBytes = 2 * kRows * kCols;
constexpr int64_t kFileBytes = kLayers * kExperts * kMatrixBytes;
constexpr int64_t kReadBytes = int64_t{4} << 20;

double seconds_of(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void report(benchmark::State& state, double seconds, double bytes, double limit) {
  for ([[maybe_unused]] auto iteration : state) state.SetIterationTime(seconds);
  state.counters["GB/s"] = bytes / seconds * 1e-9;
  if (limit > 0) state.counters["share"] = bytes / seconds / limit;
}

// Random bytes whose every pair is a finite BF16 number.
class WeightFile {
 public:
  WeightFile() {
    const char* folder = std::getenv("TMPDIR");
    path_ = concat(folder == nullptr ? "/tmp" : folder, "/sluice_load_bench_", ::getpid());
    const int file = ::open(path_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    SLUICE_CHECK(file >= 0, SLUICE_STATUS_IO, path_, ": cannot be written");
    std::vector<uint32_t> piece(static_cast<size_t>(kReadBytes / 4));
    for (size_t i = 0; i < piece.size(); i += 4) {
      const PhiloxBlock block = philox4x32_10(3, i, 0);
      for (size_t k = 0; k < 4; ++k) piece[i + k] = (block.x[k] & 0x80ff80ffu) | 0x3c003c00u;
    }
    bool written = true;
    for (int64_t at = 0; at < kFileBytes && written; at += kReadBytes) {
      const auto bytes = static_cast<size_t>(std::min(kReadBytes, kFileBytes - at));
      written = ::write(file, piece.data(), bytes) == static_cast<ssize_t>(bytes);
    }
    ::fsync(file);
    ::close(file);
    SLUICE_CHECK(written, SLUICE_STATUS_IO, path_, ": the disk is full (expected: ", kFileBytes,
                 " bytes free; remedy: another TMPDIR)");
  }
  ~WeightFile() { std::remove(path_.c_str()); }
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  const std::string& path() const { return path_; }

  // The system's copy of it is dropped, so that it comes from the disk.
  void forget() const {
    const int file = ::open(path_.c_str(), O_RDONLY);
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }

 private:
  std::string path_;
};

const WeightFile& weight_file() {
  static const WeightFile file;
  return file;
}

// Bytes a second of reading alone, by as many threads as load.
double read_rate() {
  const FileReader reader(weight_file().path());
  const double seconds = seconds_of([&] {
    std::vector<std::thread> threads;
    std::atomic<int64_t> next = 0;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        std::vector<std::byte> bytes(kReadBytes);
        for (int64_t at = next.fetch_add(kReadBytes); at < kFileBytes;
             at = next.fetch_add(kReadBytes)) {
          reader.read(at, std::min(kReadBytes, kFileBytes - at), bytes.data());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  return static_cast<double>(kFileBytes) / seconds;
}

// Bytes a second from pinned memory to the device.
double pinned_rate() {
  constexpr int64_t kBytes = int64_t{1} << 29;
  const Buffer from(kBytes, "bench", nullptr, {MemoryKind::kPinned, 0});
  const Buffer to = device_buffer(kBytes);
  cuda_copy(device().exec(), to.data(), from.data(), kBytes);
  device().synchronize();
  const double seconds = seconds_of([&] {
    for (int i = 0; i < 8; ++i) cuda_copy(device().exec(), to.data(), from.data(), kBytes);
    device().synchronize();
  });
  return 8 * static_cast<double>(kBytes) / seconds;
}

struct Measured {
  double disk = 0, cache = 0, pinned = 0;  // bytes a second
};
const Measured& measured() {
  static const Measured made = [] {
    Measured rates;
    rates.pinned = pinned_rate();
    weight_file().forget();
    rates.disk = read_rate();
    rates.cache = read_rate();
    return rates;
  }();
  return made;
}

// A list with a transfer for each expert of each layer; without a path: random numbers.
std::vector<uint8_t> transfer_list(std::string path) {
  Sluice__Proto__WeightTransferList list = SLUICE__PROTO__WEIGHT_TRANSFER_LIST__INIT;
  struct Entry {
    Sluice__Proto__WeightDestination destination = SLUICE__PROTO__WEIGHT_DESTINATION__INIT;
    Sluice__Proto__WeightSource source = SLUICE__PROTO__WEIGHT_SOURCE__INIT;
    Sluice__Proto__WeightTransfer transfer = SLUICE__PROTO__WEIGHT_TRANSFER__INIT;
    uint64_t shape[2] = {kRows, kCols};
  };
  std::deque<Entry> entries;
  std::vector<Sluice__Proto__WeightTransfer*> transfers;
  for (int64_t i = 0; i < kLayers * kExperts; ++i) {
    Entry& entry = entries.emplace_back();
    entry.destination.has_layer = entry.destination.has_slot = entry.destination.has_expert = 1;
    entry.destination.layer = static_cast<int32_t>(i / kExperts);
    entry.destination.slot = SLUICE__PROTO__SLOT__EXPERT_DOWN;
    entry.destination.expert = static_cast<int32_t>(i % kExperts);
    Sluice__Proto__WeightSource& source = entry.source;
    source.n_shape = 2;
    source.shape = entry.shape;
    if (path.empty()) {
      source.has_kind = source.has_random_seed = source.has_random_std = 1;
      source.kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
      source.random_std = 0.02;
    } else {
      source.has_file = source.has_offset = source.has_bytes = source.has_format = 1;
      source.offset = static_cast<uint64_t>(i * kMatrixBytes);
      source.bytes = kMatrixBytes;
      source.format = SLUICE__PROTO__FORMAT__BF16;
    }
    entry.transfer.destination = &entry.destination;
    entry.transfer.source = &entry.source;
    transfers.push_back(&entry.transfer);
  }
  char* file = path.data();
  list.n_files = path.empty() ? 0 : 1;
  list.files = &file;
  list.n_transfers = transfers.size();
  list.transfers = transfers.data();
  return pack_message(list.base);
}

// Seconds from begin to the end of a load.
double load(Format format, const std::string& path, int threads = kThreads) {
  SlotList slots(format, kCudaPacking);
  for (int layer = 0; layer < kLayers; ++layer) {
    slots.at_layer(layer);
    slots.matrix(SLUICE__PROTO__SLOT__EXPERT_DOWN, ShardAxis::kReplicated, kRows, kCols, kExperts);
  }
  WeightStore store(slots.take(), loader_bytes(kCudaPacking));
  store.allocate(nullptr, {MemoryKind::kDevice, 0});
  const std::vector<uint8_t> list = transfer_list(path);
  const FaultPoints no_faults;
  return seconds_of([&] {
    WeightSession session({&store}, no_faults, threads);
    session.enqueue(list);
    session.drain();
  });
}

}  // namespace

void register_load() {
  add("load/limit/pinned_copy", [](benchmark::State& state) {
    report(state, static_cast<double>(kFileBytes) / measured().pinned, kFileBytes, 0);
  });
  add("load/limit/disk_read", [](benchmark::State& state) {
    report(state, static_cast<double>(kFileBytes) / measured().disk, kFileBytes, 0);
  });
  add("load/limit/cached_read", [](benchmark::State& state) {
    report(state, static_cast<double>(kFileBytes) / measured().cache, kFileBytes, 0);
  });
  add("load/BF16/disk", [](benchmark::State& state) {
    const Measured& rates = measured();
    weight_file().forget();
    report(state, load(Format::kBf16, weight_file().path()), kFileBytes,
           std::min(rates.disk, rates.pinned));
  });
  add("load/BF16/cached", [](benchmark::State& state) {
    const Measured& rates = measured();
    report(state, load(Format::kBf16, weight_file().path()), kFileBytes,
           std::min(rates.cache, rates.pinned));
  });
  add("load/BF16/cached/16_threads", [](benchmark::State& state) {
    const Measured& rates = measured();
    report(state, load(Format::kBf16, weight_file().path(), 16), kFileBytes,
           std::min(rates.cache, rates.pinned));
  });
  add("load/BF16_as_F32/cached", [](benchmark::State& state) {
    const Measured& rates = measured();
    report(state, load(Format::kF32, weight_file().path()), kFileBytes,
           std::min(rates.cache, rates.pinned / 2));
  });
  add("load/BF16/random", [](benchmark::State& state) {
    report(state, load(Format::kBf16, ""), kFileBytes, limits().copy_bandwidth / 2);
  });
}

}  // namespace sluice::bench
