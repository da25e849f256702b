// CUDA against the CPU's op, step by step: results and channels.
#include <algorithm>

#include "base/error.h"
#include "ops/expert_capacity/expert_capacity.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct Case {
  int32_t experts, k, capacity, window;
};

struct Chunk {
  int32_t sequence;
  int64_t count;
};

// Sequences that grow by chunks; every chunk's results are compared.
class Grown {
 public:
  explicit Grown(const Case& c)
      : case_(c),
        channel_(kBlocks * kBlock * c.k, 1),
        device_channel_(channel_),
        tables_(kRows * kTable, -1),
        random_(static_cast<uint64_t>(c.experts * 31 + c.window)) {}

  void step(const std::vector<Chunk>& chunks) {
    std::vector<int32_t> experts, positions, slots, start{0}, rows;
    for (const Chunk& chunk : chunks) {
      for (int64_t i = 0; i < chunk.count; ++i) {
        const int64_t at = length_[chunk.sequence]++;
        positions.push_back(static_cast<int32_t>(at));
        slots.push_back(99);  // of another kv group
        slots.push_back(slot(chunk.sequence, at));
        // Mostly a few experts, so that they fill; a step may name one twice.
        for (int32_t j = 0; j < case_.k; ++j) {
          experts.push_back(static_cast<int32_t>(
              random_.below(2) == 0 ? random_.below(std::min(case_.experts, 4))
                                    : random_.below(case_.experts)));
        }
      }
      start.push_back(static_cast<int32_t>(positions.size()));
      rows.push_back(chunk.sequence + 1);
    }
    std::vector<uint8_t> kept(experts.size(), 7);
    ExpertCapacityParams params;
    params.num_tokens = static_cast<int64_t>(positions.size());
    params.num_experts = case_.experts;
    params.num_experts_per_token = case_.k;
    params.capacity = case_.capacity;
    params.window = case_.window;
    params.num_sequences = static_cast<int32_t>(chunks.size());
    params.kv_slot_stride = 2;
    params.block_table_stride = kTable;
    params.block_size = kBlock;
    params.num_blocks = kBlocks;
    ExpertCapacityParams on_gpu = params;
    params.experts = experts.data();
    params.query_start = start.data();
    params.positions = positions.data();
    params.kv_slots = slots.data() + 1;
    params.block_tables = tables_.data();
    params.table_rows = rows.data();
    params.channel = channel_.data();
    params.kept = kept.data();
    const Exec exec = exec_of(Isa::kPortable, 1);
    std::vector<char> workspace(expert_capacity_workspace_bytes(exec, case_.experts));
    expert_capacity(exec, params, workspace.data(), static_cast<int64_t>(workspace.size()));

    const DeviceArray<int32_t> d_experts(experts), d_start(start), d_positions(positions),
        d_slots(slots), d_tables(tables_), d_rows(rows);
    const DeviceArray<uint8_t> d_kept(static_cast<int64_t>(kept.size()));
    on_gpu.experts = d_experts.get();
    on_gpu.query_start = d_start.get();
    on_gpu.positions = d_positions.get();
    on_gpu.kv_slots = d_slots.get() + 1;
    on_gpu.block_tables = d_tables.get();
    on_gpu.table_rows = d_rows.get();
    on_gpu.channel = device_channel_.get();
    on_gpu.kept = d_kept.get();
    ASSERT_EQ(expert_capacity_workspace_bytes(cuda_exec(), case_.experts), 0);
    expert_capacity(cuda_exec(), on_gpu, nullptr, 0);
    ASSERT_EQ(d_kept.host(), kept);
    ASSERT_EQ(device_channel_.host(), channel_);
    dropped_ += std::count(kept.begin(), kept.end(), 0);
    accepted_ += std::count(kept.begin(), kept.end(), 1);
  }

  int64_t dropped() const { return dropped_; }
  int64_t accepted() const { return accepted_; }

 private:
  static constexpr int64_t kBlocks = 4096, kBlock = 4, kRows = 5, kTable = 3000;

  int32_t slot(int32_t sequence, int64_t position) {
    int32_t& block = tables_[(sequence + 1) * kTable + position / kBlock];
    if (block < 0) block = next_++;
    return static_cast<int32_t>(block * kBlock + position % kBlock);
  }

  Case case_;
  std::vector<uint16_t> channel_;
  DeviceArray<uint16_t> device_channel_;
  std::vector<int32_t> tables_;
  Random random_;
  int64_t length_[kRows] = {};
  int32_t next_ = 3;
  int64_t dropped_ = 0, accepted_ = 0;
};

TEST(CudaExpertCapacity, EqualsTheCpu) {
  for (const Case& c : {Case{5, 2, 3, 0}, {5, 2, 3, 1}, {5, 2, 3, 6}, {8, 3, 20, 64},
                        {64, 6, 40, 0}, {64, 6, 9, 100}, {512, 8, 60, 1000}, {70, 33, 5, 16},
                        {80, 64, 12, 0}, {2000, 8, 30, 0}}) {
    SCOPED_TRACE(concat(c.k, " of ", c.experts, " capacity ", c.capacity, " window ", c.window));
    Grown run(c);
    run.step({{0, 300}});
    run.step({{2, 1}, {0, 1}, {1, 200}});
    run.step({{1, 1}, {2, 0}, {0, 7}});
    for (int i = 0; i < 5; ++i) run.step({{0, 1}, {1, 1}, {2, 1}});
    run.step({{3, 2500}, {2, 40}});
    // In a window of one token nothing comes earlier.
    EXPECT_EQ(run.dropped() > 0, c.window != 1);
    EXPECT_GT(run.accepted(), 0);
  }
}

TEST(CudaExpertCapacity, PaddingLeavesTheChannelAlone) {
  const DeviceArray<int32_t> experts(std::vector<int32_t>{1, 0}), start(std::vector<int32_t>{0, 1, 2});
  const DeviceArray<int32_t> positions(std::vector<int32_t>{0, 0}), slots(std::vector<int32_t>{1, -1});
  const DeviceArray<int32_t> table(std::vector<int32_t>{0, 0});
  const DeviceArray<uint16_t> channel(std::vector<uint16_t>(4, 9));
  const DeviceArray<uint8_t> kept(2);
  ExpertCapacityParams params;
  params.num_tokens = 2;
  params.num_experts = 2;
  params.num_experts_per_token = 1;
  params.capacity = 1;
  params.experts = experts.get();
  params.num_sequences = 2;
  params.query_start = start.get();
  params.positions = positions.get();
  params.kv_slots = slots.get();
  params.block_tables = table.get();
  params.block_table_stride = 1;
  params.block_size = 4;
  params.num_blocks = 1;
  params.channel = channel.get();
  params.kept = kept.get();
  expert_capacity(cuda_exec(), params, nullptr, 0);
  EXPECT_EQ(channel.host(), (std::vector<uint16_t>{9, 1, 9, 9}));
  EXPECT_EQ(kept.host(), (std::vector<uint8_t>{1, 1}));
  params.num_experts = 8193;
  EXPECT_THROW(expert_capacity(cuda_exec(), params, nullptr, 0), Error);
}

}  // namespace
}  // namespace sluice
