#include "runtime/weight_session.h"

#include <utility>

#include "model/proto_message.h"
#include "runtime/timed_wait.h"

namespace sluice {

namespace {

constexpr size_t kMaxNamedParts = 10;

// The file may end before the source does.
void check_size(const WeightTensor& tensor, const std::string& name) {
  if (tensor.file == nullptr) return;
  const int64_t size = tensor.file->size();
  SLUICE_CHECK(tensor.offset <= size - tensor.bytes, SLUICE_STATUS_CORRUPT_DATA, name, ": bytes ",
               tensor.offset, " to ", tensor.offset + tensor.bytes - 1, " of ", tensor.file->path(),
               " (expected: inside its ", size, " bytes)");
}

}  // namespace

WeightSession::WeightSession(std::vector<const WeightStore*> stores, const FaultPoints& faults,
                             int num_threads)
    : stores_(std::move(stores)),
      faults_(faults),
      upload_(stores_, num_threads),
      coverage_(stores_.size()) {
  for (size_t rank = 0; rank < stores_.size(); ++rank) {
    const std::vector<WeightSlot>& slots = stores_[rank]->slots();
    SLUICE_CHECK_INTERNAL(slots.size() == stores_.front()->slots().size(), "weights: rank ", rank,
                          " has ", slots.size(), " slots");
    coverage_[rank].resize(slots.size());
    for (size_t i = 0; i < slots.size(); ++i) {
      for (int64_t expert = 0; expert < slots[i].count(); ++expert) {
        for (const WeightPart& part : slots[i].parts) {
          coverage_[rank][i].emplace_back(part.rows, slots[i].cols);
        }
      }
    }
  }
  start_threads(num_threads);
}

const WeightSlot& WeightSession::slot_of(const PartKey& key) const {
  return stores_[key.store]->slots()[key.slot];
}

Coverage& WeightSession::coverage_of(const PartKey& key) {
  return const_cast<Coverage&>(std::as_const(*this).coverage_of(key));
}

const Coverage& WeightSession::coverage_of(const PartKey& key) const {
  const size_t place = key.expert * slot_of(key).parts.size() + static_cast<size_t>(key.part);
  return coverage_[key.store][key.slot][place];
}

std::string WeightSession::part_name(const PartKey& key) const {
  const WeightSlot& slot = slot_of(key);
  std::string name = slot.name(slot.parts[key.part]);
  if (slot.num_experts > 0) name += concat(" of expert ", key.expert);
  if (stores_.size() > 1) name += concat(" on rank ", key.store);
  return name;
}

// Rows and columns as a transfer names them.
CellRange WeightSession::global_range(const PartKey& key, CellRange range) const {
  const WeightSlot& slot = slot_of(key);
  const int64_t first_row = slot.parts[key.part].first_row;
  range.row_begin += first_row;
  range.row_end += first_row;
  range.column_begin += slot.first_col;
  range.column_end += slot.first_col;
  return range;
}

template <class Visit>
void WeightSession::for_each_part(Visit visit) const {
  for (int store = 0; store < static_cast<int>(stores_.size()); ++store) {
    const std::vector<WeightSlot>& slots = stores_[store]->slots();
    for (int slot = 0; slot < static_cast<int>(slots.size()); ++slot) {
      for (int expert = 0; expert < slots[slot].count(); ++expert) {
        for (int part = 0; part < static_cast<int>(slots[slot].parts.size()); ++part) {
          visit(PartKey{store, slot, expert, part});
        }
      }
    }
  }
}

// With fewer threads than asked for a load is only slower.
void WeightSession::start_threads(int num_threads) {
  threads_.reserve(static_cast<size_t>(num_threads));
  try {
    while (threads_.size() < static_cast<size_t>(num_threads)) {
      const int thread = static_cast<int>(threads_.size());
      threads_.emplace_back([this, thread] { work(thread); });
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

void WeightSession::cover(const WeightTransfer& transfer, std::vector<Covered>* added) {
  for (const WeightPiece& piece : transfer.pieces) {
    const PartKey key{piece.store, piece.slot, piece.expert, piece.part};
    Coverage& coverage = coverage_of(key);
    const CellRange* earlier = coverage.find_overlap(piece.destination);
    if (earlier != nullptr) {
      SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT, transfer.name, ": ", part_name(key), " ",
                  global_range(key, piece.destination).text(),
                  " (expected: cells that no transfer names, ", global_range(key, *earlier).text(),
                  " are taken)");
    }
    coverage.add(piece.destination);
    added->push_back({key, piece.destination});
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
    WeightSession& session;
    std::vector<Covered> added;
    bool keep = false;
    ~Undo() {
      if (keep) return;
      for (const Covered& cells : added) session.coverage_of(cells.key).remove(cells.range);
    }
  } undo{*this, {}};

  std::vector<Job> jobs;
  int64_t bytes_total = 0;
  int64_t empty_transfers = 0;
  for (size_t i = 0; i < list->n_transfers; ++i) {
    const auto transfer = std::make_shared<const WeightTransfer>(
        decode_transfer(*list->transfers[i], files, stores_));
    check_size(transfer->source.tensor, transfer->name);
    if (transfer->source.scale) {
      check_size(transfer->source.scale->tensor, transfer->name + ": scale");
    }
    cover(*transfer, &undo.added);
    const auto jobs_left = std::make_shared<int64_t>(0);
    for (const WeightPiece& piece : transfer->pieces) {
      for (const CellRange& rectangle : split_piece(transfer->source, piece)) {
        jobs.push_back({transfer, jobs_left, &piece, rectangle});
        bytes_total += rectangle_bytes(transfer->source, rectangle);
        ++*jobs_left;
      }
    }
    if (transfer->pieces.empty()) ++empty_transfers;  // no rank here holds any of it
  }
  const std::lock_guard lock(mutex_);
  throw_if_over();
  undo.keep = true;
  progress_.transfers_total += static_cast<int64_t>(list->n_transfers);
  progress_.transfers_done += empty_transfers;
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
  for_each_part([&](const PartKey& key) {
    if (!coverage_of(key).empty()) parts.insert(parts.end(), key);
  });
  return parts;
}

std::string WeightSession::incomplete_parts(const std::optional<std::set<PartKey>>& among) const {
  const std::lock_guard lock(coverage_mutex_);
  std::string text;
  size_t count = 0;
  for_each_part([&](const PartKey& key) {
    const Coverage& coverage = coverage_of(key);
    if (coverage.complete() || (among && !among->contains(key))) return;
    if (++count > kMaxNamedParts) return;
    text += (count == 1 ? "" : ", ") + part_name(key);
    if (!coverage.empty()) text += " (" + global_range(key, coverage.first_gap()).text() + ")";
  });
  if (count > kMaxNamedParts) text += concat(" and ", count - kMaxNamedParts, " more");
  return text;
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

void WeightSession::work(int thread) {
  WeightScratch scratch;
  scratch.upload = &upload_;
  scratch.thread = thread;
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
    if (queue_.empty() && upload_.pending(thread)) {
      lock.unlock();
      finish_upload(*job.transfer, thread);
      lock.lock();
    }
    --working_;
    // Nobody waits for less: a caller that was woken for every small tensor would only be in the
    // way.
    if (failure_ || (queue_.empty() && working_ == 0)) progress_made_.notify_all();
  }
}

// The failure of a loader thread has no caller to go to: it is kept for the next poll. This and the
// engine's worker thread are where an exception stops below capi.
void WeightSession::guard(const WeightTransfer& transfer, const std::function<void()>& body) {
  std::optional<Error> failure;
  try {
    body();
    return;
  } catch (Error& error) {
    error.add_context(transfer.name);
    failure = std::move(error);
  } catch (const std::exception& error) {
    failure.emplace(SLUICE_STATUS_OUT_OF_HOST_MEMORY, concat(transfer.name, ": ", error.what()),
                    __FILE__, __LINE__);
  }
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(failure);
  queue_.clear();
}

void WeightSession::run(const Job& job, WeightScratch* scratch) {
  guard(*job.transfer, [&] {
    if (job.transfer->source.tensor.file != nullptr) faults_.pass(FaultPoint::kWeightsRead);
    copy_rectangle(*job.transfer, *job.piece, job.rectangle, *stores_[job.piece->store], scratch);
    const std::lock_guard lock(mutex_);
    progress_.bytes_done += rectangle_bytes(job.transfer->source, job.rectangle);
    if (--*job.jobs_left == 0) ++progress_.transfers_done;
  });
}

// A thread that finds nothing more to do sees its copies through before it counts as idle, so that
// an empty queue means that the device has everything. What fails is some copy's, not the named
// transfer's alone; but on a device that lost one all are.
void WeightSession::finish_upload(const WeightTransfer& transfer, int thread) {
  guard(transfer, [&] { upload_.finish(thread); });
}

}  // namespace sluice
