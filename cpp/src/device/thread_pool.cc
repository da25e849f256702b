#include "device/thread_pool.h"

#include <chrono>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace sluice {
namespace {

// Longer than the work of one thread between two jobs of a decode step, shorter than the slice
// that the system gives a thread.
constexpr std::chrono::microseconds kSpinTime{50};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True when `done` came true while spinning.
template <typename Done>
bool spin_until(const Done& done) {
  constexpr int kLooksPerClock = 16;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  SLUICE_CHECK_ARG(num_threads > 0, "num_threads: ", num_threads, " (expected: 1 or more)");
  threads_.reserve(static_cast<size_t>(num_threads) - 1);
  try {
    for (int thread = 1; thread < num_threads; ++thread) {
      threads_.emplace_back([this, thread] { work(thread); });
    }
  } catch (const std::system_error& error) {
    const size_t started = threads_.size();
    stop();
    SLUICE_FAIL(SLUICE_STATUS_OUT_OF_HOST_MEMORY, "num_threads: ", num_threads, " (", started + 1,
                " started, then: ", error.what(), "; remedy: fewer threads)");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_ = true;
  ++jobs_;
  {
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadPool::run_job(int64_t num_tasks, const void* body, Call call) {
  if (num_tasks <= 0) return;
  if (num_tasks == 1 || threads_.empty() || busy_.exchange(true, std::memory_order_acquire)) {
    for (int64_t task = 0; task < num_tasks; ++task) call(body, task, 0);
    return;
  }
  body_ = body;
  call_ = call;
  num_tasks_ = num_tasks;
  unfinished_.store(num_tasks, std::memory_order_relaxed);
  untaken_.store(num_tasks, std::memory_order_release);
  // Sequentially consistent, as the sleepers' side: either they see the job, or they are seen here.
  ++jobs_;
  if (sleeping_ > 0) {
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  take_tasks(0);
  await_tasks();
  const std::exception_ptr error = std::exchange(error_, nullptr);
  busy_.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (true) {
    seen = await_job(seen);
    if (stopping_) return;
    take_tasks(thread);
  }
}

void ThreadPool::take_tasks(int thread) {
  int64_t untaken = untaken_.load(std::memory_order_acquire);
  while (untaken > 0) {
    // On success it does not matter which job was seen first: a task of the present one is taken,
    // and that job stays until the task is done.
    if (!untaken_.compare_exchange_weak(untaken, untaken - 1, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
      continue;
    }
    call_task(num_tasks_ - untaken, thread);
    if (--unfinished_ == 0 && thread != 0 && sleeping_ > 0) {
      const std::lock_guard lock(mutex_);
      wake_.notify_all();
    }
    untaken = untaken_.load(std::memory_order_acquire);
  }
}

void ThreadPool::call_task(int64_t task, int thread) noexcept {
  try {
    call_(body_, task, thread);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

uint32_t ThreadPool::await_job(uint32_t seen) {
  const auto changed = [&] { return jobs_ != seen; };
  if (!spin_until(changed)) {
    ++sleeping_;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, changed);
    lock.unlock();
    --sleeping_;
  }
  return jobs_;
}

void ThreadPool::await_tasks() {
  const auto done = [&] { return unfinished_.load(std::memory_order_acquire) == 0; };
  if (spin_until(done)) return;
  ++sleeping_;
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return unfinished_ == 0; });
  lock.unlock();
  --sleeping_;
}

}  // namespace sluice
