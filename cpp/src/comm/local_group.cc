#include "comm/local_group.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <thread>

namespace sluice {
namespace {

// About as long as waking a sleeping thread takes. With fewer processors than ranks the others only
// get to run when this one yields.
constexpr int kSpins = 2000;
constexpr int kSpinsPerYield = 64;

// Chunks begin on cache lines: no two ranks write to the same one.
constexpr int64_t kChunkValues = 16;
// Small enough that the sums stay in the nearest cache.
constexpr int64_t kSumValues = 1024;

inline void pause_briefly(int spin) {
  if (spin % kSpinsPerYield == kSpinsPerYield - 1) {
    std::this_thread::yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

// The part of `count` values that one rank sums for all.
Range chunk_of(int rank, int size, int64_t count) {
  const int64_t chunks = (count + kChunkValues - 1) / kChunkValues;
  return {std::min(count, chunks * rank / size * kChunkValues),
          std::min(count, chunks * (rank + 1) / size * kChunkValues)};
}

}  // namespace

// While one of these lives, no rank leaves a failed collective: its arrays are being read. The flag
// is raised before the failure is looked at, and a failing rank looks at the flags after the
// failure, so one of the two sees the other.
class LocalGroup::Reading {
 public:
  Reading(const LocalGroup& group, Shown& own) : reads_(own.reads) {
    reads_.store(true);
    try {
      group.throw_if_failed();
    } catch (...) {
      reads_.store(false);
      throw;
    }
  }
  ~Reading() { reads_.store(false); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  std::atomic<bool>& reads_;
};

class LocalGroup::Rank : public Communicator {
 public:
  Rank(LocalGroup& group, int rank) : group_(group), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_.size(); }

  // Every rank sums one chunk, in place in its own array: there the others never read that chunk
  // before all sums are complete.
  void all_reduce(float* values, int64_t count) override {
    SLUICE_CHECK_INTERNAL(count >= 0, "all_reduce: ", count, " values");
    call([&](Shown& own) {
      own.values = values;
      own.count = count;
      own.row_bytes = 0;
      group_.meet();
      {
        const Reading reading(group_, own);
        group_.check_calls(own);
        group_.sum(rank_, count);
      }
      group_.meet();
      {
        const Reading reading(group_, own);
        group_.collect(rank_, count);
      }
      group_.meet();
    });
  }

  void all_gather(const void* x, int64_t num_rows, int64_t row_bytes, void* y) override {
    SLUICE_CHECK_INTERNAL(num_rows >= 0 && row_bytes >= 1, "all_gather: ", num_rows, " rows of ",
                          row_bytes, " bytes");
    call([&](Shown& own) {
      own.rows = x;
      own.count = num_rows;
      own.row_bytes = row_bytes;
      group_.meet();
      {
        const Reading reading(group_, own);
        group_.check_calls(own);
        auto* to = static_cast<std::byte*>(y);
        for (int64_t row = 0; row < num_rows; ++row) {
          for (const Shown& from : group_.shown_) {
            std::memcpy(to, static_cast<const std::byte*>(from.rows) + row * row_bytes,
                        static_cast<size_t>(row_bytes));
            to += row_bytes;
          }
        }
      }
      group_.meet();
    });
  }

 private:
  template <class Body>
  void call(const Body& body) {
    try {
      body(group_.shown_[static_cast<size_t>(rank_)]);
    } catch (const Error& error) {
      group_.fail(error);  // a call that is wrong here alone must not leave the others waiting
      for (const Shown& other : group_.shown_) {
        while (other.reads.load()) std::this_thread::yield();
      }
      throw;
    }
  }

  LocalGroup& group_;
  int rank_;
};

LocalGroup::LocalGroup(int size) : shown_(static_cast<size_t>(std::max(size, 0))) {
  SLUICE_CHECK_ARG(size >= 1, "ranks of a group: ", size, " (expected: 1 or more)");
  for (int rank = 0; rank < size; ++rank) ranks_.push_back(std::make_unique<Rank>(*this, rank));
}

LocalGroup::~LocalGroup() = default;

Communicator& LocalGroup::rank(int rank) { return *ranks_.at(static_cast<size_t>(rank)); }

void LocalGroup::fail(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = error;
    failed_.store(true);
    round_.fetch_add(1);
  }
  round_changed_.notify_all();
}

std::optional<Error> LocalGroup::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void LocalGroup::throw_if_failed() const {
  if (!failed_.load()) [[likely]]
    return;
  throw *failure();
}

// A barrier. The last to arrive opens the next round; nobody can arrive there before that.
void LocalGroup::meet() {
  const uint32_t round = round_.load();
  throw_if_failed();
  if (arrived_.fetch_add(1) + 1 == size()) {
    arrived_.store(0);
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      round_.fetch_add(1);
      wake = sleeping_ > 0;
    }
    if (wake) round_changed_.notify_all();
    throw_if_failed();
    return;
  }
  for (int spin = 0; spin < kSpins && round_.load() == round; ++spin) pause_briefly(spin);
  if (round_.load() == round) {
    std::unique_lock lock(mutex_);
    ++sleeping_;
    round_changed_.wait(lock, [&] { return round_.load() != round; });
    --sleeping_;
  }
  throw_if_failed();
}

void LocalGroup::check_calls(const Shown& own) const {
  for (const Shown& other : shown_) {
    SLUICE_CHECK_INTERNAL(other.count == own.count && other.row_bytes == own.row_bytes,
                          "ranks make different calls: ", own.count, " x ", own.row_bytes, " and ",
                          other.count, " x ", other.row_bytes, " (0: a sum)");
  }
}

void LocalGroup::sum(int rank, int64_t count) {
  const Range chunk = chunk_of(rank, size(), count);
  float sums[kSumValues];
  for (int64_t begin = chunk.begin; begin < chunk.end; begin += kSumValues) {
    const int64_t n = std::min(kSumValues, chunk.end - begin);
    std::copy_n(shown_[0].values + begin, n, sums);
    for (int other = 1; other < size(); ++other) {
      const float* from = shown_[static_cast<size_t>(other)].values + begin;
      for (int64_t i = 0; i < n; ++i) sums[i] += from[i];
    }
    std::copy_n(sums, n, shown_[static_cast<size_t>(rank)].values + begin);
  }
}

void LocalGroup::collect(int rank, int64_t count) {
  float* values = shown_[static_cast<size_t>(rank)].values;
  for (int other = 0; other < size(); ++other) {
    if (other == rank) continue;
    const Range chunk = chunk_of(other, size(), count);
    std::copy(shown_[static_cast<size_t>(other)].values + chunk.begin,
              shown_[static_cast<size_t>(other)].values + chunk.end, values + chunk.begin);
  }
}

}  // namespace sluice
