// Faults of a device and of its machine: each a typed error that says what to do, and the process
// lives on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "capi/arguments.h"
#include "device/buffer.h"
#include "device/cuda.h"
#include "ops/gemm/gemm.h"
#include "support/random_model.h"
#include "support/settings.h"

namespace sluice::test {
namespace {

constexpr int64_t kMebibyte = 1 << 20;

OptionValues few_blocks() {
  OptionValues values;
  values.num_blocks = 64;
  values.max_sequences = 8;
  return values;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int64_t stat(const EngineHandle& engine, int which) {
  std::vector<int64_t> values(SLUICE_STAT_COUNT);
  sluice_error error = {};
  EXPECT_EQ(sluice_engine_stats(engine.get(), values.data(), SLUICE_STAT_COUNT, &error),
            SLUICE_STATUS_OK);
  return values[static_cast<size_t>(which)];
}

auto info(const EngineHandle& engine) {
  std::vector<uint8_t> buffer(1 << 16);
  int64_t size = 0;
  sluice_error error = {};
  EXPECT_EQ(sluice_engine_info(engine.get(), buffer.data(), 1 << 16, &size, &error),
            SLUICE_STATUS_OK);
  return unpack<Sluice__Proto__EngineInfo>(sluice__proto__engine_info__descriptor,
                                           {buffer.data(), static_cast<size_t>(size)});
}

// Greedy tokens of prompts in as many sequences, then of decode steps with all of them, with one
// less, and so on: several batch sizes.
std::vector<int32_t> generate(EngineHandle* engine, int sequences, Outcome* last = nullptr) {
  Driver driver(engine->get(), static_cast<int>(few_blocks().block_size));
  driver.set_step_id(static_cast<uint64_t>(stat(*engine, SLUICE_STAT_STEPS)));
  std::vector<Sequence> all(static_cast<size_t>(sequences));
  std::vector<int32_t> tokens;
  for (int running = sequences, k = 0; running > 0; running -= k > 1, ++k) {
    driver.begin();
    for (int s = 0; s < running; ++s) {
      all[s].slot = s;
      const std::vector<int32_t> ids =
          k == 0 ? std::vector<int32_t>{1 + s, 7, 3} : std::vector<int32_t>{SLUICE_TOKEN_LAST};
      const int32_t first = driver.feed(&all[s], ids);
      driver.add_row(SLUICE_OUTPUT_SAMPLE, first + static_cast<int32_t>(ids.size()) - 1);
    }
    const Outcome ran = driver.run();
    if (last != nullptr) *last = ran;
    if (ran.status != SLUICE_STATUS_OK) {
      EXPECT_NE(last, nullptr) << ran.text;
      return tokens;
    }
    const auto* chosen = driver.output<int32_t>(0, SLUICE_SECTION_TOKENS);
    tokens.insert(tokens.end(), chosen, chosen + running);
  }
  return tokens;
}

class CudaFaultTest : public ::testing::Test {
 protected:
  // What an engine cannot be made with.
  Outcome refused(const OptionValues& values, int32_t device, sluice_error* error,
                  const std::function<void(Sluice__Proto__EngineOptions*)>& change = nullptr) {
    auto* message = model_.fixture().options(values);
    if (change) change(message);
    const auto options = pack_message(message->base);
    const auto spec = pack_message(model_.spec()->base);
    sluice_engine* made = nullptr;
    *error = {};
    const int32_t status = sluice_engine_create(
        spec.data(), static_cast<int64_t>(spec.size()), options.data(),
        static_cast<int64_t>(options.size()), &device, 1, 0, 1, nullptr, 0, 0, &made, error);
    EXPECT_EQ(made, nullptr);
    sluice_engine_destroy(made);
    return {status, error->text};
  }

  RandomModel model_;
  sluice_error error_ = {};
};

TEST_F(CudaFaultTest, ADeviceThatThereIsNotIsNamed) {
  for (const int32_t device : {99, -1}) {
    const Outcome created = refused(few_blocks(), device, &error_);
    EXPECT_EQ(created.status, SLUICE_STATUS_INVALID_ARGUMENT);
    EXPECT_TRUE(contains(created.text, "device: " + std::to_string(device) + " (expected: 0 to"))
        << created.text;
  }
}

TEST_F(CudaFaultTest, AMissingCublasLtIsNamed) {
  OptionValues values = few_blocks();
  const auto missing = [&](Sluice__Proto__EngineOptions* options) {
    options->cublaslt_path = model_.fixture().arena().text("/nonexistent/libcublasLt.so.13");
  };
  values.numerics = SLUICE__PROTO__NUMERICS__FAST;
  const Outcome created = refused(values, 0, &error_, missing);
  EXPECT_EQ(created.status, SLUICE_STATUS_LIBRARY_MISSING);
  EXPECT_TRUE(contains(created.text, "/nonexistent/libcublasLt.so.13")) << created.text;
  EXPECT_TRUE(contains(created.text, "cublaslt_path")) << created.text;
  // BATCH_INVARIANT does without.
  values.numerics = SLUICE__PROTO__NUMERICS__BATCH_INVARIANT;
  EngineHandle engine;
  model_.open(&engine, values, missing);
}

// Another program has the memory: what is needed and free is told, and the engine fits again later.
TEST_F(CudaFaultTest, MemoryThatOthersHaveIsTold) {
  OptionValues values = few_blocks();
  const int64_t left = 512 * kMebibyte;
  {
    const Buffer taken(cuda_memory_free(0) - left, "test", nullptr, {MemoryKind::kDevice, 0});
    values.num_blocks = 1 << 20;
    const Outcome created = refused(values, 0, &error_);
    EXPECT_EQ(created.status, SLUICE_STATUS_OUT_OF_DEVICE_MEMORY) << created.text;
    EXPECT_GT(error_.needed_bytes, error_.free_bytes);
    EXPECT_LE(error_.free_bytes, left);
    EXPECT_TRUE(contains(created.text, "remedy: a lower num_blocks")) << created.text;
    EXPECT_TRUE(contains(created.text, "KV cache")) << created.text;
  }
  EngineHandle engine;
  model_.open(&engine, values);
}

// Taken between the look at what is free and the allocation; each memory is named.
TEST_F(CudaFaultTest, ARefusedAllocationIsNamed) {
  try {
    const Buffer buffer(int64_t{1} << 50, "KV cache", nullptr, {MemoryKind::kDevice, 0});
    FAIL() << "a petabyte was given";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SLUICE_STATUS_OUT_OF_DEVICE_MEMORY);
    EXPECT_EQ(error.needed_bytes(), int64_t{1} << 50);
    EXPECT_GT(error.free_bytes(), 0);
    EXPECT_TRUE(contains(error.text(), "KV cache")) << error.text();
  }
}

// The step has run without its graph, and so do those of new sizes; those that there are stay.
TEST_F(CudaFaultTest, AGraphWithoutMemoryIsDoneWithout) {
  EngineHandle whole;
  model_.open(&whole, few_blocks());
  const std::vector<int32_t> tokens = generate(&whole, 6);
  const int64_t graphs = stat(whole, SLUICE_STAT_GRAPHS);
  EXPECT_GE(graphs, 4);
  EXPECT_EQ(stat(whole, SLUICE_STAT_GRAPHS_REFUSED), 0);
  EXPECT_FALSE(info(whole)->graphs_refused);
  for (const uint64_t good : {0, 2}) {
    OptionValues values = few_blocks();
    values.fault_name = "step.graph";
    values.fault_count = good + 1;
    values.fault_status = SLUICE_STATUS_OUT_OF_DEVICE_MEMORY;
    EngineHandle engine;
    model_.open(&engine, values);
    EXPECT_EQ(generate(&engine, 6), tokens);
    EXPECT_EQ(stat(engine, SLUICE_STAT_GRAPHS), static_cast<int64_t>(good));
    EXPECT_EQ(stat(engine, SLUICE_STAT_GRAPHS_REFUSED), 1);
    EXPECT_EQ(generate(&engine, 6), tokens);
    EXPECT_EQ(stat(engine, SLUICE_STAT_GRAPHS_REFUSED), 1);
    EXPECT_TRUE(info(engine)->graphs_refused);
  }
}

// What ran takes the place of what would be chosen.
TEST_F(CudaFaultTest, InfoTellsTheKernelsThatWereLaunched) {
  EngineHandle engine;
  model_.open(&engine, few_blocks());
  const auto kernels = [&] {
    std::vector<std::string> texts;
    const auto message = info(engine);
    for (size_t i = 0; i < message->n_kernels; ++i) {
      const Sluice__Proto__KernelChoice& kernel = *message->kernels[i];
      texts.push_back(std::string(kernel.op) + "=" + kernel.variant + " " + kernel.reason);
    }
    return texts;
  };
  const auto has = [](const std::vector<std::string>& texts, const std::string& part) {
    return std::any_of(texts.begin(), texts.end(),
                       [&](const std::string& text) { return contains(text, part); });
  };
  const auto before = kernels();
  EXPECT_TRUE(has(before, "attention, decode=plain layer 0"));
  EXPECT_FALSE(has(before, "launches"));
  generate(&engine, 2);
  const auto after = kernels();
  EXPECT_FALSE(has(after, "attention, decode"));
  EXPECT_TRUE(has(after, "attention=plain "));
  EXPECT_TRUE(has(after, " launches"));
  EXPECT_TRUE(has(after, "norm=cuda")) << "an op without a choice stays";
}

TEST_F(CudaFaultTest, AGraphThatFailsOtherwiseEndsTheEngine) {
  OptionValues values = few_blocks();
  values.fault_name = "step.graph";
  values.fault_count = 1;
  values.fault_status = SLUICE_STATUS_INTERNAL;
  EngineHandle engine;
  model_.open(&engine, values);
  Outcome last;
  generate(&engine, 3, &last);
  EXPECT_EQ(last.status, SLUICE_STATUS_INTERNAL) << last.text;
  EXPECT_EQ(stat(engine, SLUICE_STAT_GRAPHS), 0);
}

// Nothing is left of the device's memory: steps go on, with graphs or without.
TEST_F(CudaFaultTest, StepsGoOnWhenTheMemoryIsGone) {
  EngineHandle engine;
  model_.open(&engine, few_blocks());
  const std::vector<int32_t> tokens = generate(&engine, 6);
  EngineHandle other;  // its graphs are still to come; the kernels are loaded
  model_.open(&other, few_blocks());
  std::vector<Buffer> taken;
  for (int64_t bytes = cuda_memory_free(0); bytes >= kMebibyte; bytes /= 2) {
    try {
      while (true) {
        taken.emplace_back(bytes, "test", nullptr, MemorySpace{MemoryKind::kDevice, 0});
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.status(), SLUICE_STATUS_OUT_OF_DEVICE_MEMORY) << error.text();
    }
  }
  EXPECT_EQ(generate(&other, 6), tokens);
  EXPECT_EQ(generate(&engine, 6), tokens);
  std::printf("graphs: %lld made, %lld refused\n",
              static_cast<long long>(stat(other, SLUICE_STAT_GRAPHS)),
              static_cast<long long>(stat(other, SLUICE_STAT_GRAPHS_REFUSED)));
}

// ---------------------------------------------------------------------------------------------
// A fault that CUDA does not forgive, each in a process of its own: there is no way back in one.

void require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "not so: %s\n", what.c_str());
  std::_Exit(1);
}

void require_status(const Outcome& outcome, int32_t status, const std::string& part) {
  require(outcome.status == status && contains(outcome.text, part),
          std::string(sluice_status_name(status)) + " with '" + part + "', but " +
              sluice_status_name(outcome.status) + ": " + outcome.text);
}

void submit_prompt(Driver* driver, int slot) {
  Sequence sequence;
  sequence.slot = slot;
  driver->begin(slot);
  const int32_t first = driver->feed(&sequence, std::vector<int32_t>{1, 2, 3});
  driver->add_row(SLUICE_OUTPUT_SAMPLE, first + 2);
  driver->write();
}

// The keys of an engine's first layer lie nowhere: a kernel of its step writes there.
void lose_device() {
  RandomModel model;
  EngineHandle other, cpu;
  model.open(&other, few_blocks());
  const bool has_cpu = probe_onednn("").problem.empty();
  std::vector<int32_t> cpu_tokens;
  if (has_cpu) {
    settings().backend = SLUICE__PROTO__BACKEND__CPU;
    model.open(&cpu, few_blocks(), [](auto* options) { options->onednn_path = nullptr; });
    settings().backend = SLUICE__PROTO__BACKEND__CUDA;
    cpu_tokens = generate(&cpu, 2);
  }
  {
    EngineHandle engine;
    model.open(&engine, few_blocks());
    require(!generate(&engine, 2).empty(), "steps run before the fault");
    auto& layer = const_cast<LayerState&>(engine.get()->engine.kv_cache().layers()[0]);
    layer.kv.k = reinterpret_cast<std::byte*>(0x100);
    Driver driver(engine.get(), static_cast<int>(few_blocks().block_size));
    driver.set_step_id(static_cast<uint64_t>(stat(engine, SLUICE_STAT_STEPS)));
    for (const int slot : {0, 1}) {
      submit_prompt(&driver, slot);
      const Outcome submitted = driver.submit();
      // The second may come when the fault of the first is known.
      require(submitted.status == SLUICE_STATUS_OK ||
                  (slot == 1 && submitted.status == SLUICE_STATUS_ENGINE_FAILED),
              submitted.text);
      if (slot == 1 && submitted.status == SLUICE_STATUS_OK) {
        require_status(driver.wait(0), SLUICE_STATUS_DEVICE_LOST, "restart the process");
        require_status(driver.wait(1), SLUICE_STATUS_ENGINE_FAILED, "failed earlier");
      } else if (slot == 1) {
        require_status(driver.wait(0), SLUICE_STATUS_DEVICE_LOST, "restart the process");
      }
    }
    submit_prompt(&driver, 0);
    require_status(driver.submit(), SLUICE_STATUS_ENGINE_FAILED, "restart the process");
  }
  // Every engine of the process shares the context, old and new.
  Outcome last;
  generate(&other, 2, &last);
  require_status(last, SLUICE_STATUS_DEVICE_LOST, "restart the process");
  EngineHandle third;
  require_status(third.create(*model.spec(), *model.fixture().options(few_blocks())),
                 SLUICE_STATUS_DEVICE_LOST, "restart the process");
  const CudaInfo info = cuda_info();
  require(info.devices.empty(), "a lost device is not offered");
  require(contains(info.problem, "restart the process"), info.problem);
  if (has_cpu) {
    require(!cpu_tokens.empty() && generate(&cpu, 2) == cpu_tokens, "the CPU's engine goes on");
  }
  std::fprintf(stderr, "all as expected%s\n", has_cpu ? ", on the CPU too" : "");
}

TEST(CudaLostDeviceDeathTest, EndsTheEnginesNotTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        lose_device();
        std::exit(testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "all as expected");
}

}  // namespace
}  // namespace sluice::test
