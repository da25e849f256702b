/// @file
/// What tests of loading weights share.
#ifndef SLUICE_TESTS_SUPPORT_WEIGHTS_TEST_BASE_H_
#define SLUICE_TESTS_SUPPORT_WEIGHTS_TEST_BASE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "support/driver.h"

namespace sluice::test {

/// A file that goes away with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content)
      : path_(::testing::TempDir() + "sluice_weights_" + std::to_string(::getpid()) + "_" +
              std::to_string(next_++)) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  static inline int next_ = 0;
  std::string path_;
};

inline std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

/// An engine over the llama fixture, without weights yet.
class WeightsTest : public ::testing::Test {
 protected:
  void SetUp() override { open({}); }

  void open(const OptionValues& values) {
    fixture_ = std::make_unique<Fixture>("llama");
    const Outcome created = engine_.create(*fixture_->spec(), *fixture_->options(values));
    ASSERT_EQ(created.status, SLUICE_STATUS_OK) << created.text;
    block_size_ = static_cast<int>(values.block_size);
  }

  Outcome begin(int mode = SLUICE_WEIGHTS_LOAD) {
    return {sluice_weights_begin(engine_.get(), mode, &error_), error_.text};
  }
  Outcome finish() { return {sluice_weights_finish(engine_.get(), &error_), error_.text}; }
  Outcome abort() { return {sluice_weights_abort(engine_.get(), &error_), error_.text}; }
  Outcome poll() {
    return {sluice_weights_poll(engine_.get(), -1, &progress_, &error_), error_.text};
  }

  // A list of these transfers; file 0 is the checkpoint, file 1 `second`.
  Sluice__Proto__WeightTransferList* list(std::vector<Sluice__Proto__WeightTransfer*> transfers,
                                          const std::string& second = "") {
    auto* made = fixture_->arena().make(sluice__proto__weight_transfer_list__init);
    std::vector<char*> files = {fixture_->arena().text(fixture_->weights().path())};
    if (!second.empty()) files.push_back(fixture_->arena().text(second));
    made->n_files = files.size();
    made->files = fixture_->arena().array(files);
    made->n_transfers = transfers.size();
    made->transfers = fixture_->arena().array(transfers);
    return made;
  }

  Sluice__Proto__WeightTransfer* o_transfer() {
    return fixture_->transfer(SLUICE__PROTO__SLOT__O, 0, SLUICE__PROTO__PART__WHOLE,
                              "model.layers.0.self_attn.o_proj.weight");
  }

  // A transfer of float32 values in file 1.
  Sluice__Proto__WeightTransfer* second_file(Sluice__Proto__WeightTransfer* transfer,
                                             const std::vector<uint64_t>& shape,
                                             const std::vector<uint64_t>& strides, uint64_t bytes) {
    auto* source = transfer->source;
    source->file = 1;
    source->offset = 0;
    source->bytes = bytes;
    source->n_shape = shape.size();
    source->shape = fixture_->arena().array(shape);
    source->n_strides = strides.size();
    source->strides = fixture_->arena().array(strides);
    return transfer;
  }

  // Logits of the first prompt: they tell whether the weights are what they should be.
  std::vector<float> logits() {
    Driver driver(engine_.get(), block_size_);
    Sequence sequence;
    driver.feed(&sequence, fixture_->expected().ids("input_ids_0"));
    driver.set_step_id(steps_);
    std::vector<std::vector<float>> tensors;
    const Outcome traced = driver.trace({"logits"}, &tensors);
    steps_ += traced.status == SLUICE_STATUS_OK;
    EXPECT_EQ(traced.status, SLUICE_STATUS_OK) << traced.text;
    return traced.status == SLUICE_STATUS_OK ? tensors[0] : std::vector<float>();
  }

  void expect_refused(const char* text, Sluice__Proto__WeightTransfer* transfer,
                      const std::string& second = "",
                      int32_t status = SLUICE_STATUS_INVALID_ARGUMENT) {
    ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
    const Outcome queued = engine_.enqueue(*list({transfer}, second));
    EXPECT_EQ(queued.status, status) << queued.text;
    EXPECT_NE(queued.text.find(text), std::string::npos) << queued.text;
    // Nothing was queued: the cells are still free.
    EXPECT_EQ(poll().status, SLUICE_STATUS_OK);
    EXPECT_EQ(progress_.transfers_total, 0);
    EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  }

  std::unique_ptr<Fixture> fixture_;
  EngineHandle engine_;
  sluice_error error_ = {};
  sluice_weights_progress progress_ = {};
  int block_size_ = 8;
  uint64_t steps_ = 0;
};

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_WEIGHTS_TEST_BASE_H_
