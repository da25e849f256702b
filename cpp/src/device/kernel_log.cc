#include "device/kernel_log.h"

#include <cstring>

namespace sluice {
namespace {

// The same text may have several addresses; the first comparison nearly always decides.
bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

bool same(const KernelLog::Entry& entry, const char* op, const char* variant) {
  return same(entry.variant, variant) && same(entry.op, op);
}

}  // namespace

void KernelLog::note(const char* op, const char* variant) {
  const std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (same(entry, op, variant)) {
      ++entry.launches;
      return;
    }
  }
  entries_.push_back({op, variant, 1});
}

std::vector<KernelLog::Entry> KernelLog::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

std::vector<KernelLog::Entry> KernelLog::since(const std::vector<Entry>& before,
                                               const std::vector<Entry>& after) {
  std::vector<Entry> found;
  for (Entry entry : after) {
    for (const Entry& earlier : before) {
      if (same(entry, earlier.op, earlier.variant)) entry.launches -= earlier.launches;
    }
    if (entry.launches > 0) found.push_back(entry);
  }
  return found;
}

}  // namespace sluice
