#include "runtime/fault_points.h"

#include <algorithm>

#include "base/error.h"

namespace sluice {

FaultPoints::FaultPoints(const std::vector<FaultRequest>& requests) {
  for (const FaultRequest& request : requests) {
    const auto name = std::find(kFaultPointNames.begin(), kFaultPointNames.end(), request.name);
    if (name == kFaultPointNames.end()) {
      std::string known;
      for (std::string_view each : kFaultPointNames) {
        if (!known.empty()) known += ", ";
        known += each;
      }
      SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, "faults.name: ", request.name,
                  " (expected: ", known, ")");
    }
    SLUICE_CHECK_ARG(request.count > 0, "faults.count: 0 (expected: 1 or more)");
    SLUICE_CHECK_ARG(request.status > SLUICE_STATUS_OK && request.status < SLUICE_STATUS_COUNT,
                     "faults.status: ", request.status,
                     " (expected: the number of a failure, 1 to ", SLUICE_STATUS_COUNT - 1, ")");
    const auto point = static_cast<FaultPoint>(name - kFaultPointNames.begin());
    SLUICE_CHECK_ARG(request.status != SLUICE_STATUS_ABORTED || point > FaultPoint::kAllocWorkspace,
                     "faults.status: ABORTED at ", request.name,
                     " (expected: another failure, creating an engine cannot be aborted)");
    armed_.push_back({point, request.count,
                      request.status, std::make_unique<std::atomic<uint64_t>>(0)});
  }
}

void FaultPoints::pass_armed(FaultPoint point) const {
  for (const Armed& armed : armed_) {
    if (armed.point != point) continue;
    if (armed.passes->fetch_add(1) + 1 == armed.count) {
      if (armed.status == SLUICE_STATUS_ABORTED) {
        std::unique_lock lock(mutex_);
        released_changed_.wait(lock, [this] { return released_; });
      }
      SLUICE_FAIL(static_cast<sluice_status>(armed.status), "fault point ",
                  kFaultPointNames[static_cast<size_t>(point)], ", pass ", armed.count,
                  ": failed as asked (EngineOptions.faults)");
    }
  }
}

void FaultPoints::release() const {
  {
    const std::lock_guard lock(mutex_);
    released_ = true;
  }
  released_changed_.notify_all();
}

}  // namespace sluice
