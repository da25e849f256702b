/// @file
/// The threads of one engine.
#ifndef SLUICE_DEVICE_THREAD_POOL_H_
#define SLUICE_DEVICE_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {

/// Runs independent tasks on a fixed number of threads, the caller's among them.
///
/// Threads take the tasks of a job one by one, in order, whoever is free. A thread that the system
/// does not run takes none, so on a shared machine the caller waits for tasks that were begun,
/// never for a thread to wake up. Waiting threads spin for some tens of microseconds, about the
/// time between two jobs of a step, and then sleep: a core that others want is given to them at
/// once.
class ThreadPool {
 public:
  /// Starts num_threads - 1 threads. @throws Error OUT_OF_HOST_MEMORY when the system gives no more
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls body(task, thread) once for each task in [0, num_tasks) and returns when all calls have
  /// returned; no two calls at a time have the same `thread`, in [0, num_threads). When tasks
  /// throw, the others run all the same, and the first exception is thrown here. While a job runs,
  /// run() from one of its tasks, or from another thread, does its whole job on its own thread, as
  /// thread 0. Allocates nothing.
  template <typename Body>
  void run(int64_t num_tasks, const Body& body) {
    run_job(num_tasks, &body, [](const void* job, int64_t task, int thread) {
      (*static_cast<const Body*>(job))(task, thread);
    });
  }

 private:
  using Call = void (*)(const void* body, int64_t task, int thread);

  void run_job(int64_t num_tasks, const void* body, Call call);
  void work(int thread);
  void take_tasks(int thread);
  void call_task(int64_t task, int thread) noexcept;
  uint32_t await_job(uint32_t seen);
  void await_tasks();
  void stop();

  // The job. Read only by a thread that took one of its tasks, so not changed before that is done.
  const void* body_ = nullptr;
  Call call_ = nullptr;
  int64_t num_tasks_ = 0;

  alignas(64) std::atomic<int64_t> untaken_ = 0;     // tasks nobody has taken
  alignas(64) std::atomic<int64_t> unfinished_ = 0;  // tasks not done
  alignas(64) std::atomic<uint32_t> jobs_ = 0;       // counts them; workers wait for a change
  std::atomic<bool> busy_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> sleeping_ = 0;  // threads about to wait, or waiting, for wake_

  std::mutex mutex_;
  std::condition_variable wake_;
  std::exception_ptr error_;  // of the job, the first; under mutex_ while the job runs
  std::vector<std::thread> threads_;
};

}  // namespace sluice
#endif  // SLUICE_DEVICE_THREAD_POOL_H_
