// Weights in device memory: what every other test of the loader that is linked into this program
// says of the host's memory, and what only a device has.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "layers/mla.h"
#include "model/derived_weights.h"
#include "model/slot_list.h"
#include "support/weight_ranks.h"

namespace sluice::test {
namespace {

constexpr MemorySpace kDevice0 = {MemoryKind::kDevice, 0};
// Before the first test.
[[maybe_unused]] const bool in_use = (WeightRanks::use(kDevice0, kCudaPacking), true);

constexpr Slot kKvB = SLUICE__PROTO__SLOT__KV_B;
constexpr Part kWhole = SLUICE__PROTO__PART__WHOLE;

// One layer of latent attention and experts; no size is a multiple of a tile.
ModelSpec small_model() {
  MlaSpec mla;
  mla.num_q_heads = 5;
  mla.kv_lora_rank = 72;
  mla.qk_nope_head_dim = 40;
  mla.qk_rope_head_dim = 16;
  mla.v_head_dim = 24;
  mla.kv_a_norm = NormSpec{};
  mla.kv_a_norm->has_weight = true;
  MoeSpec moe;
  moe.num_experts = 3;
  moe.expert_intermediate_size = 37;
  moe.gated = true;
  ModelSpec model;
  model.hidden_size = 100;
  model.vocab_size = 50;
  model.layers.resize(1);
  model.layers[0].attention = mla;
  model.layers[0].feed_forward = moe;
  return model;
}

std::vector<WeightSlot> slots_of(const ModelSpec& model, Format format,
                                 const WeightPacking& packing) {
  SlotList slots(format, packing);
  slots.at_layer(0);
  declare_slots(std::get<MlaSpec>(model.layers[0].attention), model.hidden_size, &slots);
  declare_slots(std::get<MoeSpec>(model.layers[0].feed_forward), model.hidden_size, &slots);
  return slots.take();
}

// Random numbers for every part of every slot, each part whole.
std::vector<Sluice__Proto__WeightTransfer*> random_transfers(WeightRanks* ranks, uint64_t seed) {
  std::vector<Sluice__Proto__WeightTransfer*> list;
  for (const WeightSlot& slot : ranks->store(0).slots()) {
    for (const WeightPart& part : slot.parts) {
      SourceLayout layout;
      if (slot.num_experts > 0) layout.shape.push_back(static_cast<uint64_t>(slot.num_experts));
      layout.shape.push_back(static_cast<uint64_t>(part.global_rows));
      if (!slot.is_vector) layout.shape.push_back(static_cast<uint64_t>(slot.global_cols));
      auto* source = ranks->source(layout);
      source->has_kind = source->has_random_seed = source->has_random_std = 1;
      source->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
      source->random_seed = seed;
      source->random_std = 0.11;
      list.push_back(ranks->transfer(slot.slot, slot.layer, part.part, -1, source));
    }
  }
  return list;
}

// The same weights in the host's memory, by the CPU's packing and kernels.
class OnTheHost {
 public:
  OnTheHost() { WeightRanks::use({}, kCpuPacking); }
  ~OnTheHost() { WeightRanks::use(kDevice0, kCudaPacking); }
};

void expect_equal(const WeightRanks& device, const WeightRanks& host) {
  for (const WeightSlot& slot : host.store(0).slots()) {
    const std::vector<float> actual = device.values(slot.slot, slot.layer);
    const std::vector<float> wanted = host.values(slot.slot, slot.layer);
    ASSERT_EQ(actual.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_EQ(actual[i], wanted[i]) << slot.name() << " value " << i;
    }
  }
}

// Matrix `head` of a stack that lies at `offset` bytes of `bytes`.
std::vector<float> stacked(const WeightStack& stack, const void* base, std::vector<std::byte>& bytes,
                           int64_t head) {
  WeightView view = stack.at(head);
  view.data = bytes.data() + (static_cast<const std::byte*>(view.data) -
                              static_cast<const std::byte*>(base));
  std::vector<float> values(static_cast<size_t>(view.rows * view.cols));
  unpack_rows(view, 0, view.rows, values.data(), view.cols);
  return values;
}

class CudaWeights : public ::testing::TestWithParam<Format> {};

TEST_P(CudaWeights, RandomAndDerivedEqualTheCpu) {
  const ModelSpec model = small_model();
  const MlaSpec& mla = std::get<MlaSpec>(model.layers[0].attention);
  WeightRanks device(slots_of(model, GetParam(), kCudaPacking));
  const Outcome made = device.load(random_transfers(&device, 5));
  ASSERT_EQ(made.status, SLUICE_STATUS_OK) << made.text;
  const OnTheHost on_the_host;
  WeightRanks host(slots_of(model, GetParam(), kCpuPacking));
  const Outcome also = host.load(random_transfers(&host, 5));
  ASSERT_EQ(also.status, SLUICE_STATUS_OK) << also.text;
  expect_equal(device, host);

  const CudaDevice gpu(0);
  Exec exec;
  const int index = host.store(0).find(kKvB, 0);
  derive_weights(exec, model, host.store(0), index);
  exec.cuda = &gpu.exec();
  derive_weights(exec, model, device.store(0), index);
  gpu.synchronize();
  std::vector<std::byte> on_device = device.stored(index), on_host = host.stored(index);
  const WeightView there = device.store(0).matrix_at(index, 0);
  const WeightView here = host.store(0).matrix_at(index, 0);
  const AbsorbedWeights copies = absorbed_weights(mla, there);
  const AbsorbedWeights wanted = absorbed_weights(mla, here);
  for (int64_t head = 0; head < mla.num_q_heads; ++head) {
    for (const auto& [copy, want] : {std::pair(copies.uk, wanted.uk),
                                     std::pair(copies.uv, wanted.uv)}) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(copy.at(head).data) % 256, 0u);
      EXPECT_EQ(copy.first.layout, WeightLayout::kRowMajor);
      EXPECT_EQ(stacked(copy, there.data, on_device, head),
                stacked(want, here.data, on_host, head))
          << "head " << head;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaWeights, ::testing::Values(Format::kF32, Format::kBf16));

TEST(CudaWeightsTest, MatricesAreAlignedAndDense) {
  const ModelSpec model = small_model();
  const WeightRanks ranks(slots_of(model, Format::kBf16, kCudaPacking));
  const WeightStore& store = ranks.store(0);
  for (int i = 0; i < static_cast<int>(store.slots().size()); ++i) {
    const WeightSlot& slot = store.slots()[static_cast<size_t>(i)];
    if (slot.is_vector) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(store.vector_at(i, 0)) % 256, 0u) << slot.name();
      continue;
    }
    for (int64_t e = 0; e < slot.count(); ++e) {
      const WeightView view = store.matrix_at(i, e);
      EXPECT_EQ(view.layout, WeightLayout::kRowMajor) << slot.name();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % 256, 0u) << slot.name() << " " << e;
    }
  }
}

// A part is rewritten, the rest stays.
TEST(CudaWeightsTest, UpdateOfOnePart) {
  const ModelSpec model = small_model();
  WeightRanks ranks(slots_of(model, Format::kBf16, kCudaPacking));
  ASSERT_EQ(ranks.load(random_transfers(&ranks, 5)).status, SLUICE_STATUS_OK);
  const std::vector<float> before = ranks.values(kKvB, 0);
  const std::vector<float> other = ranks.values(SLUICE__PROTO__SLOT__O, 0);
  ranks.begin(3);
  std::vector<Sluice__Proto__WeightTransfer*> list = random_transfers(&ranks, 6);
  std::erase_if(list, [](const auto* t) { return t->destination->slot != kKvB; });
  ASSERT_EQ(ranks.enqueue(list).status, SLUICE_STATUS_OK);
  ranks.session().drain();
  EXPECT_NE(ranks.values(kKvB, 0), before);
  EXPECT_EQ(ranks.values(SLUICE__PROTO__SLOT__O, 0), other);
}

// Far more than the pinned memory holds, from a file, by many threads; and the same again after a
// load that was aborted in its midst: nothing of it arrives late.
TEST(CudaWeightsTest, LargeLoadsAndAbort) {
  constexpr Slot kEmbed = SLUICE__PROTO__SLOT__EMBED_TOKENS;
  constexpr int64_t kRows = 30000, kCols = 1024;
  std::vector<uint16_t> values(static_cast<size_t>(kRows * kCols));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<uint16_t>(0x3000 + i * 2654435761u % 0x1000);
  }
  const std::string file(reinterpret_cast<const char*>(values.data()), values.size() * 2);
  for (const Format format : {Format::kBf16, Format::kF32}) {
    WeightRanks ranks({matrix_slot(kEmbed, -1, {part_of(kWhole, kRows)}, kCols, 0, format)});
    ranks.set_file(file);
    const auto transfer = [&] {
      return ranks.transfer(kEmbed, -1, kWhole, -1,
                            ranks.source({SLUICE__PROTO__FORMAT__BF16,
                                          0,
                                          {uint64_t{kRows}, uint64_t{kCols}},
                                          {},
                                          false}));
    };
    ranks.begin(8);
    ASSERT_EQ(ranks.enqueue({transfer()}).status, SLUICE_STATUS_OK);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ranks.session().abort();
    EXPECT_EQ(ranks.finish().status, SLUICE_STATUS_ABORTED);
    for (const int threads : {1, 8}) {
      ranks.begin(threads);
      ASSERT_EQ(ranks.enqueue({transfer()}).status, SLUICE_STATUS_OK);
      const Outcome loaded = ranks.finish();
      ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
      EXPECT_EQ(ranks.progress().bytes_done, static_cast<int64_t>(file.size()));
      const std::vector<float> stored = ranks.values(kEmbed, -1);
      for (size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(stored[i], to_float(Bf16{values[i]})) << i;
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
