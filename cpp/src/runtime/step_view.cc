#include "runtime/step_view.h"

#include <algorithm>
#include <string>

#include "base/checked.h"
#include "base/error.h"

namespace sluice {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMaxAreaBytes = (int64_t{1} << 31) - 1;

// Input sections in the order of their offsets: what every step uses comes first, so that the used
// part of a message is short.
constexpr int kInputOrder[SLUICE_SECTION_INPUT_COUNT] = {
    SLUICE_SECTION_QUERY_START,    SLUICE_SECTION_SEQ_SLOT,      SLUICE_SECTION_CONTEXT_LEN,
    SLUICE_SECTION_ADAPTER,        SLUICE_SECTION_ROPE_VARIANT,  SLUICE_SECTION_TOKEN_ID,
    SLUICE_SECTION_TOKEN_POSITION, SLUICE_SECTION_TOKEN_KV_SLOT, SLUICE_SECTION_OUTPUT_ROW,
    SLUICE_SECTION_STATE_OP,       SLUICE_SECTION_BLOCK_UPDATE,  SLUICE_SECTION_COUNT_UPDATE,
    SLUICE_SECTION_TARGET,         SLUICE_SECTION_LOGIT_BIAS,    SLUICE_SECTION_ROPE_UPDATE,
    SLUICE_SECTION_ROPE_INV_FREQ,  SLUICE_SECTION_MASK,          SLUICE_SECTION_EMBEDDING,
};

struct SectionInfo {
  const char* name;
  int64_t element_bytes;
};

constexpr SectionInfo kInputSections[SLUICE_SECTION_INPUT_COUNT] = {
    {"TOKEN_ID", 4},
    {"TOKEN_POSITION", 4},
    {"TOKEN_KV_SLOT", 4},
    {"SEQ_SLOT", 4},
    {"QUERY_START", 4},
    {"CONTEXT_LEN", 4},
    {"ADAPTER", 4},
    {"ROPE_VARIANT", 4},
    {"STATE_OP", sizeof(sluice_state_op)},
    {"BLOCK_UPDATE", sizeof(sluice_block_update)},
    {"COUNT_UPDATE", sizeof(sluice_count_update)},
    {"OUTPUT_ROW", sizeof(sluice_output_row)},
    {"LOGIT_BIAS", sizeof(sluice_logit_bias)},
    {"TARGET", 4},
    {"MASK", 4},
    {"ROPE_UPDATE", sizeof(sluice_rope_update)},
    {"ROPE_INV_FREQ", 8},
    {"EMBEDDING", 4},
};

constexpr SectionInfo kOutputSections[SLUICE_SECTION_END - SLUICE_SECTION_ACCEPTED_COUNT] = {
    {"ACCEPTED_COUNT", 4}, {"TOKENS", 4},      {"LOGPROB", 4},   {"RANK", 4},
    {"TARGET_LOGPROB", 4}, {"TARGET_RANK", 4}, {"TOP_TOKEN", 4}, {"TOP_LOGPROB", 4},
    {"HEAD_VALUE", 4},     {"HIDDEN", 4},      {"FINITE", 4},    {"EXPERT_COUNT", 4},
};

static_assert(sizeof(sluice_step_header) == 256);
static_assert(sizeof(sluice_step_result) == 64);
static_assert(sizeof(sluice_output_row) == 128);

SectionInfo info(int section) {
  if (section >= 0 && section < SLUICE_SECTION_INPUT_COUNT) return kInputSections[section];
  if (section >= SLUICE_SECTION_ACCEPTED_COUNT && section < SLUICE_SECTION_END) {
    return kOutputSections[section - SLUICE_SECTION_ACCEPTED_COUNT];
  }
  return {"?", 0};
}

void place_section(int section, sluice_step_layout* layout, int64_t* end) {
  if (layout->capacity[section] == 0) return;
  layout->offset[section] = *end;
  const int64_t bytes = checked_mul(layout->capacity[section], info(section).element_bytes);
  *end = round_up(checked_add(*end, bytes), kAlignment);
}

template <class T>
std::span<const T> section(const sluice_step_layout& layout, const uint8_t* input, int section) {
  if (layout.offset[section] < 0) return {};
  const auto* header = reinterpret_cast<const sluice_step_header*>(input);
  return {reinterpret_cast<const T*>(input + layout.offset[section]),
          static_cast<size_t>(header->counts[section])};
}

template <class T>
T* output_section(const sluice_step_layout& layout, uint8_t* output, int section) {
  if (layout.offset[section] < 0) return nullptr;
  return reinterpret_cast<T*>(output + layout.offset[section]);
}

}  // namespace

int64_t section_element_bytes(int section) { return info(section).element_bytes; }

const char* section_name(int section) { return info(section).name; }

sluice_step_layout make_step_layout(const StepLimits& limits) {
  sluice_step_layout layout = {};
  std::fill(std::begin(layout.offset), std::end(layout.offset), -1);

  const int64_t tokens = limits.max_step_tokens;
  const int64_t sequences = std::min(limits.max_sequences, tokens);
  const int64_t rows = limits.max_step_outputs;
  const int64_t groups = limits.num_kv_groups;
  int64_t* capacity = layout.capacity;
  capacity[SLUICE_SECTION_TOKEN_ID] = tokens;
  capacity[SLUICE_SECTION_TOKEN_POSITION] = tokens * limits.position_dims;
  capacity[SLUICE_SECTION_TOKEN_KV_SLOT] = tokens * groups;
  capacity[SLUICE_SECTION_SEQ_SLOT] = sequences;
  capacity[SLUICE_SECTION_QUERY_START] = sequences + 1;
  capacity[SLUICE_SECTION_CONTEXT_LEN] = sequences;
  capacity[SLUICE_SECTION_ADAPTER] = sequences;
  capacity[SLUICE_SECTION_ROPE_VARIANT] = sequences * limits.num_ropes;
  capacity[SLUICE_SECTION_STATE_OP] = limits.max_step_state_ops;
  capacity[SLUICE_SECTION_BLOCK_UPDATE] = limits.max_step_block_updates;
  capacity[SLUICE_SECTION_COUNT_UPDATE] = limits.max_step_count_updates;
  capacity[SLUICE_SECTION_OUTPUT_ROW] = rows;
  capacity[SLUICE_SECTION_LOGIT_BIAS] = limits.max_step_logit_biases;
  capacity[SLUICE_SECTION_TARGET] = limits.max_step_targets;
  capacity[SLUICE_SECTION_MASK] = limits.max_step_masks * limits.mask_words();
  capacity[SLUICE_SECTION_ROPE_UPDATE] = limits.num_rope_variants;
  capacity[SLUICE_SECTION_ROPE_INV_FREQ] = limits.num_rope_frequencies;

  capacity[SLUICE_SECTION_ACCEPTED_COUNT] = rows;
  capacity[SLUICE_SECTION_TOKENS] = rows * limits.row_tokens();
  capacity[SLUICE_SECTION_LOGPROB] = rows * limits.row_tokens();
  capacity[SLUICE_SECTION_RANK] = rows * limits.row_tokens();
  capacity[SLUICE_SECTION_TARGET_LOGPROB] = limits.max_step_targets;
  capacity[SLUICE_SECTION_TARGET_RANK] = limits.max_step_targets;
  capacity[SLUICE_SECTION_TOP_TOKEN] = rows * limits.row_tokens() * limits.max_top_n;
  capacity[SLUICE_SECTION_TOP_LOGPROB] = rows * limits.row_tokens() * limits.max_top_n;
  capacity[SLUICE_SECTION_HEAD_VALUE] = rows * limits.head_values;
  capacity[SLUICE_SECTION_HIDDEN] = limits.max_step_hidden_rows * limits.hidden_size;
  capacity[SLUICE_SECTION_FINITE] = rows;
  capacity[SLUICE_SECTION_EXPERT_COUNT] = limits.num_layers * limits.expert_count_stride;

  layout.input_bytes = sizeof(sluice_step_header);
  for (int section : kInputOrder) place_section(section, &layout, &layout.input_bytes);
  layout.output_bytes = sizeof(sluice_step_result);
  for (int section = SLUICE_SECTION_ACCEPTED_COUNT; section < SLUICE_SECTION_END; ++section) {
    place_section(section, &layout, &layout.output_bytes);
  }
  layout.num_slots = static_cast<int32_t>(limits.step_slots);
  for (int64_t bytes : {layout.input_bytes, layout.output_bytes}) {
    if (bytes > kMaxAreaBytes) {
      SLUICE_FAIL(SLUICE_STATUS_INVALID_ARGUMENT,
                  "step message: " + std::to_string(bytes) + " bytes (expected: at most " +
                      std::to_string(kMaxAreaBytes) +
                      "); lower max_step_tokens, max_step_outputs, max_draft_len, max_top_n, "
                      "max_step_masks, max_step_hidden_rows or the limits on updates");
    }
  }
  return layout;
}

StepInput view_input(const sluice_step_layout& layout, const uint8_t* input) {
  StepInput view;
  view.header = reinterpret_cast<const sluice_step_header*>(input);
  view.token_id = section<int32_t>(layout, input, SLUICE_SECTION_TOKEN_ID);
  view.position = section<int32_t>(layout, input, SLUICE_SECTION_TOKEN_POSITION);
  view.kv_slot = section<int32_t>(layout, input, SLUICE_SECTION_TOKEN_KV_SLOT);
  view.seq_slot = section<int32_t>(layout, input, SLUICE_SECTION_SEQ_SLOT);
  view.query_start = section<int32_t>(layout, input, SLUICE_SECTION_QUERY_START);
  view.context_len = section<int32_t>(layout, input, SLUICE_SECTION_CONTEXT_LEN);
  view.adapter = section<int32_t>(layout, input, SLUICE_SECTION_ADAPTER);
  view.rope_variant = section<int32_t>(layout, input, SLUICE_SECTION_ROPE_VARIANT);
  view.state_op = section<sluice_state_op>(layout, input, SLUICE_SECTION_STATE_OP);
  view.block_update = section<sluice_block_update>(layout, input, SLUICE_SECTION_BLOCK_UPDATE);
  view.count_update = section<sluice_count_update>(layout, input, SLUICE_SECTION_COUNT_UPDATE);
  view.output_row = section<sluice_output_row>(layout, input, SLUICE_SECTION_OUTPUT_ROW);
  view.logit_bias = section<sluice_logit_bias>(layout, input, SLUICE_SECTION_LOGIT_BIAS);
  view.target = section<int32_t>(layout, input, SLUICE_SECTION_TARGET);
  view.mask = section<uint32_t>(layout, input, SLUICE_SECTION_MASK);
  view.rope_update = section<sluice_rope_update>(layout, input, SLUICE_SECTION_ROPE_UPDATE);
  view.rope_inv_freq = section<double>(layout, input, SLUICE_SECTION_ROPE_INV_FREQ);
  return view;
}

StepOutput view_output(const sluice_step_layout& layout, uint8_t* output) {
  StepOutput view;
  view.result = reinterpret_cast<sluice_step_result*>(output);
  view.accepted_count = output_section<int32_t>(layout, output, SLUICE_SECTION_ACCEPTED_COUNT);
  view.tokens = output_section<int32_t>(layout, output, SLUICE_SECTION_TOKENS);
  view.logprob = output_section<float>(layout, output, SLUICE_SECTION_LOGPROB);
  view.rank = output_section<int32_t>(layout, output, SLUICE_SECTION_RANK);
  view.target_logprob = output_section<float>(layout, output, SLUICE_SECTION_TARGET_LOGPROB);
  view.target_rank = output_section<int32_t>(layout, output, SLUICE_SECTION_TARGET_RANK);
  view.top_token = output_section<int32_t>(layout, output, SLUICE_SECTION_TOP_TOKEN);
  view.top_logprob = output_section<float>(layout, output, SLUICE_SECTION_TOP_LOGPROB);
  view.head_value = output_section<float>(layout, output, SLUICE_SECTION_HEAD_VALUE);
  view.hidden = output_section<float>(layout, output, SLUICE_SECTION_HIDDEN);
  view.finite = output_section<int32_t>(layout, output, SLUICE_SECTION_FINITE);
  view.expert_count = output_section<int32_t>(layout, output, SLUICE_SECTION_EXPERT_COUNT);
  return view;
}

}  // namespace sluice
