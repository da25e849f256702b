// The weight calls of an engine.
#include <algorithm>

#include "model/derived_weights.h"
#include "runtime/engine.h"

namespace sluice {
namespace {

// Sixteen load no faster, on the CPU or into a device (docs/benchmarks.md), and pin twice the memory.
constexpr int kMaxLoaderThreads = 8;

}  // namespace

std::shared_ptr<WeightSession> Engine::open_session() const {
  check_alive();
  SLUICE_CHECK(session_ != nullptr, SLUICE_STATUS_WRONG_STATE,
               "weights: no load is open (expected: sluice_weights_begin first)");
  return session_;
}

void Engine::begin_weights(int32_t mode) {
  const std::lock_guard lock(mutex_);
  check_alive();
  SLUICE_CHECK_ARG(mode >= SLUICE_WEIGHTS_LOAD && mode <= SLUICE_WEIGHTS_ADAPTER, "mode: ", mode,
                   " (expected: 0 to 2)");
  SLUICE_CHECK(mode != SLUICE_WEIGHTS_ADAPTER, SLUICE_STATUS_UNSUPPORTED,
               "mode: ADAPTER not built (built: LOAD, UPDATE)");
  SLUICE_CHECK(session_ == nullptr, SLUICE_STATUS_WRONG_STATE,
               "weights: a load is open (expected: sluice_weights_finish or _abort first)");
  SLUICE_CHECK(!any_in_flight(), SLUICE_STATUS_WRONG_STATE,
               "weights: a step is in flight (expected: sluice_engine_wait first)");
  SLUICE_CHECK(mode == SLUICE_WEIGHTS_LOAD || weight_state_ == WeightState::kReady ||
                   weight_state_ == WeightState::kStale,
               SLUICE_STATUS_WRONG_STATE, "mode: UPDATE before a finished load (expected: LOAD)");
  const int threads = std::min(plan_.options.num_threads, kMaxLoaderThreads);
  session_ = std::make_shared<WeightSession>(team_->weights(), faults_, threads);
  // An update that leaves no trace behind, not even an aborted one, does not exist: what an earlier
  // one left half written stays so until it is covered.
  if (mode == SLUICE_WEIGHTS_LOAD) stale_parts_.clear();
  weight_mode_ = mode;
  weight_state_ = WeightState::kLoading;
}

void Engine::enqueue_weights(std::span<const uint8_t> list) {
  std::shared_ptr<WeightSession> session;
  {
    const std::lock_guard lock(mutex_);
    session = open_session();
  }
  session->enqueue(list);
}

bool Engine::poll_weights(int64_t timeout_us, sluice_weights_progress* progress) {
  std::shared_ptr<WeightSession> session;
  {
    const std::lock_guard lock(mutex_);
    session = open_session();
  }
  return session->poll(timeout_us, progress);
}

void Engine::finish_weights() {
  std::shared_ptr<WeightSession> session;
  std::set<PartKey> stale;
  bool update = false;
  {
    const std::lock_guard lock(mutex_);
    session = open_session();
    stale = stale_parts_;
    update = weight_mode_ == SLUICE_WEIGHTS_UPDATE;
  }
  session->drain();
  faults_.pass(FaultPoint::kWeightsFinish);
  const std::string missing =
      update ? session->incomplete_parts(stale) : session->incomplete_parts();
  SLUICE_CHECK(missing.empty(), SLUICE_STATUS_INCOMPLETE,
               update ? "weights: an earlier update ended early, this one must rewrite whole: "
                      : "weights: not filled: ",
               missing);
  // No step runs yet, and what was not touched has its copies.
  std::set<std::pair<int, int>> touched;  // rank, slot
  for (const PartKey& part : session->touched_parts()) touched.emplace(part.store, part.slot);
  const CudaDevice* device = team_->rank(0).device();
  if (device != nullptr) device->make_current();
  for (const auto& [rank, slot] : touched) {
    derive_weights(team_->rank(rank).exec(), plan_.ranks[static_cast<size_t>(rank)].shard.spec,
                   team_->rank(rank).weights(), slot);
  }
  if (device != nullptr) device->synchronize();
  const std::lock_guard lock(mutex_);
  check_alive();
  // An abort may have come in between: then the session is gone.
  SLUICE_CHECK(session_ == session, SLUICE_STATUS_ABORTED, "weights: the load was aborted");
  session_.reset();
  stale_parts_.clear();
  weight_state_ = WeightState::kReady;
}

void Engine::abort_weights() {
  std::shared_ptr<WeightSession> session;
  {
    const std::lock_guard lock(mutex_);
    check_alive();
    session = session_;
  }
  if (!session) return;
  session->abort();
  const std::set<PartKey> touched = session->touched_parts();
  const std::lock_guard lock(mutex_);
  if (session_ != session) return;
  session_.reset();
  if (weight_mode_ == SLUICE_WEIGHTS_LOAD) {
    weight_state_ = WeightState::kEmpty;
  } else {
    weight_state_ = WeightState::kStale;
    stale_parts_.insert(touched.begin(), touched.end());
  }
}

}  // namespace sluice
