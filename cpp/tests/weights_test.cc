// Loading and rewriting weights: every kind of source, and everything that can be wrong with one.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <thread>

#include "capi/arguments.h"
#include "support/driver.h"

// Threads that this program may still start; < 0: any number.
static std::atomic<int> threads_left = -1;

// In front of the system's, which cannot be made to fail on purpose.
extern "C" __attribute__((visibility("default"))) int pthread_create(
    pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
    void* argument) noexcept {
  static const auto create =
      reinterpret_cast<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
          ::dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left == 0) return EAGAIN;
  if (threads_left > 0) --threads_left;
  return create(thread, attributes, run, argument);
}

namespace sluice::test {
namespace {

constexpr int32_t kInvalid = SLUICE_STATUS_INVALID_ARGUMENT;

// A file that goes away with the test.
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

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

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
                      const std::string& second = "", int32_t status = kInvalid) {
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

TEST_F(WeightsTest, ProgressAndSlots) {
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  ASSERT_EQ(engine_.enqueue(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  ASSERT_EQ(poll().status, SLUICE_STATUS_OK);
  EXPECT_EQ(progress_.transfers_total, static_cast<int64_t>(fixture_->transfers()->n_transfers));
  EXPECT_EQ(progress_.transfers_done, progress_.transfers_total);
  EXPECT_EQ(progress_.bytes_done, progress_.bytes_total);
  EXPECT_EQ(finish().status, SLUICE_STATUS_OK);

  int64_t size = 0;
  EXPECT_EQ(sluice_weights_slots(engine_.get(), nullptr, 0, &size, &error_),
            SLUICE_STATUS_BUFFER_TOO_SMALL);
  std::vector<uint8_t> bytes(size);
  ASSERT_EQ(sluice_weights_slots(engine_.get(), bytes.data(), size, &size, &error_),
            SLUICE_STATUS_OK);
  const auto slots =
      unpack<Sluice__Proto__WeightSlotList>(sluice__proto__weight_slot_list__descriptor, bytes);
  // Embedding, final norm, and six slots a layer.
  EXPECT_EQ(slots->n_slots, 2u + 6u * static_cast<unsigned>(fixture_->num_layers()));
}

TEST_F(WeightsTest, MissingPartsAreNamed) {
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  auto* all = fixture_->transfers();
  // Without the keys of layer 1, and without rows of the output projection of layer 0.
  std::vector<Sluice__Proto__WeightTransfer*> kept;
  for (size_t i = 0; i < all->n_transfers; ++i) {
    const std::string name = all->transfers[i]->name;
    if (name == "model.layers.1.self_attn.k_proj.weight") continue;
    if (name == "model.layers.0.self_attn.o_proj.weight") {
      auto* part = o_transfer();
      part->destination->has_num_rows = 1;
      part->destination->num_rows = 10;
      part->source->shape[0] = 10;
      part->source->bytes = 10 * part->source->shape[1] * 4;
      kept.push_back(part);
    } else {
      kept.push_back(all->transfers[i]);
    }
  }
  ASSERT_EQ(engine_.enqueue(*list(kept)).status, SLUICE_STATUS_OK);
  const Outcome finished = finish();
  EXPECT_EQ(finished.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_NE(finished.text.find("layers[1].QKV.PART_K"), std::string::npos) << finished.text;
  EXPECT_NE(finished.text.find("layers[0].O (rows 10 to 63"), std::string::npos) << finished.text;
  // What is missing may follow.
  auto* rest = o_transfer();
  rest->destination->has_row_begin = 1;
  rest->destination->row_begin = 10;
  rest->source->offset += 10 * rest->source->shape[1] * 4;
  rest->source->shape[0] -= 10;
  rest->source->bytes = rest->source->shape[0] * rest->source->shape[1] * 4;
  auto* keys = fixture_->transfer(SLUICE__PROTO__SLOT__QKV, 1, SLUICE__PROTO__PART__PART_K,
                                  "model.layers.1.self_attn.k_proj.weight");
  ASSERT_EQ(engine_.enqueue(*list({rest, keys})).status, SLUICE_STATUS_OK);
  const Outcome done = finish();
  EXPECT_EQ(done.status, SLUICE_STATUS_OK) << done.text;
}

TEST_F(WeightsTest, DuplicatesAreNamed) {
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  const Outcome twice = engine_.enqueue(*list({o_transfer(), o_transfer()}));
  EXPECT_EQ(twice.status, kInvalid);
  EXPECT_NE(twice.text.find("layers[0].O rows 0 to 63"), std::string::npos) << twice.text;
  EXPECT_EQ(engine_.enqueue(*list({o_transfer()})).status, SLUICE_STATUS_OK);
  EXPECT_EQ(engine_.enqueue(*list({o_transfer()})).status, kInvalid);
}

TEST_F(WeightsTest, WrongTransfers) {
  const auto changed = [&](const std::function<void(Sluice__Proto__WeightTransfer*)>& change) {
    auto* transfer = o_transfer();
    change(transfer);
    return transfer;
  };
  expect_refused("O of layer 77", changed([](auto* t) { t->destination->layer = 77; }));
  expect_refused("part: PART_Q",
                 changed([](auto* t) { t->destination->part = SLUICE__PROTO__PART__PART_Q; }));
  expect_refused("HEAD of layer -1", changed([](auto* t) {
                   t->destination->slot = SLUICE__PROTO__SLOT__HEAD;
                   t->destination->layer = -1;
                 }));
  expect_refused("shape [63, 64]", changed([](auto* t) {
                   t->source->shape[0] = 63;
                   t->source->bytes = 63 * 64 * 4;
                 }));
  expect_refused("bytes: 5", changed([](auto* t) { t->source->bytes = 5; }));
  expect_refused("file: 1", changed([](auto* t) { t->source->file = 1; }));
  expect_refused("shape[0]: 0", changed([](auto* t) { t->source->shape[0] = 0; }));
  expect_refused("shape[1]", changed([](auto* t) { t->source->shape[1] = ~0ull; }));
  expect_refused("offset", changed([](auto* t) { t->source->offset = ~0ull; }));
  expect_refused("row_begin: 65", changed([](auto* t) {
                   t->destination->has_row_begin = 1;
                   t->destination->row_begin = 65;
                 }));
  expect_refused("num_rows", changed([](auto* t) {
                   t->destination->has_num_rows = 1;
                   t->destination->num_rows = ~0ull;
                 }));
  expect_refused("num_columns: 0", changed([](auto* t) {
                   t->destination->has_num_columns = 1;
                   t->destination->num_columns = 0;
                 }));
  expect_refused("innermost",
                 changed([](auto* t) { t->source->format = SLUICE__PROTO__FORMAT__Q4_K; }));
  expect_refused("format: F8_E4M3 not built",
                 changed([](auto* t) { t->source->format = SLUICE__PROTO__FORMAT__F8_E4M3; }), "",
                 SLUICE_STATUS_UNSUPPORTED);
  expect_refused("adapter: not built", changed([](auto* t) {
                   t->destination->has_adapter = 1;
                   t->destination->adapter = 1;
                 }),
                 "", SLUICE_STATUS_UNSUPPORTED);
}

TEST_F(WeightsTest, WrongFiles) {
  expect_refused("cannot be opened", o_transfer(), "/nonexistent/weights", SLUICE_STATUS_IO);
  expect_refused("no regular file", o_transfer(), "/tmp", SLUICE_STATUS_IO);
  expect_refused("absolute path", o_transfer(), "weights.bin");
  auto* beyond = o_transfer();
  beyond->source->offset = 1 << 30;
  expect_refused("inside its", beyond, "", SLUICE_STATUS_CORRUPT_DATA);
}

// A file that shrinks after it was checked, while it is read.
TEST_F(WeightsTest, TruncatedFile) {
  const uint64_t bytes = 64 * 64 * 4;
  const TemporaryFile file(std::string(bytes, 'x'));
  OptionValues values;
  values.num_threads = 1;
  open(values);
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  // Random numbers keep the one loader thread busy until the file is cut.
  auto* noise = fixture_->transfer(SLUICE__PROTO__SLOT__EMBED_TOKENS, -1,
                                   SLUICE__PROTO__PART__WHOLE, "model.embed_tokens.weight");
  noise->source->has_kind = noise->source->has_random_seed = noise->source->has_random_std = 1;
  noise->source->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
  noise->source->random_std = 1;
  auto* cut = second_file(o_transfer(), {64, 64}, {}, bytes);
  const Outcome queued = engine_.enqueue(*list({noise, cut}, file.path()));
  ASSERT_EQ(::truncate(file.path().c_str(), 100), 0);
  ASSERT_EQ(queued.status, SLUICE_STATUS_OK) << queued.text;
  const Outcome polled = poll();
  if (polled.status == SLUICE_STATUS_OK) {
    GTEST_SKIP() << "the loader was faster than the truncation";
  }
  EXPECT_EQ(polled.status, SLUICE_STATUS_CORRUPT_DATA) << polled.text;
  EXPECT_NE(polled.text.find("o_proj"), std::string::npos) << polled.text;
  EXPECT_NE(polled.text.find(file.path()), std::string::npos) << polled.text;
  EXPECT_EQ(finish().status, SLUICE_STATUS_CORRUPT_DATA);
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  const Outcome loaded = engine_.load(*fixture_->transfers());
  EXPECT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
}

TEST_F(WeightsTest, EverySourceLayoutGivesTheSameWeights) {
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> wanted = logits();
  const FileTensor& tensor =
      fixture_->weights().tensors().at("model.layers.0.self_attn.o_proj.weight");
  const uint64_t rows = tensor.shape[0];
  const uint64_t cols = tensor.shape[1];
  const std::vector<float> values =
      fixture_->weights().floats("model.layers.0.self_attn.o_proj.weight");
  const auto update = [&](std::vector<Sluice__Proto__WeightTransfer*> transfers,
                          const std::string& path) {
    const Outcome outcome = engine_.load(*list(transfers, path), SLUICE_WEIGHTS_UPDATE);
    ASSERT_EQ(outcome.status, SLUICE_STATUS_OK) << outcome.text;
  };

  std::vector<float> wrong(values.size(), 0.25f);
  const TemporaryFile constant(bytes_of(wrong));
  update({second_file(o_transfer(), {rows, cols}, {}, wrong.size() * 4)}, constant.path());
  EXPECT_NE(logits(), wanted);

  std::vector<float> turned(values.size());
  for (uint64_t r = 0; r < rows; ++r) {
    for (uint64_t c = 0; c < cols; ++c) turned[c * rows + r] = values[r * cols + c];
  }
  const TemporaryFile transposed(bytes_of(turned));
  auto* stored_in_out = second_file(o_transfer(), {cols, rows}, {}, turned.size() * 4);
  stored_in_out->source->has_transposed = 1;
  stored_in_out->source->transposed = 1;
  update({stored_in_out}, transposed.path());
  EXPECT_EQ(logits(), wanted);

  update({second_file(o_transfer(), {rows, cols}, {}, wrong.size() * 4)}, constant.path());
  std::vector<float> spread(rows * (cols + 5), NAN);
  for (uint64_t r = 0; r < rows; ++r) {
    for (uint64_t c = 0; c < cols; ++c) spread[r * (cols + 5) + c] = values[r * cols + c];
  }
  const TemporaryFile strided(bytes_of(spread));
  update({second_file(o_transfer(), {rows, cols}, {cols + 5, 1}, (spread.size() - 5) * 4)},
         strided.path());
  EXPECT_EQ(logits(), wanted);

  // In four rectangles.
  update({second_file(o_transfer(), {rows, cols}, {}, wrong.size() * 4)}, constant.path());
  std::vector<Sluice__Proto__WeightTransfer*> quarters;
  for (uint64_t r : {uint64_t{0}, rows / 2}) {
    for (uint64_t c : {uint64_t{0}, cols / 2}) {
      const uint64_t span = ((rows / 2 - 1) * cols + cols / 2) * 4;
      auto* part = second_file(o_transfer(), {rows / 2, cols / 2}, {cols, 1}, span);
      part->source->file = 0;
      part->source->offset = tensor.offset + (r * cols + c) * 4;
      auto* to = part->destination;
      to->has_row_begin = to->has_num_rows = to->has_column_begin = to->has_num_columns = 1;
      to->row_begin = r;
      to->num_rows = rows / 2;
      to->column_begin = c;
      to->num_columns = cols / 2;
      quarters.push_back(part);
    }
  }
  update(quarters, constant.path());
  EXPECT_EQ(logits(), wanted);
}

// One fused tensor for a slot with parts.
TEST_F(WeightsTest, WholeOfASlotWithParts) {
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> wanted = logits();
  std::vector<float> fused;
  for (const char* letter : {"q", "k", "v"}) {
    const auto part = fixture_->weights().floats(std::string("model.layers.1.self_attn.") + letter +
                                                 "_proj.weight");
    fused.insert(fused.end(), part.begin(), part.end());
  }
  const TemporaryFile file(bytes_of(fused));
  const uint64_t cols = static_cast<uint64_t>(fixture_->hidden_size());
  auto* whole = fixture_->transfer(SLUICE__PROTO__SLOT__QKV, 1, SLUICE__PROTO__PART__WHOLE,
                                   "model.layers.1.self_attn.q_proj.weight");
  second_file(whole, {fused.size() / cols, cols}, {}, fused.size() * 4);
  auto* all = fixture_->transfers();
  std::vector<Sluice__Proto__WeightTransfer*> others = {whole};
  for (size_t i = 0; i < all->n_transfers; ++i) {
    const auto* to = all->transfers[i]->destination;
    if (to->slot == SLUICE__PROTO__SLOT__QKV && to->layer == 1) continue;
    others.push_back(all->transfers[i]);
  }
  const Outcome loaded = engine_.load(*list(others, file.path()));
  ASSERT_EQ(loaded.status, SLUICE_STATUS_OK) << loaded.text;
  EXPECT_EQ(logits(), wanted);
}

TEST_F(WeightsTest, RandomWeightsDoNotDependOnTheCut) {
  const auto random = [&](uint64_t row_begin, uint64_t num_rows) {
    auto* transfer = o_transfer();
    auto* source = transfer->source;
    source->has_kind = source->has_random_seed = source->has_random_std = 1;
    source->kind = SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
    source->random_seed = 7;
    source->random_std = 0.02;
    source->shape[0] = num_rows;
    transfer->destination->has_row_begin = transfer->destination->has_num_rows = 1;
    transfer->destination->row_begin = row_begin;
    transfer->destination->num_rows = num_rows;
    return transfer;
  };
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> original = logits();
  ASSERT_EQ(engine_.load(*list({random(0, 64)}), SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_OK);
  const std::vector<float> whole = logits();
  EXPECT_NE(whole, original);
  ASSERT_EQ(engine_.load(*fixture_->transfers(), SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_OK);
  EXPECT_EQ(logits(), original);
  ASSERT_EQ(engine_.load(*list({random(17, 47), random(0, 17)}), SLUICE_WEIGHTS_UPDATE).status,
            SLUICE_STATUS_OK);
  EXPECT_EQ(logits(), whole);
}

TEST_F(WeightsTest, StatesOfALoad) {
  EXPECT_EQ(engine_.enqueue(*list({o_transfer()})).status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(poll().status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(finish().status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(begin(SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(begin(SLUICE_WEIGHTS_ADAPTER).status, SLUICE_STATUS_UNSUPPORTED);
  EXPECT_EQ(begin(3).status, kInvalid);
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
  EXPECT_EQ(begin().status, SLUICE_STATUS_WRONG_STATE);
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  EXPECT_EQ(poll().status, SLUICE_STATUS_WRONG_STATE);
  ASSERT_EQ(engine_.load(*fixture_->transfers()).status, SLUICE_STATUS_OK);
  const std::vector<float> wanted = logits();

  // An update that ends early leaves the engine unready until its parts are rewritten.
  ASSERT_EQ(begin(SLUICE_WEIGHTS_UPDATE).status, SLUICE_STATUS_OK);
  ASSERT_EQ(engine_.enqueue(*list({o_transfer()})).status, SLUICE_STATUS_OK);
  ASSERT_EQ(abort().status, SLUICE_STATUS_OK);
  Driver driver(engine_.get(), block_size_);
  driver.set_step_id(steps_);
  EXPECT_EQ(driver.run().status, SLUICE_STATUS_WRONG_STATE);
  auto* other = fixture_->transfer(SLUICE__PROTO__SLOT__O, 1, SLUICE__PROTO__PART__WHOLE,
                                   "model.layers.1.self_attn.o_proj.weight");
  const Outcome partial = engine_.load(*list({other}), SLUICE_WEIGHTS_UPDATE);
  EXPECT_EQ(partial.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_NE(partial.text.find("layers[0].O"), std::string::npos) << partial.text;
  // Some of its rows are not enough.
  auto* head = o_transfer();
  head->destination->has_num_rows = 1;
  head->destination->num_rows = head->source->shape[0] = 10;
  head->source->bytes = 10 * head->source->shape[1] * 4;
  ASSERT_EQ(engine_.enqueue(*list({head})).status, SLUICE_STATUS_OK);
  const Outcome rows = finish();
  EXPECT_EQ(rows.status, SLUICE_STATUS_INCOMPLETE);
  EXPECT_NE(rows.text.find("layers[0].O (rows 10 to 63"), std::string::npos) << rows.text;
  auto* rest = o_transfer();
  rest->destination->has_row_begin = 1;
  rest->destination->row_begin = 10;
  rest->source->offset += 10 * rest->source->shape[1] * 4;
  rest->source->shape[0] -= 10;
  rest->source->bytes = rest->source->shape[0] * rest->source->shape[1] * 4;
  ASSERT_EQ(engine_.enqueue(*list({rest})).status, SLUICE_STATUS_OK);
  EXPECT_EQ(finish().status, SLUICE_STATUS_OK);
  EXPECT_EQ(logits(), wanted);
}

TEST_F(WeightsTest, FaultsOfLoading) {
  OptionValues values;
  values.fault_name = "weights.read";
  values.fault_count = 3;
  values.fault_status = SLUICE_STATUS_IO;
  open(values);
  const Outcome loaded = engine_.load(*fixture_->transfers());
  EXPECT_EQ(loaded.status, SLUICE_STATUS_IO);
  EXPECT_NE(loaded.text.find("weights.read"), std::string::npos) << loaded.text;
  EXPECT_NE(loaded.text.find("model."), std::string::npos) << loaded.text;
  EXPECT_EQ(abort().status, SLUICE_STATUS_OK);
  const Outcome again = engine_.load(*fixture_->transfers());
  EXPECT_EQ(again.status, SLUICE_STATUS_OK) << again.text;
}

TEST_F(WeightsTest, LoaderThreadsThatDoNotStart) {
  OptionValues values;
  values.num_threads = 4;
  open(values);
  threads_left = 0;
  const Outcome none = begin();
  EXPECT_EQ(none.status, SLUICE_STATUS_OUT_OF_HOST_MEMORY);
  EXPECT_NE(none.text.find("loader threads: 0 of 4"), std::string::npos) << none.text;
  threads_left = 1;  // enough for a slower load
  const Outcome some = engine_.load(*fixture_->transfers());
  EXPECT_EQ(threads_left, 0);
  threads_left = -1;
  EXPECT_EQ(some.status, SLUICE_STATUS_OK) << some.text;
}

TEST_F(WeightsTest, AbortEndsAPollInProgress) {
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(begin().status, SLUICE_STATUS_OK);
    ASSERT_EQ(engine_.enqueue(*fixture_->transfers()).status, SLUICE_STATUS_OK);
    std::thread other([&] {
      sluice_error error = {};
      sluice_weights_abort(engine_.get(), &error);
    });
    const int32_t status = finish().status;
    other.join();
    EXPECT_TRUE(status == SLUICE_STATUS_OK || status == SLUICE_STATUS_ABORTED ||
                status == SLUICE_STATUS_WRONG_STATE)
        << status;
    abort();
  }
}

}  // namespace
}  // namespace sluice::test
