#include "runtime/rank_team.h"

namespace sluice {

RankTeam::RankTeam(const EnginePlan& plan, const FaultPoints& faults, AllocationCounter* counter)
    : layout_(plan.layout), group_(static_cast<int>(plan.ranks.size())) {
  const int size = group_.size();
  for (int index = 0; index < size; ++index) {
    ranks_.push_back(std::make_unique<Rank>(plan, index, size == 1 ? nullptr : &group_.rank(index),
                                            faults, counter));
    if (index > 0) outputs_.emplace_back(plan.layout.output_bytes, "step output", counter);
  }
  try {
    for (int index = 1; index < size; ++index)
      threads_.emplace_back([this, index] { work(index); });
  } catch (const std::exception& error) {
    stop();
    SLUICE_FAIL(SLUICE_STATUS_OUT_OF_HOST_MEMORY, "threads of ranks: ", threads_.size() + 1, " of ",
                size, " started, ", error.what(),
                " (expected: all; remedy: raise the limit of threads of the process)");
  }
}

RankTeam::~RankTeam() { stop(); }

void RankTeam::stop() {
  abort(Error(SLUICE_STATUS_ABORTED, "step: the engine was destroyed", __FILE__, __LINE__));
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  step_ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<const WeightStore*> RankTeam::weights() {
  std::vector<const WeightStore*> stores;
  for (const auto& each : ranks_) stores.push_back(&each->weights());
  return stores;
}

StepReport RankTeam::run(const StepInput& step, const StepOutput& output,
                         const RankObservers& observers) {
  if (size() == 1) return ranks_[0]->run(step, output, *observers[0]);
  {
    const std::lock_guard lock(mutex_);
    step_ = &step;
    observers_ = &observers;
    running_ = size() - 1;
    ++step_number_;
  }
  step_ready_.notify_all();
  const StepReport report = run_rank(0, step, output);
  {
    std::unique_lock lock(mutex_);
    step_done_.wait(lock, [this] { return running_ == 0; });
  }
  if (const std::optional<Error> failure = group_.failure()) throw *failure;
  return report;
}

// A fault of one rank reaches the others, and run(), through the group.
StepReport RankTeam::run_rank(int index, const StepInput& step, const StepOutput& output) {
  try {
    return rank(index).run(step, output, *(*observers_)[static_cast<size_t>(index)]);
  } catch (const Error& error) {
    group_.fail(error);
  } catch (const std::exception& error) {
    group_.fail(Error(SLUICE_STATUS_INTERNAL, concat("step: ", error.what()), __FILE__, __LINE__));
  }
  return {};
}

void RankTeam::work(int index) {
  const StepOutput output = view_output(
      layout_, reinterpret_cast<uint8_t*>(outputs_[static_cast<size_t>(index - 1)].data()));
  uint64_t done = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    step_ready_.wait(lock, [&] { return stopping_ || step_number_ != done; });
    if (stopping_) return;
    done = step_number_;
    lock.unlock();
    run_rank(index, *step_, output);
    lock.lock();
    if (--running_ == 0) step_done_.notify_all();
  }
}

}  // namespace sluice
