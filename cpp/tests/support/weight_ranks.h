/// @file
/// Weight stores of one or more ranks over slots made by hand, loaded without an engine.
#ifndef SLUICE_TESTS_SUPPORT_WEIGHT_RANKS_H_
#define SLUICE_TESTS_SUPPORT_WEIGHT_RANKS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/weight_store.h"
#include "runtime/weight_session.h"
#include "support/driver.h"

namespace sluice::test {

/// A slot of parts one below the other, in [part rows, cols]; an expert slot when num_experts > 0.
WeightSlot matrix_slot(Slot slot, int layer, std::vector<WeightPart> parts, int64_t cols,
                       int num_experts = 0, Format format = Format::kF32);
WeightSlot vector_slot(Slot slot, int layer, std::vector<WeightPart> parts, int num_experts = 0);
WeightPart part_of(Part part, int64_t rows, ShardAxis axis = ShardAxis::kReplicated);

/// What `rank` of `ranks` holds: parts split as their axis says, columns split when any part's axis
/// is kColumns. `kv_ranks` ranks share the rows of PART_K and PART_V.
WeightSlot share_of(const WeightSlot& whole, int rank, int ranks, int kv_ranks = 1);

/// Where a source lies in the test's file. Strides empty: dense.
struct SourceLayout {
  Sluice__Proto__Format format = SLUICE__PROTO__FORMAT__F32;
  uint64_t offset = 0;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> strides;
  bool transposed = false;
};

/// Ranks, the file that they are loaded from, and the messages that do it.
class WeightRanks {
 public:
  /// Where stores lie from now on, and by which backend's packing their slots are laid out: of the
  /// host for the CPU, unless a program of CUDA tests says otherwise before its first test.
  static void use(MemorySpace space, const WeightPacking& packing);

  explicit WeightRanks(std::vector<WeightSlot> slots);
  explicit WeightRanks(std::vector<std::vector<WeightSlot>> slots_of_ranks);
  ~WeightRanks();

  /// The file's content; before the first load.
  void set_file(const std::string& bytes);

  Sluice__Proto__WeightSource* source(const SourceLayout& layout);
  Sluice__Proto__WeightTransfer* transfer(Slot slot, int layer, Part part, int expert,
                                          Sluice__Proto__WeightSource* source);

  /// A session with `threads` loaders; enqueue() and finish() work on it.
  void begin(int threads = 2);
  Outcome enqueue(const std::vector<Sluice__Proto__WeightTransfer*>& transfers);
  /// Waits, then INCOMPLETE with what is missing.
  Outcome finish();
  sluice_weights_progress progress();
  /// Of the load that begin() opened.
  WeightSession& session() { return *session_; }
  /// begin, enqueue, finish.
  Outcome load(const std::vector<Sluice__Proto__WeightTransfer*>& transfers);

  /// Row-major values of what a rank holds of a slot: [experts, rows, cols], float32.
  std::vector<float> values(Slot slot, int layer, int rank = 0) const;
  /// The bytes of a whole slot as they are stored, what is derived from it included.
  std::vector<std::byte> stored(int index, int rank = 0) const;

  const WeightStore& store(int rank) const { return *stores_[rank]; }
  ProtoArena& arena() { return arena_; }

 private:
  std::vector<std::unique_ptr<WeightStore>> stores_;
  AllocationCounter counter_;
  FaultPoints faults_;
  std::string path_;
  ProtoArena arena_;
  std::unique_ptr<WeightSession> session_;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_WEIGHT_RANKS_H_
