/* The native border from a plain C program: plan, create, random weights, steps, errors. */
#include <math.h>
#include <sluice/sluice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum { VOCAB = 96, HIDDEN = 32, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 8, INNER = 48, LAYERS = 2 };
enum { BLOCK_SIZE = 8, BLOCKS = 16 };

/* Slot and part numbers of sluice.proto. */
enum { EMBED_TOKENS = 1, FINAL_NORM = 4, ATTENTION_NORM = 32, FEED_FORWARD_NORM = 36 };
enum { QKV = 64, O = 66, GATE_UP = 128, DOWN = 130 };
enum { F32 = 1, WHOLE = 0, RANDOM_NORMAL = 2 };

static int failures = 0;

#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                      \
    }                                                                  \
  } while (0)

static void expect_status(int line, sluice_status got, sluice_status wanted,
                          const sluice_error* error) {
  if (got == wanted) return;
  fprintf(stderr, "%s:%d: %s (expected: %s): %s\n", __FILE__, line, sluice_status_name(got),
          sluice_status_name(wanted), error->text);
  ++failures;
}
#define EXPECT_STATUS(call, wanted) expect_status(__LINE__, (call), (wanted), &error)

static void put_norm(message* m, uint32_t field) {
  message norm = {0};
  put_integer(&norm, 1, 1); /* RMS_NORM */
  put_double(&norm, 2, 1e-5);
  put_message(m, field, &norm);
}

static void put_layer(message* spec) {
  message layer = {0}, gqa = {0}, dense = {0}, activation = {0};
  put_norm(&layer, 1);
  put_norm(&layer, 3);
  put_integer(&gqa, 1, HEADS);
  put_integer(&gqa, 2, KV_HEADS);
  put_integer(&gqa, 3, HEAD_DIM);
  put_integer(&gqa, 5, 0);
  put_double(&gqa, 6, 1 / sqrt(HEAD_DIM));
  put_message(&layer, 8, &gqa);
  put_integer(&dense, 1, INNER);
  put_integer(&activation, 1, 1); /* SILU */
  put_message(&dense, 2, &activation);
  put_message(&layer, 12, &dense);
  put_message(spec, 11, &layer);
}

static message make_spec(void) {
  message spec = {0}, rope = {0}, variant = {0}, group = {0}, head = {0};
  double inv_freq[HEAD_DIM / 2];
  int i;
  put_integer(&spec, 1, 1);
  put_text(&spec, 2, "plain c");
  put_integer(&spec, 3, VOCAB);
  put_integer(&spec, 4, HIDDEN);
  put_integer(&spec, 5, 64);
  for (i = 0; i < HEAD_DIM / 2; ++i) inv_freq[i] = pow(10000, -2.0 * i / HEAD_DIM);
  put_doubles(&variant, 1, inv_freq, HEAD_DIM / 2);
  put_integer(&rope, 1, HEAD_DIM);
  put_message(&rope, 3, &variant);
  put_message(&spec, 9, &rope);
  put_message(&spec, 10, &group);
  for (i = 0; i < LAYERS; ++i) put_layer(&spec);
  put_norm(&spec, 12);
  put_integer(&head, 1, 1); /* GENERATION */
  put_integer(&head, 3, 1); /* tied */
  put_message(&spec, 14, &head);
  return spec;
}

static message make_options(const char* onednn_path) {
  const uint64_t blocks = BLOCKS;
  message options = {0};
  put_integer(&options, 1, 1);
  put_integer(&options, 2, 1);   /* CPU */
  put_integer(&options, 3, F32);
  put_integer(&options, 4, F32);
  put_integer(&options, 5, 2);   /* BATCH_INVARIANT */
  put_integer(&options, 6, 2);   /* num_threads */
  put_integer(&options, 7, BLOCK_SIZE);
  put_integers(&options, 8, &blocks, 1);
  put_integer(&options, 9, 2);   /* max_sequences */
  put_integer(&options, 10, 64); /* max_context_len */
  put_integer(&options, 11, 32); /* max_step_tokens */
  put_integer(&options, 12, 4);  /* max_step_outputs */
  put_text(&options, 26, onednn_path);
  return options;
}

static void put_random(message* list, uint64_t slot, uint64_t layer, uint64_t rows, uint64_t cols,
                       double std) {
  uint64_t shape[2];
  message transfer = {0}, destination = {0}, source = {0};
  shape[0] = rows;
  shape[1] = cols;
  put_integer(&destination, 1, layer);
  put_integer(&destination, 2, slot);
  put_integer(&destination, 3, WHOLE);
  put_integer(&source, 1, RANDOM_NORMAL);
  put_integers(&source, 6, shape, cols == 0 ? 1 : 2);
  put_integer(&source, 13, 42);
  put_double(&source, 14, std);
  put_message(&transfer, 1, &destination);
  put_message(&transfer, 2, &source);
  put_text(&transfer, 3, "random");
  put_message(list, 2, &transfer);
}

static message make_transfers(void) {
  const uint64_t model = (uint64_t)-1;
  message list = {0};
  uint64_t layer;
  put_random(&list, EMBED_TOKENS, model, VOCAB, HIDDEN, 1);
  put_random(&list, FINAL_NORM, model, HIDDEN, 0, 1);
  for (layer = 0; layer < LAYERS; ++layer) {
    put_random(&list, ATTENTION_NORM, layer, HIDDEN, 0, 1);
    put_random(&list, FEED_FORWARD_NORM, layer, HIDDEN, 0, 1);
    put_random(&list, QKV, layer, (HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN, 0.2);
    put_random(&list, O, layer, HIDDEN, HEADS * HEAD_DIM, 0.2);
    put_random(&list, GATE_UP, layer, 2 * INNER, HIDDEN, 0.2);
    put_random(&list, DOWN, layer, HIDDEN, INNER, 0.2);
  }
  return list;
}

typedef struct step {
  sluice_step_layout layout;
  uint8_t* input;
  uint8_t* output;
  uint64_t id;
} step;

static void* section(step* s, int id, int32_t count) {
  ((sluice_step_header*)(void*)s->input)->counts[id] = count;
  return s->input + s->layout.offset[id];
}

/* Writes a step of one sequence in slot 0: `count` tokens from position `begin` on. */
static void write_step(step* s, const int32_t* ids, int32_t begin, int32_t count) {
  sluice_step_header* header = (sluice_step_header*)(void*)s->input;
  sluice_output_row* row;
  sluice_block_update* updates;
  sluice_state_op* op;
  int32_t* values;
  int32_t i, num_updates = 0;
  memset(header, 0, sizeof(*header));
  header->magic = SLUICE_STEP_MAGIC;
  header->abi_version = SLUICE_ABI_VERSION;
  header->step_id = ++s->id;
  header->used_bytes = (uint64_t)s->layout.input_bytes;
  memcpy(section(s, SLUICE_SECTION_TOKEN_ID, count), ids, (size_t)count * sizeof(*ids));
  values = section(s, SLUICE_SECTION_TOKEN_POSITION, count);
  for (i = 0; i < count; ++i) values[i] = begin + i;
  values = section(s, SLUICE_SECTION_TOKEN_KV_SLOT, count);
  for (i = 0; i < count; ++i) values[i] = BLOCK_SIZE + begin + i; /* from block 1 on */
  updates = section(s, SLUICE_SECTION_BLOCK_UPDATE, 0);
  for (i = 0; i < count; ++i) {
    if ((begin + i) % BLOCK_SIZE != 0) continue;
    updates[num_updates].seq_slot = 0;
    updates[num_updates].kv_group = 0;
    updates[num_updates].index = (begin + i) / BLOCK_SIZE;
    updates[num_updates].block = 1 + (begin + i) / BLOCK_SIZE;
    ++num_updates;
  }
  section(s, SLUICE_SECTION_BLOCK_UPDATE, num_updates);
  if (begin == 0) {
    op = section(s, SLUICE_SECTION_STATE_OP, 1);
    memset(op, 0, sizeof(*op));
    op->kind = SLUICE_STATE_OP_RESET_SEQ;
  }
  *(int32_t*)section(s, SLUICE_SECTION_SEQ_SLOT, 1) = 0;
  values = section(s, SLUICE_SECTION_QUERY_START, 2);
  values[0] = 0;
  values[1] = count;
  *(int32_t*)section(s, SLUICE_SECTION_CONTEXT_LEN, 1) = begin + count;
  *(int32_t*)section(s, SLUICE_SECTION_ADAPTER, 1) = 0;
  *(int32_t*)section(s, SLUICE_SECTION_ROPE_VARIANT, 1) = 0;
  row = section(s, SLUICE_SECTION_OUTPUT_ROW, 1);
  memset(row, 0, sizeof(*row));
  row->token_index = count - 1;
  row->flags = SLUICE_OUTPUT_FLAG_LOGPROB;
  row->top_p = 1;
  row->repetition_penalty = 1;
  row->mask_index = -1;
}

/* Greedy tokens after a prompt fed `chunk` tokens at a time. */
static void generate(sluice_engine* engine, step* s, int32_t chunk, int32_t* chosen, int32_t n) {
  static const int32_t prompt[] = {3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46};
  const int32_t length = (int32_t)(sizeof(prompt) / sizeof(prompt[0]));
  sluice_error error = {0};
  int32_t at = 0, i;
  while (at < length) {
    const int32_t count = length - at < chunk ? length - at : chunk;
    write_step(s, prompt + at, at, count);
    EXPECT_STATUS(sluice_engine_submit(engine, 0, &error), SLUICE_STATUS_OK);
    EXPECT_STATUS(sluice_engine_wait(engine, 0, -1, &error), SLUICE_STATUS_OK);
    at += count;
  }
  for (i = 0; i < n; ++i) {
    const int32_t* tokens =
        (const int32_t*)(const void*)(s->output + s->layout.offset[SLUICE_SECTION_TOKENS]);
    const float* logprob =
        (const float*)(const void*)(s->output + s->layout.offset[SLUICE_SECTION_LOGPROB]);
    chosen[i] = tokens[0];
    EXPECT(chosen[i] >= 0 && chosen[i] < VOCAB);
    EXPECT(logprob[0] <= 0 && logprob[0] > -20);
    write_step(s, &chosen[i], at++, 1);
    EXPECT_STATUS(sluice_engine_submit(engine, 0, &error), SLUICE_STATUS_OK);
    EXPECT_STATUS(sluice_engine_wait(engine, 0, -1, &error), SLUICE_STATUS_OK);
  }
}

static void test_library(const char* onednn_path) {
  sluice_error error = {0};
  uint8_t buffer[1 << 14];
  int64_t size = -1;
  int32_t level = -1;
  EXPECT(sluice_abi_version() == SLUICE_ABI_VERSION);
  EXPECT(strchr(sluice_version(), '.') != NULL);
  EXPECT(strcmp(sluice_status_name(SLUICE_STATUS_CORRUPT_DATA), "CORRUPT_DATA") == 0);
  EXPECT_STATUS(sluice_system_info(onednn_path, NULL, 0, &size, &error),
                SLUICE_STATUS_BUFFER_TOO_SMALL);
  EXPECT(size > 0 && size < (int64_t)sizeof(buffer));
  EXPECT_STATUS(sluice_system_info(onednn_path, buffer, sizeof(buffer), &size, &error),
                SLUICE_STATUS_OK);
  EXPECT(find_integer(buffer, (size_t)size, 5, 0) > 0); /* num_cores */
  EXPECT_STATUS(sluice_system_info("/nonexistent/lib.so", buffer, sizeof(buffer), &size, &error),
                SLUICE_STATUS_OK);
  EXPECT_STATUS(sluice_library_info("oneDNN", onednn_path, NULL, 0, &size, &error),
                SLUICE_STATUS_BUFFER_TOO_SMALL);
  EXPECT_STATUS(sluice_library_info("cuBLASLt", "/nonexistent/lib.so", buffer, sizeof(buffer), &size,
                                    &error),
                SLUICE_STATUS_OK);
  EXPECT_STATUS(sluice_library_info("cuFFT", NULL, buffer, sizeof(buffer), &size, &error),
                SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT(strstr(error.text, "cuFFT (expected: oneDNN, cuBLASLt") != NULL);
  sluice_log_set_level(SLUICE_LOG_ERROR);
  do {
    EXPECT_STATUS(sluice_log_poll(&level, buffer, sizeof(buffer), &size, &error),
                  SLUICE_STATUS_OK);
  } while (size > 0);
}

int main(int argc, char** argv) {
  const char* onednn_path = argc > 1 ? argv[1] : "libdnnl.so.3";
  const int32_t device = 0;
  sluice_error error = {0};
  sluice_engine* engine = NULL;
  sluice_weights_progress progress;
  message spec = make_spec();
  message options = make_options(onednn_path);
  message list = make_transfers();
  uint8_t info[4096];
  int64_t size = 0, stats[SLUICE_STAT_COUNT + 2];
  int32_t whole[12], chunked[12];
  void *input = NULL, *output = NULL;
  step s;

  memset(&s, 0, sizeof(s));
  test_library(onednn_path);
  EXPECT_STATUS(sluice_engine_plan(spec.bytes, (int64_t)spec.size, options.bytes,
                                   (int64_t)options.size, &device, 1, 0, 1, 0, 0, info,
                                   sizeof(info), &size, &error),
                SLUICE_STATUS_OK);
  EXPECT(find_integer(info, (size_t)size, 2, 0) > 0); /* weight_bytes */
  EXPECT_STATUS(sluice_engine_create(spec.bytes, (int64_t)spec.size - 1, options.bytes,
                                     (int64_t)options.size, &device, 1, 0, 1, NULL, 0, 0, &engine,
                                     &error),
                SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT(engine == NULL);
  EXPECT_STATUS(sluice_engine_create(spec.bytes, (int64_t)spec.size, options.bytes,
                                     (int64_t)options.size, &device, 1, 0, 1, NULL, 0, 0, &engine,
                                     &error),
                SLUICE_STATUS_OK);
  if (engine == NULL) return 1;
  EXPECT_STATUS(sluice_engine_step_layout(engine, &s.layout, &error), SLUICE_STATUS_OK);
  EXPECT_STATUS(sluice_engine_step_buffers(engine, 0, &input, &output, &error), SLUICE_STATUS_OK);
  s.input = input;
  s.output = output;
  EXPECT_STATUS(sluice_engine_submit(engine, 0, &error), SLUICE_STATUS_WRONG_STATE);

  EXPECT_STATUS(sluice_weights_begin(engine, SLUICE_WEIGHTS_LOAD, &error), SLUICE_STATUS_OK);
  EXPECT_STATUS(sluice_weights_finish(engine, &error), SLUICE_STATUS_INCOMPLETE);
  EXPECT(strstr(error.text, "EMBED_TOKENS") != NULL);
  EXPECT_STATUS(sluice_weights_enqueue(engine, list.bytes, (int64_t)list.size, &error),
                SLUICE_STATUS_OK);
  EXPECT_STATUS(sluice_weights_poll(engine, -1, &progress, &error), SLUICE_STATUS_OK);
  EXPECT(progress.transfers_done == 2 + 6 * LAYERS);
  EXPECT_STATUS(sluice_weights_finish(engine, &error), SLUICE_STATUS_OK);

  generate(engine, &s, 100, whole, 12);
  generate(engine, &s, 3, chunked, 12);
  EXPECT(memcmp(whole, chunked, sizeof(whole)) == 0);

  memset(input, 0, sizeof(sluice_step_header));
  EXPECT_STATUS(sluice_engine_submit(engine, 0, &error), SLUICE_STATUS_INVALID_ARGUMENT);
  EXPECT(strstr(error.text, "magic") != NULL);
  EXPECT_STATUS(sluice_engine_stats(engine, stats, SLUICE_STAT_COUNT + 2, &error),
                SLUICE_STATUS_OK);
  EXPECT(stats[SLUICE_STAT_STEPS] == 1 + 12 + 4 + 12);
  EXPECT(stats[SLUICE_STAT_COUNT + 1] == 0);

  sluice_engine_destroy(engine);
  clear_message(&spec);
  clear_message(&options);
  clear_message(&list);
  if (failures == 0) printf("ok\n");
  return failures == 0 ? 0 : 1;
}
