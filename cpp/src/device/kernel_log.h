/// @file
/// Which kernels ops launched.
#ifndef SLUICE_DEVICE_KERNEL_LOG_H_
#define SLUICE_DEVICE_KERNEL_LOG_H_

#include <cstdint>
#include <mutex>
#include <vector>

namespace sluice {

/// Counts launches by op and variant, where an op has a choice of kernels. Noted when a kernel is
/// enqueued, or recorded into a graph; a graph that is launched notes nothing. For several threads.
class KernelLog {
 public:
  struct Entry {
    const char* op = "";       ///< "attention", "grouped_gemm"
    const char* variant = "";  ///< "prefill_sm90", "cublaslt"
    int64_t launches = 0;
  };

  /// @param op,variant  texts that live as long as the program
  void note(const char* op, const char* variant);

  /// What was noted until now, in the order of first launches.
  std::vector<Entry> entries() const;

  /// The entries of `after` that were launched since `before` was taken, each with the launches since.
  static std::vector<Entry> since(const std::vector<Entry>& before,
                                  const std::vector<Entry>& after);

 private:
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace sluice
#endif  // SLUICE_DEVICE_KERNEL_LOG_H_
