// Construction, submit, wait and trace. The threads that run steps are in engine_steps.cc, the weight
// calls in engine_weights.cc.
#include "runtime/engine.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "runtime/rank_trace.h"
#include "runtime/timed_wait.h"
#include "runtime/trace.h"

namespace sluice {
namespace {

constexpr int64_t kMebibyte = 1 << 20;
// What CUDA takes of a device for itself as kernels are loaded and graphs are made.
constexpr int64_t kDeviceReserveBytes = 256 * kMebibyte;

// Ends the step between layers when the engine was aborted, and passes the fault points on the way.
class EngineObserver : public StepObserver {
 public:
  EngineObserver(const std::atomic<bool>& aborted, const FaultPoints& faults, int rank)
      : aborted_(aborted), faults_(faults), rank_(rank) {}

  void before_layer(int /*layer*/) override {
    if (aborted_.load(std::memory_order_relaxed)) throw Engine::aborted_error();
    faults_.pass(rank_ == 0 ? FaultPoint::kStepLayer : FaultPoint::kStepRank);
  }

  void before_outputs() override {
    if (rank_ == 0) faults_.pass(FaultPoint::kStepSample);
  }

 private:
  const std::atomic<bool>& aborted_;
  const FaultPoints& faults_;
  int rank_;
};

// The used part of each section. The header has been checked, and `to` holds it already.
void copy_sections(const sluice_step_layout& layout, const uint8_t* from, uint8_t* to) {
  const auto* header = reinterpret_cast<const sluice_step_header*>(to);
  for (int section = 0; section < SLUICE_SECTION_INPUT_COUNT; ++section) {
    if (layout.offset[section] < 0) continue;
    std::memcpy(to + layout.offset[section], from + layout.offset[section],
                header->counts[section] * section_element_bytes(section));
  }
}

}  // namespace

Error Engine::aborted_error() {
  return Error(SLUICE_STATUS_ABORTED, "step: the engine was aborted", __FILE__, __LINE__);
}

Engine::Engine(EnginePlan plan)
    : plan_(std::move(plan)),
      kernels_(kernel_uses(plan_)),
      weight_slots_(make_weight_slots(plan_)),
      faults_(plan_.options.faults) {
  check_memory();
  team_ = std::make_unique<RankTeam>(plan_, faults_, &allocations_);
  device_ = team_->rank(0).device_runner();
  for (int rank = 0; rank < team_->size(); ++rank) {
    rank_observers_.push_back(std::make_unique<EngineObserver>(aborted_, faults_, rank));
    observers_.push_back(rank_observers_.back().get());
  }
  checker_ = std::make_unique<StepChecker>(plan_.rules, plan_.layout);
  make_slots();
  log_plan();
  if (device_ != nullptr) completer_ = std::thread([this] { complete(); });
  worker_ = std::thread([this] { work(); });
}

Engine::~Engine() {
  std::shared_ptr<WeightSession> session;
  {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    stopping_ = true;
    session = std::move(session_);
  }
  team_->abort(aborted_error());
  faults_.release();
  work_ready_.notify_all();
  worker_.join();
  if (completer_.joinable()) completer_.join();
}

// Looked at before anything is taken: the system would promise memory that it does not have and
// kill the process when it is touched, and of a device it is known which option to change.
void Engine::check_memory() const {
  const auto check = [](sluice_status status, const std::string& what, int64_t needed,
                        int64_t free, const std::string& remedy) {
    if (free < 0 || needed <= free) return;
    throw Error(status,
                concat(what, ", ", free / kMebibyte, " MiB free (remedy: a lower ", remedy, ")"),
                __FILE__, __LINE__)
        .with_bytes(needed, free);
  };
  const int64_t reserve = plan_.on_device() ? kDeviceReserveBytes : 0;
  const int64_t needed = plan_.total_bytes() - plan_.host_bytes() + reserve;
  const std::string what = concat(
      plan_.on_device() ? "device memory: " : "memory: ", needed / kMebibyte,
      " MiB needed (weights ", plan_.weight_bytes / kMebibyte, ", KV cache ",
      plan_.kv_bytes / kMebibyte, ", workspace ", plan_.workspace_bytes() / kMebibyte,
      reserve > 0 ? concat(", left to CUDA ", reserve / kMebibyte) : "", ")");
  const std::string remedy = concat(plan_.kv_bytes > plan_.workspace_bytes()
                                        ? "num_blocks"
                                        : "max_step_tokens, max_sequences or max_context_len",
                                    ", compute_format BF16, or a smaller model");
  if (plan_.on_device()) {
    check(SLUICE_STATUS_OUT_OF_DEVICE_MEMORY, what, needed, cuda_memory_free(plan_.cuda->device),
          remedy);
    check(SLUICE_STATUS_OUT_OF_HOST_MEMORY,
          concat("memory: ", plan_.host_bytes() / kMebibyte, " MiB needed for step slots"),
          plan_.host_bytes(), host_memory_free(), "step_slots, max_step_tokens or max_step_outputs");
  } else {
    check(SLUICE_STATUS_OUT_OF_HOST_MEMORY, what, needed, host_memory_free(), remedy);
  }
}

void Engine::log_plan() const {
  if (!log_enabled(SLUICE_LOG_INFO)) return;
  std::string text =
      concat("engine: ", plan_.spec.architecture, ", ", plan_.num_parameters, " parameters, ",
             format_name(plan_.options.compute_format), ", ", plan_.options.num_threads,
             " threads, ", plan_.num_ranks(), " ranks; MiB: ", "weights ",
             plan_.weight_bytes / kMebibyte, ", KV cache ", plan_.kv_bytes / kMebibyte,
             ", workspace ", plan_.workspace_bytes() / kMebibyte,
             plan_.on_device() ? concat(", host ", plan_.host_bytes() / kMebibyte) : "",
             "; kernels:");
  for (const KernelUse& use : kernels_) text += concat(" ", use.op, "=", use.variant);
  log(SLUICE_LOG_INFO, std::move(text));
}

std::vector<uint8_t> Engine::info() const {
  if (device_ == nullptr) return make_engine_info(plan_, kernels_);
  return make_engine_info(plan_,
                          with_launched(kernels_, team_->rank(0).device()->kernels().entries()),
                          device_->graphs().refused > 0);
}

void Engine::make_slots() {
  for (int i = 0; i < plan_.options.step_slots; ++i) {
    StepSlot slot;
    slot.input = Buffer(plan_.layout.input_bytes, "step input", &allocations_);
    slot.checked = Buffer(plan_.message_bytes, "step input", &allocations_, plan_.host_space());
    slot.output =
        Buffer(plan_.layout.output_bytes, "step output", &allocations_, plan_.host_space());
    slots_.push_back(std::move(slot));
  }
  queue_.reserve(slots_.size());
  launched_.reserve(slots_.size());
}

std::array<int64_t, SLUICE_STAT_COUNT> Engine::stats() const {
  const std::lock_guard lock(mutex_);
  auto values = stats_;
  values[SLUICE_STAT_DEVICE_ALLOCATIONS] = allocations_.count();
  if (device_ != nullptr) {
    const DeviceRunner::Graphs graphs = device_->graphs();
    values[SLUICE_STAT_GRAPHS] = graphs.made;
    values[SLUICE_STAT_GRAPHS_REFUSED] = graphs.refused;
  }
  return values;
}

void Engine::abort() {
  std::shared_ptr<WeightSession> session;
  {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    session = session_;
  }
  team_->abort(aborted_error());
  faults_.release();
  work_ready_.notify_all();
  if (session) session->request_abort();
}

Engine::Areas Engine::step_buffers(int32_t slot) const {
  check_slot(slot);
  return {slots_[slot].input.data(), slots_[slot].output.data()};
}

void Engine::check_alive() const {
  SLUICE_CHECK(!aborted_, SLUICE_STATUS_ABORTED, "engine: aborted");
  check_not_failed();
}

void Engine::check_not_failed() const {
  if (failure_) {
    SLUICE_FAIL(SLUICE_STATUS_ENGINE_FAILED, "engine: failed earlier: ", failure_->text());
  }
}

void Engine::check_slot(int32_t slot) const {
  SLUICE_CHECK_ARG(slot >= 0 && slot < static_cast<int32_t>(slots_.size()), "slot: ", slot,
                   " (expected: 0 to ", slots_.size() - 1, ")");
}

bool Engine::any_in_flight() const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [](const StepSlot& slot) { return slot.state != SlotState::kIdle; });
}

// What follows looks at the copy alone: the caller may still write to the slot.
StepInput Engine::copy_message(int32_t slot) {
  const auto* from = reinterpret_cast<const uint8_t*>(slots_[slot].input.data());
  auto* to = reinterpret_cast<uint8_t*>(slots_[slot].checked.data());
  std::memcpy(to, from, sizeof(sluice_step_header));
  checker_->check_header(*reinterpret_cast<const sluice_step_header*>(to));
  copy_sections(plan_.layout, from, to);
  return view_input(plan_.layout, to);
}

void Engine::start(int32_t slot, const RankObservers* observers) {
  slots_[slot].observers = observers;
  slots_[slot].error.reset();
  slots_[slot].state = observers == nullptr ? SlotState::kInFlight : SlotState::kTracing;
  queue_.push_back(slot);
  work_ready_.notify_one();
}

void Engine::submit(int32_t slot) {
  const std::lock_guard lock(mutex_);
  check_slot(slot);
  check_alive();
  SLUICE_CHECK(weight_state_ == WeightState::kReady, SLUICE_STATUS_WRONG_STATE,
               "submit: the weights are not complete (expected: sluice_weights_finish first)");
  SLUICE_CHECK(slots_[slot].state == SlotState::kIdle, SLUICE_STATUS_WRONG_STATE, "submit: slot ",
               slot, " is in flight (expected: sluice_engine_wait first)");
  checker_->accept(copy_message(slot));
  start(slot, nullptr);
}

void Engine::check_submitted(int32_t slot) const {
  const SlotState state = slots_[slot].state;
  if (state == SlotState::kInFlight || state == SlotState::kDone) return;
  check_not_failed();
  SLUICE_FAIL(SLUICE_STATUS_WRONG_STATE, "wait: slot ", slot,
              " is not in flight (expected: sluice_engine_submit first)");
}

bool Engine::wait(int32_t slot, int64_t timeout_us) {
  std::unique_lock lock(mutex_);
  check_slot(slot);
  StepSlot& waited = slots_[slot];
  check_submitted(slot);
  if (!wait_at_most(step_done_, lock, timeout_us,
                    [&] { return waited.state != SlotState::kInFlight; })) {
    return false;
  }
  check_submitted(slot);  // another wait on the slot may have been first
  waited.state = SlotState::kIdle;
  if (waited.error) throw *waited.error;
  return true;
}

int64_t Engine::trace(int32_t slot, std::span<const uint8_t> request, uint8_t* buffer,
                      int64_t capacity) {
  std::unique_lock lock(mutex_);
  check_slot(slot);
  check_alive();
  SLUICE_CHECK(weight_state_ == WeightState::kReady, SLUICE_STATUS_WRONG_STATE,
               "trace: the weights are not complete (expected: sluice_weights_finish first)");
  SLUICE_CHECK(!any_in_flight(), SLUICE_STATUS_WRONG_STATE,
               "trace: a step is in flight (expected: sluice_engine_wait first)");
  const StepInput step = copy_message(slot);
  const Trace result(plan_, request, step);
  if (buffer == nullptr || result.bytes() > capacity) return result.bytes();

  TraceObserver observer(*observers_[0], result, buffer);
  RankObservers observers = {&observer};
  std::vector<std::unique_ptr<StepObserver>> of_ranks;
  if (team_->size() > 1) {
    observers.clear();
    const int64_t longest = largest_context_len(step, plan_.options.max_context_len);
    for (int rank = 0; rank < team_->size(); ++rank) {
      of_ranks.push_back(std::make_unique<RankTraceObserver>(*rank_observers_[rank], observer,
                                                             *team_->comm(rank), longest));
      observers.push_back(of_ranks.back().get());
    }
  }
  checker_->accept(step);  // from here on nothing but the step can fail
  const CudaDevice* device = team_->rank(0).device();
  std::vector<KernelLog::Entry> before;
  if (device != nullptr) before = device->kernels().entries();
  start(slot, &observers);
  step_done_.wait(lock, [&] { return slots_[slot].state == SlotState::kTraced; });
  slots_[slot].state = SlotState::kIdle;
  if (slots_[slot].error) throw *slots_[slot].error;
  observer.check_complete();
  result.write_directory(buffer, device == nullptr
                                     ? kernels_
                                     : kernels_launched(before, device->kernels().entries()));
  return result.bytes();
}

}  // namespace sluice
