/// @file
/// The native border of Sluice: a flat C ABI, the only way into the engine.
///
/// Division of labour: C++ moves bytes, Java keeps the books. The caller owns queues, KV block
/// accounting, prefixes, requests and text; the engine sees token ids, positions, block ids and
/// small stable sequence slots. A decode step costs two calls: sluice_engine_submit and
/// sluice_engine_wait.
///
/// Conventions:
/// - Every function is noexcept. All but the few that cannot fail return a sluice_status. When `error` is not NULL and the status is not
///   SLUICE_STATUS_OK and not SLUICE_STATUS_TIMEOUT, it is filled; otherwise it is untouched.
///   There is no thread-local last error: a virtual thread may change its carrier between calls.
/// - Strings are UTF-8. Messages (`*_proto`) are Protocol Buffers of cpp/proto/sluice.proto, passed
///   as bytes; the bytes may be freed when the call returns.
/// - "Two-call" outputs: with `buffer` NULL or `capacity` too small the needed size is stored in
///   `*size` and SLUICE_STATUS_BUFFER_TOO_SMALL is returned; nothing is written to `buffer`.
/// - All integers are little endian; the library refuses to start on another byte order.
/// - What a build does not implement is answered with SLUICE_STATUS_UNSUPPORTED, naming the field.
///
/// Threads: functions on one engine may be called from any thread. The caller serialises submits
/// and traces over all slots, and serialises the weight calls begin, enqueue, poll and finish; the
/// wait of one slot may overlap the submit of another. sluice_engine_abort, sluice_weights_abort,
/// _stats, _info, _step_layout and _step_buffers may overlap anything but destroy.
/// sluice_engine_destroy must be the last call and must not overlap another one.
///
/// A slot is in flight from a successful submit until wait returns anything but
/// SLUICE_STATUS_TIMEOUT. Submit or trace of a slot in flight and wait on one that is not are
/// answered SLUICE_STATUS_WRONG_STATE at once. After sluice_engine_abort every later submit, trace
/// and weight call returns SLUICE_STATUS_ABORTED.
#ifndef SLUICE_SLUICE_H_
#define SLUICE_SLUICE_H_

#include <stdint.h>

#if defined(SLUICE_BUILD) && defined(__GNUC__)
#define SLUICE_API __attribute__((visibility("default")))
#else
#define SLUICE_API
#endif

#ifdef __cplusplus
#define SLUICE_NOEXCEPT noexcept
extern "C" {
#else
#define SLUICE_NOEXCEPT
#endif

/// Changes whenever this header, the step layout's meaning or sluice.proto changes incompatibly.
/// Java compares its copy with sluice_abi_version() when it loads the library.
#define SLUICE_ABI_VERSION 1

// ---------------------------------------------------------------------------------------------
// Status and error

typedef enum sluice_status {
  SLUICE_STATUS_OK = 0,
  SLUICE_STATUS_INVALID_ARGUMENT = 1,      ///< a value is outside what the function accepts
  SLUICE_STATUS_UNSUPPORTED = 2,           ///< well formed, but this build has no code for it
  SLUICE_STATUS_OUT_OF_HOST_MEMORY = 3,    ///< needed_bytes and free_bytes are set
  SLUICE_STATUS_OUT_OF_DEVICE_MEMORY = 4,  ///< needed_bytes and free_bytes are set
  SLUICE_STATUS_IO = 5,                    ///< a file could not be opened or read
  SLUICE_STATUS_CORRUPT_DATA = 6,          ///< a file ended early or holds impossible bytes
  SLUICE_STATUS_INCOMPLETE = 7,            ///< weights are missing; the text names them
  SLUICE_STATUS_TIMEOUT = 8,               ///< not finished in time; call again
  SLUICE_STATUS_ABORTED = 9,               ///< sluice_engine_abort or sluice_weights_abort ended it
  SLUICE_STATUS_WRONG_STATE = 10,          ///< e.g. submit before the weights are complete
  SLUICE_STATUS_DEVICE_LOST = 11,          ///< the device failed; the engine stays failed
  SLUICE_STATUS_ENGINE_FAILED = 12,        ///< an earlier fault left the engine failed
  SLUICE_STATUS_BUFFER_TOO_SMALL = 13,     ///< two-call output: *size holds what is needed
  SLUICE_STATUS_LIBRARY_MISSING = 14,      ///< a library opened at run time is absent or too old
  SLUICE_STATUS_INTERNAL = 15              ///< a defect of Sluice
} sluice_status;

#define SLUICE_STATUS_COUNT 16

/// Why a call failed. Filled by the library; the caller owns the memory.
typedef struct sluice_error {
  int32_t code;          ///< a sluice_status
  int32_t line;          ///< source line that raised it
  int64_t needed_bytes;  ///< memory needed, or -1
  int64_t free_bytes;    ///< memory free, or -1
  char file[64];         ///< source file that raised it, NUL terminated
  char text[1024];       ///< value, expectation, remedy; NUL terminated, cut at a character boundary
} sluice_error;

/// Constant upper-case name of a status ("OK", "INVALID_ARGUMENT"); "UNKNOWN" for other numbers.
SLUICE_API const char* sluice_status_name(int32_t status) SLUICE_NOEXCEPT;

/// Version of the library, e.g. "0.1.0". Constant.
SLUICE_API const char* sluice_version(void) SLUICE_NOEXCEPT;

/// SLUICE_ABI_VERSION that the library was built with.
SLUICE_API uint32_t sluice_abi_version(void) SLUICE_NOEXCEPT;

/// Two-call output: a SystemInfo message (processor, devices, libraries, kernels that would be
/// chosen). `onednn_path` names the oneDNN file to try, or is NULL for the system's search path.
SLUICE_API sluice_status sluice_system_info(const char* onednn_path, uint8_t* buffer,
                                            int64_t capacity, int64_t* size,
                                            sluice_error* error) SLUICE_NOEXCEPT;

/// Two-call output: a LibraryInfo message, whether a library that engines open can be opened.
/// @param name  "oneDNN", "cuBLASLt", "cuDNN" or "NCCL"
/// @param path  file to try (oneDNN and cuBLASLt: or folder), as the engine's option; NULL: where an
///              engine without that option looks
SLUICE_API sluice_status sluice_library_info(const char* name, const char* path, uint8_t* buffer,
                                             int64_t capacity, int64_t* size,
                                             sluice_error* error) SLUICE_NOEXCEPT;

// ---------------------------------------------------------------------------------------------
// Logging

typedef enum sluice_log_level {
  SLUICE_LOG_ERROR = 0,
  SLUICE_LOG_WARN = 1,
  SLUICE_LOG_INFO = 2,
  SLUICE_LOG_DEBUG = 3
} sluice_log_level;

/// Takes the oldest log record of the process-wide bounded queue (1,024 records; when full, the
/// oldest is dropped and the next record says how many). A queue, not a callback: no native thread
/// ever enters the JVM. Two-call output of UTF-8 text without NUL; *level receives a
/// sluice_log_level. An empty queue gives SLUICE_STATUS_OK with *size = 0.
SLUICE_API sluice_status sluice_log_poll(int32_t* level, uint8_t* buffer, int64_t capacity,
                                         int64_t* size, sluice_error* error) SLUICE_NOEXCEPT;

/// Records above this level are not queued. Default SLUICE_LOG_WARN.
SLUICE_API void sluice_log_set_level(int32_t level) SLUICE_NOEXCEPT;

// ---------------------------------------------------------------------------------------------
// Engine

typedef struct sluice_engine sluice_engine;

/// Length of a communicator id (large enough for NCCL's unique id).
#define SLUICE_COMM_ID_BYTES 128

/// Fills `comm_id` (SLUICE_COMM_ID_BYTES bytes) for one group of engines. Only needed when ranks
/// live in several processes.
SLUICE_API sluice_status sluice_comm_id(uint8_t* comm_id, sluice_error* error) SLUICE_NOEXCEPT;

/// Creates an engine: allocates the weight arena, the KV blocks and the step workspace, all that it
/// will ever allocate on a device. Weights are filled in afterwards.
///
/// @param spec_proto      ModelSpec of `spec_bytes` bytes
/// @param options_proto   EngineOptions of `options_bytes` bytes
/// @param devices         device index of each local rank, `num_devices` long (CPU: 0 for each);
///                        on the CPU `num_threads` is the total over local ranks
/// @param first_rank      global rank of devices[0]
/// @param world_size      ranks of all processes = tensor * pipeline * expert parallel sizes;
///                        rank = (pipeline * expert_size + expert) * tensor_size + tensor
/// @param comm_id         id from sluice_comm_id, the same in every process; NULL when
///                        num_devices == world_size
/// @param layer_begin,layer_end  layers [begin, end) that this process holds; 0, 0 for all of them.
///                        Pipeline stages: the first holds the embedding, the last the heads
/// @param engine          receives the handle; NULL on failure
///
/// Every process's output area is complete, whatever its layers. Waiting for other processes to
/// join ends with SLUICE_STATUS_TIMEOUT after EngineOptions.comm_timeout_micros.
/// Every kv group must be used by a layer. SLUICE_STATUS_INVALID_ARGUMENT also when an area or an
/// element count would pass 2^31 - 1, or num_blocks * block_size of a kv group.
SLUICE_API sluice_status sluice_engine_create(const uint8_t* spec_proto, int64_t spec_bytes,
                                              const uint8_t* options_proto, int64_t options_bytes,
                                              const int32_t* devices, int32_t num_devices,
                                              int32_t first_rank, int32_t world_size,
                                              const uint8_t* comm_id, int32_t layer_begin,
                                              int32_t layer_end, sluice_engine** engine,
                                              sluice_error* error) SLUICE_NOEXCEPT;

/// Two-call output: the EngineInfo that sluice_engine_create with the same arguments would give.
/// Allocates nothing on a device and reads no file but oneDNN's library, which the workspace depends
/// on. EngineOptions.num_blocks may be empty; then
/// num_blocks is 0 in the answer and the caller multiplies bytes_per_block itself.
SLUICE_API sluice_status sluice_engine_plan(const uint8_t* spec_proto, int64_t spec_bytes,
                                            const uint8_t* options_proto, int64_t options_bytes,
                                            const int32_t* devices, int32_t num_devices,
                                            int32_t first_rank, int32_t world_size,
                                            int32_t layer_begin, int32_t layer_end, uint8_t* buffer,
                                            int64_t capacity, int64_t* size,
                                            sluice_error* error) SLUICE_NOEXCEPT;

/// Aborts what is in flight, waits for it to stop, frees everything. NULL is harmless.
SLUICE_API void sluice_engine_destroy(sluice_engine* engine) SLUICE_NOEXCEPT;

/// Makes every step in flight end with SLUICE_STATUS_ABORTED as soon as it can, and every later
/// submit fail. Returns at once; used before destroy, and when a rank is lost.
SLUICE_API sluice_status sluice_engine_abort(sluice_engine* engine,
                                             sluice_error* error) SLUICE_NOEXCEPT;

/// Two-call output: an EngineInfo message.
SLUICE_API sluice_status sluice_engine_info(sluice_engine* engine, uint8_t* buffer,
                                            int64_t capacity, int64_t* size,
                                            sluice_error* error) SLUICE_NOEXCEPT;

/// Indices into the snapshot of sluice_engine_stats. Counters only grow.
typedef enum sluice_stat {
  SLUICE_STAT_STEPS = 0,
  SLUICE_STAT_TOKENS = 1,
  SLUICE_STAT_OUTPUTS = 2,
  SLUICE_STAT_STEP_MICROS = 3,      ///< time spent in steps
  SLUICE_STAT_ATTENTION_MICROS = 4, ///< of that, in attention (CPU; 0 elsewhere)
  SLUICE_STAT_DENSE_MICROS = 5,     ///< of that, in matrix products (CPU; 0 elsewhere)
  SLUICE_STAT_OTHER_MICROS = 6,
  SLUICE_STAT_NON_FINITE_ROWS = 7,
  SLUICE_STAT_DEVICE_ALLOCATIONS = 8,  ///< since create; does not move after the engine is ready
  SLUICE_STAT_BLOCK_COPIES = 9,
  SLUICE_STAT_GRAPHS = 10,         ///< graphs of decode steps made (CUDA; 0 elsewhere)
  SLUICE_STAT_GRAPHS_REFUSED = 11  ///< 1: steps of new sizes run without, for want of device memory
} sluice_stat;

#define SLUICE_STAT_COUNT 12

/// One packed snapshot: values[0 .. min(count, SLUICE_STAT_COUNT)) by sluice_stat, the rest zero.
SLUICE_API sluice_status sluice_engine_stats(sluice_engine* engine, int64_t* values, int32_t count,
                                             sluice_error* error) SLUICE_NOEXCEPT;

// ---------------------------------------------------------------------------------------------
// Weights: begin, enqueue ..., poll ..., finish. The same calls rewrite weights between steps and
// fill adapters.

typedef enum sluice_weights_mode {
  SLUICE_WEIGHTS_LOAD = 0,    ///< first load: finish demands every slot complete
  /// Rewrites what is enqueued. With a step in flight: SLUICE_STATUS_WRONG_STATE. From begin until
  /// finish, and after a failure or abort until a LOAD or UPDATE that names at least the same parts
  /// finishes, the engine is not ready (submit: SLUICE_STATUS_WRONG_STATE).
  SLUICE_WEIGHTS_UPDATE = 1,
  /// Replaces whole the adapters that WeightTransferList.adapters names; one without transfers is
  /// unloaded. Steps in flight may use other adapters. After a failure or abort the named adapters
  /// are empty.
  SLUICE_WEIGHTS_ADAPTER = 2
} sluice_weights_mode;

/// Two-call output: a WeightSlotList, every slot the engine expects on its local ranks.
SLUICE_API sluice_status sluice_weights_slots(sluice_engine* engine, uint8_t* buffer,
                                              int64_t capacity, int64_t* size,
                                              sluice_error* error) SLUICE_NOEXCEPT;

SLUICE_API sluice_status sluice_weights_begin(sluice_engine* engine, int32_t mode,
                                              sluice_error* error) SLUICE_NOEXCEPT;

/// Checks a WeightTransferList and queues it for the loader threads. Formats, shapes, ranges and
/// byte counts are checked here, before anything is read; a wrong entry queues nothing.
SLUICE_API sluice_status sluice_weights_enqueue(sluice_engine* engine, const uint8_t* list_proto,
                                                int64_t list_bytes,
                                                sluice_error* error) SLUICE_NOEXCEPT;

typedef struct sluice_weights_progress {
  int64_t transfers_done;
  int64_t transfers_total;
  int64_t bytes_done;   ///< bytes read from files
  int64_t bytes_total;
} sluice_weights_progress;

/// Waits up to `timeout_us` (0: not at all; < 0: without limit) for the queue to empty. OK: all that
/// was queued is done. TIMEOUT: still working. `progress` is filled for both. Any other status: the first failure of a transfer (its name is in the
/// text); the load is over and only sluice_weights_abort or destroy may follow.
SLUICE_API sluice_status sluice_weights_poll(sluice_engine* engine, int64_t timeout_us,
                                             sluice_weights_progress* progress,
                                             sluice_error* error) SLUICE_NOEXCEPT;

/// Waits for the queue, makes derived slots, and makes the engine ready.
/// SLUICE_STATUS_INCOMPLETE names up to ten parts that were not filled, and how many more.
SLUICE_API sluice_status sluice_weights_finish(sluice_engine* engine,
                                               sluice_error* error) SLUICE_NOEXCEPT;

/// Drops what is queued and ends the load: a poll or finish in progress returns
/// SLUICE_STATUS_ABORTED. Safe from any thread. After an aborted
/// SLUICE_WEIGHTS_LOAD the engine can only begin again or be destroyed.
SLUICE_API sluice_status sluice_weights_abort(sluice_engine* engine,
                                              sluice_error* error) SLUICE_NOEXCEPT;

// ---------------------------------------------------------------------------------------------
// Step message
//
// One relocatable message, no pointers: it can be broadcast to ranks as it is. A slot has an input
// area and an output area, both allocated (pinned) by the engine. Each is a header followed by
// sections at fixed offsets that sluice_engine_step_layout tells once. Element types are named
// below: i32, u32, i64, u64, f32, f64, or a struct of this header. Section starts are multiples
// of 64 bytes, in no particular order of ids (small sections that are always used come first);
// an implementation may copy only the used part of each. In a section of `A * B` elements, element
// (a, b) is at a * B + b, B being the full value of the options or the spec.
//
// Input, per token t in [0, T): tokens of one sequence are adjacent and in position order.
// Input, per sequence s in [0, S): sequences are disjoint non-empty ranges of tokens and cover all
// of them, and the positions (dimension 0) of a sequence's tokens are consecutive and end at
// context_len - 1. A seq_slot appears at most once. T = S = R = 0 is legal: a step of updates alone
// (QUERY_START then is one 0), also the place for updates that exceed a section's capacity.
//
// Resident state changes in this order: state operations, block updates, count updates, RoPE
// updates, then the tokens. So that they can run in parallel, within one step a block, or a
// seq_slot, is a target at most once and is never both a source and a target of state operations,
// and (seq_slot, kv_group, index) appears once among block updates; count updates add up.
//
// A query reads keys and values through the block table alone, its own included. Every block that
// a query of the step can see must be set in the table, each KV slot must agree with the table, and
// no KV slot appears twice; submit checks this against its own copy of the tables.

typedef enum sluice_section {
  /// i32[T]. >= 0: a token id. -1 - r, r < rows of the step submitted before this one: the last
  /// token accepted at its SAMPLE row r, which Java does not know yet. SLUICE_TOKEN_EMBEDDING - e:
  /// row e of SLUICE_SECTION_EMBEDDING. SLUICE_TOKEN_LAST: the resident last token of the seq_slot,
  /// chosen any number of steps ago.
  SLUICE_SECTION_TOKEN_ID = 0,
  /// i32[T * position_dims]. Dimension 0 is the position that KV state, windows and capacity count;
  /// RoPE uses it too unless RopeSpec.pair_dims names another.
  SLUICE_SECTION_TOKEN_POSITION = 1,
  /// i32[T * kv_groups]. Where the token's state goes: block * block_size + offset. -1 only in groups
  /// that have no layer on this process.
  SLUICE_SECTION_TOKEN_KV_SLOT = 2,
  /// i32[S]. Key of resident state: block table, penalty counts, last token. In [0, max_sequences).
  SLUICE_SECTION_SEQ_SLOT = 3,
  /// i32[S + 1]. First token of each sequence; the last entry is T.
  SLUICE_SECTION_QUERY_START = 4,
  /// i32[S]. Positions [0, context_len) of the sequence hold state after this step's tokens.
  SLUICE_SECTION_CONTEXT_LEN = 5,
  /// i32[S]. 0: the model itself.
  SLUICE_SECTION_ADAPTER = 6,
  /// i32[S * ropes]. Variant of each RopeSpec.
  SLUICE_SECTION_ROPE_VARIANT = 7,
  /// sluice_state_op[]. Run in order before everything else of the step.
  SLUICE_SECTION_STATE_OP = 8,
  /// sluice_block_update[]. Changes of resident block tables, after the state operations.
  SLUICE_SECTION_BLOCK_UPDATE = 9,
  /// sluice_count_update[]. Changes of resident penalty counts, after the state operations.
  SLUICE_SECTION_COUNT_UPDATE = 10,
  /// sluice_output_row[R].
  SLUICE_SECTION_OUTPUT_ROW = 11,
  /// sluice_logit_bias[]. Rows refer to ranges of it.
  SLUICE_SECTION_LOGIT_BIAS = 12,
  /// i32[]. Token ids whose log-probability is asked; rows refer to ranges of it.
  SLUICE_SECTION_TARGET = 13,
  /// u32[masks * ceil(vocab_size / 32)]. Bit v % 32 of word v / 32 set: token v is allowed.
  SLUICE_SECTION_MASK = 14,
  /// sluice_rope_update[]. Rewrites dynamic RoPE variants, before the step's tokens.
  SLUICE_SECTION_ROPE_UPDATE = 15,
  /// f64[]. Inverse frequencies that SLUICE_SECTION_ROPE_UPDATE refers to.
  SLUICE_SECTION_ROPE_INV_FREQ = 16,
  /// f32[rows * hidden_size]. Input embeddings instead of token ids.
  SLUICE_SECTION_EMBEDDING = 17,
  SLUICE_SECTION_INPUT_COUNT = 18,

  // Output sections. D = max_draft_len, N = max_top_n.
  /// i32[R]. Tokens accepted: 1 + accepted drafts for SAMPLE rows (but see FINITE), 0 for other kinds
  /// and for rows whose FINITE is not 1.
  SLUICE_SECTION_ACCEPTED_COUNT = 32,
  /// i32[R * (1 + D)].
  SLUICE_SECTION_TOKENS = 33,
  /// f32[R * (1 + D)]. Natural log-probability of each accepted token under the softmax of the raw
  /// logits (after logit_multiplier and soft cap), before penalties, bias, mask and temperature.
  SLUICE_SECTION_LOGPROB = 34,
  /// i32[R * (1 + D)]. How many tokens have a larger raw logit, or an equal one and a lower id.
  SLUICE_SECTION_RANK = 35,
  /// f32[targets] and i32[targets], in the order of SLUICE_SECTION_TARGET.
  SLUICE_SECTION_TARGET_LOGPROB = 36,
  SLUICE_SECTION_TARGET_RANK = 37,
  /// i32[R * (1 + D) * N] and f32[R * (1 + D) * N], by falling log-probability.
  SLUICE_SECTION_TOP_TOKEN = 38,
  SLUICE_SECTION_TOP_LOGPROB = 39,
  /// f32[R * values], values = the largest num_labels of a CLASSIFICATION head (VALUE: 1). Of rows of
  /// kind HEAD; what a row's head does not give, and other rows, are 0.
  SLUICE_SECTION_HEAD_VALUE = 40,
  /// f32[hidden rows * hidden_size]. Rows of kind HIDDEN, in row order.
  SLUICE_SECTION_HIDDEN = 41,
  /// i32[R]. 1: usable. 0: a raw logit of the row (or of its drafts) is not finite. 2: mask and bias
  /// allow no token. For 0 and 2 nothing is accepted or counted, the sequence's last token becomes 0,
  /// and the step and the engine go on. Where mask and bias allow no token behind an accepted draft,
  /// that draft is the row's last token and the row is usable: the next step's row says 2.
  SLUICE_SECTION_FINITE = 42,
  /// i32[layers * num_experts], all layers of the model, the largest num_experts of them. Tokens per
  /// expert, accepted by capacity; 0 for layers without experts.
  SLUICE_SECTION_EXPERT_COUNT = 43,
  SLUICE_SECTION_END = 44
} sluice_section;

/// Token ids in (SLUICE_TOKEN_LAST, SLUICE_TOKEN_EMBEDDING] name rows of SLUICE_SECTION_EMBEDDING.
#define SLUICE_TOKEN_EMBEDDING (-1073741824)

/// The resident last token of the sequence.
#define SLUICE_TOKEN_LAST (-2147483647 - 1)

/// "STLP" in memory.
#define SLUICE_STEP_MAGIC 0x504C5453

/// Starts the input area of a slot; 256 bytes.
typedef struct sluice_step_header {
  uint32_t magic;        ///< SLUICE_STEP_MAGIC
  uint32_t abi_version;  ///< SLUICE_ABI_VERSION
  uint64_t step_id;      ///< grows by one with each successful submit or trace; the first is 1
  uint64_t used_bytes;   ///< at least the end of every section in use
  uint64_t plan_hash;    ///< compared across ranks; 0: not compared
  uint32_t flags;        ///< sluice_step_flag
  uint32_t reserved0;
  int32_t counts[SLUICE_SECTION_INPUT_COUNT];  ///< elements in use of each input section; counted as
                                               ///< the section's array length, structs as one each
  int32_t reserved[36];
} sluice_step_header;

typedef enum sluice_step_flag {
  SLUICE_STEP_FLAG_NONE = 0
} sluice_step_flag;

/// Starts the output area of a slot; 64 bytes.
typedef struct sluice_step_result {
  uint32_t magic;
  int32_t status;        ///< the sluice_status that wait returned
  uint64_t step_id;
  uint64_t device_micros;
  int32_t num_rows;
  int32_t reserved[9];
} sluice_step_result;

typedef enum sluice_state_op_kind {
  SLUICE_STATE_OP_COPY_BLOCK = 0,  ///< block `source` to block `target` of `kv_group`, side channels too
  SLUICE_STATE_OP_ZERO_BLOCK = 1,  ///< block `target` of `kv_group`
  SLUICE_STATE_OP_RESET_SEQ = 2,   ///< seq_slot `target`: empty block table, zero counts, no last token
  SLUICE_STATE_OP_COPY_SEQ = 3     ///< seq_slot `source` to `target`: table, counts, last token
} sluice_state_op_kind;

typedef struct sluice_state_op {
  int32_t kind;
  int32_t kv_group;
  int32_t source;
  int32_t target;
} sluice_state_op;

/// Entry `index` of the block table of `seq_slot` becomes `block`; -1: no longer readable.
typedef struct sluice_block_update {
  int32_t seq_slot;
  int32_t kv_group;
  int32_t index;
  int32_t block;
} sluice_block_update;

/// Adds to the resident penalty counts of a sequence. The engine itself adds each accepted token
/// of a row that has SLUICE_OUTPUT_FLAG_COUNT; everything else (prompt, prefix, recomputed output
/// after preemption) comes through here. From one reset of a sequence to the next at most
/// max_context_len + 1 updates with a positive delta and accepted tokens of rows with that flag are
/// taken, of which a row of a step in flight has 1 + draft_len; any number where vocab_size is not
/// more than that.
typedef struct sluice_count_update {
  int32_t seq_slot;
  int32_t token;
  int32_t prompt_delta;
  int32_t output_delta;
} sluice_count_update;

typedef enum sluice_output_kind {
  /// Choose a token (and verify drafts) by a GENERATION or REASONING head. At most one SAMPLE row per
  /// sequence, and token_index + draft_len is the sequence's last token of the step.
  SLUICE_OUTPUT_SAMPLE = 0,
  /// Log-probabilities of the row's targets and top_n by a GENERATION or REASONING head; nothing is
  /// chosen. Any number of rows, also on the token of a SAMPLE row.
  SLUICE_OUTPUT_LOGPROB = 1,
  SLUICE_OUTPUT_HEAD = 2,     ///< values of a CLASSIFICATION or VALUE head at the row's token
  SLUICE_OUTPUT_HIDDEN = 3    ///< the input of the heads
} sluice_output_kind;

typedef enum sluice_output_flag {
  SLUICE_OUTPUT_FLAG_NONE = 0,
  SLUICE_OUTPUT_FLAG_COUNT = 1,   ///< add accepted tokens to the sequence's output counts
  SLUICE_OUTPUT_FLAG_LOGPROB = 2  ///< fill LOGPROB and RANK for accepted tokens (costs a pass over the row)
} sluice_output_flag;

/// One output row; 128 bytes. Order of operations on the logits: repetition, frequency and presence
/// penalty; bias; mask; then temperature, top_k, top_p, min_p on the softmax. With temperature 0
/// the largest logit after bias and mask wins, equal ones by the lower id.
///
/// The filters: candidates by falling probability, equal ones by the lower id; top_k keeps the first
/// k; top_p the shortest prefix whose sum reaches top_p of what is left; min_p those with
/// p >= min_p * largest p. The token is the first whose cumulative sum exceeds u * total.
///
/// u = (word0 >> 8) * 2^-24 of Philox4x32-10 with key {seed low, seed high} and counter
/// {draw_position low, draw_position high, draw, 0}, draw 0; so a sequence's tokens do not depend on
/// its neighbours.
///
/// Drafts: position i of a drafted row is chosen exactly as an undrafted row would be, at
/// draw_position + i, its penalties seeing the tokens accepted before it, with its own mask. Draft i
/// is accepted if it equals that token; the first unequal token is the last accepted one. So the
/// output is the same, to the bit, with and without drafts. A row's targets are of its own token.
/// What rejected drafts left behind is written again: the next step's context_len goes back.
typedef struct sluice_output_row {
  int32_t token_index;     ///< token of this step whose output is meant (with drafts: the token before the first draft)
  int32_t kind;            ///< sluice_output_kind
  int32_t head;            ///< index into ModelSpec.heads
  int32_t flags;           ///< sluice_output_flag
  uint64_t seed;
  int64_t draw_position;   ///< position of the token to be chosen
  float temperature;       ///< 0: greedy; finite, >= 0
  float top_p;             ///< in (0, 1]; 1: off
  float min_p;             ///< in [0, 1); 0: off
  int32_t top_k;           ///< 0: off
  float repetition_penalty;  ///< > 0; 1: off. Divides positive, multiplies negative logits of seen tokens
  float presence_penalty;    ///< 0: off. Subtracted from logits of tokens in the output
  float frequency_penalty;   ///< 0: off. Times the count in the output, subtracted
  int32_t draft_len;       ///< the next draft_len tokens of the sequence are drafts; 0 unless SAMPLE
  int32_t logit_bias_begin;
  int32_t logit_bias_count;
  int32_t target_begin;    ///< ranges of targets are disjoint and in row order
  int32_t target_count;
  int32_t top_n;           ///< entries of TOP_TOKEN to fill, <= max_top_n
  int32_t mask_index;      ///< -1: none; with drafts the masks mask_index .. mask_index + draft_len
  int32_t reserved[10];
} sluice_output_row;

typedef struct sluice_logit_bias {
  int32_t token;
  float bias;  ///< added; -inf forbids the token
} sluice_logit_bias;

/// Dynamic variant `variant` of ModelSpec.ropes[rope] becomes the rotary_dim / 2 frequencies at
/// `inv_freq_begin`, in stream order: steps submitted before keep the old ones. Static variants are
/// refused.
typedef struct sluice_rope_update {
  int32_t rope;
  int32_t variant;  ///< in [variants.length, variants.length + num_dynamic_variants)
  int32_t inv_freq_begin;
  int32_t reserved;
  double attention_scale;
} sluice_rope_update;

/// Where things lie in a slot, the same for every slot of an engine.
typedef struct sluice_step_layout {
  int32_t num_slots;
  int32_t reserved;
  int64_t input_bytes;
  int64_t output_bytes;
  int64_t offset[SLUICE_SECTION_END];    ///< from the start of the input or output area; -1: section unused
  int64_t capacity[SLUICE_SECTION_END];  ///< elements
} sluice_step_layout;

SLUICE_API sluice_status sluice_engine_step_layout(sluice_engine* engine,
                                                   sluice_step_layout* layout,
                                                   sluice_error* error) SLUICE_NOEXCEPT;

/// The input and output area of a slot, owned by the engine and valid until destroy. The caller
/// writes the input between wait and submit only, and reads the output between wait and submit only.
SLUICE_API sluice_status sluice_engine_step_buffers(sluice_engine* engine, int32_t slot,
                                                    void** input, void** output,
                                                    sluice_error* error) SLUICE_NOEXCEPT;

/// Starts the step written in `slot`. Steps run in the order of submit. The message is checked in
/// full first (every index, count and range); SLUICE_STATUS_INVALID_ARGUMENT names the section,
/// the element and the value, and nothing is run or changed.
SLUICE_API sluice_status sluice_engine_submit(sluice_engine* engine, int32_t slot,
                                              sluice_error* error) SLUICE_NOEXCEPT;

/// Waits until the step in `slot` is finished, at most `timeout_us` (< 0: without limit).
/// SLUICE_STATUS_TIMEOUT: call again. A fault during the step is returned here; the engine is then
/// failed: submit, trace, wait and the weight calls return SLUICE_STATUS_ENGINE_FAILED with the first
/// text, while info, stats, layout and buffers still answer.
SLUICE_API sluice_status sluice_engine_wait(sluice_engine* engine, int32_t slot, int64_t timeout_us,
                                            sluice_error* error) SLUICE_NOEXCEPT;

/// Runs the step written in `slot` eagerly, as submit and wait together, and keeps named
/// intermediate tensors of its tokens. Off the step path: it may allocate host memory and is slow.
/// No other step may be in flight. State changes exactly as by submit, and a step_id is used.
///
/// `request_proto` is a TraceRequest. Output of `*size` bytes: u64 length of a TraceResult message,
/// the message, padding to a multiple of 64, the tensors' bytes at the offsets it tells. With a
/// `buffer` that is too small nothing is run: `*size` is the bytes that will be needed.
SLUICE_API sluice_status sluice_engine_trace(sluice_engine* engine, int32_t slot,
                                             const uint8_t* request_proto, int64_t request_bytes,
                                             uint8_t* buffer, int64_t capacity, int64_t* size,
                                             sluice_error* error) SLUICE_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif  // SLUICE_SLUICE_H_
