#include "runtime/weight_session.h"

#include "model/proto_message.h"
#include "runtime/timed_wait.h"

namespace sluice {

WeightSession::WeightSession(const WeightStore& store, const FaultPoints& faults, int num_threads)
    : store_(store), faults_(faults) {
  for (size_t s = 0; s < store.slots().size(); ++s) {
    const WeightSlot& slot = store.slots()[s];
    for (size_t p = 0; p < slot.parts.size(); ++p) {
      coverage_.emplace(PartKey(static_cast<int>(s), static_cast<int>(p)),
                        Coverage(slot.parts[p].rows, slot.cols));
    }
  }
  start_threads(num_threads);
}

// With fewer threads than asked for a load is only slower.
void WeightSession::start_threads(int num_threads) {
  threads_.reserve(static_cast<size_t>(num_threads));
  try {
    while (threads_.size() < static_cast<size_t>(num_threads)) {
      threads_.emplace_back([this] { work(); });
    }
  } catch (const std::exception& error) {
    SLUICE_CHECK(!threads_.empty(), SLUICE_STATUS_OUT_OF_HOST_MEMORY, "loader threads: 0 of ",
                 num_threads, " started, ", error.what(),
                 " (expected: at least 1; remedy: raise the limit of threads of the process)");
  }
}

WeightSession::~WeightSession() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    aborted_ = true;
    queue_.clear();
  }
  work_ready_.notify_all();
  progress_made_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::vector<std::shared_ptr<const FileReader>> WeightSession::open_files(
    const Sluice__Proto__WeightTransferList& list) {
  std::vector<std::shared_ptr<const FileReader>> files;
  for (size_t i = 0; i < list.n_files; ++i) {
    std::shared_ptr<const FileReader>& file = files_[list.files[i]];
    if (!file) file = std::make_shared<const FileReader>(list.files[i]);
    files.push_back(file);
  }
  return files;
}

void WeightSession::cover(const WeightTransfer& transfer,
                          std::vector<std::pair<PartKey, CellRange>>* added) {
  for (const WeightPiece& piece : transfer.pieces) {
    const PartKey key(piece.slot, piece.part);
    Coverage& coverage = coverage_.at(key);
    const CellRange* earlier = coverage.find_overlap(piece.destination);
    const WeightSlot& slot = store_.slots()[piece.slot];
    SLUICE_CHECK_ARG(earlier == nullptr, transfer.name, ": ", slot.name(slot.parts[piece.part]),
                     " ", piece.destination.text(), " (expected: cells that no transfer names, ",
                     earlier->text(), " are taken)");
    coverage.add(piece.destination);
    added->emplace_back(key, piece.destination);
  }
}

void WeightSession::enqueue(std::span<const uint8_t> bytes) {
  {
    const std::lock_guard lock(mutex_);
    throw_if_over();
  }
  const auto list = unpack<Sluice__Proto__WeightTransferList>(
      sluice__proto__weight_transfer_list__descriptor, bytes);
  SLUICE_CHECK(list->n_adapters == 0, SLUICE_STATUS_UNSUPPORTED,
               "adapters: not built (built: none)");
  const auto files = open_files(*list);

  const std::lock_guard coverage_lock(coverage_mutex_);
  // Takes the cells back unless the whole list is good.
  struct Undo {
    std::map<PartKey, Coverage>& coverage;
    std::vector<std::pair<PartKey, CellRange>> added;
    bool keep = false;
    ~Undo() {
      if (keep) return;
      for (auto entry = added.rbegin(); entry != added.rend(); ++entry) {
        coverage.at(entry->first).remove_last();
      }
    }
  } undo{coverage_, {}};

  std::vector<Job> jobs;
  int64_t bytes_total = 0;
  for (size_t i = 0; i < list->n_transfers; ++i) {
    auto transfer =
        std::make_shared<const WeightTransfer>(decode_transfer(*list->transfers[i], files, store_));
    const WeightSource& source = transfer->source;
    if (source.file != nullptr) {
      const int64_t size = source.file->size();
      SLUICE_CHECK(source.offset <= size - source.bytes, SLUICE_STATUS_CORRUPT_DATA, transfer->name,
                   ": bytes ", source.offset, " to ", source.offset + source.bytes - 1, " of ",
                   source.file->path(), " (expected: inside its ", size, " bytes)");
    }
    cover(*transfer, &undo.added);
    const auto jobs_left = std::make_shared<int64_t>(0);
    for (const WeightPiece& piece : transfer->pieces) {
      for (const CellRange& rectangle : split_piece(source, piece)) {
        jobs.push_back({transfer, jobs_left, &piece, rectangle});
        bytes_total += rectangle_bytes(source, rectangle);
        ++*jobs_left;
      }
    }
  }
  const std::lock_guard lock(mutex_);
  throw_if_over();
  undo.keep = true;
  progress_.transfers_total += static_cast<int64_t>(list->n_transfers);
  progress_.bytes_total += bytes_total;
  queue_.insert(queue_.end(), jobs.begin(), jobs.end());
  work_ready_.notify_all();
}

bool WeightSession::poll(int64_t timeout_us, sluice_weights_progress* progress) {
  std::unique_lock lock(mutex_);
  const auto over = [this] { return aborted_ || failure_ || (queue_.empty() && working_ == 0); };
  const bool done = wait_at_most(progress_made_, lock, timeout_us, over);
  throw_if_over();
  if (progress != nullptr) *progress = progress_;
  return done;
}

void WeightSession::drain() { poll(-1, nullptr); }

std::set<PartKey> WeightSession::touched_parts() const {
  const std::lock_guard lock(coverage_mutex_);
  std::set<PartKey> parts;
  for (const auto& [key, coverage] : coverage_) {
    if (!coverage.empty()) parts.insert(key);
  }
  return parts;
}

std::vector<std::string> WeightSession::incomplete_parts(
    const std::optional<std::set<PartKey>>& among) const {
  const std::lock_guard lock(coverage_mutex_);
  std::vector<std::string> parts;
  for (const auto& [key, coverage] : coverage_) {
    if (coverage.complete() || (among && !among->contains(key))) continue;
    const WeightSlot& slot = store_.slots()[key.first];
    std::string text = slot.name(slot.parts[key.second]);
    if (!coverage.empty()) text += " (" + coverage.first_gap().text() + ")";
    parts.push_back(std::move(text));
  }
  return parts;
}

void WeightSession::request_abort() {
  {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    queue_.clear();
  }
  progress_made_.notify_all();
  faults_.release();
}

void WeightSession::abort() {
  request_abort();
  std::unique_lock lock(mutex_);
  progress_made_.wait(lock, [this] { return working_ == 0; });
}

void WeightSession::throw_if_over() const {
  SLUICE_CHECK(!aborted_, SLUICE_STATUS_ABORTED, "weights: the load was aborted");
  if (failure_) throw *failure_;
}

void WeightSession::work() {
  WeightScratch scratch;
  std::unique_lock lock(mutex_);
  while (true) {
    work_ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const Job job = std::move(queue_.front());
    queue_.pop_front();
    ++working_;
    lock.unlock();
    run(job, &scratch);
    lock.lock();
    --working_;
    progress_made_.notify_all();
  }
}

// The failure of a loader thread has no caller to go to: it is kept for the next poll. This and the
// engine's worker thread are where an exception stops below capi.
void WeightSession::run(const Job& job, WeightScratch* scratch) {
  std::optional<Error> failure;
  try {
    if (job.transfer->source.file != nullptr) faults_.pass(FaultPoint::kWeightsRead);
    copy_rectangle(*job.transfer, *job.piece, job.rectangle, store_, scratch);
  } catch (Error& error) {
    error.add_context(job.transfer->name);
    failure = std::move(error);
  } catch (const std::exception& error) {
    failure.emplace(SLUICE_STATUS_OUT_OF_HOST_MEMORY,
                    concat(job.transfer->name, ": ", error.what()), __FILE__, __LINE__);
  }
  const std::lock_guard lock(mutex_);
  if (failure) {
    if (!failure_) failure_ = std::move(failure);
    queue_.clear();
    return;
  }
  progress_.bytes_done += rectangle_bytes(job.transfer->source, job.rectangle);
  if (--*job.jobs_left == 0) ++progress_.transfers_done;
}

}  // namespace sluice
