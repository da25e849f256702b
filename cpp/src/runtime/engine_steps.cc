// The threads that run an engine's steps. On the CPU the worker runs them one after the other. On a
// device it only enqueues them, so that the next one is there before the last is done, and a second
// thread waits for each and passes it on.
#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "runtime/engine.h"

namespace sluice {
namespace {

// The body of a step, whose faults have no caller to go to: they are kept for wait. This and the
// loader threads are where an exception stops below capi.
template <class Body>
void keep_error(std::optional<Error>* error, const Body& body) {
  try {
    body();
  } catch (const Error& thrown) {
    *error = thrown;
  } catch (const std::exception& thrown) {
    error->emplace(SLUICE_STATUS_INTERNAL, concat("step: ", thrown.what()), __FILE__, __LINE__);
  }
}

}  // namespace

void Engine::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) break;
    const int32_t index = queue_.front();
    StepSlot& slot = slots_[index];
    queue_.erase(queue_.begin());
    slot.launched = false;
    if (aborted_) {
      slot.error = aborted_error();
    } else if (failure_ || launch_failure_) {
      slot.error = failed_error(failure_ ? *failure_ : *launch_failure_);
    } else {
      lock.unlock();
      run_step(index);
      lock.lock();
      // Nothing more is launched: the device is about to be drained, which must not meet a capture.
      if (device_ != nullptr) launch_failure_ = slot.error;
    }
    if (device_ == nullptr) {
      finish_step(&slot);
    } else {
      launched_.push_back(index);
      launched_ready_.notify_one();
    }
  }
  launching_over_ = true;
  launched_ready_.notify_one();
}

// Steps end in the order of submit, those that could not be launched too.
void Engine::complete() {
  std::unique_lock lock(mutex_);
  while (true) {
    launched_ready_.wait(lock, [this] { return launching_over_ || !launched_.empty(); });
    if (launched_.empty()) return;
    const int32_t index = launched_.front();
    StepSlot& slot = slots_[index];
    launched_.erase(launched_.begin());
    if (slot.launched) {
      lock.unlock();
      wait_for_device(index);
      lock.lock();
      if (aborted_ && !slot.error) slot.error = aborted_error();
      // What follows an earlier fault says so, also where it ran: its tokens and keys are missing.
      if (failure_ && (!slot.error || slot.error->status() != SLUICE_STATUS_ABORTED)) {
        slot.error = failed_error(*failure_);
      }
    }
    finish_step(&slot);
  }
}

Error Engine::failed_error(const Error& fault) const {
  return Error(SLUICE_STATUS_ENGINE_FAILED, concat("engine: failed earlier: ", fault.text()),
               __FILE__, __LINE__);
}

// Wants mutex_ held.
void Engine::finish_step(StepSlot* slot) {
  if (slot->error && slot->error->status() != SLUICE_STATUS_ABORTED && !failure_) {
    failure_ = slot->error;
    log(SLUICE_LOG_ERROR, concat("engine failed: ", failure_->text()));
  }
  reinterpret_cast<sluice_step_result*>(slot->output.data())->status =
      slot->error ? slot->error->status() : SLUICE_STATUS_OK;
  slot->state = slot->state == SlotState::kTracing ? SlotState::kTraced : SlotState::kDone;
  step_done_.notify_all();
}

void Engine::run_step(int32_t index) {
  StepSlot& slot = slots_[index];
  const auto start_time = std::chrono::steady_clock::now();
  auto* message = reinterpret_cast<uint8_t*>(slot.checked.data());
  const StepInput step = view_input(plan_.layout, message);
  const StepOutput output =
      view_output(plan_.layout, reinterpret_cast<uint8_t*>(slot.output.data()));
  *output.result = {};
  output.result->magic = SLUICE_STEP_MAGIC;
  output.result->step_id = step.header->step_id;
  output.result->num_rows = static_cast<int32_t>(step.num_rows());
  const RankObservers& observers = slot.observers == nullptr ? observers_ : *slot.observers;
  StepReport report;
  keep_error(&slot.error, [&] {
    faults_.pass(FaultPoint::kStepRun);
    if (device_ == nullptr) {
      report = team_->run(step, output, observers);
      return;
    }
    device_->attach_thread();
    slot.launched = true;  // in part at least, when it throws
    device_->launch(index, message, output, *observers[0]);
  });
  if (device_ != nullptr) return;
  const int64_t micros = std::chrono::duration_cast<std::chrono::microseconds>(
                             std::chrono::steady_clock::now() - start_time)
                             .count();
  output.result->device_micros = static_cast<uint64_t>(micros);
  if (!slot.error) record(step, output, report, micros);
}

void Engine::wait_for_device(int32_t index) {
  StepSlot& slot = slots_[index];
  if (slot.error) {
    device_->drain();  // of what was enqueued before the launch failed
    return;
  }
  const StepInput step =
      view_input(plan_.layout, reinterpret_cast<const uint8_t*>(slot.checked.data()));
  const StepOutput output =
      view_output(plan_.layout, reinterpret_cast<uint8_t*>(slot.output.data()));
  keep_error(&slot.error, [&] {
    device_->attach_thread();
    int64_t micros = 0;
    const StepReport report = device_->wait(index, step, output, &micros);
    output.result->device_micros = static_cast<uint64_t>(micros);
    record(step, output, report, micros);
  });
}

void Engine::record(const StepInput& step, const StepOutput& output, const StepReport& report,
                    int64_t micros) {
  const std::lock_guard lock(mutex_);
  checker_->settle(step, output);
  stats_[SLUICE_STAT_STEPS] += 1;
  stats_[SLUICE_STAT_TOKENS] += step.num_tokens();
  stats_[SLUICE_STAT_OUTPUTS] += step.num_rows();
  stats_[SLUICE_STAT_STEP_MICROS] += micros;
  if (device_ == nullptr) {
    const LayerTimes& times = team_->rank(0).times();
    stats_[SLUICE_STAT_ATTENTION_MICROS] = times.attention / 1000;
    stats_[SLUICE_STAT_DENSE_MICROS] = times.dense / 1000;
  }
  stats_[SLUICE_STAT_OTHER_MICROS] =
      std::max(stats_[SLUICE_STAT_OTHER_MICROS], stats_[SLUICE_STAT_STEP_MICROS] -
                                                     stats_[SLUICE_STAT_ATTENTION_MICROS] -
                                                     stats_[SLUICE_STAT_DENSE_MICROS]);
  stats_[SLUICE_STAT_NON_FINITE_ROWS] += report.non_finite_rows;
  stats_[SLUICE_STAT_BLOCK_COPIES] += report.block_copies;
}

}  // namespace sluice
