#include "ops/sampling/token_counts_cuda.h"

#include <gtest/gtest.h>

#include <map>

#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr int kSlots = 3, kVocab = 300, kContext = 40;

std::vector<TokenCount> places_of(const cuda::DeviceTokenCounts& counts) {
  std::vector<TokenCount> places(static_cast<size_t>(kSlots * counts.view().capacity));
  cuda_copy(*cuda_exec().cuda, places.data(), counts.view().places,
            static_cast<int64_t>(places.size() * sizeof(TokenCount)));
  cuda_device().synchronize();
  return places;
}

// Whether a slot's table tells the same as the CPU's.
void expect_same(const cuda::DeviceTokenCounts& device, const TokenCounts& host, int slot) {
  const auto places = places_of(device);
  std::map<int, TokenCount> found;
  for (int64_t i = 0; i < device.view().capacity; ++i) {
    const TokenCount& c = places[static_cast<size_t>(slot * device.view().capacity + i)];
    if (c.token < 0) continue;
    ASSERT_TRUE(found.emplace(c.token, c).second) << "token " << c.token << " has two places";
  }
  for (int t = 0; t < kVocab; ++t) {
    const auto at = found.find(t);
    const TokenCount expected = host.find(slot, t);
    ASSERT_EQ(at == found.end() ? 0 : at->second.prompt, expected.prompt) << "token " << t;
    ASSERT_EQ(at == found.end() ? 0 : at->second.output, expected.output) << "token " << t;
  }
}

TEST(CudaTokenCounts, AgreeWithTheCpuOverRandomUpdates) {
  const CudaExec& exec = *cuda_exec().cuda;
  const cuda::DeviceTokenCounts device(exec, kSlots, kVocab, kContext);
  TokenCounts host(kSlots, kVocab, kContext);
  ASSERT_EQ(device.view().capacity, host.capacity());
  Random random(3);
  for (int round = 0; round < 30; ++round) {
    std::vector<sluice_count_update> updates;
    const bool take = round % 3 == 2;  // more than there is, and of tokens never seen
    for (int i = 0; i < 400; ++i) {
      const auto delta = [&] {
        return static_cast<int32_t>(take ? -random.below(9) : random.below(3));
      };
      const auto token = static_cast<int32_t>(random.below(take ? 45 : 41) * 7 % kVocab);
      updates.push_back({static_cast<int32_t>(random.below(kSlots)), token, delta(), delta()});
    }
    for (const auto& u : updates) host.add(u.seq_slot, u.token, u.prompt_delta, u.output_delta);
    const DeviceArray<sluice_count_update> on_gpu(updates);
    if (round % 2 == 0) {
      device.add(exec, on_gpu.get(), 400);
    } else {
      // More room than updates: the device knows how many.
      const DeviceArray<int32_t> count(std::vector<int32_t>{250});
      device.add(exec, on_gpu.get(), 400, count.get());
      device.add(exec, on_gpu.get() + 250, 150);
    }
    for (int slot = 0; slot < kSlots; ++slot) expect_same(device, host, slot);
    if (HasFatalFailure()) return;
  }
}

TEST(CudaTokenCounts, StateOperations) {
  const CudaExec& exec = *cuda_exec().cuda;
  const cuda::DeviceTokenCounts device(exec, kSlots, kVocab, kContext);
  TokenCounts host(kSlots, kVocab, kContext);
  std::vector<sluice_count_update> updates;
  for (int i = 0; i < 60; ++i) updates.push_back({i % kSlots, i * 5 % kVocab, 1, i % 4});
  for (const auto& u : updates) host.add(u.seq_slot, u.token, u.prompt_delta, u.output_delta);
  const DeviceArray<sluice_count_update> on_gpu(updates);
  device.add(exec, on_gpu.get(), 60);
  const DeviceArray<sluice_state_op> ops(std::vector<sluice_state_op>{
      {SLUICE_STATE_OP_COPY_BLOCK, 0, 1, 0}, {SLUICE_STATE_OP_COPY_SEQ, 0, 0, 2},
      {SLUICE_STATE_OP_ZERO_BLOCK, 0, 0, 0}, {SLUICE_STATE_OP_RESET_SEQ, 0, 0, 1}});
  host.copy(0, 2);
  const DeviceArray<int32_t> three(std::vector<int32_t>{3});
  device.apply(exec, ops.get(), 4, three.get());
  for (int slot = 0; slot < kSlots; ++slot) expect_same(device, host, slot);
  host.reset(1);
  device.apply(exec, ops.get(), 4);
  for (int slot = 0; slot < kSlots; ++slot) expect_same(device, host, slot);
  device.copy(exec, 0, 1);
  device.reset(exec, 0);
  host.copy(0, 1);
  host.reset(0);
  for (int slot = 0; slot < kSlots; ++slot) expect_same(device, host, slot);
}

}  // namespace
}  // namespace sluice
